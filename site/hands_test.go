package site_test

import (
	"context"
	"testing"
	"time"

	"sluice"
	"sluice/ledger"
	"sluice/sim"
	"sluice/site"
)

type ledgerEntry = ledger.Entry

// An order is obeyed at once, between two intervals, and its record says when
// each kilowatt was gone and what it cost; afterwards the load comes back no
// faster than the ramp.
func TestCurtail(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, worldSpec{miners: 100, gpuHosts: 2, limit: 2 * sluice.Megawatt, meters: true})
	firm := w.submit(8, 20*time.Hour, false, 2)
	w.run(12*time.Minute, 15*time.Second)
	before := w.power("site")
	pre, err := w.site.PreviewCurtailment(ctx, site.CurtailmentOrder{Limit: 400 * sluice.Kilowatt, Until: w.clock().Add(30 * time.Minute)})
	w.must(err)
	c, err := w.site.Curtail(ctx, site.CurtailmentOrder{Limit: 400 * sluice.Kilowatt, Until: w.clock().Add(30 * time.Minute), By: "grid", Why: "test"})
	w.must(err)
	w.run(15*time.Second, 15*time.Second)
	if kw := w.power("site").KW(); kw > 400 {
		t.Errorf("%.0f kW a turn after the order of 400; before it %.0f", kw, before.KW())
	}
	if j, _ := w.jobs.Job(firm.ID); j.Preemptions != 0 {
		t.Errorf("firm work was stopped: %s", j.Why)
	}
	w.run(5*time.Minute, 15*time.Second)
	cs, err := w.site.Curtailments(ctx, 1)
	w.must(err)
	got := cs[0]
	kw, machines := 0.0, 0
	for _, s := range got.Shed {
		kw += s.KW
		machines += s.Machines
	}
	if got.ID != c.ID || got.MetAt == nil || *got.MetAfterS > 60 || kw < before.KW()-420 || machines != pre.Machines {
		t.Errorf("the record is %+v: %.0f kW of %d machines gone; the preview said %d", got, kw, machines, pre.Machines)
	}
	w.run(24*time.Minute, 15*time.Second)
	cs, err = w.site.Curtailments(ctx, 1)
	w.must(err)
	if c := cs[0].CostUSD; c <= 0 || c > 1.5*pre.CostUSD || c < pre.CostUSD/1.5 {
		t.Errorf("it cost %.2f USD, the preview said %.2f", c, pre.CostUSD)
	}
	// A megawatt a minute, and what is under way at the start of it.
	for range 30 {
		was := w.power("site")
		w.run(15*time.Second, 15*time.Second)
		if up := w.power("site") - was; up > 700*sluice.Kilowatt {
			t.Errorf("the load rose by %v in 15 s under a ramp of 1 MW a minute", up)
		}
	}
	if w.power("site") < before-before/50 {
		t.Errorf("after the order the load came back to %v of %v", w.power("site"), before)
	}
}

// Machines that ignore, refuse or do not answer are found and named, left alone,
// and the order is met from the others.
func TestFaultyMachines(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, worldSpec{
		miners: 30, limit: sluice.Megawatt, meters: true,
		faults: map[int]sim.Fault{3: sim.Ignores, 40: sim.Refuses, 70: sim.Truncated},
	})
	w.run(6*time.Minute, 15*time.Second)
	_, err := w.site.Curtail(ctx, site.CurtailmentOrder{Limit: 60 * sluice.Kilowatt, Until: w.clock().Add(2 * time.Hour), By: "grid"})
	w.must(err)
	w.run(15*time.Minute, 15*time.Second)
	if kw := w.power("site").KW(); kw > 60 {
		t.Errorf("%.1f kW under an order of 60", kw)
	}
	named := map[string]string{}
	for _, a := range w.site.Status().Alarms {
		named[a.Subject] = a.Name
	}
	for i, want := range map[int]string{3: "command-ignored", 40: "command-refused", 70: "machine-silent"} {
		if name := w.fleet.Spec(i).Name; named[name] != want {
			t.Errorf("%s has the alarm %q, want %s; all: %v", name, named[name], want, named)
		}
	}
}

