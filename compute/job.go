// Package compute owns what AI clients see: tasks, jobs, their placement on
// hosts, their runs, preemption and checkpoints. A folder below it holds an
// executor for each way of running a job; package executortest holds the suite
// that every executor passes.
package compute

import (
	"time"

	"sluice"
)

// State of a job.
type State string

// States. Queued → Starting → Running → one of the ended states; Running →
// Stopping → Queued when it is preempted.
const (
	Queued    State = "queued"
	Starting  State = "starting"
	Running   State = "running"
	Stopping  State = "stopping"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Cancelled State = "cancelled"
	Lost      State = "lost" // its process is gone and nobody knows how it ended
)

// Ended says whether the state is final.
func (s State) Ended() bool {
	return s == Succeeded || s == Failed || s == Cancelled || s == Lost
}

// Host is a machine that runs jobs.
type Host struct {
	Name     string
	Class    string // the dispatch class of its units
	Executor string // "process", "virtual"
	Units    int    // GPUs, or CPU slots on a host without
	CPUs     int
	MemoryGB float64
	GPUModel string       // "" without GPUs
	IdleW    sluice.Watts // of the whole host, at the plug
	UnitW    sluice.Watts // more for each unit in use
	Real     bool         // false: a virtual host, in site time

	Address    string            // where the nodes of a gang reach it; "" for this machine
	DiskGB     float64           // for jobs; 0: not limited
	Region     string            // jurisdiction and place, e.g. eu-de; "" where the site names none
	Labels     map[string]string // attested by the operator: certification, network, …
	Isolations []Isolation       // that its executor can give; empty: IsolationNone alone
	Remote     bool              // an agent runs it
}

// Job is one piece of AI work. It marshals to the API's form.
type Job struct {
	ID            string       `json:"id"`
	Name          string       `json:"name"`
	Tenant        string       `json:"tenant"`
	State         State        `json:"state"`
	Why           string       `json:"why,omitempty"` // why it is in this state, for a person
	Class         string       `json:"class"`         // the class of units it needs
	Units         int          `json:"units"`
	Virtual       bool         `json:"virtual"`
	Interruptible bool         `json:"interruptible"` // sold as such (use_spot)
	RateUSDHour   float64      `json:"usd_per_unit_hour"`
	StrikeUSDMWh  float64      `json:"strike_usd_per_mwh,omitempty"` // above it an interruptible job may pause
	SubmittedAt   time.Time    `json:"submitted_at"`
	StartedAt     *time.Time   `json:"started_at,omitempty"` // of the present run
	EndedAt       *time.Time   `json:"ended_at,omitempty"`
	Deadline      *time.Time   `json:"deadline,omitempty"`
	Host          string       `json:"host,omitempty"`
	RunID         string       `json:"run_id,omitempty"`
	Runs          int          `json:"runs"`
	Preemptions   int          `json:"preemptions"`
	ExitCode      *int         `json:"exit_code,omitempty"`
	RunSeconds    float64      `json:"run_seconds"`      // over all runs
	ExpectSeconds float64      `json:"expect_seconds"`   // running time expected in all; 0 unknown
	BilledUSD     sluice.Money `json:"billed_micro_usd"` // posted so far
	CheckpointAt  *time.Time   `json:"checkpoint_at,omitempty"`
	PowerW        sluice.Watts `json:"power_w"`
	Priority      int          `json:"priority,omitempty"` // higher first among equals

	Task   *Task  `json:"-"`
	Handle Handle `json:"-"`
}
