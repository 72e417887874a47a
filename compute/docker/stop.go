package docker

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"sluice/compute"
)

// killAgain is how long a kill may take before it is tried again.
const killAgain = 2 * time.Second

// killTries is how often an engine may fail to.
const killTries = 5

// Stop asks the run to end, waits the grace and kills it. The container's first
// process hands the signal to all others, and runs the task's hook before it.
func (x *Executor) Stop(ctx context.Context, h compute.Handle, grace time.Duration) error {
	dir, err := dirOf(h)
	if err != nil {
		return err
	}
	w := x.watch(dir)
	doing := func(err error) error { return fmt.Errorf("stop %s: %w", filepath.Base(dir), err) }
	over := func() error {
		if w.err != nil {
			return doing(w.err)
		}
		return nil
	}
	if exists(dir, exitFile) || !exists(dir, runFile) {
		select {
		case <-w.done:
			return over()
		case <-ctx.Done():
			return doing(ctx.Err())
		}
	}
	r, err := readRun(dir)
	if err != nil {
		return doing(err)
	}
	e, err := x.engine(ctx, r.Isolation)
	if err != nil {
		return doing(err)
	}
	until, err := x.ask(ctx, e, dir, r, grace)
	if err != nil {
		return doing(err)
	}
	kill := time.NewTimer(time.Until(until))
	defer kill.Stop()
	for failed := 0; ; {
		select {
		case <-w.done:
			return over()
		case <-ctx.Done():
			return doing(ctx.Err())
		case <-kill.C:
			if err := e.kill(ctx, r.Container, "KILL"); err != nil && ctx.Err() == nil {
				if failed++; failed == killTries {
					return doing(err)
				}
			}
			kill.Reset(killAgain)
		}
	}
}

// ask signals the run unless that has been done, and returns when it is to be
// killed. Asked again, it can only become earlier.
func (x *Executor) ask(ctx context.Context, e *engine, dir string, r run, grace time.Duration) (time.Time, error) {
	req := stopRequest{Until: time.Now().Add(grace), AtOnce: grace <= 0}
	var old stopRequest
	if readJSON(dir, stopFile, &old) == nil {
		req.Signaled = old.Signaled
		if old.Until.Before(req.Until) {
			req.Until = old.Until
		}
	} else if s, err := e.state(ctx, r.Container); err != nil {
		return req.Until, err
	} else if s.found && !s.running && !s.created {
		return req.Until, nil // it has ended by itself
	}
	// A full disk must not keep a job running: then it is only not known that it was stopped.
	_ = writeJSON(dir, stopFile, req)
	if req.Signaled || grace <= 0 {
		return req.Until, nil
	}
	if err := e.kill(ctx, r.Container, r.Signal); err != nil {
		return req.Until, err
	}
	req.Signaled = true
	_ = writeJSON(dir, stopFile, req)
	return req.Until, nil
}

// resumeStop sees a stop through whose asker was killed.
func (m *minder) resumeStop() {
	var req stopRequest
	if !m.state.running || readJSON(m.dir, stopFile, &req) != nil {
		return
	}
	go func() {
		ctx := context.Background()
		if !req.Signaled && !req.AtOnce {
			if m.engine.kill(ctx, m.run.Container, m.run.Signal) == nil {
				req.Signaled = true
				_ = writeJSON(m.dir, stopFile, req)
			}
		}
		kill := time.NewTimer(time.Until(req.Until))
		defer kill.Stop()
		for {
			select {
			case <-m.watch.done:
				return
			case <-kill.C:
				_ = m.engine.kill(ctx, m.run.Container, "KILL")
				kill.Reset(killAgain)
			}
		}
	}()
}
