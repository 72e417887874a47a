package main

import (
	"context"
	"time"

	"sluice/config"
	"sluice/feed"
	"sluice/forecast"
	"sluice/history"
	"sluice/store"
)

// begin makes a forecaster of the market's step and tells it what is known of the
// past: the recorded series and what the feeds have said while Sluice ran.
func (l *outlook) begin(ctx context.Context, step time.Duration, now time.Time) error {
	l.step, l.f, l.known, l.told = step, nil, nil, map[priceKey]float64{}
	f, err := l.make(forecast.Options{Step: step, Horizon: l.intervals(), Strikes: l.strikes(now)})
	if err != nil {
		return err
	}
	real, err := l.past(ctx, feed.RealTimePrice, now)
	if err != nil {
		return err
	}
	ahead, err := l.past(ctx, feed.DayAheadPrice, now)
	if err != nil {
		return err
	}
	l.f = f
	if err := l.tell(ctx, real, ahead); err != nil {
		l.step, l.f = 0, nil // half told
		return err
	}
	l.forget(now)
	if len(real) == 0 {
		return nil
	}
	l.log.Info("learned from the prices of the past", "real_time", len(real), "day_ahead", len(ahead), "step", step)
	return nil
}

// past is what is known of a price before now, by start. Where both know an
// interval, what the feeds have said counts. A source that cannot be read is
// left out, and the log says so: a site runs without it.
func (l *outlook) past(ctx context.Context, q feed.Quantity, now time.Time) ([]store.Price, error) {
	kept, err := l.keep.Prices(ctx, string(q), now.Add(-learnFrom))
	if err != nil {
		l.log.Warn("kept prices are not learned from", "quantity", q, "err", err)
	}
	var read []store.Price
	if spec, ok := l.recorded[q]; ok {
		if read, err = readRecorded(q, spec, l.usdPer, now); err != nil {
			l.log.Warn("recorded prices are not learned from", "quantity", q, "err", err)
		}
	}
	var out []store.Price
	odd := 0
	for len(kept)+len(read) > 0 {
		var p store.Price
		switch {
		case len(read) == 0 || (len(kept) > 0 && !read[0].From.Before(kept[0].From)):
			p, kept = kept[0], kept[1:]
			if len(read) > 0 && read[0].From.Equal(p.From) {
				read = read[1:]
			}
		default:
			p, read = read[0], read[1:]
		}
		if q == feed.RealTimePrice && !l.fits(p) {
			odd++
			continue
		}
		out = append(out, p)
	}
	if odd > 0 {
		l.log.Warn("prices of another step than the feed's are not learned from: give a series of the feed's step", "quantity", q, "intervals", odd, "step", l.step)
	}
	return out, ctx.Err()
}

// readRecorded reads a recorded series as far as it may be learned from.
func readRecorded(q feed.Quantity, spec history.Spec, usdPer float64, now time.Time) ([]store.Price, error) {
	spec.From, spec.To = now.Add(-learnFrom).Truncate(day), now
	if q.DayAhead() {
		spec.To = now.Add(readAhead)
	}
	g, err := history.Read(spec)
	if err != nil {
		return nil, err
	}
	var out []store.Price
	for i, v := range g.Values {
		from := g.Time(i)
		p := store.Price{Quantity: string(q), From: from, To: from.Add(g.Step), Value: v * usdPer}
		p.Published = p.To
		if q.DayAhead() {
			p.Published = from.Truncate(day).Add(dayAheadAt - day)
		}
		if v == v && !p.Published.After(now) { // NaN is unknown
			out = append(out, p)
		}
	}
	return out, nil
}

// dayAheadAt is the time of the day before, UTC, from which the day-ahead prices
// of a recorded day count as known, as in backtests.
const dayAheadAt = 18 * time.Hour

// recordedPrices are the series of the price of power under history.
func recordedPrices(c *config.Config) map[feed.Quantity]history.Spec {
	out := map[feed.Quantity]history.Spec{}
	for q, s := range recordedSeries(c, "") {
		if q == feed.RealTimePrice || q == feed.DayAheadPrice {
			out[q] = s
		}
	}
	return out
}
