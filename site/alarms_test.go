package site_test

import (
	"context"
	"testing"
	"time"

	"sluice"
	"sluice/sim"
	"sluice/site"
)

func alarmsOf(w *world, name string) []site.Alarm {
	var out []site.Alarm
	for _, a := range w.site.Status().Alarms {
		if a.Name == name {
			out = append(out, a)
		}
	}
	return out
}

// An order that is to come, or that is over another node, hides no load above
// its limit.
func TestOrdersToComeHideNoAlarm(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 10, limit: 100 * sluice.Kilowatt, meters: true, mode: site.ModeObserve})
	w.must1(w.site.Curtail(context.Background(), site.CurtailmentOrder{
		Node: "b", Limit: sluice.Kilowatt, From: t0.Add(5 * time.Hour), Until: t0.Add(6 * time.Hour),
	}))
	w.metered["site"] = 3
	w.run(2*time.Minute, 15*time.Second)
	if !hasAlarm(w, "over-limit") {
		t.Errorf("%v under a limit of 100 kW and no alarm, as an order is to come", w.power("site")*3)
	}
}

// The alarm of a load above an order ends with the order, also where the node
// has no limit of its own.
func TestOverLimitEndsWithTheOrder(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, mode: site.ModeObserve})
	w.run(time.Minute, 15*time.Second)
	w.must1(w.site.Curtail(context.Background(), site.CurtailmentOrder{Node: "b", Limit: sluice.Kilowatt, For: 10 * time.Minute}))
	w.run(5*time.Minute, 15*time.Second)
	if !hasAlarm(w, "over-limit") {
		t.Fatal("nothing is shed in observe mode, and there is no alarm")
	}
	w.run(10*time.Minute, 15*time.Second)
	if hasAlarm(w, "over-limit") {
		t.Error("the order is over, its alarm stays")
	}
}

// Alarms that stood before a restart end when their cause does, also where the
// cause is no longer part of the site.
func TestAlarmsEndAfterARestart(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, faults: map[int]sim.Fault{3: sim.Truncated, 29: sim.Truncated}})
	w.run(2*time.Minute, 15*time.Second)
	if n := len(alarmsOf(w, "machine-silent")); n != 2 {
		t.Fatalf("%d machines are silent, want 2", n)
	}
	w.fleet.SetFault(3, sim.NoFault)
	w.less = 1 // s21-009 is sold
	w.crash()
	w.run(2*time.Minute, 15*time.Second)
	if left := alarmsOf(w, "machine-silent"); len(left) != 0 {
		t.Errorf("one answers again, one is gone, and these stand: %+v", left)
	}
}

// Each gap in the books is an alarm of its own.
func TestEachGapIsAnAlarm(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 5, limit: sluice.Megawatt, meters: true})
	w.run(12*time.Minute, 15*time.Second)
	gap := func() site.Alarm {
		t.Helper()
		w.mu.Lock()
		w.now = w.now.Add(50 * time.Hour)
		w.mu.Unlock()
		w.crash()
		w.run(time.Minute, 15*time.Second)
		got := alarmsOf(w, "books-gap")
		if len(got) != 1 {
			t.Fatalf("alarms of the gap: %+v", got)
		}
		return got[0]
	}
	if first, second := gap(), gap(); first.ID == second.ID {
		t.Errorf("the second gap is hidden by the first: %+v", second)
	}
}
