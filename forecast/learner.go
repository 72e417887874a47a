package forecast

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// kind says which intervals a learner forecasts.
type kind int

const (
	nearby kind = iota // the next one
	later              // those after it, the lead being a feature
)

const (
	mostRows = 105000 // examples that a fit sees: twelve years of hours
	spare    = 20000  // kept beyond them, for a fit that is asked for late
)

// learner keeps examples, and the model fitted on those before the last date that
// one was due.
type learner struct {
	f      *Forecaster
	effort effort
	stride int64 // one example for each so many intervals, drawn by hash
	span   int64 // the longest lead

	rows    []example // by origin
	settled int       // so many have a price, or never will

	ladder ladder
	made   int   // number of the fit that made it; 0: none
	date   int64 // of that fit
	record record
	trust  []band
	errors quantiles
	row    []float64
}

// example is what was known before an interval, and what its price came to.
type example struct {
	interval int64
	origin   int64
	x        []float32
	anchor   float64 // the forecast without a model
	price    float64 // NaN: unknown
}

func newLearner(f *Forecaster, k kind) learner {
	l := learner{f: f, effort: effortOf(k, f.opt.Step), stride: max(1, int64(365*day/f.opt.Step)/35000), record: record{opt: f.opt}}
	if k == later {
		l.span = int64(f.opt.Horizon) - 1
	}
	return l
}

// remember keeps what is known of interval origin+lead.
func (l *learner) remember(origin int64, lead int) {
	if scramble(uint64(origin)^0x5bd1)%uint64(l.stride) != 0 {
		return
	}
	i := origin + int64(lead)
	l.row = l.f.x.row(l.row[:0], origin, lead)
	x := make([]float32, len(l.row))
	for k, v := range l.row {
		x[k] = float32(v)
	}
	l.settle()
	l.rows = append(l.rows, example{i, origin, x, l.f.anchor(origin, i), math.NaN()})
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

// due returns the number and the date of the fit that is in use at the origin. A
// fit sees what was known at its date, whenever it is made. Fits are due after two
// weeks, then whenever the history is a third longer, at least each 39 weeks.
func (l *learner) due(origin int64) (number int, date int64) {
	week := int64(7 * day / l.f.opt.Step)
	next := 2 * week
	for age := origin - l.f.first; next <= age; number++ {
		date = l.f.first + next
		next += min(max(week, next/3), 39*week)
	}
	return number, date
}

// until returns the examples whose prices were known at the date.
func (l *learner) until(date int64) []example {
	l.settle()
	n := l.settled
	for n > 0 && l.rows[n-1].origin+l.span >= date {
		n--
	}
	rows := make([]example, 0, n)
	for _, r := range l.rows[:n] {
		if !math.IsNaN(r.price) {
			rows = append(rows, r)
		}
	}
	return rows[max(0, len(rows)-mostRows):]
}

// refit brings the model up to date, if one is due.
func (l *learner) refit(origin int64) {
	number, date := l.due(origin)
	if number == l.made {
		return
	}
	rows := l.until(date)
	// How good is a model on what it has not seen? The one in use until now has
	// not seen what came since; where there is none, one is made of the first part
	// to try on the rest.
	judge, from := l.ladder, l.date
	if judge == nil && len(rows) > 0 {
		part := rows[len(rows)*2/3].origin
		k := 0
		for k < len(rows) && rows[k].origin+l.span < part {
			k++
		}
		e := l.effort
		e.copies = 1
		judge, from = fit(rows[:k], e, uint64(number)), part
	}
	if judge != nil {
		for _, r := range rows {
			if r.origin < from {
				continue
			}
			l.row = l.row[:0]
			for _, v := range r.x {
				l.row = append(l.row, float64(v))
			}
			l.record.add(past{r.interval / l.f.x.intervals(24), judge.value(l.row), r.anchor, r.price})
		}
		l.record.trim()
	}
	l.made, l.date = number, date
	l.ladder = fit(rows, l.effort, uint64(number))
	l.trust = l.record.trust()
	l.errors = l.record.errors(l.trust)
}

// expect forecasts interval origin+lead.
func (l *learner) expect(origin int64, lead int) Expected {
	v := l.f.anchor(origin, origin+int64(lead))
	if l.ladder != nil {
		l.row = l.f.x.row(l.row[:0], origin, int(min(int64(lead), l.span)))
		v = blend(l.trust, l.ladder.value(l.row), v)
	}
	return l.errors.around(v)
}

// anchor is the forecast without a model: the last price for the next interval,
// the day-ahead price for later ones where there is one.
func (f *Forecaster) anchor(origin, i int64) float64 {
	last := f.real.at(origin - 1)
	if i == origin && !math.IsNaN(last) {
		return last
	}
	if d := f.ahead.at(i); !math.IsNaN(d) {
		return d
	}
	if math.IsNaN(last) {
		return 0 // nothing is known at all
	}
	return last
}

// forecast returns what is expected of the intervals, at the origin or after it,
// by increasing number.
func (f *Forecaster) forecast(origin int64, intervals []int64) []Expected {
	if f.any {
		f.near.refit(origin)
		if f.opt.Horizon > 1 {
			f.far.refit(origin)
		}
	}
	out := make([]Expected, len(intervals))
	var before, after knot
	for k, i := range intervals {
		lead := int(max(0, i-origin))
		switch {
		case lead == 0 || f.opt.Horizon == 1:
			out[k] = f.near.expect(origin, lead)
			continue
		case f.opt.Step >= time.Hour:
			out[k] = f.far.expect(origin, lead)
			continue
		}
		// Leads of less than an hour each: some are forecast, and what those differ
		// from the anchor is drawn out between them.
		if lead > after.lead {
			before = after
			if before.lead == 0 || knotBefore(lead) > before.lead {
				before = f.knot(origin, knotBefore(lead))
			}
			after = f.knot(origin, min(2*before.lead, max(lead, int(f.far.span))))
		}
		out[k] = between(before, after, lead, f.anchor(origin, i))
	}
	return out
}

// knot is a lead that is forecast, and how far from the anchor that lies.
type knot struct {
	lead int
	off  Expected
}

func (f *Forecaster) knot(origin int64, lead int) knot {
	e, a := f.far.expect(origin, lead), f.anchor(origin, origin+int64(lead))
	return knot{lead, Expected{e.Mean - a, e.Low - a, e.High - a}}
}

// knotBefore is the last power of two up to the lead.
func knotBefore(lead int) int { return 1 << (bits.Len(uint(lead)) - 1) }

func between(a, b knot, lead int, anchor float64) Expected {
	t := 0.0
	if b.lead > a.lead {
		t = float64(lead-a.lead) / float64(b.lead-a.lead)
	}
	at := func(x, y float64) float64 { return anchor + (1-t)*x + t*y }
	return Expected{at(a.off.Mean, b.off.Mean), at(a.off.Low, b.off.Low), at(a.off.High, b.off.High)}
}
