package backtest

import (
	"context"
	"time"

	"sluice/compute"
	"sluice/ledger"
	"sluice/site"
)

// books keeps what a site settles, in memory: of each interval only the sums go
// on, to settled.
type books struct {
	settled func(site.Settled, []compute.Use)
}

func (b *books) LoadSite(context.Context) (site.Saved, error) { return site.Saved{}, nil }
func (b *books) SaveTurn(context.Context, site.Turn) error    { return nil }
func (b *books) Settlements(context.Context, time.Time, time.Time) ([]site.Settled, error) {
	return nil, nil
}

// Settle takes an interval in. The entries were made by the ledger and balance;
// their sums stand in the settlement.
func (b *books) Settle(_ context.Context, _ []ledger.Entry, uses []compute.Use, s site.Settled, _ site.Progress) error {
	b.settled(s, uses)
	return nil
}

func (b *books) Decisions(context.Context, int64, int) ([]site.Decision, error) { return nil, nil }
func (b *books) Decision(context.Context, int64) (site.Decision, error) {
	return site.Decision{}, nil
}
func (b *books) Curtailments(context.Context, int) ([]site.Curtailment, error) { return nil, nil }
func (b *books) Alarms(context.Context, bool, int64, int) ([]site.Alarm, error) {
	return nil, nil
}

func (b *books) Samples(context.Context, time.Time, time.Time, int) ([]site.Sample, error) {
	return nil, nil
}

// queue keeps jobs nowhere: package compute has them in memory.
type queue struct{}

func (queue) LoadJobs(context.Context) ([]compute.Record, error) { return nil, nil }
func (queue) PutJobs(context.Context, []compute.Record) error    { return nil }
