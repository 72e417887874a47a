package backtest_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
			o.Progress = func(name string, done, _ int) {
				mu.Lock()
				defer mu.Unlock()
				if name == backtest.Hindsight {
					return // it is told of whole blocks, and this is one
				}
				if ctx.Err() != nil && done > 96 {
					after++
				}
				cancel()
			}
			r, err := backtest.Run(ctx, o, policies)
			if policy == backtest.Hindsight {
				return // it was done
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

// Memory does not grow with history but by a row for each day: what lives late in
// a run of 250 days is what lived early in it. (The forecast, which bounds what it
// keeps by itself, is not in it. Medians, since one sample may see a turn's scraps.)
func TestMemoryIsFlat(t *testing.T) {
	const days, row, scraps = 250, 150, 60_000
	p := market(2, days+2, time.Hour)
	p.work(3, days, 3)
	s, count := farm(0)
	s.Reserves = []site.ReserveSpec{{Name: "ready"}}
	o := p.options(t, s, count, days)
	var live []float64
	o.Progress = func(string, int, int) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		live = append(live, float64(m.HeapAlloc))
	}
	if r := runAll(t, o, backtest.LastPrice); len(r.Days[backtest.LastPrice]) != days || r.Policies[0].JobsDone < 2*days {
		t.Fatalf("%+v", r.Policies[0])
	}
	median := func(x []float64) float64 {
		slices.Sort(x)
		return x[len(x)/2]
	}
	n := len(live)
	if n < 20 {
		t.Fatalf("%d samples of memory", n)
	}
	early, late := median(live[n/10:n*4/10]), median(live[n*8/10:])
	if late > early+days*row+scraps {
		t.Errorf("%.0f kB live early in %d days, %.0f kB late", early/1e3, days, late/1e3)
	} else {
		t.Logf("%.0f kB live early in %d days, %.0f kB late, of %d samples", early/1e3, days, late/1e3, n)
	}
}
