package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/compute"
	"sluice/fabric"
)

// Attach finds a run again. It needs no answer of the host: Wait tells.
func (x *Executor) Attach(ctx context.Context, h compute.Handle) error {
	v, err := parseHandle(h)
	if err != nil {
		return err
	}
	r := x.attach(v)
	if ok, _ := x.hub.Reach(v.Host); ok && !r.over() {
		x.mu.Lock()
		x.lookSoon(r)
		x.mu.Unlock()
	}
	return ctx.Err()
}

// attach follows a run that was started, by whomever.
func (x *Executor) attach(h handle) *run {
	r := x.track(h)
	r.mu.Lock()
	if r.state.Phase == "" {
		r.state = fabric.RunState{Run: h.Run, Phase: fabric.Running}
	}
	r.mu.Unlock()
	return r
}

// Wait blocks until the run has ended and its work is at home.
func (x *Executor) Wait(ctx context.Context, h compute.Handle) (compute.Exit, error) {
	v, err := parseHandle(h)
	if err != nil {
		return compute.Exit{}, err
	}
	r := x.attach(v)
	if !r.over() {
		x.mu.Lock()
		x.lookSoon(r)
		x.mu.Unlock()
	}
	select {
	case <-r.done:
		return r.exit, nil
	case <-ctx.Done():
		return compute.Exit{}, fmt.Errorf("wait for %s: %w", v.Run, ctx.Err())
	case <-x.ctx.Done():
		return compute.Exit{}, fmt.Errorf("wait for %s: %w", v.Run, errClosed)
	}
}

var errClosed = errors.New("the fabric is closed")

// Stop asks the host to end the run, and waits until nothing of it is left. While
// the host cannot be reached it waits for that, or for the end of the lease.
func (x *Executor) Stop(ctx context.Context, h compute.Handle, grace time.Duration) error {
	v, err := parseHandle(h)
	if err != nil {
		return err
	}
	r := x.attach(v)
	until := time.Now().Add(grace)
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-r.done:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("stop %s: %w", v.Run, ctx.Err())
		case <-x.ctx.Done():
			return fmt.Errorf("stop %s: %w", v.Run, errClosed)
		case <-again.C:
		}
		var s fabric.RunState
		_, err := x.hub.Ask(ctx, v.Host, fabric.OpStop, fabric.StopOrder{Run: v.Run, Notice: max(0, time.Until(until))}, nil, &s)
		if err == nil {
			r.update(s)
			again.Reset(5 * time.Second)
		} else {
			again.Reset(200 * time.Millisecond)
		}
	}
}

// Usage returns what the run has used as its host said last; seconds go on while
// the host answers.
func (x *Executor) Usage(_ context.Context, h compute.Handle) (compute.Usage, error) {
	v, err := parseHandle(h)
	if err != nil {
		return compute.Usage{}, err
	}
	r := x.find(v.Run)
	if r == nil {
		return compute.Usage{}, nil // not heard of yet
	}
	if r.over() {
		return r.exit.Used, nil
	}
	ok, _ := x.hub.Reach(v.Host)
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.state.Usage
	if r.state.Phase == fabric.Running && r.told {
		if age := time.Since(r.heard); ok && age < fabric.Unreachable {
			u.Seconds += (age + r.state.Ago).Seconds()
		}
	}
	return u, nil
}

// Cap limits the power of a run's GPUs.
func (x *Executor) Cap(ctx context.Context, h compute.Handle, share float64) (float64, error) {
	v, err := parseHandle(h)
	if err != nil {
		return 0, err
	}
	var a fabric.CapAnswer
	_, err = x.hub.Ask(ctx, v.Host, fabric.OpCap, fabric.CapOrder{Run: v.Run, Share: share}, nil, &a)
	return a.Share, err
}

// Wipe deletes what a host keeps of a job: its folders and the output of its
// runs. Errors: Conflict while one of them is there; Unavailable.
func (x *Executor) Wipe(ctx context.Context, host, job string) error {
	_, err := x.hub.Ask(ctx, host, fabric.OpWipe, fabric.WipeOrder{Job: job}, nil, nil)
	return err
}
