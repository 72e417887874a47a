// Package forecast owns expected prices of power. A Forecaster is told what
// becomes known, in the order in which it becomes known, and says what it expects
// next: it never holds a figure of the future, so no decision can depend on one.
// The backtest, the measure of docs/forecast.md and the live controller all use
// this same code.
//
// It is deterministic: the same calls give the same numbers, bit for bit. It
// learns by itself when enough new data has come in.
package forecast

import (
	"math"
	"time"

	"sluice"
)

// Options describe the series. Zero fields take the value in brackets.
type Options struct {
	Step    time.Duration // of the real-time prices; must divide 24 h (1 h)
	Horizon int           // intervals that Expect is asked for (24 h of them)
	// Strikes, in the currency per MWh, are the prices around which decisions
	// turn. They sharpen the forecast where it counts; none are needed.
	Strikes []float64
}

// Expected is what a price of power is expected to be, in the currency per MWh.
type Expected struct {
	// Mean stands for the expected price in a decision: a load that is worth more
	// should run. It is no unbiased forecast of the average (docs/forecast.md says why).
	Mean float64
	Low  float64 // the price is below it in about 10 % of cases
	High float64 // the price is above it in about 10 % of cases
}

// Forecaster expects prices. It is not safe for concurrent use.
type Forecaster struct {
	opt   Options
	first int64 // the first interval observed
	last  int64 // the last interval observed
	any   bool  // first and last are set

	real  series // real-time prices
	ahead series // day-ahead prices
	x     features
	near  learner // of the interval after the last observed one
	far   learner // of later ones
}

// New makes a Forecaster that knows nothing.
func New(o Options) (*Forecaster, error) {
	if o.Step == 0 {
		o.Step = time.Hour
	}
	if o.Step < time.Second || day%o.Step != 0 {
		return nil, sluice.Errorf(sluice.Invalid, "give a step of at least 1s that divides 24h, such as 5m or 1h", "forecast: a step of %v", o.Step)
	}
	if o.Horizon == 0 {
		o.Horizon = int(day / o.Step)
	}
	if o.Horizon < 1 {
		return nil, sluice.Errorf(sluice.Invalid, "give at least 1", "forecast: a horizon of %d intervals", o.Horizon)
	}
	for _, k := range o.Strikes {
		if math.IsNaN(k) || math.IsInf(k, 0) {
			return nil, sluice.Errorf(sluice.Invalid, "give a price per MWh", "forecast: a strike of %v", k)
		}
	}
	f := &Forecaster{opt: o}
	f.x = newFeatures(f)
	f.near = newLearner(f, nearby)
	f.far = newLearner(f, later)
	return f, nil
}

const day = 24 * time.Hour

// at is the number of the interval that t lies in.
func (f *Forecaster) at(t time.Time) int64 {
	s, ns := int64(f.opt.Step), t.UnixNano()
	i := ns / s
	if ns%s < 0 {
		i--
	}
	return i
}

// Publish tells a day-ahead price for [from, from+d), known from now on. It counts
// for each interval that begins in that range, and replaces an earlier price. Tell
// it when it became known, before what was observed later: the forecast learns
// from what was known at the time. A price that is no number is left out.
func (f *Forecaster) Publish(from time.Time, d time.Duration, usdPerMWh float64) {
	if math.IsNaN(usdPerMWh) || math.IsInf(usdPerMWh, 0) {
		return
	}
	start := f.at(from)
	if !from.Equal(time.Unix(0, start*int64(f.opt.Step))) {
		start++ // the first that begins in the range
	}
	end := from.Add(d)
	for i := start; time.Unix(0, i*int64(f.opt.Step)).Before(end); i++ {
		f.ahead.set(i, usdPerMWh)
	}
}

// Observe tells the real-time price of the interval that from lies in, once it is
// known: when it has ended, or before where the market says it before. Intervals
// come in order; one that was left out is unknown, one that comes again, or late,
// replaces the price but not what was learned from it. A price that is no number
// is left out.
func (f *Forecaster) Observe(from time.Time, usdPerMWh float64) {
	if math.IsNaN(usdPerMWh) || math.IsInf(usdPerMWh, 0) {
		return
	}
	i := f.at(from)
	if f.any && i <= f.last {
		f.real.set(i, usdPerMWh)
		return
	}
	if !f.any {
		f.first, f.any = i, true
	} else {
		f.remember(i)
	}
	f.real.set(i, usdPerMWh)
	f.last = i
	f.x.observed(i)
	f.real.keep(i - f.x.reach())
	f.ahead.keep(i - f.x.reach())
}

// remember keeps what is known just before interval i is observed, to learn from.
func (f *Forecaster) remember(i int64) {
	origin := f.last + 1
	if i != origin {
		return // a gap: this is not what a forecast normally starts from
	}
	f.near.remember(origin, 0)
	if f.opt.Horizon > 1 {
		// One later interval for each origin, all leads in turn.
		f.far.remember(origin, 1+int(scramble(uint64(origin))%uint64(f.opt.Horizon-1)))
	}
}

// scramble is a fixed hash (the finaliser of splitmix64).
func scramble(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Expect returns what the prices of n intervals are expected to be, the one that
// now lies in first. An interval whose price is known has that price.
func (f *Forecaster) Expect(now time.Time, n int) []Expected {
	out := make([]Expected, n)
	from := f.at(now)
	origin := from
	if f.any {
		origin = f.last + 1
	}
	var ask []int64
	for k := range out {
		i := from + int64(k)
		if v, ok := f.real.get(i); ok {
			out[k] = Expected{v, v, v}
		} else {
			ask = append(ask, i)
		}
	}
	for k, e := range f.forecast(origin, ask) {
		out[ask[k]-from] = e
	}
	return out
}
