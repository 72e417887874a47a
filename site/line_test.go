package site_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sluice"
	"sluice/device"
	"sluice/site"
)

// dumb never answers.
type dumb struct{ device.Miner }

func (dumb) Read(ctx context.Context) (sluice.Reading, error) {
	<-ctx.Done()
	return sluice.Reading{}, ctx.Err()
}

// numb is read as usual, and no command to it is ever answered.
type numb struct{ device.Miner }

func (numb) Set(ctx context.Context, _ string, _ device.Prior) (sluice.Outcome, error) {
	<-ctx.Done()
	return sluice.Unknown, ctx.Err()
}

// Machines that do not answer cost nobody else anything, also where they are more than
// there are lines: all others are read on time, and an order reaches them at once.
func TestTheSilentHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, worldSpec{miners: 100, limit: 4 * sluice.Megawatt, live: true, wrap: func(i int, m device.Miner) device.Miner {
			switch {
			case i < 100: // of class s19j
				return dumb{m}
			case i >= 200: // of class s21
				return numb{m}
			}
			return m
		}})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.site.RunPolls(ctx, w.clock, 10*time.Second) }()
		run := func(seconds int) {
			for range 10 * seconds {
				time.Sleep(100 * time.Millisecond)
				w.mu.Lock()
				w.now = w.now.Add(100 * time.Millisecond)
				w.mu.Unlock()
				w.must(w.site.Step(ctx, w.clock()))
			}
		}
		run(60)
		late := 0
		for i := 100; i < 300; i++ {
			m, err := w.site.Machine(w.fleet.Spec(i).Name)
			w.must(err)
			if w.clock().Sub(m.SeenAt) > 11*time.Second {
				late++
			}
		}
		if late > 0 {
			t.Errorf("%d of 200 machines that answer were not read for 11 s beside 100 that do not", late)
		}
		w.must1(w.site.Curtail(ctx, site.CurtailmentOrder{Limit: sluice.Kilowatt, For: time.Hour}))
		run(4)
		asleep := 0
		for i := 100; i < 200; i++ {
			if w.fleet.Mode(i) == sluice.ModeSleep {
				asleep++
			}
		}
		if asleep < 100 {
			t.Errorf("%d of 100 machines that obey were reached within 4 s beside 100 that do not answer", asleep)
		}
		stop()
		<-done
		w.site.Run(ctx, w.clock, time.Second) // waits for the calls that are under way
	})
}
