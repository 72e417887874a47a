package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/fabric"
)

// sentFile in a run's folder says that the order to start it may have gone out:
// from then on only the host, or the end of the lease, can say that it does not
// run.
const sentFile = "sent"

// Start brings the job's folders to the host and starts the run there. Where the
// host cannot be reached it fails with Unavailable, and the run is not and will
// not be started: when the order has gone out and its answer is missing, Start
// waits until that is certain.
func (x *Executor) Start(ctx context.Context, spec compute.RunSpec) (compute.Handle, error) {
	doing := func(err error) error { return fmt.Errorf("start %s on %s: %w", spec.RunID, spec.Host, err) }
	if err := ctx.Err(); err != nil {
		return "", doing(err)
	}
	h, err := x.handleOf(spec)
	if err != nil {
		return "", doing(err)
	}
	if err := os.MkdirAll(h.Dir, 0o700); err != nil {
		return "", doing(err)
	}
	if err := x.certain(ctx, h); err != nil {
		return "", doing(err)
	}
	s, err := x.look(ctx, h, fabric.LookOrder{Run: h.Run})
	if sent := h.sentTo(); sent != "" {
		// An earlier try ordered it, perhaps of a process before this one: what is
		// not known there now must never start there.
		h.Epoch = sent
		if err != nil || s.Phase == fabric.Unknown && sent != x.hub.Epoch(h.Host) {
			s, err = x.settle(ctx, h, err)
		}
	} else {
		h.Epoch = x.hub.Epoch(h.Host)
	}
	if err != nil {
		return "", doing(err)
	}
	if s.Phase == fabric.Unknown {
		if err := x.send(ctx, h); err != nil {
			return "", doing(fmt.Errorf("bring the job's folders there: %w", err))
		}
	}
	r := x.track(h)
	err = x.order(ctx, r, spec, s)
	if err != nil {
		x.mu.Lock()
		x.drop(r)
		x.mu.Unlock()
		return "", doing(err)
	}
	x.attach(h)
	return h.text()
}

func (x *Executor) handleOf(spec compute.RunSpec) (handle, error) {
	h := handle{
		Host: spec.Host, Run: spec.RunID, Job: spec.JobID, Log: spec.Log, Control: spec.Control,
		Lease: x.cfg.Keep, Notice: x.cfg.Notice,
	}
	if spec.Nodes > 1 {
		h.Lease = x.cfg.GangLease
	}
	if spec.Interrupt.Notice > 0 {
		h.Notice = spec.Interrupt.Notice
	}
	if err := fabric.CheckHost(h.Host); err != nil {
		return h, err
	}
	if !fabric.ValidRun(h.Run) || !fabric.ValidRun(h.Job) {
		return h, sluice.Errorf(sluice.Invalid, "", "%q of job %q is no run", h.Run, h.Job)
	}
	var err error
	if h.Dir, err = filepath.Abs(spec.Dir); err != nil {
		return h, err
	}
	if h.Log == "" {
		h.Log = filepath.Join(h.Dir, "log")
	}
	add := func(kind, path string, back, shared bool) error {
		if path == "" {
			return nil
		}
		f := fabric.Folder{Name: fabric.FolderName(kind, path), Path: path, Return: back, Shared: back && shared}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && back:
			err = os.MkdirAll(path, 0o700)
		case err == nil && !info.IsDir():
			f.File, f.Return = filepath.Base(path), false
		}
		if err != nil {
			return err
		}
		h.Folders = append(h.Folders, f)
		return nil
	}
	err = errors.Join(add("work", spec.WorkDir, true, false), add("checkpoint", spec.CheckpointDir, true, spec.Nodes > 1))
	for i, m := range spec.Mounts {
		err = errors.Join(err, add(fmt.Sprintf("m%d", i), m.Source, !m.ReadOnly, true))
	}
	return h, err
}

