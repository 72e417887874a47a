package compute

import (
	"context"
	"fmt"
	"time"

	"sluice"
)

// stop asks the executors to end the nodes of a run, once each. A node without
// a handle yet is stopped when it has one.
func (s *Service) stop(e *entry) {
	type node struct {
		x Executor
		h Handle
	}
	s.mu.Lock()
	var todo []node
	for i := range e.Nodes {
		n := &e.Nodes[i]
		x := s.cfg.Executors[n.Executor]
		if e.stopping[i] || n.Handle == "" || n.Exit != nil || x == nil {
			continue
		}
		e.stopping[i] = true
		todo = append(todo, node{x, n.Handle})
	}
	if len(todo) > 0 && e.stopAt.IsZero() {
		e.stopAt = time.Now()
	}
	id, grace := e.Job.ID, s.noticeOf(e.Task)
	s.mu.Unlock()
	for _, n := range todo {
		if a, ok := n.x.(Async); ok {
			if err := a.Signal(n.h, grace); err != nil {
				s.note(e, fmt.Sprintf("stopping %s: %v", id, err))
			}
			continue
		}
		s.spawn(func() { s.stopNode(n.x, e, n.h, grace) })
	}
}

// stopNode stops one node. The end itself is told by Wait. A stop that fails is
// tried again: the power that it frees is counted on.
func (s *Service) stopNode(x Executor, e *entry, h Handle, grace time.Duration) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := x.Stop(s.ctx, h, grace)
		if err == nil || s.ctx.Err() != nil {
			return
		}
		s.note(e, fmt.Sprintf("stopping %s: %v", e.Job.ID, err))
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// noticeOf is the time from the order to stop to the kill.
func (s *Service) noticeOf(t *Task) time.Duration {
	if n := t.Interrupt.Notice; n > 0 {
		return n
	}
	return s.cfg.Grace
}

// Cut kills at once a run that is stopping within its notice, because a limit
// cannot be kept otherwise. That breaks what the client was promised: it is
// recorded on the job and credited with the work that was lost, at the job's
// price, at least a minute of it. Errors: NotFound; Conflict when the job is not
// stopping.
func (s *Service) Cut(ctx context.Context, id, why string) error {
	type node struct {
		x Executor
		h Handle
	}
	var todo []node
	var failed error
	var entryOf *entry
	s.mu.Lock()
	e := s.jobs[id]
	switch {
	case e == nil:
		failed = notFound(id)
	case e.Job.State != Stopping:
		failed = sluice.Errorf(sluice.Conflict, "", "job %s is %s, not stopping", id, e.Job.State)
	case e.cut:
	default:
		e.cut, entryOf = true, e
		for i := range e.Nodes {
			if n := &e.Nodes[i]; n.Handle != "" && n.Exit == nil && s.cfg.Executors[n.Executor] != nil {
				e.stopping[i] = true
				todo = append(todo, node{s.cfg.Executors[n.Executor], n.Handle})
			}
		}
	}
	s.mu.Unlock()
	if entryOf == nil {
		return failed
	}
	for _, n := range todo {
		if a, ok := n.x.(Async); ok {
			_ = a.Signal(n.h, 0)
			continue
		}
		s.spawn(func() { s.stopNode(n.x, entryOf, n.h, 0) })
	}
	return s.change(ctx, func() func() {
		e := entryOf
		e.Job.Cuts++
		e.Job.CreditUSD += sluice.MoneyOfUSD(max(s.unsaved(e), 60) / 3600 * e.Job.RateUSDHour * float64(e.Job.Units))
		e.Job.Why += "; cut before its notice was over: " + why
		s.touch(e)
		return nil
	})
}

// note puts a line for a person on a job that is otherwise unchanged.
func (s *Service) note(e *entry, why string) {
	_ = s.change(s.ctx, func() func() {
		e.Job.Why = why
		s.touch(e)
		return nil
	})
}

// learnStop notes what a stop on order has shown: whether the job saves its work
// when it is told to end, and how long that takes. Callers hold mu.
func (s *Service) learnStop(e *entry) {
	if e.Job.Virtual || e.stopAt.IsZero() {
		return
	}
	e.Lessons.Stops++
	if !e.saved.Before(e.stopAt.Add(-time.Second)) {
		e.Lessons.Saved++
	}
	took := time.Since(e.stopAt).Seconds()
	if e.Lessons.StopSec == 0 {
		e.Lessons.StopSec = took
	}
	e.Lessons.StopSec += (took - e.Lessons.StopSec) / 2
	e.stopAt = time.Time{}
}

// unsaved is the running time since the last checkpoint. Callers hold mu.
func (s *Service) unsaved(e *entry) float64 {
	ran := e.liveSeconds()
	if e.Job.Virtual {
		return ran
	}
	if e.saved.IsZero() || e.runningAt.After(e.saved) {
		return ran
	}
	return min(ran, max(0, time.Since(e.saved).Seconds()))
}

// defaultRestart is how long a job takes from its start until it gets on with
// its work, where its own past does not tell.
const defaultRestart = 30 * time.Second

// loss is the running time that a stop now would cost: what is not saved, unless
// the job has shown that it saves when it is told to end, and the restart.
// Callers hold mu.
func (s *Service) loss(e *entry) float64 {
	restart := e.Lessons.RestartSec
	if restart == 0 {
		restart = defaultRestart.Seconds()
	}
	unsaved := s.unsaved(e)
	if l := e.Lessons; l.Stops > 0 {
		unsaved *= 1 - float64(l.Saved)/float64(l.Stops)
	}
	return unsaved + restart
}
