package site_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/ledger"
	"sluice/site"
)

// rrs is a reserve that all miners may stand ready for.
func rrs(spec worldSpec, usd func(time.Time) float64) worldSpec {
	spec.reserves = []site.ReserveSpec{{Name: "rrs"}}
	spec.pays = map[string]func(time.Time) float64{"rrs": usd}
	return spec
}

// settledReserves is what the books of the world say of its reserves: W·h that
// stood ready and micro-dollars, by the records of the intervals. The journal must
// say the same.
func (w *world) settledReserves() (wh sluice.WattHours, earned sluice.Money) {
	w.t.Helper()
	ctx := context.Background()
	done, err := w.db.Site().Settlements(ctx, t0.Add(-time.Hour), t0.Add(100*time.Hour))
	w.must(err)
	for _, r := range done {
		earned += r.ReserveRev
		for _, x := range r.Interval.Reserves {
			wh += x.ReadyWh
		}
	}
	income, err := ledger.IncomeStatement(w.db.AllEntries(ctx, time.Time{}, time.Time{}), t0.Add(-time.Hour), t0.Add(100*time.Hour))
	w.must(err)
	if income[0].Reserve != earned {
		w.t.Errorf("the journal has %v of reserves, the intervals have %v", income[0].Reserve, earned)
	}
	var all sluice.Money
	bs, err := w.db.Balances(ctx)
	w.must(err)
	for _, b := range bs {
		all += b.Amount
	}
	if all != 0 {
		w.t.Errorf("the trial balance is %v", all)
	}
	return wh, earned
}

func (w *world) asleep(class string) int {
	n := 0
	for _, m := range w.site.Machines() {
		if m.Class == class && m.State == site.StateSleeping {
			n++
		}
	}
	return n
}

// sheddable is what the miners could drop by their true power: no reserve may
// ever be paid for more.
func (w *world) sheddable() float64 {
	kw := 0.0
	for _, m := range w.site.Machines() {
		kw += m.PowerKW * overhead
	}
	return kw
}

// A miner whose strike price is a little below the price of power goes on where a
// reserve pays for its standing ready, and stops where none does.
func TestAReserveKeepsMinersMining(t *testing.T) {
	// The least efficient class loses money above about 98 $/MWh.
	spec := worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, price: flat(104)}
	without := newWorld(t, spec)
	without.run(40*time.Minute, 15*time.Second)
	if n := without.asleep("s19j"); n != 10 {
		t.Fatalf("at 104 $/MWh and no reserve %d of 10 s19j sleep", n)
	}
	with := newWorld(t, rrs(spec, flat(12)))
	with.run(70*time.Minute, 15*time.Second)
	if n := with.asleep("s19j"); n != 0 {
		t.Errorf("at 104 $/MWh and 12 $/MW·h for standing ready %d of 10 s19j sleep", n)
	}
	st := with.site.Status()
	if len(st.Reserves) != 1 {
		t.Fatalf("the status shows the reserves %+v", st.Reserves)
	}
	r, could := st.Reserves[0], with.sheddable()
	if r.Name != "rrs" || r.USDPerMWh != 12 || r.ReadyKW > could || r.ReadyKW < 0.98*could || math.Abs(r.USDPerHour-r.ReadyKW/1000*12) > 1e-9 {
		t.Errorf("%.1f kW could be dropped, and the reserve is %+v", could, r)
	}
	wh, earned := with.settledReserves()
	if want := wh.Cost(sluice.EnergyPriceOf(12)); dist(earned, want) > 20 || earned == 0 {
		t.Errorf("%d W·h at 12 $/MW·h earned %v, want %v", wh, earned, want)
	}
	// Of 70 minutes all but the first turn have earned.
	if hours := 70.0/60 - 15.0/3600; wh.MWh() > could/1000*hours*1.001 || wh.MWh() < 0.97*could/1000*hours {
		t.Errorf("%.4f MW·h were paid in %.2f h, and %.1f kW could be dropped", wh.MWh(), hours, could)
	}
	if st.Today.ReserveUSD != earned.USD() || math.Abs(st.Today.MiningUSD+st.Today.AIUSD+st.Today.ReserveUSD-st.Today.EnergyUSD-st.Today.MarginUSD) > 1e-9 {
		t.Errorf("today is %+v, the reserve earned %v", st.Today, earned)
	}
	// The reserve's price falls below what the miners lose: they stop.
	with.prices.mu.Lock()
	with.prices.pays["rrs"] = flat(2)
	with.prices.mu.Unlock()
	with.run(30*time.Minute, 15*time.Second)
	if n := with.asleep("s19j"); n != 10 {
		t.Errorf("at 2 $/MW·h %d of 10 s19j sleep", n)
	}
}

