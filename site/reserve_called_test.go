package site_test

import (
	"context"
	"testing"
	"time"

	"sluice"
	"sluice/site"
)

// A reserve that is called is delivered: what an order has dropped counts as
// ready, also over a kill, and no more of it than was promised when it came.
func TestACalledReserveIsDelivered(t *testing.T) {
	w := newWorld(t, rrs(worldSpec{miners: 10, limit: sluice.Megawatt, meters: true}, flat(12)))
	w.run(22*time.Minute, 15*time.Second)
	before := w.site.Status().Reserves[0]
	w.must1(w.site.Curtail(context.Background(), site.CurtailmentOrder{ID: "call", Limit: sluice.Kilowatt, For: time.Hour}))
	w.run(20*time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateSleeping] != 30 {
		t.Fatalf("states %v under the order", st)
	}
	if r := w.site.Status().Reserves[0]; r.ReadyKW > before.ReadyKW+1 || r.ReadyKW < 0.97*before.ReadyKW {
		t.Errorf("%.1f kW were ready before the call and count as %.1f during it", before.ReadyKW, r.ReadyKW)
	}
	w.crash()
	w.run(15*time.Minute, 15*time.Second)
	if r := w.site.Status().Reserves[0]; r.ReadyKW > before.ReadyKW+1 || r.ReadyKW < 0.97*before.ReadyKW {
		t.Errorf("after a kill %.1f of %.1f kW count", r.ReadyKW, before.ReadyKW)
	}
	wh, _ := w.settledReserves()
	if want := before.ReadyKW / 1000 * 55 / 60; wh.MWh() > want*1.01 || wh.MWh() < want*0.95 {
		t.Errorf("%.4f MW·h in 55 minutes, want about %.4f", wh.MWh(), want)
	}
	// It ends: what is still asleep is not ready, and then everything is again.
	w.run(30*time.Second, 15*time.Second)
	w.must1(w.site.CancelCurtailment(context.Background(), "call", "test"))
	w.run(15*time.Second, 15*time.Second)
	if r := w.site.Status().Reserves[0]; r.ReadyKW > before.ReadyKW/2 {
		t.Errorf("just after the order %.1f kW count as ready: the miners only wake", r.ReadyKW)
	}
	w.run(30*time.Minute, 15*time.Second)
	if r := w.site.Status().Reserves[0]; r.ReadyKW < 0.97*before.ReadyKW {
		t.Errorf("half an hour later %.1f of %.1f kW are ready", r.ReadyKW, before.ReadyKW)
	}
}

// An order that needs nothing dropped is no call: what a price stops under it is
// not ready.
func TestWhatAPriceStopsIsNoCall(t *testing.T) {
	w := newWorld(t, rrs(worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, price: steps(30, 400)}, flat(12)))
	w.run(50*time.Minute, 15*time.Second)
	w.must1(w.site.Curtail(context.Background(), site.CurtailmentOrder{Limit: 900 * sluice.Kilowatt, For: 2 * time.Hour}))
	w.run(30*time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateSleeping] != 30 {
		t.Fatalf("states %v at 400 $/MWh", st)
	}
	if r := w.site.Status().Reserves[0]; r.ReadyKW > 1 {
		t.Errorf("everything sleeps for the price, and %.1f kW count as ready", r.ReadyKW)
	}
}

// What a price stops under an order counts only as far as the order asked for it.
func TestACallIsNoMoreThanItAsksFor(t *testing.T) {
	w := newWorld(t, rrs(worldSpec{miners: 30, limit: sluice.Megawatt, meters: true, price: steps(30, 400)}, flat(12)))
	w.run(50*time.Minute, 15*time.Second)
	before := w.site.Status().Reserves[0].ReadyKW
	limit := 0.6 * w.site.Status().LoadKW
	w.must1(w.site.Curtail(context.Background(), site.CurtailmentOrder{Limit: sluice.WattsOfKW(limit), For: 2 * time.Hour}))
	w.run(4*time.Minute, 15*time.Second)
	if r := w.site.Status().Reserves[0]; r.ReadyKW < 0.97*before {
		t.Errorf("of %.1f kW that were ready %.1f count under an order that drops some of them", before, r.ReadyKW)
	}
	w.run(26*time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateSleeping] != 90 {
		t.Fatalf("states %v at 400 $/MWh", st)
	}
	if r := w.site.Status().Reserves[0]; r.ReadyKW > 0.42*before || r.ReadyKW < 0.38*before {
		t.Errorf("the order dropped two fifths of %.1f kW and the price the rest, and %.1f count", before, r.ReadyKW)
	}
}

// An order that lasts for hours is a limit, no call.
func TestALongOrderIsNoCall(t *testing.T) {
	w := newWorld(t, rrs(worldSpec{miners: 3, limit: sluice.Megawatt, meters: true}, flat(12)))
	w.run(10*time.Minute, 15*time.Second)
	w.must1(w.site.Curtail(context.Background(), site.CurtailmentOrder{Limit: sluice.Kilowatt, For: 6 * time.Hour}))
	w.run(3*time.Hour+50*time.Minute, time.Minute)
	if r := w.site.Status().Reserves[0]; r.ReadyKW < 10 {
		t.Errorf("in the fourth hour %.1f kW count as delivered", r.ReadyKW)
	}
	w.run(30*time.Minute, time.Minute)
	if r := w.site.Status().Reserves[0]; r.ReadyKW > 1 || r.PlannedKW > 1 {
		t.Errorf("after four hours the reserve is %+v", r)
	}
}
