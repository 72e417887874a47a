package compute

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// change makes a change under the locks and stores it. mutate returns how to
// take it back, or nil for a change that stays made and is stored later when
// the store fails now. Where ctx ends before others have stored theirs, nothing
// is changed: what must not wait for a disk is made first, under mu, and stored by
// Sync.
func (s *Service) change(ctx context.Context, mutate func() (undo func())) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	return s.changing(ctx, mutate)
}

// take puts a token into write, if need be within ctx.
func (s *Service) take(ctx context.Context) error {
	select {
	case s.write <- struct{}{}:
		return nil
	default:
	}
	select {
	case s.write <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting to write: %w", ctx.Err())
	}
}

// changing is change for a caller who has put a token into write already.
func (s *Service) changing(ctx context.Context, mutate func() (undo func())) error {
	s.mu.Lock()
	undo := mutate()
	s.mu.Unlock()
	err := s.store(ctx)
	s.mu.Lock()
	if err != nil && undo != nil {
		undo()
	}
	if s.cfg.OnChange != nil {
		for _, id := range s.touched {
			if e := s.jobs[id]; e != nil {
				s.changes = append(s.changes, s.view(e))
			}
		}
	}
	s.touched = nil
	s.mu.Unlock()
	<-s.write
	s.tell()
	return err
}

// touch marks the job as changed, to be stored and told. One that is not known (any
// more) is left alone. Callers hold mu.
func (s *Service) touch(e *entry) {
	if s.jobs[e.Job.ID] != e {
		return
	}
	s.dirty[e.Job.ID] = true
	s.touched = append(s.touched, e.Job.ID)
	if e.Job.State.Ended() {
		delete(s.open, e.Job.ID)
	} else {
		s.open[e.Job.ID] = e
	}
	switch e.Job.State {
	case Starting, Running, Stopping:
		s.active[e.Job.ID] = e
	default:
		delete(s.active, e.Job.ID)
		s.idle.Broadcast()
	}
	if s.active[e.Job.ID] != nil || e.owes() {
		s.unbilled[e.Job.ID] = e
	} else {
		delete(s.unbilled, e.Job.ID)
	}
}

// store writes everything that changed in one transaction. Callers hold write.
func (s *Service) store(ctx context.Context) error {
	s.mu.Lock()
	ids := slices.Sorted(maps.Keys(s.dirty))
	recs := make([]Record, 0, len(ids))
	for _, id := range ids {
		r := s.jobs[id].Record
		// What goes on changing while it is written.
		r.Nodes, r.Lessons.Speed = slices.Clone(r.Nodes), r.Lessons.Speed.Clone()
		recs = append(recs, r)
	}
	clear(s.dirty)
	s.mu.Unlock()
	if len(recs) == 0 {
		return nil
	}
	err := s.cfg.Store.PutJobs(ctx, recs)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
	if err == nil {
		return nil
	}
	for _, id := range ids {
		s.dirty[id] = true
	}
	return fmt.Errorf("store %d jobs: %w", len(ids), err)
}

// Sync stores what could not be stored before. Its error says that job states
// are only in memory: raise an alarm and call again.
func (s *Service) Sync(ctx context.Context) error {
	return s.change(ctx, func() func() { return nil })
}

// tell hands the changes to OnChange in the order they were made, with no lock
// held: whoever comes second leaves his to the first, so a callback that waits
// for the caller of another change cannot deadlock.
func (s *Service) tell() {
	s.mu.Lock()
	if s.telling {
		s.mu.Unlock()
		return
	}
	s.telling = true
	for len(s.changes) > 0 {
		todo := s.changes
		s.changes = nil
		s.mu.Unlock()
		for _, j := range todo {
			s.cfg.OnChange(j)
		}
		s.mu.Lock()
	}
	s.telling = false
	s.mu.Unlock()
}
