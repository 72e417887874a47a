package backtest_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/backtest"
	"sluice/site"
)

// Progress is told of each policy, from its start to its end, and never backwards.
func TestProgress(t *testing.T) {
	p := market(2, 8, time.Hour)
	s, count := farm(0)
	o := p.options(t, s, count, 6)
	var mu sync.Mutex
	at, calls := map[string]int{}, map[string]int{}
	o.Progress = func(policy string, done, total int) {
		mu.Lock()
		defer mu.Unlock()
		if done < at[policy] || total != 6*24 || done > total {
			t.Errorf("%s: %d of %d after %d", policy, done, total, at[policy])
		}
		at[policy] = done
		calls[policy]++
	}
	runAll(t, o)
	for _, name := range backtest.Policies() {
		if at[name] != 6*24 || name != backtest.Hindsight && calls[name] < 3 {
			t.Errorf("%s: told %d times, of %d steps at last", name, calls[name], at[name])
		}
	}
}

// A run that is called off ends within a step, with the context's error, and leaves
// no goroutine behind: the bubble does not end before they do.
func TestCalledOff(t *testing.T) {
	p := market(2, 20, time.Hour)
	p.work(3, 15, 5)
	s, count := farm(0)
	for _, policy := range append(backtest.Policies(), "all") {
		o := p.options(t, s, count, 15)
		policies := []string{policy}
		if policy == "all" {
			policies = backtest.Policies()
		}
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var mu sync.Mutex
			after := 0
			o.Progress = func(_ string, done, _ int) {
				mu.Lock()
				defer mu.Unlock()
				if ctx.Err() != nil && done > 96 {
					after++
				}
				cancel()
			}
			r, err := backtest.Run(ctx, o, policies)
			if policy == backtest.Hindsight {
				return // it is told of whole blocks, and this is one
			}
			if r != nil || !errors.Is(err, context.Canceled) || after > 0 {
				t.Errorf("%s: %v, %v; told of progress %d times more", policy, r, err, after)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backtest.Run(ctx, p.options(t, s, count, 15), backtest.Policies()); !errors.Is(err, context.Canceled) {
		t.Errorf("called off before it began: %v", err)
	}
}

// Memory does not grow with history but by a row for each day: what lives at any
// time of a run is the same for 20 days and for 80, but for what the
// forecast has seen.
func TestMemoryIsFlat(t *testing.T) {
	live := func(policy string, days int) float64 {
		p := market(2, days+20, time.Hour)
		p.work(3, days, 2)
		s, count := farm(170 * sluice.Kilowatt)
		s.Reserves = []site.ReserveSpec{{Name: "ready"}}
		if policy == backtest.Sluice {
			s.Hosts = nil // its plans take long with jobs
		}
		o := p.options(t, s, count, days)
		o.Learn = 10 * day
		p = nil
		most := 0.0
		calls := 0
		o.Progress = func(string, int, int) {
			if calls++; calls%4 != 0 {
				return
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, float64(m.HeapAlloc))
		}
		runAll(t, o, policy)
		return most
	}
	const short, long, row = 20, 80, 200
	for policy, hour := range map[string]float64{
		backtest.LastPrice: 0,
		backtest.Sluice:    700, // an example that the forecast learns from; it keeps 105,000 at most
	} {
		a, b := live(policy, short), live(policy, long)
		if more := (long - short) * (row + 24*hour); b > a+more+250_000 {
			t.Errorf("%s: %.0f kB live in %d days, %.0f kB in %d", policy, a/1e3, short, b/1e3, long)
		}
	}
}
