package compute

import (
	"context"

	"sluice"
)

// Record is a job as it is stored.
type Record struct {
	Job       Job
	Key       string // the tenant's idempotency key, "" for none
	Task      *Task
	Handle    Handle
	Executor  string // of the present run
	After     State  // of a Stopping job: what it becomes
	UsedMS    int64  // unit-milliseconds of the runs that have ended
	Retries   int    // failed starts and lost runs in a row
	BilledMS  int64  // unit-milliseconds posted; read only, see Use
	BilledUSD sluice.Money
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
