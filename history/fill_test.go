package history

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var unknown = math.NaN()

func TestFill(t *testing.T) {
	type step struct{ value, dayAhead float64 }
	for _, c := range []struct {
		name               string
		rule               Fill
		step               time.Duration
		in                 []step
		want               string // estimated ones in brackets
		estimated, unknown int
	}{
		{"known ones stay", FillRealTime, time.Hour, []step{{1, 9}, {2, unknown}}, "1 2", 0, 0},
		{"the day-ahead price first", FillRealTime, 12 * time.Hour, []step{{1, 9}, {2, 9}, {unknown, 5}}, "1 2 (5)", 1, 0},
		{"then the day before", FillRealTime, 12 * time.Hour, []step{{1, 9}, {2, 9}, {unknown, unknown}, {unknown, unknown}, {unknown, unknown}}, "1 2 (1) (2) (1)", 3, 0},
		{"a day before that is estimated", FillRealTime, 24 * time.Hour, []step{{1, 9}, {unknown, 5}, {unknown, unknown}}, "1 (5) (5)", 2, 0},
		{"then the last", FillRealTime, 8 * time.Hour, []step{{1, 9}, {unknown, unknown}}, "1 (1)", 1, 0},
		{"at a step that no day has", FillRealTime, 7 * time.Hour, []step{{1, 9}, {2, 9}, {3, 9}, {4, 9}, {unknown, unknown}}, "1 2 3 4 (4)", 1, 0},
		{"nothing at first", FillRealTime, time.Hour, []step{{unknown, unknown}, {1, 1}}, "? 1", 0, 1},
		{"a slow series holds", FillHold, time.Hour, []step{{unknown, 9}, {1, 9}, {unknown, 9}, {unknown, 9}, {2, 9}}, "? 1 (1) (1) 2", 2, 1},
		{"a day-ahead price is not made", FillNone, time.Hour, []step{{1, 9}, {unknown, 9}}, "1 ?", 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := NewFiller(c.rule, c.step)
			var got []string
			for _, s := range c.in {
				v, estimated := f.Fill(s.value, s.dayAhead)
				text := shown([]float64{v})
				if estimated {
					text = fmt.Sprintf("(%s)", text)
				}
				got = append(got, text)
			}
			if strings.Join(got, " ") != c.want || f.Estimated() != c.estimated || f.Unknown() != c.unknown {
				t.Errorf("%v, %d estimated, %d unknown; want %s", got, f.Estimated(), f.Unknown(), c.want)
			}
		})
	}
}

// What stands in for an unknown value comes from the past and the day-ahead price
// only: whatever comes later changes nothing before.
func TestFillKnowsNoFuture(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := rapid.SampledFrom([]Fill{FillRealTime, FillHold, FillNone}).Draw(t, "rule")
		value := rapid.OneOf(rapid.Float64Range(-100, 100), rapid.Just(unknown))
		values := rapid.SliceOfN(value, 1, 80).Draw(t, "values")
		ahead := rapid.SliceOfN(value, len(values), len(values)).Draw(t, "day-ahead")
		cut := rapid.IntRange(0, len(values)).Draw(t, "cut")
		a, b := NewFiller(rule, time.Hour), NewFiller(rule, time.Hour)
		for i := range values {
			v := values[i]
			if i >= cut {
				v = value.Draw(t, "other")
			}
			x, ex := a.Fill(values[i], ahead[i])
			y, ey := b.Fill(v, ahead[i])
			if i < cut && (shown([]float64{x}) != shown([]float64{y}) || ex != ey) {
				t.Fatalf("at %d, before %d: %v and %v", i, cut, x, y)
			}
			if !math.IsNaN(values[i]) && (x != values[i] || ex) {
				t.Fatalf("the known %v became %v", values[i], x)
			}
		}
	})
}