// Nothing touches a machine that is locked or pinned until it is released.
func TestPins(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, price: steps(30, 400, 30)})
	w.run(6*time.Minute, 15*time.Second)
	if err := w.site.Pin(ctx, site.Pin{Machine: "s21-001", Mode: site.PinLocked, By: "ann"}); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("a lock without a reason: %v", err)
	}
	w.must(w.site.Pin(ctx, site.Pin{Machine: "s21-001", Mode: site.PinLocked, By: "ann", Why: "fan"}))
	w.must(w.site.Pin(ctx, site.Pin{Machine: "s19j-001", Mode: sluice.ModeSleep, By: "ann", Why: "hot"}))
	w.run(time.Minute, 15*time.Second)
	check := func(when, name, state, mode string) {
		t.Helper()
		m, err := w.site.Machine(name)
		w.must(err)
		if m.State != state || m.Mode != mode || m.Pin == nil || m.Pin.By != "ann" {
			t.Errorf("%s: %s is %s in %s, pin %+v; want %s in %s", when, name, m.State, m.Mode, m.Pin, state, mode)
		}
	}
	check("at 30 $", "s19j-001", site.StateSleeping, sluice.ModeSleep)
	w.run(90*time.Minute, 15*time.Second)
	check("at 400 $", "s21-001", site.StateLocked, sluice.ModeMine)
	w.crash()
	w.run(60*time.Minute, 15*time.Second)
	check("after a crash, at 30 $", "s19j-001", site.StateSleeping, sluice.ModeSleep)
	w.must(w.site.Release(ctx, "s19j-001", "ann"))
	w.run(15*time.Minute, 15*time.Second)
	if m, _ := w.site.Machine("s19j-001"); m.State != site.StateMining {
		t.Errorf("released, it is %s", m.State)
	}
	if err := w.site.Release(ctx, "s19j-001", "ann"); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("released twice: %v", err)
	}
}

// In observe mode everything is planned and explained, and nothing is touched.
func TestObserveTouchesNothing(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 10, gpuHosts: 1, limit: sluice.Megawatt, meters: true, mode: site.ModeObserve, price: steps(30, 400)})
	j := w.submit(4, time.Hour, true, 2)
	w.run(90*time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateMining] != 30 {
		t.Errorf("states %v", st)
	}
	if j, _ := w.jobs.Job(j.ID); j.Runs != 0 {
		t.Errorf("a job was started")
	}
	ds, err := w.site.Decisions(context.Background(), 0, 1)
	w.must(err)
	if len(ds) != 1 || ds[0].Applied || len(ds[0].Moves) == 0 {
		t.Errorf("the decision is %+v: the moves are due, marked as not applied", ds)
	}
}

// Only what Sluice put to sleep is woken.
func TestForeignSleepIsLeftAlone(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, price: steps(30, 400, 30)})
	_, err := w.fleet.Direct(4).Set(context.Background(), sluice.ModeSleep, nil)
	w.must(err)
	w.run(40*time.Minute, 15*time.Second)
	_, err = w.fleet.Direct(25).Set(context.Background(), sluice.ModeSleep, nil) // in the middle of things
	w.must(err)
	w.run(3*time.Hour, 15*time.Second)
	if st := w.states(); st[site.StateSleeping] != 2 || st[site.StateMining] != 28 {
		t.Errorf("states %v: two were put to sleep by somebody else", st)
	}
}

// A miner that comes back in the middle of a curtailment is put down again.
func TestComesBack(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, price: flat(400)})
	w.run(20*time.Minute, 15*time.Second)
	_, err := w.fleet.Direct(15).Set(context.Background(), "default", nil)
	w.must(err)
	w.run(10*time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateSleeping] != 30 {
		t.Errorf("states %v", st)
	}
}
