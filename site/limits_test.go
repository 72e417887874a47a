package site_test

import (
	"context"
	"testing"
	"time"

	"sluice"
)

// What keeps the connection's own limit goes out although nothing can be stored, as
// what keeps an order's does.
func TestLimitIsKeptWithoutADisk(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 10, limit: 110 * sluice.Kilowatt, meters: true})
	w.run(10*time.Minute, 15*time.Second)
	before := w.power("site")
	w.must(w.db.Close())
	w.metered["site"] = 110 * 1.1 / before.KW() // a tenth above the limit
	for range 6 {
		w.mu.Lock()
		w.now = w.now.Add(15 * time.Second)
		w.mu.Unlock()
		_ = w.site.Step(context.Background(), w.clock()) // nothing can be stored
	}
	if !hasAlarm(w, "storage") {
		t.Fatal("the database works")
	}
	if kw := w.power("site").KW() * w.metered["site"]; kw > 110 {
		t.Errorf("the meter shows %.1f kW under a limit of 110", kw)
	}
}
