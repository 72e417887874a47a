package backtest

import (
	"context"
	"sync"
	"time"

	"sluice"
	"sluice/forecast"
)

// fan hands the forecast to the controller, step by step. It is made on a walk of
// its own over the series, ahead of the controller: what is expected at a time
// follows from what was known then, whatever the site did.
type fan struct {
	stop context.CancelFunc
	step time.Duration
	rows chan []row
	left []row // taken from rows, not yet asked for
	row  row   // of the step that the controller is in
	done sync.WaitGroup
	err  error // set before rows is closed
}

// row is what is expected at one step, USD/MWh for each interval from it on.
type row struct {
	at   time.Time
	mean []float64
}

// The forecast is ahead of the controller by so many batches of steps at most. In
// batches, since waking each other up at every step would cost as much as a tenth
// of a plan.
const fanBatches, fanSteps = 32, 64

// expectations begins the forecast of a policy that uses one.
func expectations(ctx context.Context, o *Options, policy string, step time.Duration) (*fan, error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &fan{stop: cancel, step: step}
	if policy != Sluice {
		return f, nil
	}
	n := int(horizon(o.Site.Horizon, step) / step)
	m, err := openMarket(o, o.From.Add(-o.Learn))
	if err != nil {
		cancel()
		return nil, err
	}
	hash, err := hashAt(o)
	if err != nil {
		m.close()
		cancel()
		return nil, err
	}
	x, err := forecast.New(forecast.Options{Step: step, Horizon: n, Strikes: strikes(o, hash)})
	if err != nil {
		m.close()
		cancel()
		return nil, err
	}
	m.onPublish = x.Publish
	f.rows = make(chan []row, fanBatches)
	f.done.Add(1)
	f.stop = func() { cancel(); f.done.Wait() }
	go func() {
		defer f.done.Done()
		defer m.close()
		defer close(f.rows)
		f.err = f.walk(ctx, o, m, x, n)
	}()
	return f, nil
}

// walk tells the forecaster what becomes known, step by step, and asks it from the
// start of the range on.
func (f *fan) walk(ctx context.Context, o *Options, m *market, x *forecast.Forecaster, n int) error {
	var batch []row
	send := func() error {
		select {
		case f.rows <- batch:
			batch = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for m.at().Before(o.To) {
		if err := ctx.Err(); err != nil {
			return err
		}
		now, err := m.advance() // publishes what is published by now
		if err != nil {
			return err
		}
		if !now.at.Before(o.From) {
			r := row{at: now.at, mean: make([]float64, 0, n)}
			for _, e := range x.Expect(now.at, n) {
				r.mean = append(r.mean, e.Mean)
			}
			if batch = append(batch, r); len(batch) == fanSteps {
				if err := send(); err != nil {
					return err
				}
			}
		}
		if !now.estimated {
			x.Observe(now.at, now.price) // it is known with the step's end, and next asked for then
		}
	}
	return send()
}

// expect is what the controller asks; nil where there is no forecast.
func (f *fan) expect() func(time.Time, int) []float64 {
	if f.rows == nil {
		return nil
	}
	return func(now time.Time, n int) []float64 {
		for f.row.at.IsZero() || now.Sub(f.row.at) >= f.step {
			for len(f.left) == 0 {
				batch, ok := <-f.rows
				if !ok {
					return nil // past the end: the last turn settles only
				}
				f.left = batch
			}
			f.row, f.left = f.left[0], f.left[1:]
		}
		if now.Before(f.row.at) {
			return nil
		}
		return f.row.mean[:min(n, len(f.row.mean))]
	}
}

// strikes are the prices around which the site's decisions turn at the start:
// those of each mode of its miners at the hashprice of then.
func strikes(o *Options, hash float64) []float64 {
	var out []float64
	for _, c := range o.Site.Classes {
		for _, m := range c.Modes {
			if m.HashRate <= 0 {
				continue
			}
			jth := float64(m.Power) / float64(m.HashRate)
			out = append(out, sluice.Strike(sluice.HashpriceFromUSD(hash), o.Site.PoolFee, jth, o.Site.Overhead).USDPerMWh())
		}
	}
	return out
}

// hashAt is the hashprice at the start of the range.
func hashAt(o *Options) (float64, error) {
	m, err := openMarket(o, o.From)
	if err != nil {
		return 0, err
	}
	defer m.close()
	x, err := m.advance()
	return x.hash, err
}
