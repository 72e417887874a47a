package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/fabric"
	"sluice/fabric/tree"
)

// serve answers the site's orders.
func (a *Agent) serve(link *fabric.Link) error {
	// Those that wait or move data have goroutines of their own; an order to start
	// or stop is never behind them.
	for op, f := range map[string]func(fabric.Order, []byte) (any, []byte, error){
		fabric.OpStart: a.onStart, fabric.OpStop: a.onStop, fabric.OpWipe: a.onWipe,
	} {
		if err := link.Serve(op, a.ours(f)); err != nil {
			return err
		}
	}
	for op, f := range map[string]func(fabric.Order, []byte) (any, []byte, error){
		fabric.OpLook: a.onLook, fabric.OpCap: a.onCap,
		fabric.OpList: a.onTree, fabric.OpRead: a.onTree, fabric.OpWrite: a.onTree, fabric.OpDrop: a.onTree,
		fabric.OpExec: a.onExec, fabric.OpExecIn: a.onExecIn, fabric.OpExecOut: a.onExecOut, fabric.OpExecStop: a.onExecStop,
	} {
		if err := link.ServeMany(op, 128, a.ours(f)); err != nil {
			return err
		}
	}
	return nil
}

// ours lets through what the site as it lives now has ordered.
func (a *Agent) ours(f func(fabric.Order, []byte) (any, []byte, error)) fabric.Handler {
	return func(o fabric.Order, data []byte) (any, []byte, error) {
		if !a.lease.get().Ours(o.Grant) {
			return nil, nil, fabric.Stale()
		}
		return f(o, data)
	}
}

// read reads the body of an order.
func read[T any](o fabric.Order) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(o.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, sluice.Errorf(sluice.Invalid, "", "an order cannot be read: %v", err)
	}
	return v, nil
}

func (a *Agent) onStart(o fabric.Order, _ []byte) (any, []byte, error) {
	s, err := read[fabric.StartOrder](o)
	if err != nil {
		return nil, nil, err
	}
	st, err := a.start(s, a.lease.get().Fresh(a.cfg.Uptime(), o.Grant))
	return st, nil, err
}

func (a *Agent) onStop(o fabric.Order, _ []byte) (any, []byte, error) {
	s, err := read[fabric.StopOrder](o)
	if err != nil {
		return nil, nil, err
	}
	return a.stop(s.Run, max(0, s.Notice), false), nil, nil
}

func (a *Agent) onLook(o fabric.Order, _ []byte) (any, []byte, error) {
	l, err := read[fabric.LookOrder](o)
	if err != nil {
		return nil, nil, err
	}
	s, err := a.look(a.run, l)
	return s, nil, err
}

func (a *Agent) onCap(o fabric.Order, _ []byte) (any, []byte, error) {
	c, err := read[fabric.CapOrder](o)
	if err != nil {
		return nil, nil, err
	}
	x, h, _, err := a.running(c.Run)
	if err != nil {
		return nil, nil, err
	}
	capper, ok := x.(compute.Capper)
	if !ok {
		return nil, nil, sluice.Errorf(sluice.Invalid, "", "the host cannot limit the power of run %s", c.Run)
	}
	ctx, cancel := context.WithTimeout(a.run, 8*time.Second)
	defer cancel()
	share, err := capper.Cap(ctx, h, c.Share)
	return fabric.CapAnswer{Share: share}, nil, err
}

// running finds a run that runs.
func (a *Agent) running(id string) (compute.Executor, compute.Handle, compute.RunSpec, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.runs[id]
	if r == nil || r.Phase != fabric.Running {
		return nil, "", compute.RunSpec{}, sluice.Errorf(sluice.Conflict, "", "run %s does not run", id)
	}
	x := a.named(r.Executor)
	if x == nil {
		return nil, "", compute.RunSpec{}, sluice.Errorf(sluice.Conflict, "start its agent with the executor "+r.Executor, "the host cannot reach run %s", id)
	}
	return x, r.Handle, r.Spec, nil
}

func (a *Agent) onTree(o fabric.Order, data []byte) (any, []byte, error) {
	t, err := read[fabric.TreeOrder](o)
	if err != nil {
		return nil, nil, err
	}
	if !fabric.ValidRun(t.Job) || !fabric.ValidRun(t.Folder) || len(t.Session) > 64 {
		return nil, nil, sluice.Errorf(sluice.Invalid, "", "%q of job %q is no folder", t.Folder, t.Job)
	}
	dir := filepath.Join(a.cfg.Dir, "jobs", t.Job, t.Folder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	var out fabric.TreeAnswer
	var got []byte
	switch {
	case len(t.Pieces) > 0:
		err = tree.Write(root, t.Session, t.Pieces, data)
	case len(t.Drop) > 0:
		err = tree.Drop(root, t.Drop)
	case len(t.Asks) > 0:
		out.Got, got, err = tree.Read(root, t.Asks, fabric.MaxData)
	default:
		out.Busy = a.holds(dir)
		out.Entries, out.More, err = tree.List(root, t.After)
	}
	return out, got, err
}

// holds says whether a run that may be alive uses the folder.
func (a *Agent) holds(dir string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.runs {
		if !r.alive() {
			continue
		}
		for _, f := range r.Folders {
			if filepath.Join(a.cfg.Dir, "jobs", r.Job, f.Name) == dir {
				return true
			}
		}
	}
	return false
}

// onWipe deletes a job's folders and the output of its runs. What is known of the
// runs stays: that they have ended, and how.
func (a *Agent) onWipe(o fabric.Order, _ []byte) (any, []byte, error) {
	w, err := read[fabric.WipeOrder](o)
	if err != nil {
		return nil, nil, err
	}
	if !fabric.ValidRun(w.Job) {
		return nil, nil, sluice.Errorf(sluice.Invalid, "", "%q is no job", w.Job)
	}
	a.mu.Lock()
	var dirs []string
	for _, r := range a.runs {
		if r.Job != w.Job {
			continue
		}
		if r.alive() {
			a.mu.Unlock()
			return nil, nil, sluice.Errorf(sluice.Conflict, "stop it first", "run %s of job %s is here", r.Run, w.Job)
		}
		dirs = append(dirs, filepath.Join(runDir(a.cfg.Dir, r.Run), "exec"), filepath.Join(runDir(a.cfg.Dir, r.Run), "log"))
	}
	a.mu.Unlock()
	for _, d := range append(dirs, filepath.Join(a.cfg.Dir, "jobs", w.Job)) {
		if err := os.RemoveAll(d); err != nil {
			return nil, nil, err
		}
	}
	return struct{}{}, nil, nil
}
