package site_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/sim"
	"sluice/site"
)

// hurrier is a machine with a sleep that hurries.
type hurrier struct {
	told
	hurries *atomic.Int64
}

func (d hurrier) Hurry(ctx context.Context, p device.Prior) (sluice.Outcome, error) {
	d.hurries.Add(1)
	return d.Set(ctx, sluice.ModeSleep, p)
}

// A sleep hurries where an order has a deadline that the sleep as its owner has set it
// would miss, and nowhere else; the two are learned apart, and promised.
func TestHurriesWhereTheDeadlineNeedsIt(t *testing.T) {
	ctx := context.Background()
	begin := func(slow, quick float64) (*world, *atomic.Int64) {
		var n atomic.Int64
		lanes := map[string]device.Lane{device.LaneSleep: {Seconds: slow}}
		if quick > 0 {
			lanes[device.LaneHurry] = device.Lane{Seconds: quick}
		}
		w := newWorld(t, worldSpec{
			miners: 10, limit: sluice.Megawatt, price: flat(30),
			wrap: func(_ int, d device.Miner) device.Miner { return hurrier{told{d, lanes}, &n} },
		})
		w.run(time.Minute, 15*time.Second)
		return w, &n
	}
	order := func(w *world, within time.Duration) {
		t.Helper()
		_, err := w.site.Curtail(ctx, site.CurtailmentOrder{Limit: sluice.Kilowatt, For: 10 * time.Minute, Within: within})
		w.must(err)
		w.run(20*time.Minute, 15*time.Second)
	}
	for _, c := range []struct {
		what        string
		slow, quick float64
		within      time.Duration
		hurries     bool
	}{
		{"the deadline needs it", 60, 3, 30 * time.Second, true},
		{"no deadline", 60, 3, 0, false},
		{"time enough", 60, 3, 10 * time.Minute, false},
		{"it is no sooner", 60, 60, 30 * time.Second, false},
		{"the firmware has none", 60, 0, 30 * time.Second, false},
	} {
		w, n := begin(c.slow, c.quick)
		order(w, c.within)
		if got := n.Load() > 0; got != c.hurries {
			t.Errorf("%s: %d hurried", c.what, n.Load())
		}
		samples := map[string]int{}
		for _, r := range w.site.Responses().Firmwares {
			samples[r.Lane] += r.Samples
		}
		if (samples[device.LaneHurry] > 0) != c.hurries || (samples[device.LaneSleep] > 0) == c.hurries {
			t.Errorf("%s: learned %v", c.what, samples)
		}
	}
	promised := func(quick float64, within time.Duration) float64 {
		w, _ := begin(60, quick)
		p, err := w.site.Promise(ctx, within, "")
		w.must(err)
		return p.ShedKW
	}
	if with, without := promised(3, 20*time.Second), promised(0, 20*time.Second); with <= without {
		t.Errorf("promised with a sleep that hurries %.1f kW, without %.1f", with, without)
	}
	w, _ := begin(60, 3)
	last := 0.0
	for s := 1; s < 400; s += 3 {
		p, err := w.site.Promise(ctx, time.Duration(s)*time.Second, "")
		w.must(err)
		if p.ShedKW < last {
			t.Errorf("within %d s %.1f kW, in less time %.1f", s, p.ShedKW, last)
		}
		last = p.ShedKW
	}
}

// What machines that lie owe to an order with a deadline is taken from others while
// there is time for it, although nothing was learned of their firmware yet.
func TestDeadlineIsMetDespiteLiars(t *testing.T) {
	ctx := context.Background()
	for _, within := range []time.Duration{60 * time.Second, 0} {
		faults := map[int]sim.Fault{}
		for i := 1; i < 60; i += 12 {
			faults[i] = sim.Ignores
		}
		lanes := map[string]device.Lane{device.LaneSleep: {Seconds: 5}}
		w := newWorld(t, worldSpec{
			miners: 20, limit: sluice.Megawatt, meters: true, price: flat(30), faults: faults,
			wrap: func(_ int, d device.Miner) device.Miner { return told{d, lanes} },
		})
		w.run(2*time.Minute, 5*time.Second)
		// All but what a fifth of the machines draw has to go.
		limit := w.power("site") / 5
		_, err := w.site.Curtail(ctx, site.CurtailmentOrder{Limit: limit, For: time.Hour, Within: within})
		w.must(err)
		w.run(55*time.Second, 5*time.Second)
		if got := w.power("site"); within > 0 && got > limit {
			t.Errorf("%v after 55 s under an order of %v within %s", got, limit, within)
		}
	}
}
