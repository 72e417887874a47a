package site_test

import (
	"context"
	"testing"
	"time"

	"sluice"
)

// A quiet hour: everything mines, books balance, decisions are recorded.
func TestQuietHour(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 20, gpuHosts: 2, limit: sluice.Megawatt, meters: true})
	w.run(time.Hour, 15*time.Second)
	st := w.site.Status()
	if st.Machines["mining"] != 60 {
		t.Errorf("machines %v, want 60 mining", st.Machines)
	}
	// The merit order shows where the load is: at each step what goes with it.
	strikes, top := 0.0, 0.0
	for _, x := range st.Strikes {
		if x.Division == sluice.Mining {
			strikes += x.KW
		}
		if x.Class == "s19k" && x.Mode == "default" {
			top = x.KW
		}
	}
	if strikes < st.MiningKW*0.999 || strikes > st.MiningKW*1.001 || top < 20*0.742*0.9 || top > 20*0.742*1.3 {
		t.Errorf("the merit order has %.1f kW of %.1f, the default profile %.1f over the one below", strikes, st.MiningKW, top)
	}
	if st.MiningKW < 150 || st.LoadKW < st.MiningKW {
		t.Errorf("mining %.0f kW of %.0f", st.MiningKW, st.LoadKW)
	}
	ds, err := w.site.Decisions(context.Background(), 0, 100)
	if err != nil || len(ds) < 12 {
		t.Errorf("%d decisions, %v: one for each interval is due", len(ds), err)
	}
	bs, err := w.db.Balances(context.Background())
	if err != nil || len(bs) == 0 {
		t.Fatalf("no balances: %v", err)
	}
	var sum sluice.Money
	for _, b := range bs {
		sum += b.Amount
	}
	if sum != 0 {
		t.Errorf("the trial balance is %v: %v", sum, bs)
	}
}