// What is woken above its strike price says why.
func TestTheReasonNamesTheReserve(t *testing.T) {
	pays := func(at time.Time) float64 {
		if at.Before(t0.Add(time.Hour)) {
			return 0
		}
		return 15
	}
	w := newWorld(t, rrs(worldSpec{miners: 5, limit: sluice.Megawatt, meters: true, price: flat(104)}, pays))
	w.run(30*time.Minute, 15*time.Second)
	if n := w.asleep("s19j"); n != 5 {
		t.Fatalf("%d of 5 s19j sleep before the reserve pays", n)
	}
	w.run(50*time.Minute, 15*time.Second)
	ds, err := w.site.Decisions(context.Background(), 0, 50)
	w.must(err)
	for _, d := range ds {
		for _, m := range d.Moves {
			if m.Class == "s19j" && m.From == sluice.ModeSleep {
				if !strings.Contains(m.Reason, "stands ready for rrs at 15.0 $/MW·h") {
					t.Errorf("the reason is %q", m.Reason)
				}
				return
			}
		}
	}
	t.Errorf("nothing was woken for the reserve: %d of 5 s19j sleep", w.asleep("s19j"))
}

// No more is sold than is offered, and none by classes that may not stand ready;
// the better paid of two reserves comes first.
func TestWhatIsOffered(t *testing.T) {
	spec := worldSpec{
		miners: 10, limit: sluice.Megawatt, meters: true, price: flat(30),
		reserves: []site.ReserveSpec{
			{Name: "cheap", USDPerMWh: 3, Classes: []string{"s19j", "s21"}},
			{Name: "dear", USDPerMWh: 9, Max: 20 * sluice.Kilowatt, Classes: []string{"s19j"}},
			{Name: "unpaid"},
		},
	}
	w := newWorld(t, spec)
	w.run(20*time.Minute, 15*time.Second)
	power := map[string]float64{}
	for _, m := range w.site.Machines() {
		power[m.Class] += m.PowerKW * overhead
	}
	st := w.site.Status()
	cheap, dear, unpaid := st.Reserves[0], st.Reserves[1], st.Reserves[2]
	if dear.ReadyKW != 20 || unpaid.ReadyKW != 0 || unpaid.USDPerHour != 0 {
		t.Errorf("the reserves are %+v", st.Reserves)
	}
	if most := power["s19j"] + power["s21"] - 20; cheap.ReadyKW > most || cheap.ReadyKW < 0.97*most {
		t.Errorf("%.1f kW are ready for the cheap one, and %.1f are left for it", cheap.ReadyKW, most)
	}
	for _, bad := range [][]site.ReserveSpec{
		{{Name: "a"}, {Name: "a"}},
		{{}},
		{{Name: "a", Max: -1}},
		{{Name: "a", USDPerMWh: -1}},
		{{Name: "a", Classes: []string{"none"}}},
	} {
		if _, err := site.New(context.Background(), site.Options{
			Nodes: []site.NodeSpec{{Name: "site"}}, Reserves: bad, Feeds: w.feeds, Compute: w.jobs, Store: w.db.Site(),
		}, t0); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%+v passes: %v", bad, err)
		}
	}
}

// Who only observes plans the reserve and sells nothing.
func TestAnObserverSellsNoReserve(t *testing.T) {
	w := newWorld(t, rrs(worldSpec{miners: 5, limit: sluice.Megawatt, meters: true, mode: site.ModeObserve}, flat(12)))
	w.run(20*time.Minute, 15*time.Second)
	if r := w.site.Status().Reserves[0]; r.PlannedKW < 10 || r.ReadyKW != 0 || r.USDPerHour != 0 {
		t.Errorf("the reserve is %+v", r)
	}
	if wh, earned := w.settledReserves(); wh != 0 || earned != 0 {
		t.Errorf("an observer has sold %d W·h for %v", wh, earned)
	}
	// One class under control stands ready, the others do not.
	spec := rrs(worldSpec{miners: 5, limit: sluice.Megawatt, meters: true, control: func(c string) bool { return c == "s21" }}, flat(12))
	w = newWorld(t, spec)
	w.run(20*time.Minute, 15*time.Second)
	own := 0.0
	for _, m := range w.site.Machines() {
		if m.Class == "s21" {
			own += m.PowerKW * overhead
		}
	}
	if r := w.site.Status().Reserves[0]; r.ReadyKW > own || r.ReadyKW < 0.97*own {
		t.Errorf("the class under control draws %.1f kW, and the reserve is %+v", own, r)
	}
}

