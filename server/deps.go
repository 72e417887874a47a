package server

import (
	"context"
	"io"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/ledger"
	"sluice/site"
)

// Site is the controller as the server needs it. All methods may be called from
// any goroutine at any time; times are site time.
type Site interface {
	// Status is the site at a glance, as of its newest turn.
	Status() site.Status
	// Machines returns all, sorted by name.
	Machines() []site.Machine
	// Machine returns one, or NotFound.
	Machine(name string) (site.Machine, error)
	Pin(ctx context.Context, p site.Pin) error
	Release(ctx context.Context, machine, by string) error

	// Responses is what was learned of how soon power moves, Curves what classes
	// draw and hash in their modes.
	Responses() site.Responses
	Curves() []site.Curve
	// Promise says how much of the miners selected can be shed within the time.
	Promise(ctx context.Context, within time.Duration, selector string) (site.Promise, error)
	// PreviewFleet says what an order to many miners would do, ActFleet does what a
	// preview has shown.
	PreviewFleet(ctx context.Context, o site.FleetOrder) (site.FleetPreview, error)
	ActFleet(ctx context.Context, o site.FleetOrder) (site.FleetResult, error)

	Curtail(ctx context.Context, o site.CurtailmentOrder) (site.Curtailment, error)
	PreviewCurtailment(ctx context.Context, o site.CurtailmentOrder) (site.Preview, error)
	CancelCurtailment(ctx context.Context, id, by string) (site.Curtailment, error)
	// Curtailments returns the newest first, at most limit.
	Curtailments(ctx context.Context, limit int) ([]site.Curtailment, error)

	// Decisions returns the newest first, at most limit, with an ID below before
	// (0: from the newest).
	Decisions(ctx context.Context, before int64, limit int) ([]site.Decision, error)
	// Decision returns one, or NotFound.
	Decision(ctx context.Context, id int64) (site.Decision, error)
	// Alarms returns the open ones, or all, the newest first, at most limit, with
	// an ID below before (0: from the newest).
	Alarms(ctx context.Context, all bool, before int64, limit int) ([]site.Alarm, error)
	// History returns about so many samples of [from, to), oldest first.
	History(ctx context.Context, from, to time.Time, points int) ([]site.Sample, error)
	// Subscribe returns a channel of events and a function that ends it. The
	// site never waits for the channel to be read.
	Subscribe(buffer int) (<-chan site.Event, func())
}

// Jobs is the AI side as the server needs it. Who calls is in the context
// (CallerOf): the server lets a tenant through to its own jobs only, and an
// implementation looks a second time.
type Jobs interface {
	// Submit takes a task on, or says with Invalid what is wrong with it.
	// Of an array it returns the first job.
	Submit(ctx context.Context, s Submission) (compute.Job, error)
	// Check resolves a task and prices it, and submits nothing.
	Check(ctx context.Context, s Submission) (JobCheck, error)
	// Cancel ends a job; one that has ended is a Conflict.
	Cancel(ctx context.Context, id, by string) (compute.Job, error)
	// List returns the newest first.
	List(ctx context.Context, f JobFilter) ([]compute.Job, error)
	Get(ctx context.Context, id string) (compute.Job, error)
	// Logs writes the job's output from byte from on (negative: from the end);
	// with follow it goes on until the job has ended or ctx ends.
	Logs(ctx context.Context, id string, from int64, follow bool, w io.Writer) error
}

// JobFilter selects jobs.
type JobFilter struct {
	Tenant string        // empty: of all
	State  compute.State // empty: all
	After  string        // only those that come after the job of this ID in the list; empty: from the start
	Limit  int           // at most so many
}

// Submission is a task as it was handed in.
type Submission struct {
	ID      string            // the client's own, makes a retry harmless; empty: none
	Task    string            // text of the task file
	File    string            // its name, for messages
	Name    string            // instead of the task's own; empty: that
	Env     map[string]string // over the task's envs
	Secrets map[string]string // over the task's secrets
	Expect  time.Duration     // running time expected; 0: unknown
	Due     time.Duration     // until it should have ended, in site time; 0: no deadline
	Limit   time.Duration     // of running, instead of the file's; 0: that
	Tenant  string            // whose it is, by the token; empty: the operator's call, By says it
	By      string            // who
	Workdir []byte            // the working folder as tar.gz, checked by CheckWorkdir; nil: none
}

// Books is the journal as the server needs it.
type Books interface {
	// Balances returns what each account holds, sorted by account.
	Balances(ctx context.Context) ([]ledger.Balance, error)
	// Entries returns those that match, in the journal's order.
	Entries(ctx context.Context, f EntryFilter) ([]ledger.Entry, error)
	// ExportHledger writes the whole journal in hledger's format.
	ExportHledger(ctx context.Context, w io.Writer) error
}

// EntryFilter selects entries; empty fields match all.
type EntryFilter struct {
	From, To time.Time // half-open, by the entry's time
	After    string    // only those that come after the entry of this ID
	Limit    int       // at most so many
}

// Backup writes a consistent copy of the running site's state to the file dest,
// which does not exist yet.
type Backup func(ctx context.Context, dest string) error

// JobData is what lies with the jobs, as the server needs it. It looks a second
// time who calls, as Jobs does.
type JobData interface {
	// Detail returns a job with what it costs and what becomes of it.
	Detail(ctx context.Context, id string) (JobDetail, error)
	// Exec runs a command beside a running job and returns its exit status.
	Exec(ctx context.Context, id string, argv []string, in io.Reader, out io.Writer) (int, error)
	// Files opens the job's folders; the server closes them.
	Files(ctx context.Context, id string) (*compute.JobFiles, error)
	// Placements returns the decisions where the job goes, the newest first.
	Placements(ctx context.Context, id string) ([]compute.Placement, error)
	// Wipe wipes the data of an ended job; one that has not ended is a Conflict.
	Wipe(ctx context.Context, id, by string) (compute.Wipe, error)
	// Wipes returns what was wiped, the newest first.
	Wipes(ctx context.Context, limit int) ([]compute.Wipe, error)
}

// JobDetail is a job with what a person wants to know of it.
type JobDetail struct {
	compute.Job
	Cost     sluice.Money      `json:"cost_micro_usd" doc:"Of all that it has used so far, posted or not yet, in millionths of a US dollar"`
	Spending *compute.Spending `json:"spending,omitempty" doc:"What its tenant has spent this month, and what happens at the limit; absent where it is of no tenant"`
	Wiped    *compute.Wipe     `json:"wiped,omitempty" doc:"How its data were wiped; absent: they are there"`
	WipeAt   *time.Time        `json:"wipe_at,omitempty" doc:"When its data will be wiped by themselves, site time"`
}

// Offer is what a tenant can buy: a class of units.
type Offer struct {
	Class      string              `json:"class" doc:"Class of units"`
	GPU        string              `json:"gpu,omitempty" doc:"Model; absent: CPU slots"`
	Regions    []string            `json:"regions" nullable:"false" doc:"Where there are such units"`
	Isolations []compute.Isolation `json:"isolations" nullable:"false" doc:"What can stand between a job and its host"`
	FirmUSD    float64             `json:"firm_usd_per_unit_hour" doc:"Price of a job that is stopped only when all else fails, in US dollars per unit and hour"`
	SpotUSD    float64             `json:"spot_usd_per_unit_hour" doc:"Price of an interruptible job, in US dollars per unit and hour"`
}
