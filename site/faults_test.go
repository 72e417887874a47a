package site_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/compute"
	"sluice/site"
	"sluice/store"
)

// Whatever happens, the true load of a node never exceeds its limit between two
// orders: random prices, jobs, crashes.
func TestLimitsHold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		prices := rapid.SliceOfN(rapid.SampledFrom([]float64{-20, 15, 40, 97, 120, 160, 900, 4000}), 4, 4).Draw(rt, "prices")
		// The limits bind: 30 miners draw 270 kW, 4 hosts up to 40.
		root := sluice.Watts(rapid.IntRange(150_000, 320_000).Draw(rt, "limit"))
		a := sluice.Watts(rapid.IntRange(60_000, 200_000).Draw(rt, "feeder"))
		w := newWorld(t, worldSpec{miners: 30, gpuHosts: 4, limit: root, feederA: a, meters: rapid.Bool().Draw(rt, "meters"), price: steps(prices...)})
		defer w.db.Close()
		w.run(8*time.Minute, 15*time.Second) // the world begins above its limits
		clear(w.most)
		for i := range 6 {
			for range rapid.IntRange(0, 4).Draw(rt, fmt.Sprintf("jobs%d", i)) {
				w.submit(rapid.IntRange(1, 8).Draw(rt, "gpus"), time.Duration(rapid.IntRange(5, 200).Draw(rt, "minutes"))*time.Minute, rapid.Bool().Draw(rt, "spot"), 2)
			}
			if rapid.IntRange(0, 3).Draw(rt, "crash") == 0 {
				w.crash()
			}
			w.run(30*time.Minute, 15*time.Second)
			for n, share := range w.most {
				if share > 1 {
					rt.Fatalf("node %s reached %.4f of its limit", n, share)
				}
			}
		}
		if w.energy(); t.Failed() {
			rt.Fatal("the books do not balance")
		}
	})
}

// Sluice dies at random instants: no miner stays asleep that it put to sleep, no
// interval is lost or posted twice, no job is lost or runs twice.
func TestCrashes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, worldSpec{miners: 10, gpuHosts: 2, limit: 400 * sluice.Kilowatt, meters: true, price: steps(30, 400, 110, 30)})
		defer w.db.Close()
		for range 6 {
			w.submit(4, 3*time.Hour, false, 2)
		}
		for w.clock().Before(t0.Add(4 * time.Hour)) {
			w.run(time.Duration(rapid.IntRange(1, 100).Draw(rt, "turns"))*15*time.Second, 15*time.Second)
			if w.clock().Before(t0.Add(210 * time.Minute)) {
				w.crash()
			}
		}
		w.run(10*time.Minute, 15*time.Second)
		if st := w.states(); st[site.StateMining] != 30 {
			rt.Fatalf("states %v after the spike: a miner was left asleep", st)
		}
		seen := map[string]bool{}
		w.must(w.db.EachEntry(context.Background(), time.Time{}, time.Time{}, func(e ledgerEntry) error {
			if e.Meta["wh"] != "" && e.Text == "Energy of mining" {
				if seen[e.At.String()] {
					rt.Fatalf("%s was posted twice", e.At)
				}
				seen[e.At.String()] = true
			}
			return e.Check()
		}))
		if n := int(w.clock().Sub(t0) / (5 * time.Minute)); len(seen) != n {
			rt.Fatalf("%d intervals posted of %d", len(seen), n)
		}
		var billed sluice.Money
		for _, j := range w.jobs.Jobs() {
			if j.State != compute.Succeeded && j.State != compute.Running && j.State != compute.Queued {
				rt.Fatalf("job %s is %s: %s", j.ID, j.State, j.Why)
			}
			if j.RunSeconds > 3*3600+1 {
				rt.Fatalf("job %s ran for %.0f s of 10800", j.ID, j.RunSeconds)
			}
			billed += j.BilledUSD
		}
		if billed <= 0 {
			rt.Fatal("nothing was billed")
		}
	})
}

// While somebody holds the database the loop goes on: an alarm is raised, what a
// limit needs is done, and nothing is lost when it works again.
func TestLockedDatabase(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true})
	w.run(6*time.Minute, 15*time.Second)
	db, err := sql.Open("sqlite", filepath.Join(w.dir, store.FileName))
	w.must(err)
	defer db.Close()
	conn, err := db.Conn(ctx)
	w.must(err)
	defer conn.Close()
	_, err = conn.ExecContext(ctx, "BEGIN IMMEDIATE")
	w.must(err)
	c, err := w.site.Curtail(ctx, site.CurtailmentOrder{Limit: 20 * sluice.Kilowatt, Until: w.clock().Add(time.Hour), By: "grid"})
	w.must(err)
	w.mu.Lock()
	w.now = w.now.Add(15 * time.Second)
	w.mu.Unlock()
	if err := w.site.Step(ctx, w.clock()); err == nil {
		t.Error("a turn that cannot be stored says nothing")
	}
	if kw := w.power("site").KW(); kw > 20 {
		t.Errorf("%.1f kW under an order of 20 while the database is locked", kw)
	}
	if !hasAlarm(w, "storage") {
		t.Errorf("no alarm: %v", w.site.Status().Alarms)
	}
	_, err = conn.ExecContext(ctx, "ROLLBACK")
	w.must(err)
	w.run(10*time.Minute, 15*time.Second)
	if hasAlarm(w, "storage") {
		t.Error("the alarm stays although the database works again")
	}
	w.crash()
	w.run(time.Minute, 15*time.Second)
	if st := w.site.Status(); len(st.Curtailments) != 1 || st.Curtailments[0].ID != c.ID {
		t.Errorf("the order was lost: %+v", st.Curtailments)
	}
	w.run(time.Hour, 15*time.Second)
	if st := w.states(); st[site.StateMining] != 30 {
		t.Errorf("states %v after the order", st)
	}
}

func hasAlarm(w *world, name string) bool {
	for _, a := range w.site.Status().Alarms {
		if a.Name == name {
			return true
		}
	}
	return false
}
