package site

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice"
	"sluice/feed"
	"sluice/ledger"
)

// correctFor is how long a settled interval is watched for a restated price.
const correctFor = 48 * time.Hour

// correct posts the differences of settled intervals whose prices have been
// restated since. The caller holds s.mu.
func (s *Site) correct(ctx context.Context, now time.Time) error {
	if a := s.alarms.open["books-gap\x00"+s.o.Name]; a != nil && now.Sub(a.At) > correctFor {
		s.clearAlarm(now, a.Name, a.Subject) // nothing would ever say that it was entered by hand
	}
	for len(s.settled) > 0 && now.Sub(s.settled[0].To) > correctFor {
		s.settled = s.settled[1:]
	}
	for i := range s.settled {
		r := &s.settled[i]
		iv, changed := s.restated(r.Interval, now)
		if !changed {
			continue
		}
		entries, err := ledger.Correct(s.o.Name, r.Interval, iv, r.Corrections+1)
		if err != nil {
			return err
		}
		rec := *r
		rec.Interval, rec.EnergyPrice, rec.PriceOrigin = iv, iv.EnergyPrice, iv.PriceOrigin
		rec.Corrections++
		rec.EnergyCost = iv.MeterWh.Cost(iv.EnergyPrice)
		rec.ReserveRev = 0
		for _, x := range iv.Reserves {
			rec.ReserveRev += x.Revenue()
		}
		wctx, cancel := context.WithTimeout(s.life(ctx), storeWait)
		err = s.o.Store.Settle(wctx, entries, nil, rec, Progress{})
		cancel()
		if err != nil {
			return fmt.Errorf("correcting %s: %w", r.From.Format(time.RFC3339), err)
		}
		*r = rec
	}
	return nil
}

// restated is the interval at the prices, of energy and of reserves, that are
// known of it now, and whether any differs from the one it was settled at.
func (s *Site) restated(iv ledger.Interval, now time.Time) (ledger.Interval, bool) {
	last := iv.To.Add(-time.Nanosecond)
	changed := false
	known := func(q feed.Quantity, was sluice.EnergyPrice) (feed.Value, bool) {
		v := s.o.Feeds.Known(q, last, now)
		differs := v.Known && !v.Stale && (q.Reserve() == "" || feed.Plausible(q, v.Value)) && sluice.EnergyPriceOf(v.Value) != was
		changed = changed || differs
		return v, differs
	}
	if v, ok := known(feed.RealTimePrice, iv.EnergyPrice); ok {
		iv.EnergyPrice, iv.PriceOrigin, iv.PricePublished, iv.PriceEstimated = sluice.EnergyPriceOf(v.Value), v.Origin, v.AsOf, v.Estimated
	}
	iv.Reserves = slices.Clone(iv.Reserves)
	for i := range iv.Reserves {
		r := &iv.Reserves[i]
		q := feed.ReservePrice(r.Name)
		if v, ok := known(q, r.Price); ok {
			r.Price, r.PriceOrigin, r.PricePublished, r.PriceEstimated = sluice.EnergyPriceOf(v.Value), v.Origin, v.AsOf, v.Estimated
		}
	}
	return iv, changed
}
