package forecast

import (
	"math"
	"time"
)

// Windows and lags of the features. Those in hours are turned into intervals.
var (
	lagSteps   = []int64{1, 2, 3, 4, 6}
	lagHours   = []int64{24, 48, 168}   // before the interval that is forecast
	windows    = []int64{1, 3, 24, 168} // hours before the origin
	spreads    = []int64{1, 2, 3}       // intervals before the origin
	spreadWins = []int64{6, 24, 168}    // hours before the origin
	neighbours = []int64{-2, -1, 0, 1, 2, 3}
)

// spreadCap bounds what one interval's spread adds to a mean over days, as a
// multiple of the typical price: one spike says little about the same hour of the
// next week.
const spreadCap = 8

// features turns what is known into numbers. The state of the past is worked out
// once for each origin (the interval after the last observed one); an interval's
// features are that state and what belongs to the interval itself.
type features struct {
	f       *Forecaster
	perHour int64
	step    time.Duration
	state   []float64 // of the origin last+1
	real    *series
	ahead   *series
}

func newFeatures(f *Forecaster) features {
	return features{f: f, step: f.opt.Step, perHour: max(1, int64(time.Hour/f.opt.Step)), real: &f.real, ahead: &f.ahead}
}

// intervals returns how many intervals so many hours are, at least one.
func (x *features) intervals(hours int64) int64 {
	return max(1, hours*int64(time.Hour)/int64(x.step))
}

// reach is how many intervals of the past the features look at.
func (x *features) reach() int64 { return x.intervals(8*24) + 1 }

// spread is real-time less day-ahead, NaN where one is unknown.
func (x *features) spread(i int64) float64 { return x.real.at(i) - x.ahead.at(i) }

// observed works out the state after interval i.
func (x *features) observed(i int64) {
	s := x.state[:0]
	for _, k := range lagSteps {
		s = append(s, x.real.at(i+1-k))
	}
	s = append(s, x.real.at(i)-x.real.at(i-1))
	for _, h := range windows {
		w := x.over(i, x.intervals(h), x.real.at)
		s = append(s, w.mean(), w.high, w.low)
	}
	for _, k := range spreads {
		s = append(s, x.spread(i+1-k))
	}
	for _, h := range spreadWins {
		w := x.over(i, x.intervals(h), x.spread)
		s = append(s, w.mean(), w.high)
	}
	x.state = s
}

// row appends the features of interval origin+lead to the row.
func (x *features) row(row []float64, origin int64, lead int) []float64 {
	i := origin + int64(lead)
	row = append(row, x.state...)
	for _, h := range lagHours {
		row = append(row, x.known(origin, i-x.intervals(h)))
	}
	// Neighbours of an interval are the hours around it.
	for _, k := range neighbours {
		row = append(row, x.ahead.at(i+k*x.perHour))
	}
	d := x.ahead.at(i)
	row = append(row, d-x.ahead.at(i-x.perHour),
		// The last price, moved as the day-ahead market moves.
		x.real.at(origin-1)+d-x.ahead.at(origin-1))
	r, b := x.real.at(origin-1), max(1, x.ahead.at(origin-1))
	row = append(row, r/b, r/b*d, x.recent(origin))
	w := x.over(i+x.intervals(6), x.intervals(24), x.ahead.at)
	row = append(row, w.mean(), w.high, w.low, x.sameHour(origin, i))

	t := time.Unix(0, i*int64(x.step)).UTC()
	return append(row, float64(lead), float64(t.Hour())+float64(t.Minute())/60, float64(t.Weekday()), float64(t.YearDay()))
}

// recent is real-time over day-ahead prices of the last three intervals together.
func (x *features) recent(origin int64) float64 {
	var r, d float64
	for k := origin - 3; k < origin; k++ {
		r += x.real.at(k)
		d += x.ahead.at(k)
	}
	return r / max(1, d)
}

// known is the real-time price of an interval before the origin.
func (x *features) known(origin, i int64) float64 {
	for i >= origin { // the same hour of an earlier day
		i -= x.intervals(24)
	}
	return x.real.at(i)
}

// sameHour is the mean spread of the same hour of the last seven days, or the mean
// price where there is no day-ahead market.
func (x *features) sameHour(origin, i int64) float64 {
	var sum, n float64
	for d := int64(1); d <= 7; d++ {
		k := i - d*x.intervals(24)
		if k >= origin {
			continue
		}
		v := x.spread(k)
		if math.IsNaN(v) {
			continue
		}
		bound := spreadCap * max(1, math.Abs(x.ahead.at(k)))
		sum += max(-bound, min(v, bound))
		n++
	}
	return sum / n
}

// window is a summary of values; of none, all of it is NaN.
type window struct{ sum, n, low, high float64 }

func (w window) mean() float64 { return w.sum / w.n }

// over sums up the n intervals up to i.
func (x *features) over(i, n int64, value func(int64) float64) window {
	w := window{low: math.NaN(), high: math.NaN()}
	for k := i - n + 1; k <= i; k++ {
		v := value(k)
		if math.IsNaN(v) {
			continue
		}
		w.sum += v
		if w.n == 0 {
			w.low, w.high = v, v
		}
		w.low, w.high = min(w.low, v), max(w.high, v)
		w.n++
	}
	return w
}
