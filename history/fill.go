package history

import (
	"math"
	"time"
)

// Fill is a rule of what stands in for an unknown value, so that a run over
// history need not stop at a hole. What it makes is always marked as estimated
// and counted, and takes nothing from the future.
type Fill string

// The rules. A day-ahead price that is missing stays Unknown: to guess it would
// be a forecast.
const (
	FillRealTime Fill = "real-time price" // the day-ahead price, the day before, the last value
	FillHold     Fill = "slow series"     // the last value: difficulty, bitcoin price, hashprice
	FillNone     Fill = "day-ahead price" // stays unknown
)

// Text says the rule, for people.
func (f Fill) Text() string {
	switch f {
	case FillRealTime:
		return "A real-time price that is unknown is taken as the day-ahead price of its interval; without one as the price of the same interval 24 hours before, else as the last price. It is marked as estimated."
	case FillHold:
		return "Difficulty, bitcoin price and hashprice hold their last value where they are unknown. It is marked as estimated."
	}
	return "A day-ahead price that is unknown stays unknown."
}

func fillRules() []string {
	return []string{FillRealTime.Text(), FillNone.Text(), FillHold.Text()}
}

// Filler fills a series by a rule, row by row in order.
type Filler struct {
	rule      Fill
	day       []float64 // the values of the last 24 hours, a ring by step
	at        int       // where the next one goes
	last      float64
	estimated int
	unknown   int
}

// NewFiller makes a filler for a series of the step.
func NewFiller(rule Fill, step time.Duration) *Filler {
	f := &Filler{rule: rule, last: math.NaN()}
	if rule == FillRealTime && step > 0 && step <= 24*time.Hour && (24*time.Hour)%step == 0 {
		f.day = make([]float64, 24*time.Hour/step)
		for i := range f.day {
			f.day[i] = math.NaN()
		}
	}
	return f
}

// Fill returns the value that counts for the next step. value is what was
// recorded and dayAhead the day-ahead price of the same interval, NaN where it is
// not known. The result is NaN, and not estimated, where the rule knows none.
func (f *Filler) Fill(value, dayAhead float64) (filled float64, estimated bool) {
	filled = value
	if math.IsNaN(value) {
		filled = f.standIn(dayAhead)
		if estimated = !math.IsNaN(filled); estimated {
			f.estimated++
		} else {
			f.unknown++
		}
	}
	if len(f.day) > 0 {
		f.day[f.at] = filled
		f.at = (f.at + 1) % len(f.day)
	}
	if !math.IsNaN(filled) {
		f.last = filled
	}
	return filled, estimated
}

func (f *Filler) standIn(dayAhead float64) float64 {
	switch f.rule {
	case FillRealTime:
		if !math.IsNaN(dayAhead) {
			return dayAhead
		}
		if len(f.day) > 0 && !math.IsNaN(f.day[f.at]) {
			return f.day[f.at]
		}
		return f.last
	case FillHold:
		return f.last
	}
	return math.NaN()
}

// Estimated counts the steps that were filled.
func (f *Filler) Estimated() int { return f.estimated }

// Unknown counts the steps that stayed unknown.
func (f *Filler) Unknown() int { return f.unknown }
