package site_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/sim/hosts"
	"sluice/site"
	"sluice/store"
)

// A preview leaves no trace: no plan is made because of it.
func TestPreviewAsksForNoPlan(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true})
	w.run(6*time.Minute, 15*time.Second)
	was := w.site.Status().Plan.At
	w.must1(w.site.PreviewCurtailment(context.Background(), site.CurtailmentOrder{Limit: 20 * sluice.Kilowatt, For: time.Hour}))
	w.run(15*time.Second, 15*time.Second)
	if at := w.site.Status().Plan.At; !at.Equal(was) {
		t.Errorf("a plan was made at %s, after a preview; the one before at %s", at, was)
	}
}

// counted counts the writes that have been tried. While the database is locked each takes
// the same time, one after the other.
type counted struct {
	compute.Store
	puts *atomic.Int64
}

func (c counted) PutJobs(ctx context.Context, recs []compute.Record) error {
	defer c.puts.Add(1)
	return c.Store.PutJobs(ctx, recs)
}

// patient keeps stops back, as a run that saves its work does.
type patient struct {
	*hosts.Executor
	mu    sync.Mutex
	stops []func() error
}

func (p *patient) Signal(h compute.Handle, grace time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stops = append(p.stops, func() error { return p.Executor.Signal(h, grace) })
	return nil
}

// An order is obeyed while somebody holds the database, with many jobs to stop: the
// site does not wait for each of them.
func TestJobsStopWhileTheDatabaseIsLocked(t *testing.T) {
	ctx := context.Background()
	p := &patient{}
	w := newWorld(t, worldSpec{miners: 1, gpuHosts: 3, limit: sluice.Megawatt, meters: true, executor: func(x *hosts.Executor) compute.Executor {
		p.Executor = x
		return p
	}})
	for range 24 {
		w.submit(1, 10*time.Hour, true, 2)
	}
	w.run(10*time.Minute, 15*time.Second)
	if n := w.site.Status().Jobs["running"]; n != 24 {
		t.Fatalf("%d jobs run", n)
	}
	db, err := sql.Open("sqlite", filepath.Join(w.dir, store.FileName))
	w.must(err)
	defer db.Close()
	conn, err := db.Conn(ctx)
	w.must(err)
	defer conn.Close()
	_, err = conn.ExecContext(ctx, "BEGIN IMMEDIATE")
	w.must(err)
	tries := w.puts.Load()
	w.must1(w.site.Curtail(ctx, site.CurtailmentOrder{Limit: 10 * sluice.Kilowatt, For: time.Hour}))
	if n := w.puts.Load() - tries; n > 12 {
		t.Errorf("the order took as long as %d writes while the database was locked", n)
	}
	_, err = conn.ExecContext(ctx, "ROLLBACK")
	w.must(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.stops) < 20 {
		t.Errorf("%d jobs were told to stop", len(p.stops))
	}
	for _, stop := range p.stops {
		w.must(stop())
	}
}
