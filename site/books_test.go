package site_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/ledger"
	"sluice/site"
)

// noBooks is a store that keeps turns and posts nothing.
type noBooks struct {
	site.Store
	fails bool
}

func (s *noBooks) Settle(ctx context.Context, e []ledger.Entry, u []compute.Use, r site.Settled, p site.Progress) error {
	if s.fails {
		return errors.New("entry 7 is in the journal with other content")
	}
	return s.Store.Settle(ctx, e, u, r, p)
}

// An interval that cannot be posted while turns can be stored is one alarm, not
// one in each turn.
func TestBooksThatFailAreOneAlarm(t *testing.T) {
	b := &noBooks{}
	w := newWorld(t, worldSpec{miners: 2, limit: sluice.Megawatt, meters: true, books: b})
	w.run(4*time.Minute, 15*time.Second)
	b.fails = true
	w.run(20*time.Minute, 15*time.Second)
	all, err := w.site.Alarms(context.Background(), true, 0, 100)
	w.must(err)
	n := 0
	for _, a := range all {
		if a.Name == "storage" {
			n++
		}
	}
	if n != 1 || !hasAlarm(w, "storage") {
		t.Errorf("%d alarms in 20 minutes, want one that stands", n)
	}
	b.fails = false
	w.run(time.Minute, 15*time.Second)
	if hasAlarm(w, "storage") {
		t.Error("the alarm stays although the books are up to date")
	}
}

// A site that stood still (a machine that slept, a virtual one that was moved)
// books the time as estimated, and no more than a day of it.
func TestStandstill(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 2, limit: sluice.Megawatt, meters: true})
	w.run(6*time.Minute, 15*time.Second)
	jump := func(d time.Duration) {
		w.mu.Lock()
		w.now = w.now.Add(d)
		w.mu.Unlock()
		w.run(6*time.Minute, 15*time.Second)
	}
	jump(time.Hour)
	done, err := w.db.Site().Settlements(context.Background(), t0, t0.Add(1000*time.Hour))
	w.must(err)
	estimated := 0
	for _, r := range done {
		if r.Interval.MeterEstimated {
			estimated++
		}
	}
	if estimated < 12 {
		t.Errorf("%d of %d intervals are marked as estimated after an hour without readings", estimated, len(done))
	}
	jump(40 * 24 * time.Hour)
	more, err := w.db.Site().Settlements(context.Background(), t0, t0.Add(2000*time.Hour))
	w.must(err)
	if n := len(more) - len(done); n > 5 || !hasAlarm(w, "books-gap") {
		t.Errorf("%d intervals were booked for 40 days without readings; alarms %v", n, w.site.Status().Alarms)
	}
}

// A restart right after an interval was posted, before anything of the next was
// measured, is no gap of a day: the time is booked at what is then read.
func TestRestartAtTheEndOfAnInterval(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 2, limit: sluice.Megawatt, meters: true})
	w.run(10*time.Minute, 15*time.Second)
	w.mu.Lock()
	w.now = w.now.Add(4 * time.Minute)
	w.mu.Unlock()
	w.crash()
	w.run(6*time.Minute, 15*time.Second)
	if hasAlarm(w, "books-gap") {
		t.Error("four minutes are a gap in the books")
	}
	done, err := w.db.Site().Settlements(context.Background(), t0, t0.Add(time.Hour))
	w.must(err)
	if len(done) != 4 || !done[2].Interval.MeterEstimated || done[2].MeterWh < done[1].MeterWh*9/10 {
		t.Errorf("%d intervals, the third %+v after %v", len(done), done[2].Interval, done[1].MeterWh)
	}
}