// A kill in the middle of an interval takes nothing of what has stood ready.
func TestAReserveOutlivesAKill(t *testing.T) {
	var worlds [2]*world
	for i := range worlds {
		w := newWorld(t, rrs(worldSpec{miners: 5, limit: sluice.Megawatt, meters: true}, flat(12)))
		worlds[i] = w
		w.run(12*time.Minute, 15*time.Second)
		if i == 1 {
			w.crash()
			if got, want := w.site.Status().Reserves[0].PlannedKW, worlds[0].site.Status().Reserves[0].PlannedKW; got == 0 || math.Abs(got-want) > 1 {
				t.Errorf("after the kill %.1f kW are planned, want %.1f", got, want)
			}
		}
		w.run(3*time.Minute, 15*time.Second)
	}
	was, _ := worlds[0].settledReserves()
	got, _ := worlds[1].settledReserves()
	if was == 0 || got != was {
		t.Errorf("%d W·h stood ready in the books of the one that was killed, %d in those of the other", got, was)
	}
	// While no Sluice runs nobody would drop anything.
	w := worlds[1]
	w.mu.Lock()
	w.now = w.now.Add(30 * time.Minute)
	w.mu.Unlock()
	w.exec.Advance(w.now)
	w.lenient = true
	w.crash()
	w.run(5*time.Minute, 15*time.Second)
	after, _ := w.settledReserves()
	if most := was * 20 / 15 * 103 / 100; after <= got || after > most {
		t.Errorf("%d W·h after half an hour without Sluice and 5 minutes with it, want more than %d and at most %d", after, got, most)
	}
}

// A reserve's price that is restated after its interval was settled makes a
// correcting entry.
func TestRestatedReservePrice(t *testing.T) {
	w := newWorld(t, rrs(worldSpec{miners: 5, limit: sluice.Megawatt, meters: true}, flat(12)))
	w.run(31*time.Minute, 15*time.Second)
	wh, was := w.settledReserves()
	w.prices.mu.Lock()
	w.prices.pays["rrs"] = flat(9)
	w.prices.mu.Unlock()
	w.run(5*time.Minute, 15*time.Second)
	after, earned := w.settledReserves()
	if want := after.Cost(sluice.EnergyPriceOf(9)); dist(earned, want) > 20 || earned >= was || after <= wh {
		t.Errorf("%d W·h earned %v, want %v; before the restatement %v", after, earned, want, was)
	}
	n := 0
	w.must(w.db.EachEntry(context.Background(), time.Time{}, time.Time{}, func(e ledgerEntry) error {
		if e.Corrects != "" && strings.HasSuffix(e.Corrects, "/reserve/rrs") {
			n++
		}
		return e.Check()
	}))
	if n != 6 {
		t.Errorf("%d correcting entries, want one for each of 6 intervals", n)
	}
}

// A site that knew no reserves goes on with them in the middle of an interval,
// and what stood ready for one that is taken out is paid to the end.
func TestReservesComeAndGo(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 5, limit: sluice.Megawatt, meters: true})
	w.run(12*time.Minute, 15*time.Second)
	w.spec.reserves = []site.ReserveSpec{{Name: "rrs", USDPerMWh: 5}}
	w.crash()
	w.run(11*time.Minute, 15*time.Second) // 8 minutes are settled, and 3 of them not
	r := w.site.Status().Reserves[0]
	wh, earned := w.settledReserves()
	want := r.ReadyKW * 1000 * 8 / 60
	if float64(wh) > want*1.01 || float64(wh) < want*0.9 || earned != wh.Cost(sluice.EnergyPriceOf(5)) && dist(earned, wh.Cost(sluice.EnergyPriceOf(5))) > 20 {
		t.Errorf("%d W·h earned %v in 8 minutes, want about %.0f", wh, earned, want)
	}
	w.spec.reserves = nil
	w.crash()
	w.run(5*time.Minute, 15*time.Second)
	more, paid := w.settledReserves()
	if got, want := float64(more-wh), r.ReadyKW*1000*3/60; got > want*1.05 || got < want*0.9 {
		t.Errorf("%.0f W·h of the interval in which the reserve was taken out, want about %.0f", got, want)
	}
	// Nobody says any more what it pays: it is in the books at nothing, as an estimate.
	if paid != earned {
		t.Errorf("a reserve without a price has earned %v", paid-earned)
	}
	w.run(10*time.Minute, 15*time.Second)
	if end, _ := w.settledReserves(); end != more {
		t.Errorf("a reserve that is no longer there has %d W·h more", end-more)
	}
}
