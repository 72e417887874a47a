package report

import (
	"math"
	"time"
)

// Fold says what stands for several values of a series where there is place for
// one.
type Fold int

// Folds.
const (
	Mean Fold = iota // for powers: the area stays right
	Last             // for what is counted from the start: profit so far
	Max              // for what must not be missed: the price's spikes
)

// Trace records series for a Timeline in bounded memory, however long the
// history: when it is full, neighbours are folded in pairs, and from then on as
// many values make one.
type Trace struct {
	folds []Fold
	rows  int
	per   int // moments that make one row
	last  int // moments in the last row
	at    []time.Time
	y, n  [][]float64 // of each series: what stands in each row, and for how many known values
}

// NewTrace makes a trace of one series for each fold. It keeps rows to 2·rows of
// each; 1,000 are as many as a picture can show.
func NewTrace(rows int, folds ...Fold) *Trace {
	return &Trace{folds: folds, rows: max(rows, 1), per: 1, y: make([][]float64, len(folds)), n: make([][]float64, len(folds))}
}

// Add records the values of one moment, later than all before it: one for each
// series, in order. Missing ones, and NaN, count as nothing.
func (t *Trace) Add(when time.Time, v ...float64) {
	if len(t.at) > 0 && t.last < t.per {
		k := len(t.at) - 1
		for s := range t.folds {
			b, m := known(v, s)
			t.join(s, k, k, b, m)
		}
		t.last++
		return
	}
	if len(t.at) == 2*t.rows {
		t.halve()
		t.Add(when, v...)
		return
	}
	t.at, t.last = append(t.at, when), 1
	for s := range t.folds {
		b, m := known(v, s)
		t.y[s], t.n[s] = append(t.y[s], b), append(t.n[s], m)
	}
}

// known is v[s] with how many values it is: one or none.
func known(v []float64, s int) (value, n float64) {
	if a := at(v, s); finite(a) {
		return a, 1
	}
	return math.NaN(), 0
}

// halve folds the rows in pairs. All of them are full, so the new ones are too.
func (t *Trace) halve() {
	t.per *= 2
	t.last = t.per
	for k := range t.rows {
		for s := range t.folds {
			t.join(s, k, 2*k, t.y[s][2*k+1], t.n[s][2*k+1])
		}
		t.at[k] = t.at[2*k]
	}
	t.at = t.at[:t.rows]
	for s := range t.y {
		t.y[s], t.n[s] = t.y[s][:t.rows], t.n[s][:t.rows]
	}
}

// join puts into row k what stands in row j with b, which is m later values.
func (t *Trace) join(s, k, j int, b, m float64) {
	a, n := t.y[s][j], t.n[s][j]
	switch {
	case m == 0:
	case n == 0 || t.folds[s] == Last:
		a = b
	case t.folds[s] == Max:
		a = max(a, b)
	default:
		a = (a*n + b*m) / (n + m)
	}
	t.y[s][k], t.n[s][k] = a, n+m
}

// At is when each row begins.
func (t *Trace) At() []time.Time { return t.at }

// Y is the values of a series, one for each row; NaN where none is known.
func (t *Trace) Y(series int) []float64 { return t.y[series] }
