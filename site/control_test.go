package site_test

import (
	"context"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/site"
)

// Where Sluice may act on some classes only, it keeps an order with those,
// although others would be cheaper to stop.
func TestOrderIsKeptWithWhatMayBeMoved(t *testing.T) {
	for _, meters := range []bool{true, false} {
		w := newWorld(t, worldSpec{miners: 20, gpuHosts: 1, limit: sluice.Megawatt, meters: meters, control: func(c string) bool { return c == "s21" }})
		w.submit(4, 10*time.Hour, true, 2)
		w.run(6*time.Minute, 15*time.Second)
		before := w.power("site")
		limit := before - 50*sluice.Kilowatt // 20 S21 draw 72
		w.must1(w.site.Curtail(context.Background(), site.CurtailmentOrder{Limit: limit, For: time.Hour}))
		w.run(3*time.Minute, 15*time.Second)
		if p := w.power("site"); p > limit {
			t.Errorf("meters %v: %v under an order of %v, before it %v; states %v", meters, p, limit, before, w.states())
		}
		w.run(20*time.Minute, 15*time.Second)
		if p := w.power("site"); p > limit {
			t.Errorf("meters %v: %v after a while under an order of %v; states %v", meters, p, limit, w.states())
		}
		if n := len(w.decided(1000)); n > 20 {
			t.Errorf("meters %v: %d decisions in half an hour", meters, n)
		}
	}
}

// What only observes writes no decision in each turn in which a load stands above
// its limit.
func TestObserverDoesNotRepeatItself(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 10, gpuHosts: 1, limit: 60 * sluice.Kilowatt, meters: true, mode: site.ModeObserve})
	w.submit(4, 10*time.Hour, true, 2)
	w.run(30*time.Minute, 5*time.Second)
	if n := len(w.decided(1000)); n > 20 || n < 5 {
		t.Errorf("%d decisions in half an hour", n)
	}
	if !hasAlarm(w, "over-limit") {
		t.Error("no alarm")
	}
	if j := w.jobs.Jobs()[0]; j.State != compute.Queued {
		t.Errorf("a job is %s", j.State)
	}
}

func (w *world) decided(most int) []site.Decision {
	w.t.Helper()
	ds, err := w.site.Decisions(context.Background(), 0, most)
	w.must(err)
	return ds
}
