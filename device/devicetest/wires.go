package devicetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"sluice"
)

// short is a deadline that a silent machine uses up.
const short = 150 * time.Millisecond

// slack is what a call may take beyond its deadline on a busy test machine.
const slack = 5 * time.Second

// fails checks that a call ended in an error for want of a usable answer.
func fails(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s succeeded", what)
	} else if isRefused(err) {
		t.Errorf("%s: %v; want no refusal", what, err)
	}
}

func silent(t *testing.T, ctx context.Context, d Device) {
	d.Wire.set(spoil{silent: true})
	for range 2 { // the second call is not the first one's heir
		own := OwnTime(t)
		start := time.Now() // before the deadline is: a busy machine may stop here
		c, cancel := context.WithTimeout(ctx, short)
		_, err := d.Miner.Read(c)
		cancel()
		fails(t, "Read", err)
		if took := time.Since(start); took < short/2 || own() > short+slack {
			t.Errorf("Read took %v of a deadline of %v", took, short)
		}
	}
	d.Wire.set(spoil{})
	read(t, ctx, d.Miner)
}

func silentWrite(t *testing.T, ctx context.Context, d Device) {
	d.Wire.set(spoil{silent: true})
	c, cancel := context.WithTimeout(ctx, short)
	defer cancel()
	own := OwnTime(t)
	o, err := d.Miner.Set(c, sluice.ModeSleep, nil)
	fails(t, "Set", err)
	if o != sluice.Unknown {
		t.Errorf("Set = %s; want unknown", outcome(o, err))
	}
	if took := own(); took > short+slack {
		t.Errorf("Set took %v of a deadline of %v", took, short)
	}
}

// lostReply is the case that unknown is for: the machine obeys, but the answer
// is cut off. What is read later tells the truth.
func lostReply(t *testing.T, ctx context.Context, d Device) {
	d.Wire.set(spoil{cut: 20})
	if o, err := d.Miner.Set(ctx, sluice.ModeSleep, nil); o != sluice.Unknown || err == nil {
		t.Errorf("Set = %s; want unknown", outcome(o, err))
	}
	d.Wire.set(spoil{})
	r := read(t, ctx, d.Miner)
	if stand := d.Power() < 200; stand != (r.Mode == sluice.ModeSleep) {
		t.Errorf("reads %q while it draws %v", r.Mode, d.Power())
	}
}

func slow(t *testing.T, ctx context.Context, d Device) {
	const delay = 200 * time.Millisecond
	d.Wire.set(spoil{delay: delay})
	start := time.Now()
	read(t, ctx, d.Miner)
	if took := time.Since(start); took < delay {
		t.Errorf("a reply after %v took %v: the wire did not delay it", delay, took)
	}
	set(t, ctx, d.Miner, sluice.ModeSleep, nil)
	if r := read(t, ctx, d.Miner); r.Mode != sluice.ModeSleep {
		t.Errorf("reads %q", r.Mode)
	}
}

func truncated(t *testing.T, ctx context.Context, d Device) {
	for _, n := range []int{1, 7, 40, 90, 150} {
		d.Wire.set(spoil{cut: n})
		_, err := d.Miner.Read(ctx)
		fails(t, "Read of a truncated reply", err)
		_, err = d.Miner.Prior(ctx)
		fails(t, "Prior of a truncated reply", err)
	}
	d.Wire.set(spoil{})
	read(t, ctx, d.Miner)
}

func oversized(t *testing.T, ctx context.Context, d Device) {
	d.Wire.set(spoil{flood: true})
	_, err := d.Miner.Read(ctx)
	fails(t, "Read of an endless reply", err)
	_, err = d.Miner.Prior(ctx)
	fails(t, "Prior of an endless reply", err)
	// Two replies of 1 MiB, and what the sockets' buffers hold.
	if n := d.Wire.flooded.Load(); n > 24<<20 {
		t.Errorf("the driver took %d MiB", n>>20)
	}
	if err := ctx.Err(); err != nil {
		t.Error("the driver read on until the deadline")
	}
}

func cancelled(t *testing.T, ctx context.Context, d Device) {
	d.Wire.set(spoil{silent: true})
	for what, call := range map[string]func(context.Context) error{
		"Read":  func(c context.Context) error { _, err := d.Miner.Read(c); return err },
		"Prior": func(c context.Context) error { _, err := d.Miner.Prior(c); return err },
		"Set":   func(c context.Context) error { _, err := d.Miner.Set(c, sluice.ModeSleep, nil); return err },
	} {
		c, cancel := context.WithCancel(ctx)
		stop := time.AfterFunc(short, cancel)
		own := OwnTime(t)
		err := call(c)
		stop.Stop()
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want context.Canceled in the chain", what, err)
		}
		if took := own(); took > short+slack {
			t.Errorf("%s took %v after it was cancelled", what, took-short)
		}
	}
}

func ended(t *testing.T, ctx context.Context, d Device) {
	watts := d.Power()
	c, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := d.Miner.Read(c); !errors.Is(err, context.Canceled) {
		t.Errorf("Read: %v", err)
	}
	if o, err := d.Miner.Set(c, sluice.ModeSleep, nil); o != sluice.Unknown || !errors.Is(err, context.Canceled) {
		t.Errorf("Set = %s", outcome(o, err))
	}
	if p := d.Power(); p < watts*9/10 {
		t.Errorf("the machine went from %v to %v", watts, p)
	}
}

func absent(t *testing.T, ctx context.Context, d Device) {
	d.Wire.gone(t)
	_, err := d.Miner.Read(ctx)
	fails(t, "Read", err)
	if err != nil && sluice.KindOf(err) != sluice.Unavailable {
		t.Errorf("Read: kind %v of %v; want Unavailable", sluice.KindOf(err), err)
	}
	o, err := d.Miner.Set(ctx, sluice.ModeSleep, nil)
	fails(t, "Set", err)
	if o != sluice.Unknown {
		t.Errorf("Set = %s", outcome(o, err))
	}
}

func concurrent(t *testing.T, ctx context.Context, d Device) {
	p := prior(t, ctx, d.Miner)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 4 {
				if _, err := d.Miner.Read(ctx); err != nil {
					t.Errorf("Read: %v", err)
				}
				mode := sluice.ModeSleep
				if i%2 == 0 {
					mode = sluice.ModeMine
				}
				if o, err := d.Miner.Set(ctx, mode, p); o != sluice.Accepted || err != nil {
					t.Errorf("Set(%q) = %s", mode, outcome(o, err))
				}
			}
		})
	}
	wg.Wait()
	set(t, ctx, d.Miner, sluice.ModeSleep, p)
	if r := read(t, ctx, d.Miner); r.Mode != sluice.ModeSleep {
		t.Errorf("reads %q", r.Mode)
	}
}

// blockedWrite checks that a call that waits for its turn keeps its deadline,
// and that reads do not wait for writes at all.
func blockedWrite(t *testing.T, ctx context.Context, d Device) {
	d.Wire.set(spoil{silent: true})
	c, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = d.Miner.Set(c, sluice.ModeSleep, nil)
	}()
	tick, stop := context.WithTimeout(ctx, short)
	defer stop()
	own := OwnTime(t)
	if o, err := d.Miner.Set(tick, sluice.ModeMine, nil); o != sluice.Unknown || err == nil {
		t.Errorf("Set = %s", outcome(o, err))
	}
	if took := own(); took > short+slack {
		t.Errorf("a Set behind another took %v of a deadline of %v", took, short)
	}
	d.Wire.set(spoil{})
	read(t, ctx, d.Miner)
	cancel()
	<-done
}
