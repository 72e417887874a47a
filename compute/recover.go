package compute

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sluice"
)

// Recover loads the jobs and takes up what was going on when the last process
// ended, however it did. Call it once, before anything else.
//
//   - What runs is attached; what ended meanwhile is recorded with its status.
//   - A start that was under way is asked for again under the same RunID, which
//     an executor never runs twice.
//   - A stop that was under way is asked for again.
//   - A run that is gone without a record is lost. Its executor says so only
//     when nothing of it is left, so the job may run again: it is queued when it
//     is virtual, interruptible or has left a checkpoint, and Lost otherwise,
//     for nobody but its owner knows whether it may run from the beginning.
func (s *Service) Recover(ctx context.Context, now time.Time) error {
	recs, err := s.cfg.Store.LoadJobs(ctx)
	if err != nil {
		return fmt.Errorf("recover jobs: %w", err)
	}
	var again []*entry
	var over []string
	s.measureDisk(recs)
	s.mu.Lock()
	if s.ready {
		s.mu.Unlock()
		return sluice.Errorf(sluice.Conflict, "", "recover jobs: done already")
	}
	for _, r := range recs {
		e := &entry{Record: r, number: jobNumber(r.Job.ID), live: make([]Usage, len(r.Nodes)), stopping: make([]bool, len(r.Nodes))}
		s.add(e)
		if r.Job.State.Ended() {
			over = append(over, r.Job.ID)
		} else {
			s.open[r.Job.ID] = e
		}
		if e.owes() {
			s.unbilled[r.Job.ID] = e
		}
		s.last = max(s.last, jobNumber(r.Job.ID))
		switch r.Job.State {
		case Starting, Running, Stopping:
			s.active[r.Job.ID] = e
			s.unbilled[r.Job.ID] = e
			again = append(again, e)
		}
		s.seedShare(r, now)
		s.reconcile(e)
	}
	// A folder without a job is left of a submission that never was durable;
	// its number is not used again.
	folders, _ := os.ReadDir(filepath.Join(s.cfg.Dir, "jobs"))
	for _, f := range folders {
		s.last = max(s.last, jobNumber(f.Name()))
	}
	s.ready = true
	s.mu.Unlock()
	for _, e := range again {
		s.reattach(ctx, e)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("recover jobs: %w", err)
	}
	if err := s.recordStarts(ctx, again); err != nil {
		return err
	}
	s.launch(ctx, again)
	s.slim(over...)
	return nil
}

// recordStarts sees to it that the decision of each start that goes on is on record:
// a kill may have come between the two. Why other hosts were refused is not known any
// more.
func (s *Service) recordStarts(ctx context.Context, again []*entry) error {
	if s.cfg.Placements == nil {
		return nil
	}
	for _, e := range again {
		s.mu.Lock()
		j, task := e.Job, e.Task
		t, _ := s.tenant(j.Tenant)
		var hosts []string
		for _, n := range e.Nodes {
			hosts = append(hosts, n.Host)
		}
		s.mu.Unlock()
		if j.State != Starting || j.StartedAt == nil {
			continue
		}
		known, err := s.cfg.Placements.Placements(ctx, j.ID)
		if err != nil {
			return fmt.Errorf("recover jobs: the decisions of %s: %w", j.ID, err)
		}
		if slices.ContainsFunc(known, func(p Placement) bool { return p.Run == j.RunID }) {
			continue
		}
		p := Placement{
			Job: j.ID, Run: j.RunID, At: *j.StartedAt, Tenant: j.Tenant, PolicyVersion: t.Version, Asked: task.Resources,
			Isolation: isolation(task, task.Resources, t), Regions: t.Regions, Labels: t.Labels, Hosts: hosts,
		}
		if err := s.cfg.Placements.PutPlacement(ctx, p); err != nil {
			return fmt.Errorf("recover jobs: store where %s goes: %w", j.ID, err)
		}
	}
	return nil
}

// reattach takes up the nodes that had been started.
func (s *Service) reattach(ctx context.Context, e *entry) {
	s.mu.Lock()
	nodes := append([]NodeRun(nil), e.Nodes...)
	stopping := e.Job.State == Stopping
	if e.Job.State == Running {
		e.runningAt = time.Now() // at the latest
	}
	s.mu.Unlock()
	for _, n := range nodes {
		if n.Handle == "" || n.Exit != nil {
			continue
		}
		x := s.cfg.Executors[n.Executor]
		err := errUnknownExecutor
		if x != nil {
			err = x.Attach(ctx, n.Handle)
		}
		if err != nil && ctx.Err() != nil {
			return // we are to end: it goes on, and the next Recover finds it
		}
		if err != nil {
			s.ended(e, n.RunID, Exit{Code: -1, Lost: true, At: s.cfg.Now(), Why: err.Error(), unseen: true}, false)
			continue
		}
		s.listen(e, n.RunID, s.controlPath(n.RunID))
		if a, ok := x.(Async); ok {
			s.watch(a, e, n.RunID, n.Handle)
		} else {
			s.spawn(func() { s.await(x, e, n.RunID, n.Handle) })
		}
	}
	if stopping {
		s.stop(e)
	}
}

// Shutdown ends the Service in order: processes get the grace to checkpoint and
// are Queued again, to go on at the next start; virtual runs just go on in site
// time, and what runs on other machines goes on there. It returns when all of them have ended or ctx has.
func (s *Service) Shutdown(ctx context.Context) error {
	var orders []Order
	s.mu.Lock()
	s.closing = true
	for id, e := range s.active {
		if s.dies(e) && e.Job.State != Stopping {
			orders = append(orders, Order{ID: id, Action: ActPreempt, Why: "the site shuts down"})
		}
	}
	s.mu.Unlock()
	s.Apply(ctx, time.Time{}, orders)
	stop := context.AfterFunc(ctx, func() { s.mu.Lock(); s.idle.Broadcast(); s.mu.Unlock() })
	defer stop()
	s.mu.Lock()
	var left int
	for {
		left = 0
		for _, e := range s.active {
			if s.dies(e) {
				left++
			}
		}
		if left == 0 || ctx.Err() != nil {
			break
		}
		s.idle.Wait()
	}
	s.mu.Unlock()
	err := s.Sync(context.WithoutCancel(ctx))
	s.Close()
	if err == nil && left > 0 {
		err = sluice.Errorf(sluice.Unavailable, "they go on and are found again at the next start",
			"shut down jobs: %d still ran when the time was up", left)
	}
	return err
}

// dies says whether a run ends when this machine goes down: not a virtual one, and
// not one of other machines alone. Callers hold mu.
func (s *Service) dies(e *entry) bool {
	for i := range e.Nodes {
		if !s.hosts[e.Nodes[i].Host].Remote {
			return !e.Job.Virtual
		}
	}
	return false
}

// Close lets go of the runs, which go on, and ends the Service's goroutines.
func (s *Service) Close() {
	s.mu.Lock()
	s.closing = true
	s.cancel()
	for run, f := range s.ears {
		delete(s.ears, run)
		f()
	}
	s.mu.Unlock()
	s.tasks.Wait()
}
