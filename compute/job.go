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
	Executor string // "process", "docker", "virtual", "remote"
	Units    int    // GPUs, or CPU slots on a host without
	CPUs     int
	MemoryGB float64
	GPUModel string       // "" without GPUs
	IdleW    sluice.Watts // of the whole host, at the plug
	UnitW    sluice.Watts // more for each unit in use
	Real     bool         // false: a virtual host, in site time

	Address    string               // where the nodes of a gang reach it; "" for this machine
	DiskGB     float64              // for jobs; 0: what Recover measures or SetDisk says, not limited where neither does
	Region     string               // jurisdiction and place, e.g. DE-HE; "" where the site names none
	Labels     map[string]string    // attested by the operator: certification, network, …
	Isolations []Isolation          // that its executor can give; empty: IsolationNone alone
	Remote     bool                 // an agent runs it
	GangNet    GangNet              // of its containers; zero: none
	Executors  map[Isolation]string // where Executor is not the one for all isolations
}

// Job is one piece of AI work. It marshals to the API's form.
type Job struct {
	ID            string       `json:"id"`
	Name          string       `json:"name"`
	Tenant        string       `json:"tenant"`
	State         State        `json:"state"`
	Why           string       `json:"why,omitempty"`   // why it is in this state, for a person
	Class         string       `json:"class"`           // the class of units it needs
	Units         int          `json:"units"`           // over all nodes
	Nodes         int          `json:"nodes,omitempty"` // that it runs on at once; 0 is 1
	Virtual       bool         `json:"virtual"`
	Interruptible bool         `json:"interruptible"` // sold as such (use_spot)
	RateUSDHour   float64      `json:"usd_per_unit_hour"`
	StrikeUSDMWh  float64      `json:"strike_usd_per_mwh,omitempty"` // above it an interruptible job may pause
	SubmittedAt   time.Time    `json:"submitted_at"`
	StartedAt     *time.Time   `json:"started_at,omitempty"` // of the present run
	BeganAt       *time.Time   `json:"began_at,omitempty"`   // of its first run
	EndedAt       *time.Time   `json:"ended_at,omitempty"`
	Deadline      *time.Time   `json:"deadline,omitempty"`
	Host          string       `json:"host,omitempty"`  // of its first node
	Hosts         []string     `json:"hosts,omitempty"` // of all, by rank, where it has several
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

	Held       string `json:"held,omitempty"`        // why it may not start yet, for a person
	Array      string `json:"array,omitempty"`       // ID of the array's first job
	ArrayIndex *int   `json:"array_index,omitempty"` // its own index there

	NoticeSeconds   float64      `json:"notice_seconds,omitempty"`   // that it was promised before a kill; 0: the site's default
	UnsavedSeconds  float64      `json:"unsaved_seconds,omitempty"`  // of running since the last checkpoint
	LossSeconds     float64      `json:"loss_seconds,omitempty"`     // of running that a stop now would cost: unsaved work and restart
	EnergyWh        float64      `json:"energy_wh,omitempty"`        // of its units
	EnergyEstimated bool         `json:"energy_estimated,omitempty"` // some of it by nameplate, not by readings
	SlowedSeconds   float64      `json:"slowed_seconds,omitempty"`   // of running time lost to limits of power
	CPUSeconds      float64      `json:"cpu_seconds,omitempty"`
	StorageGBHours  float64      `json:"storage_gb_hours,omitempty"`
	PowerShare      float64      `json:"power_share,omitempty"`      // of full power that its GPUs are capped to now
	Isolation       Isolation    `json:"isolation,omitempty"`        // of the present run
	Cuts            int          `json:"cuts,omitempty"`             // stops without the notice that was promised
	CreditUSD       sluice.Money `json:"credit_micro_usd,omitempty"` // for them

	Task *Task `json:"-"`
}
