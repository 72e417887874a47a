package compute

import (
	"context"

	"sluice"
	"sluice/compute/elastic"
)

// Record is a job as it is stored.
type Record struct {
	Job           Job
	Key           string // the tenant's idempotency key, "" for none
	Task          *Task
	Nodes         []NodeRun // of the present run, by rank; nil while it waits
	Cause         *int      // rank of the node whose end winds the run down
	After         State     // of a Stopping job: what it becomes
	UsedMS        int64     // unit-milliseconds of the nodes that have ended
	Retries       int       // failed starts and lost runs in a row
	Restarts      int       // after errors of its own, as its task allows
	Choices       []Choice  // where else it could run; empty: only as Job says
	Lessons       Lessons
	BilledMS      int64 // unit-milliseconds posted; read only, see Use
	BilledUSD     sluice.Money
	PostedMilliWh int64        // energy posted, in thousandths of a watt-hour; read only
	CreditedUSD   sluice.Money // of Job.CreditUSD, posted; read only
}

// Choice is a class of hosts that a job could run on, and its price there.
type Choice struct {
	Class        string    `json:"class"`
	Resources    Resources `json:"resources"`
	UnitsPerNode int       `json:"units_per_node"`
	RateUSDHour  float64   `json:"usd_per_unit_hour"`
	StrikeUSDMWh float64   `json:"strike_usd_per_mwh,omitempty"`
}

// Lessons is what a job's own past teaches of stopping it.
type Lessons struct {
	Stops      int     `json:"stops,omitempty"`       // on order
	Saved      int     `json:"saved,omitempty"`       // of them with a checkpoint between the order and the end
	RestartSec float64 `json:"restart_sec,omitempty"` // from a start to work going on; 0: not known
	StopSec    float64 `json:"stop_sec,omitempty"`    // from the order to the end
	EverySec   float64 `json:"every_sec,omitempty"`   // between two checkpoints

	Speed elastic.Learner `json:"speed,omitzero"` // at each share of full power, as it tells
}

// Store keeps jobs. Package store implements it.
type Store interface {
	// LoadJobs returns every job with what was billed of it.
	LoadJobs(ctx context.Context) ([]Record, error)
	// PutJobs inserts or replaces the records in one durable transaction. What
	// was billed is not touched: it changes with the posting, by MarkBilled in
	// the caller's transaction.
	PutJobs(ctx context.Context, recs []Record) error
}
