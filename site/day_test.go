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
