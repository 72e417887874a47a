package site_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"sluice"
)

// A full disk raises an alarm and holds what a price wants; when there is room
// again every interval is posted, once.
func TestFullDisk(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, worldSpec{miners: 10, gpuHosts: 1, limit: sluice.Megawatt, meters: true, price: steps(30, 30, 400, 30)})
	w.submit(4, 10*time.Hour, false, 2)
	w.run(time.Hour, 15*time.Second)
	before := w.energy()
	// No page more than there are: SQLite answers as on a full disk.
	w.pages(1)
	var failed bool
	for range 4 * 65 { // past the jump to 400 $/MWh
		w.mu.Lock()
		w.now = w.now.Add(15 * time.Second)
		w.mu.Unlock()
		w.exec.Advance(w.clock())
		failed = w.site.Step(ctx, w.clock()) != nil || failed
	}
	if !failed || !hasAlarm(w, "storage") {
		t.Fatalf("the disk is full: failed %v, alarms %v", failed, w.site.Status().Alarms)
	}
	if e := w.energy(); e < before {
		t.Errorf("energy of %v was posted, now there is %v", before, e)
	}
	w.pages(1 << 30)
	w.run(30*time.Minute, 15*time.Second)
	if hasAlarm(w, "storage") {
		t.Error("the alarm stays although there is room")
	}
	seen := map[time.Time]bool{}
	w.must(w.db.EachEntry(ctx, time.Time{}, time.Time{}, func(e ledgerEntry) error {
		if e.Text == "Energy of mining" {
			if seen[e.At] {
				t.Errorf("%v was posted twice", e.At)
			}
			seen[e.At] = true
		}
		return nil
	}))
	if n := int(w.clock().Sub(t0) / (5 * time.Minute)); len(seen) != n {
		t.Errorf("%d intervals posted of %d", len(seen), n)
	}
	w.energy()
}

// pages sets how many pages the database may have.
func (w *world) pages(n int) {
	w.t.Helper()
	w.must(w.db.Write(context.Background(), func(tx *sql.Tx) error {
		_, err := tx.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", n))
		return err
	}))
}
