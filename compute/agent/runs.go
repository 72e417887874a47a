package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/fabric"
	"sluice/fabric/tree"
)

// load takes up what the agent before this one has left.
func (a *Agent) load() error {
	recs, err := loadRecords(a.cfg.Dir)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		r := &run{record: rec}
		a.mu.Lock()
		a.runs[rec.Run] = r
		a.mu.Unlock()
		switch {
		case rec.Phase == fabric.Running:
			a.tasks.Go(func() { a.attach(r) })
			a.tasks.Go(func() { a.pushLog(r) })
		case rec.Phase == fabric.Ended && !rec.Taken:
			a.tasks.Go(func() { a.pushLog(r) })
		case rec.Phase == fabric.Starting:
			// Whether it began nobody knows. The site asks for it again, with its
			// secrets, or the fence ends it; until then it counts as here.
		}
	}
	return nil
}

// executor finds the one that a run needs.
func (a *Agent) executor(want compute.Isolation) (Executor, error) {
	if want == "" { // as much as there is: whoever means less says so
		for _, x := range a.cfg.Executors {
			if slices.Contains(x.Isolations, compute.IsolationContainer) {
				return x, nil
			}
		}
		return a.cfg.Executors[0], nil
	}
	for _, x := range a.cfg.Executors {
		if slices.Contains(x.Isolations, want) {
			return x, nil
		}
	}
	for _, x := range a.cfg.Executors {
		if slices.ContainsFunc(x.Isolations, func(i compute.Isolation) bool { return i.AtLeast(want) }) {
			return x, nil
		}
	}
	return Executor{}, sluice.Errorf(sluice.Invalid, "start its agent with an executor that gives it", "the host %s gives no isolation %q", a.cfg.Link.Token.Host, want)
}

func (a *Agent) named(name string) compute.Executor {
	for _, x := range a.cfg.Executors {
		if x.Name == name {
			return x.Run
		}
	}
	return nil
}

// start obeys an order to start, once for each RunID. It returns how far the run
// has come.
func (a *Agent) start(o fabric.StartOrder, fresh bool) (fabric.RunState, error) {
	id := o.Spec.RunID
	switch {
	case !fabric.ValidRun(id) || !fabric.ValidRun(o.Spec.JobID):
		return fabric.RunState{}, sluice.Errorf(sluice.Invalid, "", "%q of job %q is no run", id, o.Spec.JobID)
	case o.Lease <= 0 || o.Notice < 0:
		return fabric.RunState{}, sluice.Errorf(sluice.Invalid, "", "run %s has no lease", id)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.runs[id]
	if r != nil && (r.Phase != fabric.Starting || r.busy || r.stop != nil) {
		return r.state(), nil
	}
	// An order that was kept back on its way comes from a time when the site may
	// have decided otherwise since.
	if !fresh {
		return fabric.RunState{}, fabric.Stale()
	}
	if r == nil {
		if n := a.living(); n >= fabric.MaxRuns {
			return fabric.RunState{}, sluice.Errorf(sluice.Unavailable, "", "the host holds %d runs already", n)
		}
		x, err := a.executor(o.Spec.Isolation)
		if err != nil {
			return fabric.RunState{}, err
		}
		r = &run{record: record{
			Run: id, Job: o.Spec.JobID, Phase: fabric.Starting, Executor: x.Name, Spec: a.localise(o),
			Folders: o.Folders, Lease: o.Lease, Notice: o.Notice, At: time.Now().UTC(),
		}}
		// Durable before it happens: whoever comes after a crash looks for it.
		if err := r.save(a.cfg.Dir); err != nil {
			return fabric.RunState{}, err
		}
		a.runs[id] = r
	}
	r.busy = true
	spec := r.Spec
	spec.Secrets = o.Spec.Secrets
	a.tasks.Go(func() { a.begin(r, spec) })
	return r.state(), nil
}

func (a *Agent) living() int {
	n := 0
	for _, r := range a.runs {
		if r.alive() {
			n++
		}
	}
	return n
}

// begin starts the run and follows it to its end.
func (a *Agent) begin(r *run, spec compute.RunSpec) {
	for _, d := range []string{spec.Dir, spec.WorkDir, spec.CheckpointDir} {
		if d != "" {
			if err := os.MkdirAll(d, 0o700); err != nil {
				a.failed(r, err)
				return
			}
		}
	}
	if spec.Control != "" {
		if err := a.listenControl(r.Run, spec.Control); err != nil {
			a.cfg.Log.Warn("a run cannot tell of its checkpoints", "run", r.Run, "err", err)
		}
	}
	x := a.named(r.Executor)
	h, err := x.Start(a.run, spec)
	if a.run.Err() != nil {
		return // the next agent finds out
	}
	if err != nil {
		a.failed(r, err)
		return
	}
	a.mu.Lock()
	r.Phase, r.Handle, r.At, r.busy = fabric.Running, h, time.Now().UTC(), false
	if r.usedAt.IsZero() {
		r.usedAt = time.Now() // it has used a little more than nothing by now
	}
	rec := r.record
	stop := r.stop
	a.mu.Unlock()
	if err := rec.save(a.cfg.Dir); err != nil {
		a.cfg.Log.Error("a run is not noted; it is found again by its ID", "run", r.Run, "err", err)
	}
	a.mu.Lock()
	a.touch()
	a.mu.Unlock()
	a.tasks.Go(func() { a.pushLog(r) })
	if stop != nil {
		a.tasks.Go(func() { a.end(r, max(0, stop.until-a.cfg.Uptime())) })
	}
	a.await(r, x, h)
}

func (a *Agent) failed(r *run, err error) {
	a.mu.Lock()
	r.Phase, r.Kind, r.Err, r.At, r.busy = fabric.Failed, sluice.KindOf(err), err.Error(), time.Now().UTC(), false
	rec := r.record
	a.mu.Unlock()
	a.settle(r, rec)
}

// settle makes an end durable before it is told.
func (a *Agent) settle(r *run, rec record) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := rec.save(a.cfg.Dir)
		if err == nil {
			break
		}
		a.cfg.Log.Error("the end of a run cannot be noted; it is told all the same", "run", rec.Run, "err", err)
		if wait > time.Second {
			break
		}
		select {
		case <-a.run.Done():
			return
		case <-time.After(wait):
		}
	}
	a.mu.Lock()
	s := r.state()
	a.touch()
	a.mu.Unlock()
	if err := a.spool.add(fabric.Event{At: rec.At, Run: &s}); err != nil {
		a.cfg.Log.Warn("an event is lost", "err", err)
	}
}

