package compute

import "context"

// PlacementStore keeps the decisions where jobs go: a bounded number of the
// newest of each job. Package store implements it.
type PlacementStore interface {
	// PutPlacement adds decisions, in one transaction. One that only repeats the
	// job's newest adds nothing.
	PutPlacement(ctx context.Context, p ...Placement) error
	// Placements returns the decisions of a job, the newest first.
	Placements(ctx context.Context, job string) ([]Placement, error)
}
