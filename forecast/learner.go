package forecast

import (
	"math"
	"slices"
)

// kind says which intervals a learner forecasts.
type kind int

const (
	nearby kind = iota // the next one
	later              // those after it, the lead being a feature
)

const (
	mostRows = 36000        // examples that a fit sees: four years of hours
	spare    = mostRows / 4 // kept beyond them, for a fit that is asked for late
)

// learner keeps examples and the model fitted on those before the last due date.
type learner struct {
	f      *Forecaster
	stride int64 // one example for each so many intervals, drawn by hash
	span   int64 // the longest lead

	rows    []example // by origin
	settled int       // rows whose price is known, or will never be
	model   *model
	fitted  int // number of the fit that made the model, 0: none
}

// example is what was known before an interval, and what its price came to.
type example struct {
	interval int64
	origin   int64
	x        []float32
	price    float64 // NaN: unknown
}

func newLearner(f *Forecaster, k kind) learner {
	l := learner{f: f, stride: max(1, int64(365*day/f.opt.Step)/30000)}
	if k == later {
		l.span = int64(f.opt.Horizon) - 1
	}
	return l
}

// remember keeps the features of interval origin+lead as they are now.
func (l *learner) remember(origin int64, lead int) {
	if scramble(uint64(origin)^0x5bd1)%uint64(l.stride) != 0 {
		return
	}
	row := l.f.x.row(nil, origin, lead)
	x := make([]float32, len(row))
	for i, v := range row {
		x[i] = float32(v)
	}
	l.settle()
	l.rows = append(l.rows, example{origin + int64(lead), origin, x, math.NaN()})
	if n := len(l.rows) - mostRows - spare; n > spare {
		l.rows = slices.Clone(l.rows[n:])
		l.settled = max(0, l.settled-n)
	}
}

// settle looks up the prices of the examples whose intervals have passed.
func (l *learner) settle() {
	for ; l.settled < len(l.rows); l.settled++ {
		r := &l.rows[l.settled]
		if r.origin+l.span > l.f.last {
			return
		}
		r.price = l.f.real.at(r.interval)
	}
}

// due returns the number and the date of the fit that is in use at the origin: it
// sees what was known at its date, whenever it is made. Fits are due after two
// weeks, then whenever the history is a quarter longer, at least each eighth week.
func (l *learner) due(origin int64) (number int, date int64) {
	week := int64(7 * day / l.f.opt.Step)
	next := 2 * week
	for age := origin - l.f.first; next <= age; number++ {
		date = l.f.first + next
		next += min(max(week, next/4), 8*week)
	}
	return number, date
}

// fit brings the model up to date.
func (l *learner) fit(origin int64) *model {
	number, date := l.due(origin)
	if number == l.fitted {
		return l.model
	}
	l.fitted = number
	l.settle()
	var rows []example
	for _, r := range l.rows[:l.settled] {
		if r.origin+l.span < date && !math.IsNaN(r.price) {
			rows = append(rows, r)
		}
	}
	l.model = fit(rows[max(0, len(rows)-mostRows):], l.f.opt, uint64(number))
	return l.model
}

// forecast returns what is expected of the intervals, by increasing number.
func (f *Forecaster) forecast(origin int64, intervals []int64) []Expected {
	out := make([]Expected, len(intervals))
	var row []float64
	for k, i := range intervals {
		lead := int(max(0, i-origin))
		l := &f.near
		if lead > 0 && f.opt.Horizon > 1 {
			l = &f.far
		}
		var m *model
		if f.any {
			m = l.fit(origin)
		}
		if m == nil {
			out[k] = f.simple(origin, i)
			continue
		}
		row = f.x.row(row[:0], origin, int(min(int64(lead), max(l.span, 0))))
		out[k] = m.expect(row)
	}
	return out
}

// simple is the forecast before there is a model: the last price for the next
// interval, and the day-ahead price for later ones, where there is one.
func (f *Forecaster) simple(origin, i int64) Expected {
	last := f.real.at(origin - 1)
	v := last
	if d := f.ahead.at(i); !math.IsNaN(d) && (i > origin || math.IsNaN(last)) {
		v = d
	}
	if math.IsNaN(v) {
		v = 0
	}
	return Expected{v, v, v}
}
