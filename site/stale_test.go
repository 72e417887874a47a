package site_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/site"
)

// gated is a machine whose first read under the gate arrives late, and that obeys
// at once.
type gated struct {
	device.Miner
	w       *world
	on      atomic.Bool
	entered chan struct{}
	open    chan struct{}
}

func (g *gated) Read(ctx context.Context) (sluice.Reading, error) {
	r, err := g.Miner.Read(ctx)
	if g.on.CompareAndSwap(true, false) {
		close(g.entered)
		<-g.open
	}
	return r, err
}

func (g *gated) Set(ctx context.Context, mode string, prior device.Prior) (sluice.Outcome, error) {
	o, err := g.Miner.Set(ctx, mode, prior)
	g.w.mu.Lock()
	g.w.now = g.w.now.Add(time.Minute)
	g.w.mu.Unlock()
	return o, err
}

// A reading that was asked for before a command says nothing of what the machine
// did after it.
func TestReadingFromBeforeTheCommand(t *testing.T) {
	g := &gated{entered: make(chan struct{}), open: make(chan struct{})}
	w := newWorld(t, worldSpec{miners: 1, limit: sluice.Megawatt, meters: true, wrap: func(i int, m device.Miner) device.Miner {
		if i != 2 {
			return m
		}
		g.Miner = m
		return g
	}})
	g.w = w
	w.run(6*time.Minute, 15*time.Second)
	g.on.Store(true)
	polled := make(chan struct{})
	go func() {
		w.site.Poll(context.Background(), w.clock, 3)
		close(polled)
	}()
	<-g.entered
	w.must1(w.site.Curtail(context.Background(), site.CurtailmentOrder{Limit: sluice.Kilowatt, For: time.Hour}))
	if m, _ := w.site.Machine("s21-000"); m.Outcome != sluice.ConfirmedByDevice {
		t.Fatalf("the machine is %s in %s: %s", m.State, m.Mode, m.Outcome)
	}
	close(g.open)
	<-polled
	w.run(15*time.Second, 15*time.Second)
	if hasAlarm(w, "machine-came-back") {
		t.Error("an old reading raised the alarm that the machine came back")
	}
}
