package site_test

import (
	"math"
	"testing"
	"time"

	"sluice"
	"sluice/site"
)

func balanceOf(w *world, node string) site.PowerBalance {
	w.t.Helper()
	for _, b := range w.site.Status().Balance {
		if b.Node == node {
			return b
		}
	}
	w.t.Fatalf("no balance of %s in %+v", node, w.site.Status().Balance)
	return site.PowerBalance{}
}

// meter = mining + AI + cooling and losses + residual, to the last watt, and all
// of it at the node that draws it.
func TestBalanceAddsUp(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 10, gpuHosts: 2, limit: sluice.Megawatt, meters: true})
	w.submit(4, time.Hour, false, 3)
	w.run(10*time.Minute, 15*time.Second)
	for _, node := range []string{"site", "a"} {
		b := balanceOf(w, node)
		if sum := b.MiningKW + b.AIKW + b.CoolingLossesKW + b.ResidualKW; math.Abs(sum-b.MeterKW) > 1e-6 {
			t.Errorf("%s: the parts make %v kW of %v: %+v", node, sum, b.MeterKW, b)
		}
		if want := w.power(node).KW(); math.Abs(b.MeterKW-want) > want/50 {
			t.Errorf("%s: the meter is %v kW, want %v", node, b.MeterKW, want)
		}
		if math.Abs(b.ResidualKW) > b.MeterKW/50 {
			t.Errorf("%s: a residual of %v kW where nothing is amiss", node, b.ResidualKW)
		}
		plugs := b.MiningKW + b.AIKW
		if math.Abs(b.CoolingLossesKW-plugs*(overhead-1)) > 0.01 || b.MiningKW <= 0 {
			t.Errorf("%s: %+v", node, b)
		}
	}
	if b := balanceOf(w, "a"); b.AIKW != 0 {
		t.Errorf("no host stands under a: %+v", b)
	}
	if b := balanceOf(w, "site"); b.AIKW < 4 {
		t.Errorf("two hosts run four GPUs: %+v", b)
	}
	if hasAlarm(w, "residual-drift") {
		t.Error("an alarm over nothing")
	}
}

// A residual beyond its share is an alarm only after minutes of it, and ends by
// itself; one that stays below is none.
func TestResidualDrift(t *testing.T) {
	for _, off := range []float64{1.12, 0.88} {
		w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, mode: site.ModeObserve})
		w.run(5*time.Minute, 15*time.Second)
		w.metered["site"] = 1.03
		w.run(20*time.Minute, 15*time.Second)
		if hasAlarm(w, "residual-drift") {
			t.Fatalf("3 %% beyond is within the share: %+v", balanceOf(w, "site"))
		}
		w.metered["site"] = off
		w.run(4*time.Minute, 15*time.Second)
		if hasAlarm(w, "residual-drift") {
			t.Fatal("an alarm before its time")
		}
		w.run(3*time.Minute, 15*time.Second)
		as := alarmsOf(w, "residual-drift")
		if len(as) != 1 || as[0].Subject != "site" || as[0].Severity != sluice.Warning {
			t.Fatalf("a meter off by %v: %+v; %+v", off, as, balanceOf(w, "site"))
		}
		w.crash() // it stands through a restart, and is not raised twice
		w.run(2*time.Minute, 15*time.Second)
		if as := alarmsOf(w, "residual-drift"); len(as) != 1 {
			t.Fatalf("after a restart: %+v", as)
		}
		w.metered["site"] = 1
		w.run(5*time.Minute, 15*time.Second)
		if hasAlarm(w, "residual-drift") {
			t.Errorf("all is well and the alarm stays: %+v", balanceOf(w, "site"))
		}
	}
}

// A short peak, such as machines that start, is no drift.
func TestShortPeakIsNoDrift(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, mode: site.ModeObserve})
	w.run(5*time.Minute, 15*time.Second)
	for range 4 {
		w.metered["site"] = 1.3
		w.run(time.Minute, 15*time.Second)
		w.metered["site"] = 1
		w.run(5*time.Minute, 15*time.Second)
		if hasAlarm(w, "residual-drift") {
			t.Fatal("an alarm over a minute")
		}
	}
}

// Without meters there is no balance.
func TestNoMeterNoBalance(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 3, limit: sluice.Megawatt})
	w.run(time.Minute, 15*time.Second)
	if b := w.site.Status().Balance; b == nil || len(b) != 0 {
		t.Errorf("%+v", b)
	}
}
