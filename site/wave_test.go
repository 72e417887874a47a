package site_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/device"
	"sluice/site"
)

// timed is a machine whose Set takes a while, and whose polls are counted while
// somebody's Set goes on.
type timed struct {
	device.Miner
	takes   time.Duration // 0: as the machine itself
	sets    *atomic.Int64 // that go on
	crossed *atomic.Int64 // reads meanwhile
	reads   *atomic.Int64
	idle    bool // it is not acted on: reads of it are polls
}

func (m timed) Set(ctx context.Context, mode string, p device.Prior) (sluice.Outcome, error) {
	m.sets.Add(1)
	defer m.sets.Add(-1)
	if m.takes > 0 {
		select {
		case <-time.After(m.takes):
		case <-ctx.Done():
			return sluice.Unknown, ctx.Err()
		}
	}
	return m.Miner.Set(ctx, mode, p)
}

func (m timed) Read(ctx context.Context) (sluice.Reading, error) {
	m.reads.Add(1)
	if m.idle && m.sets.Load() > 0 {
		m.crossed.Add(1)
	}
	return m.Miner.Read(ctx)
}

// Polls stand aside while the commands of an order are out, and go on when these are
// done, or after a second where some take longer.
func TestPollsStandAside(t *testing.T) {
	for name, c := range map[string]struct {
		takes   time.Duration
		crosses bool
	}{"done soon": {300 * time.Millisecond, false}, "some take long": {20 * time.Second, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sets, crossed, reads atomic.Int64
				w := newWorld(t, worldSpec{
					miners: 100, limit: 4 * sluice.Megawatt, live: true, control: func(c string) bool { return c == "s21" },
					wrap: func(i int, m device.Miner) device.Miner { return timed{m, c.takes, &sets, &crossed, &reads, i < 200} },
				})
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); w.site.RunPolls(ctx, w.clock, 2*time.Second) }()
				run := func(d time.Duration) {
					for range d / (100 * time.Millisecond) {
						time.Sleep(100 * time.Millisecond)
						w.mu.Lock()
						w.now = w.now.Add(100 * time.Millisecond)
						w.mu.Unlock()
					}
				}
				run(4 * time.Second)
				w.must(w.site.Step(ctx, w.clock()))
				run(time.Second)
				time.Sleep(50 * time.Millisecond) // between two slices of the sweep: what is out already is not called back
				w.must1(w.site.Curtail(ctx, site.CurtailmentOrder{Limit: sluice.Kilowatt, For: time.Hour}))
				before := reads.Load()
				run(900 * time.Millisecond)
				// What is read meanwhile are the proofs of those that are done.
				if c.takes > time.Second && reads.Load() != before {
					t.Errorf("%d reads within a second of the order", reads.Load()-before)
				}
				if !c.crosses && crossed.Load() > 0 {
					t.Errorf("%d reads while commands were out", crossed.Load())
				}
				before = reads.Load()
				run(4 * time.Second)
				if n := reads.Load() - before; n < 300 {
					t.Errorf("%d reads in two sweeps after that", n)
				}
				stop()
				<-done
				w.site.Run(ctx, w.clock, time.Second) // waits for the calls that are under way
			})
		})
	}
}