// attach finds a run again.
func (a *Agent) attach(r *run) {
	x := a.named(r.Executor)
	if x == nil {
		a.cfg.Log.Error("a run's executor is not there any more; start the agent with it", "run", r.Run, "executor", r.Executor)
		return
	}
	if err := x.Attach(a.run, r.Handle); err != nil {
		if a.run.Err() == nil {
			a.ended(r, compute.Exit{Code: -1, Lost: true, At: time.Now().UTC(), Why: err.Error()})
		}
		return
	}
	a.await(r, x, r.Handle)
}

func (a *Agent) await(r *run, x compute.Executor, h compute.Handle) {
	for {
		e, err := x.Wait(a.run, h)
		if a.run.Err() != nil {
			return
		}
		if err == nil {
			a.ended(r, e)
			return
		}
		// Whether it runs nobody knows: to say that it is lost would start it twice.
		a.cfg.Log.Warn("waiting for a run failed; trying again", "run", r.Run, "err", err)
		select {
		case <-a.run.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

func (a *Agent) ended(r *run, e compute.Exit) {
	size := fileSize(r.Spec.Log)
	a.mu.Lock()
	if r.Fenced && e.Stopped && e.Why == "" {
		e.Why = "the site was not heard of for longer than the run's lease"
	}
	r.Phase, r.Exit, r.At, r.logSize = fabric.Ended, &e, time.Now().UTC(), size
	r.saved = tree.Newest(r.Spec.CheckpointDir)
	rec := r.record
	a.mu.Unlock()
	a.settle(r, rec)
}

// stop asks a run to end within a notice, and does not wait for it.
func (a *Agent) stop(id string, notice time.Duration, fenced bool) fabric.RunState {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.runs[id]
	if r == nil {
		return fabric.RunState{Run: id, Phase: fabric.Unknown}
	}
	if !r.alive() {
		return r.state()
	}
	until := a.cfg.Uptime() + notice
	if r.stop != nil && r.stop.until <= until {
		return r.state() // it can only become shorter
	}
	r.stop = &stopAsked{until}
	if fenced {
		r.Fenced = true
	}
	switch {
	case r.Phase == fabric.Running:
		a.tasks.Go(func() { a.end(r, notice) })
	case !r.busy:
		a.tasks.Go(func() { a.endUnsure(r) })
	}
	return r.state()
}

// end carries a stop out.
func (a *Agent) end(r *run, notice time.Duration) {
	x := a.named(r.Executor)
	for x != nil {
		err := x.Stop(a.run, r.Handle, notice)
		if err == nil || a.run.Err() != nil {
			return
		}
		a.cfg.Log.Warn("stopping a run failed; trying again", "run", r.Run, "err", err)
		select {
		case <-a.run.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// endUnsure ends a run of which nobody knows whether it began: to start it again
// finds it, since a RunID starts once, and it is killed before it can do much.
func (a *Agent) endUnsure(r *run) {
	x := a.named(r.Executor)
	if x == nil {
		return
	}
	h, err := x.Start(a.run, r.Spec)
	if a.run.Err() != nil {
		return
	}
	if err != nil {
		a.failed(r, err)
		return
	}
	a.mu.Lock()
	r.Handle, r.Phase = h, fabric.Running
	a.mu.Unlock()
	a.tasks.Go(func() { a.pushLog(r) })
	a.end(r, 0)
	a.await(r, x, h)
}

// forbid makes sure that a run is never started here.
func (a *Agent) forbid(id string) (fabric.RunState, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.runs[id]; r != nil {
		return r.state(), nil
	}
	r := &run{record: record{Run: id, Phase: fabric.Forbidden, Taken: true, At: time.Now().UTC()}}
	if err := r.save(a.cfg.Dir); err != nil {
		return fabric.RunState{}, err
	}
	a.runs[id] = r
	return r.state(), nil
}

// localise puts this machine's paths in the place of the site's.
func (a *Agent) localise(o fabric.StartOrder) compute.RunSpec {
	s := o.Spec
	s.Secrets = nil
	dir := runDir(a.cfg.Dir, s.RunID)
	job := filepath.Join(a.cfg.Dir, "jobs", s.JobID)
	type pair struct{ site, here string }
	var moved []pair
	for _, f := range o.Folders {
		here := filepath.Join(job, f.Name)
		if f.File != "" {
			here = filepath.Join(here, f.File)
		}
		moved = append(moved, pair{f.Path, here})
	}
	local := func(p string) string {
		for _, m := range moved {
			if p == m.site {
				return m.here
			}
			if rest, ok := strings.CutPrefix(p, m.site+"/"); ok && m.site != "" {
				return filepath.Join(m.here, rest)
			}
		}
		return p
	}
	s.WorkDir, s.CheckpointDir = local(s.WorkDir), local(s.CheckpointDir)
	s.Mounts = slices.Clone(s.Mounts)
	for i := range s.Mounts {
		s.Mounts[i].Source = local(s.Mounts[i].Source)
	}
	s.Dir, s.Log = filepath.Join(dir, "exec"), filepath.Join(dir, "log")
	// Setup has run where it has run on this host: what it installs may stand
	// anywhere.
	s.SetupDone = filepath.Join(job, "setup.done")
	if s.WorkDir != "" {
		s.SetupDone = s.WorkDir + ".setup.done"
	}
	if s.Control != "" {
		control := filepath.Join(dir, "c")
		moved = append(moved, pair{s.Control, control})
		if s.Control = control; len(control) > 100 {
			s.Control = "" // longer than the path of a socket may be
		}
	}
	s.Env = slices.Clone(s.Env)
	for i, kv := range s.Env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			s.Env[i] = k + "=" + local(v)
		}
	}
	return s
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// look returns the state of a run once it is another than the order names, or
// the order's time is up.
func (a *Agent) look(ctx context.Context, o fabric.LookOrder) (fabric.RunState, error) {
	if !fabric.ValidRun(o.Run) {
		return fabric.RunState{}, sluice.Errorf(sluice.Invalid, "", "%q is no run", o.Run)
	}
	t := time.NewTimer(min(max(o.Wait, 0), 5*time.Second))
	defer t.Stop()
	for {
		a.mu.Lock()
		r, changed := a.runs[o.Run], a.changed
		s := fabric.RunState{Run: o.Run, Phase: fabric.Unknown}
		if r != nil {
			s = r.state()
		}
		a.mu.Unlock()
		if s.Phase == fabric.Unknown && o.Forbid {
			return a.forbid(o.Run)
		}
		if s.Phase != o.Not && !(o.LogNot && !s.LogDone) {
			return s, nil
		}
		select {
		case <-changed:
		case <-t.C:
			return s, nil
		case <-ctx.Done():
			return s, nil
		}
	}
}
