// Package hosts runs jobs on virtual hosts, in site time: a run is a start and
// a length. It serves the demo, backtests and tests; package compute cannot tell
// it from real hosts but by its name.
package hosts

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/elastic"
)

// Save is how long a virtual job takes to write its checkpoint after SIGTERM,
// in site time, on a clock that runs by itself.
const Save = 5 * time.Second

// How many ended runs are remembered, for a Wait that comes late. In stepped time
// nobody can be late by more than a step.
const keepEnded, keepEndedStepped = 4096, 64

// Executor is a compute.Async. It uses no goroutines: one timer rings at the
// next end, or Advance is told the time.
type Executor struct {
	now  func() time.Time
	save time.Duration
	wall func(site time.Duration) time.Duration // nil: stepped
	keep int                                    // ended runs

	mu    sync.Mutex
	runs  map[string]*run
	known map[compute.Handle]*run
	ends  endHeap
	timer *time.Timer
	ended []string // oldest first, at most keep
}

var (
	_ compute.Async  = (*Executor)(nil)
	_ compute.Capper = (*Executor)(nil)
)

// New returns an executor whose runs end by themselves when the clock says so.
func New(clock *sluice.Clock) *Executor {
	return &Executor{now: clock.Now, save: Save, wall: clock.Wall, keep: keepEnded, runs: map[string]*run{}, known: map[compute.Handle]*run{}}
}

// NewStepped returns an executor for time that is driven by hand: runs end in
// calls of Advance only, in the order of their ends. A stop is immediate there.
func NewStepped(now func() time.Time) *Executor {
	return &Executor{now: now, keep: keepEndedStepped, runs: map[string]*run{}, known: map[compute.Handle]*run{}}
}

// SaveFor sets how long a run takes to save its state when it is told to end.
func (x *Executor) SaveFor(d time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.save = d
}

// run is one run. Its fields are guarded by Executor.mu; done is closed once
// exit is set.
type run struct {
	id      string
	key     compute.Handle
	start   time.Time
	need    time.Duration
	end     time.Time     // when it will end as things stand
	natural time.Time     // when it would end by itself
	share   float64       // of full power that it is limited to, 0: not limited
	speed   float64       // its progress there
	capped  time.Time     // since when
	slowed  time.Duration // running time lost to limits before that
	saved   time.Duration // full power not drawn because of them
	stopped bool
	killed  bool // the grace was too short to save
	index   int  // in the heap, -1 outside
	exit    *compute.Exit
	done    chan struct{}
	watch   []func(compute.Exit)
}

// Start starts a run that ends after spec.Remaining of site time.
func (x *Executor) Start(ctx context.Context, spec compute.RunSpec) (compute.Handle, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("start %s: %w", spec.RunID, err)
	}
	x.mu.Lock()
	r := x.runs[spec.RunID]
	if r == nil {
		r = x.add(spec.RunID, x.now(), max(0, spec.Remaining))
	}
	h := r.key
	x.mu.Unlock()
	x.fire(x.now())
	return h, nil
}

// Attach takes up a run from its handle alone: its end follows from its start.
func (x *Executor) Attach(ctx context.Context, h compute.Handle) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("attach %s: %w", h, err)
	}
	_, err := x.find(h)
	x.fire(x.now())
	return err
}

// Wait blocks until the run has ended.
func (x *Executor) Wait(ctx context.Context, h compute.Handle) (compute.Exit, error) {
	r, err := x.find(h)
	if err != nil {
		return compute.Exit{}, err
	}
	x.fire(x.now())
	select {
	case <-r.done:
		return *r.exit, nil
	case <-ctx.Done():
		return compute.Exit{}, fmt.Errorf("wait for %s: %w", r.id, ctx.Err())
	}
}

// Watch calls ended when the run has ended.
func (x *Executor) Watch(h compute.Handle, ended func(compute.Exit)) error {
	r, err := x.find(h)
	if err != nil {
		return err
	}
	x.mu.Lock()
	exit := r.exit
	if exit == nil {
		r.watch = append(r.watch, ended)
	}
	x.mu.Unlock()
	if exit != nil {
		ended(*exit)
		return nil
	}
	x.fire(x.now())
	return nil
}

// Signal lets the run save its state and end: after Save, or after the grace if
// that is shorter, and then it counts as killed. A second call can only shorten it.
func (x *Executor) Signal(h compute.Handle, grace time.Duration) error {
	r, err := x.find(h)
	if err != nil {
		return err
	}
	now := x.now()
	x.fire(now)
	x.mu.Lock()
	if r.exit == nil && r.end.After(now) {
		// Asked again, with less time than is left: it is killed then.
		if end := now.Add(max(0, min(grace, x.save))); end.Before(r.end) {
			r.end = end
			r.killed = grace < x.save
		} else if !r.stopped {
			r.killed = grace < x.save
		}
		r.stopped = true
		heap.Fix(&x.ends, r.index)
	}
	x.mu.Unlock()
	x.fire(now)
	return nil
}

// Stop is Signal, and waits for the end.
func (x *Executor) Stop(ctx context.Context, h compute.Handle, grace time.Duration) error {
	if err := x.Signal(h, grace); err != nil {
		return err
	}
	_, err := x.Wait(ctx, h)
	return err
}

// Usage returns the site time that the run has held its units.
func (x *Executor) Usage(_ context.Context, h compute.Handle) (compute.Usage, error) {
	r, err := x.find(h)
	if err != nil {
		return compute.Usage{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if r.exit != nil {
		return r.exit.Used, nil
	}
	return r.used(x.now()), nil
}

// Advance ends what has ended by now. With NewStepped nothing else does.
func (x *Executor) Advance(now time.Time) { x.fire(now) }

func (r *run) used(now time.Time) compute.Usage {
	if now.After(r.end) {
		now = r.end
	}
	slowed, saved := r.lost(now)
	return compute.Usage{Seconds: max(0, now.Sub(r.start).Seconds()), Slowed: slowed.Seconds(), Saved: saved.Seconds(), PowerShare: r.share}
}

// lost is what limits of power have cost by now: running time, and the time of full
// power that was not drawn.
func (r *run) lost(now time.Time) (slowed, saved time.Duration) {
	slowed, saved = r.slowed, r.saved
	if r.share > 0 && now.After(r.capped) {
		d := float64(now.Sub(r.capped))
		slowed += time.Duration(d * (1 - r.speed))
		saved += time.Duration(d * (1 - r.share))
	}
	return slowed, saved
}

// Cap limits a run to a share of full power: it goes on slower, as a job does of
// which nothing was measured, and ends so much later. What it has lost is forgotten
// at a restart, as its handle knows its length alone.
func (x *Executor) Cap(_ context.Context, h compute.Handle, share float64) (float64, error) {
	r, err := x.find(h)
	if err != nil {
		return 0, err
	}
	now := x.now()
	x.fire(now)
	x.mu.Lock()
	defer x.mu.Unlock()
	share = min(1, max(share, 0.1))
	if r.exit != nil || r.stopped {
		return share, nil
	}
	left := time.Duration(float64(r.end.Sub(now)) * r.speed) // of work, at full speed
	r.slowed, r.saved = r.lost(now)
	r.capped, r.share, r.speed = now, share, elastic.Default(share)
	if share == 1 {
		r.share = 0
	}
	r.end = now.Add(time.Duration(float64(left) / r.speed))
	r.natural = r.end
	heap.Fix(&x.ends, r.index)
	return share, nil
}
