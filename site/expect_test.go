package site_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/site"
)

// Power is cheap again after a dear hour. By the rule it stays so, and all miners
// wake. A forecast that sees it dear from the next interval but one on leaves them
// asleep: they would have to run on into it.
func TestAnExpectedSpikeChangesThePlan(t *testing.T) {
	spec := worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, price: steps(400, 30)}
	rule := newWorld(t, spec)
	rule.run(64*time.Minute, 15*time.Second)
	if st := rule.states(); st[site.StateSleeping] > 15 {
		t.Fatalf("by the rule the states are %v in the first cheap minutes, want most awake", st)
	}
	rule.run(11*time.Minute, 15*time.Second)
	if st := rule.states(); st[site.StateMining] != 30 {
		t.Fatalf("by the rule the states are %v, want all 30 mining", st)
	}
	spike := t0.Add(70 * time.Minute)
	spec.expect = func(now time.Time, n int) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = 30
			if at := now.Truncate(5 * time.Minute).Add(time.Duration(i) * 5 * time.Minute); at.Before(t0.Add(time.Hour)) || !at.Before(spike.Add(-5*time.Minute)) {
				out[i] = 900
			}
		}
		return out
	}
	w := newWorld(t, spec)
	w.run(64*time.Minute, 15*time.Second) // in the one cheap interval
	if st := w.states(); st[site.StateSleeping] != 30 {
		t.Errorf("with a spike expected from %s on the states are %v, want all 30 asleep", spike.Format("15:04"), st)
	}
}

// A forecast that knows fewer intervals than the plan has leaves the rest to the
// rule, and one that knows none changes nothing.
func TestAForecastThatEndsEarly(t *testing.T) {
	plan := func(expect func(time.Time, int) []float64) site.PlanInfo {
		w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, price: flat(60), expect: expect})
		w.run(6*time.Minute, 15*time.Second)
		return *w.site.Status().Plan
	}
	rule := plan(nil)
	silent := plan(func(time.Time, int) []float64 { return nil })
	short := plan(func(time.Time, int) []float64 { return []float64{60, 20} })
	full := plan(func(_ time.Time, n int) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = 60
		}
		out[1] = 20
		return out
	})
	if silent.ObjectiveUSD != rule.ObjectiveUSD || short.ObjectiveUSD <= rule.ObjectiveUSD || short.ObjectiveUSD != full.ObjectiveUSD {
		t.Errorf("plans are worth %g by the rule, %g without a forecast, %g with two intervals at 60 and 20, %g with all told",
			rule.ObjectiveUSD, silent.ObjectiveUSD, short.ObjectiveUSD, full.ObjectiveUSD)
	}
}

// The reason names the price that was decided by, the expected one.
func TestTheReasonNamesTheExpectedPrice(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, price: flat(30), expect: func(_ time.Time, n int) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = 333
		}
		return out
	}})
	w.run(15*time.Minute, 15*time.Second)
	ds, err := w.site.Decisions(context.Background(), 0, 50)
	w.must(err)
	for _, d := range ds {
		for _, m := range d.Moves {
			if m.To == sluice.ModeSleep && strings.Contains(m.Reason, "< price 333.0 $/MWh") {
				return
			}
		}
	}
	t.Errorf("no reason names 333 $/MWh: %+v", ds)
}