// sentTo names the agent's data folder that the order may have gone to, "" where
// none has gone out.
func (h handle) sentTo() string {
	b, err := os.ReadFile(filepath.Join(h.Dir, sentFile))
	if err != nil && errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if len(b) == 0 {
		return "?" // written by halves: it has not gone out, but to be careful costs little
	}
	return string(b)
}

// markSent makes it durable that the order may go out.
func (h handle) markSent() error {
	if h.sentTo() != "" {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(h.Dir, sentFile), os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(h.Epoch)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		var d *os.File
		if d, err = os.Open(h.Dir); err == nil {
			err = errors.Join(d.Sync(), d.Close())
		}
	}
	return err
}

// certain waits, where an order may have gone out before, until its host answers
// or the lease is over. Else the host must answer now.
func (x *Executor) certain(ctx context.Context, h handle) error {
	sent := h.sentTo()
	if sent == "" {
		return nil
	}
	h.Epoch = sent
	return x.reachable(ctx, h)
}

// reachable waits until the host answers. Error: Unavailable when all that may run
// there is certainly over.
func (x *Executor) reachable(ctx context.Context, h handle) error {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		if ok, _ := x.hub.Reach(h.Host); ok && (h.Epoch == x.hub.Epoch(h.Host) || h.Epoch == "") {
			return nil
		}
		if x.hub.Over(h.Host, h.Epoch, h.Lease, h.Notice) {
			return sluice.Errorf(sluice.Unavailable, "sluice host list tells since when", "the host %s has been silent for longer than the run's lease", h.Host)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-x.ctx.Done():
			return errClosed
		case <-t.C:
		}
	}
}

// order has the run started and waits until it runs, or until it is certain that
// it does not.
func (x *Executor) order(ctx context.Context, r *run, spec compute.RunSpec, s fabric.RunState) error {
	o := fabric.StartOrder{Spec: spec, Lease: r.Lease, Notice: r.Notice, Folders: r.Folders}
	if err := r.markSent(); err != nil {
		return err
	}
	for {
		var err error
		switch {
		case s.Phase == fabric.Running || s.Phase == fabric.Ended:
			r.update(s)
			return nil
		case s.Phase == fabric.Failed:
			return &sluice.Error{Kind: s.Kind, Msg: s.Err}
		case s.Phase == fabric.Forbidden:
			return sluice.Errorf(sluice.Unavailable, "", "the host was told never to start it")
		case s.Phase == fabric.Unknown || s.Idle:
			s = fabric.RunState{}
			_, err = x.hub.Ask(ctx, r.Host, fabric.OpStart, o, nil, &s)
		default:
			s, err = x.look(ctx, r.handle, fabric.LookOrder{Run: r.Run, Wait: 3 * time.Second, Not: fabric.Starting})
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err() // the next Start of it finds out
		}
		// Did the order arrive? The host says, and says so for good.
		if s, err = x.settle(ctx, r.handle, err); err != nil {
			return err
		}
	}
}

// settle finds out what became of an order whose answer is missing. It returns a
// state in which the run is known to the host, or an error when it will never run.
func (x *Executor) settle(ctx context.Context, h handle, cause error) (fabric.RunState, error) {
	for {
		if err := x.reachable(ctx, h); err != nil {
			return fabric.RunState{}, errors.Join(err, cause)
		}
		s, err := x.look(ctx, h, fabric.LookOrder{Run: h.Run, Forbid: true})
		switch {
		case err == nil && s.Phase == fabric.Forbidden:
			if cause == nil {
				cause = sluice.Errorf(sluice.Unavailable, "", "the order to start it did not arrive")
			}
			return s, cause
		case err == nil:
			return s, nil
		}
		select {
		case <-ctx.Done():
			return fabric.RunState{}, ctx.Err()
		case <-x.ctx.Done():
			return fabric.RunState{}, errClosed
		case <-time.After(200 * time.Millisecond):
		}
	}
}
