package site_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/site"
)

// slow is a machine that obeys long after it was asked, or whose answer is lost.
type slow struct {
	device.Miner
	mu   sync.Mutex
	err  error // of the answer
	held bool  // commands are kept back
	mode string
	sets int
}

func (d *slow) Set(ctx context.Context, mode string, prior device.Prior) (sluice.Outcome, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sets++
	if !d.held {
		return d.Miner.Set(ctx, mode, prior)
	}
	d.mode = mode
	if d.err != nil {
		return sluice.Unknown, d.err
	}
	return sluice.Accepted, nil
}

// obey does what was asked last.
func (d *slow) obey(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held = false
	if _, err := d.Miner.Set(context.Background(), d.mode, nil); err != nil {
		t.Fatal(err)
	}
}

func (d *slow) hold(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held, d.err = true, err
}

func (d *slow) asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sets
}

func slowWorld(t *testing.T) (*world, *slow) {
	d := &slow{}
	w := newWorld(t, worldSpec{miners: 3, limit: sluice.Megawatt, meters: true, wrap: func(i int, m device.Miner) device.Miner {
		if i != 8 { // s21-002
			return m
		}
		if d.Miner == nil { // the same over a restart
			d.Miner = m
		}
		return d
	}})
	w.run(6*time.Minute, 15*time.Second)
	return w, d
}

// A machine that falls asleep late, at the command of a Sluice that was killed
// meanwhile, is woken again.
func TestFallsAsleepAfterARestart(t *testing.T) {
	w, d := slowWorld(t)
	d.hold(nil)
	w.must1(w.site.Curtail(context.Background(), site.CurtailmentOrder{Limit: sluice.Kilowatt, For: time.Minute}))
	w.mu.Lock()
	w.now = w.now.Add(2 * time.Minute)
	w.mu.Unlock()
	w.crash()
	w.run(30*time.Second, 15*time.Second) // it is read, and mines
	d.obey(t)
	w.run(40*time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateMining] != 9 {
		t.Errorf("states %v: a machine that Sluice put to sleep was left so", st)
	}
}

// So is one whose answers were lost, once it is heard again; what a person puts to
// sleep much later is that person's.
func TestFallsAsleepUnheard(t *testing.T) {
	w, d := slowWorld(t)
	d.hold(errors.New("no route to host"))
	w.must1(w.site.Curtail(context.Background(), site.CurtailmentOrder{Limit: sluice.Kilowatt, For: 10 * time.Minute}))
	w.run(8*time.Minute, 15*time.Second) // given up
	d.obey(t)
	w.run(time.Hour, 15*time.Second)
	if st := w.states(); st[site.StateMining] != 9 {
		t.Errorf("states %v: a machine that Sluice put to sleep was left so", st)
	}
	w.run(time.Hour, 15*time.Second)
	w.must1(d.Miner.Set(context.Background(), sluice.ModeSleep, nil))
	w.run(time.Hour, 15*time.Second)
	if st := w.states(); st[site.StateSleeping] != 1 {
		t.Errorf("states %v: what a person put to sleep was woken", st)
	}
}

// Nobody commands a machine that a person has locked, not even to repeat a command
// that was under way; one that slept when it was released is given to the plan.
func TestLockEndsWhatIsUnderWay(t *testing.T) {
	ctx := context.Background()
	w, d := slowWorld(t)
	d.hold(nil)
	w.must1(w.site.Curtail(ctx, site.CurtailmentOrder{Limit: sluice.Kilowatt, For: 30 * time.Minute}))
	w.must(w.site.Pin(ctx, site.Pin{Machine: "s21-002", Mode: site.PinLocked, By: "ann", Why: "hands in it"}))
	asked := d.asked()
	w.run(20*time.Minute, 15*time.Second)
	if n := d.asked(); n != asked {
		t.Errorf("it was commanded %d times while it was locked", n-asked)
	}
	d.obey(t) // ann puts it to sleep
	w.run(40*time.Minute, 15*time.Second)
	w.must(w.site.Release(ctx, "s21-002", "ann"))
	w.run(20*time.Minute, 15*time.Second)
	if st := w.states(); st[site.StateMining] != 9 {
		t.Errorf("states %v after the release", st)
	}
}

// A pin holds: over a crash before its command, and against a machine that goes
// elsewhere by itself.
func TestPinHolds(t *testing.T) {
	ctx := context.Background()
	w, d := slowWorld(t)
	d.hold(nil)
	w.must(w.site.Pin(ctx, site.Pin{Machine: "s21-002", Mode: sluice.ModeSleep, By: "ann", Why: "hot"}))
	for d.asked() == 0 {
		runtime.Gosched()
	}
	d.mu.Lock()
	d.held = false // the command was lost with the process
	d.mu.Unlock()
	w.crash()
	w.run(2*time.Minute, 15*time.Second)
	if m, _ := w.site.Machine("s21-002"); m.Mode != sluice.ModeSleep {
		t.Errorf("pinned to sleep, it is in %s after a crash", m.Mode)
	}
	w.must1(d.Miner.Set(ctx, sluice.ModeMine, nil))
	w.run(5*time.Minute, 15*time.Second)
	if m, _ := w.site.Machine("s21-002"); m.Mode != sluice.ModeSleep {
		t.Errorf("pinned to sleep, it came back and stays in %s", m.Mode)
	}
}
