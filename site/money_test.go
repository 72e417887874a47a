package site_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/feed"
	"sluice/site"
)

// steps is a price that changes on the hour, counted from t0.
func steps(usd ...float64) func(time.Time) float64 {
	return func(t time.Time) float64 {
		i := int(t.Sub(t0) / time.Hour)
		return usd[max(0, min(i, len(usd)-1))]
	}
}

// Miners stop in the order of their strike prices and wake again; the reasons
// say it in money.
func TestStopsInTheOrderOfStrikes(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 20, limit: sluice.Megawatt, meters: true, price: steps(30, 110, 400, 30)})
	w.run(70*time.Minute, 15*time.Second) // 10 minutes into the 110 $ hour
	running, stopped := 1e9, 0.0
	for _, m := range w.site.Machines() {
		switch m.State {
		case site.StateMining:
			running = min(running, m.StrikeUSDMWh)
		case site.StateSleeping:
			stopped = max(stopped, m.StrikeUSDMWh)
		}
	}
	if stopped == 0 || running == 1e9 || stopped >= running || stopped > 110 || running < 100 {
		t.Errorf("at 110 $/MWh the highest strike that stopped is %.1f, the lowest that runs %.1f; states %v", stopped, running, w.states())
	}
	ds, err := w.site.Decisions(context.Background(), 0, 50)
	w.must(err)
	why := ""
	for _, d := range ds {
		for _, m := range d.Moves {
			if m.To == sluice.ModeSleep && m.From == sluice.ModeMine {
				why = m.Reason
				if m.Outcomes[string(sluice.ConfirmedByMeter)] != m.Units {
					t.Errorf("%d units of %s stopped, outcomes %v", m.Units, m.Class, m.Outcomes)
				}
			}
		}
	}
	if !strings.Contains(why, "strike 9") || !strings.Contains(why, "< price 110.0 $/MWh") {
		t.Errorf("the reason is %q", why)
	}
	w.run(60*time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateSleeping] != 60 {
		t.Errorf("at 400 $/MWh the states are %v, want all 60 asleep", st)
	}
	w.run(60*time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateMining] != 60 {
		t.Errorf("back at 30 $/MWh the states are %v, want all 60 mining", st)
	}
	if w.most["site"] > 1 {
		t.Errorf("the load reached %.3f of the limit", w.most["site"])
	}
}

// Work that was not sold as interruptible is untouched by any price; work that
// was pauses above its own strike price and goes on below it.
func TestFirmWorkIsUntouched(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 5, gpuHosts: 2, limit: sluice.Megawatt, meters: true, price: steps(30, 30, 5000, 30)})
	firm := w.submit(8, 20*time.Hour, false, 2)
	spot := w.submit(8, 20*time.Hour, true, 1.2) // strike 1.2 / 1.03 kW = 1165 $/MWh
	w.run(119*time.Minute, 15*time.Second)
	for _, id := range []string{firm.ID, spot.ID} {
		if j, _ := w.jobs.Job(id); j.State != compute.Running {
			t.Fatalf("%s is %s before the spike: %s", id, j.State, j.Why)
		}
	}
	w.run(31*time.Minute, 15*time.Second)
	if j, _ := w.jobs.Job(firm.ID); j.State != compute.Running || j.Preemptions != 0 {
		t.Errorf("firm work is %s after %d preemptions: %s", j.State, j.Preemptions, j.Why)
	}
	if j, _ := w.jobs.Job(spot.ID); j.State != compute.Queued || !strings.Contains(j.Why, "strike 1165 < price 5000 $/MWh") {
		t.Errorf("interruptible work is %s at 5000 $/MWh: %s", j.State, j.Why)
	}
	w.run(90*time.Minute, 15*time.Second)
	if j, _ := w.jobs.Job(spot.ID); j.State != compute.Running || j.Preemptions != 1 {
		t.Errorf("interruptible work is %s after the spike, %d preemptions", j.State, j.Preemptions)
	}
}

// A price that is restated after its interval was settled makes a correcting
// entry; the original stays, and the trial balance stays zero.
func TestRestatedPrice(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true})
	w.run(65*time.Minute, 15*time.Second)
	before := w.energy()
	w.prices.mu.Lock()
	w.prices.restated[t0] = 60 // twice the 30 $ it was settled at
	w.prices.mu.Unlock()
	w.run(5*time.Minute, 15*time.Second)
	perInterval := before / 13
	if got, want := w.energy(), before+12*perInterval+perInterval; float64(dist(got, want)) > 0.02*float64(want) {
		t.Errorf("the energy cost is %v after the restatement, want about %v", got, want)
	}
	n := 0
	w.must(w.db.EachEntry(context.Background(), time.Time{}, time.Time{}, func(e ledgerEntry) error {
		if e.Corrects != "" {
			n++
		}
		return e.Check()
	}))
	if n < 12 {
		t.Errorf("%d correcting entries, want one for each restated interval", n)
	}
}

func dist(a, b sluice.Money) sluice.Money { return max(a-b, b-a) }

func (w *world) energy() sluice.Money {
	w.t.Helper()
	bs, err := w.db.Balances(context.Background())
	w.must(err)
	var sum, all sluice.Money
	for _, b := range bs {
		all += b.Amount
		if strings.HasSuffix(b.Account, ":energy") && strings.HasPrefix(b.Account, "expenses:") {
			sum += b.Amount
		}
	}
	if all != 0 {
		w.t.Errorf("the trial balance is %v", all)
	}
	return sum
}

// An order that a feed carries is obeyed when its time comes, and withdrawn with
// it.
func TestOrderOfAFeed(t *testing.T) {
	o := &orderBook{orders: []feed.Order{{ID: "iso-7", LimitKW: 50, From: t0.Add(20 * time.Minute), To: t0.Add(3 * time.Hour), Published: t0, Origin: "iso"}}}
	w := newWorld(t, worldSpec{miners: 20, limit: sluice.Megawatt, meters: true, orders: o})
	w.run(15*time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateMining] != 60 {
		t.Errorf("states %v before the order", st)
	}
	w.run(10*time.Minute, 15*time.Second)
	if kw := w.power("site").KW(); kw > 50 {
		t.Errorf("%.1f kW under an order of 50", kw)
	}
	o.mu.Lock()
	o.orders = nil
	o.mu.Unlock()
	w.run(40*time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateMining] != 60 {
		t.Errorf("states %v after the order was withdrawn", st)
	}
	cs, err := w.site.Curtailments(context.Background(), 10)
	w.must(err)
	if len(cs) != 1 || cs[0].State != site.Cancelled || cs[0].MetAt == nil || cs[0].CostUSD <= 0 {
		t.Errorf("the record is %+v", cs)
	}
}
