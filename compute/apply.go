package compute

import (
	"context"
	"fmt"
	"time"

	"sluice"
)

// Action is what an Order does to a job.
type Action string

// Actions.
const (
	ActStart   Action = "start"
	ActPreempt Action = "preempt"
)

// Order is one act on a job, with the reason for a person.
type Order struct {
	ID     string
	Action Action
	Why    string
}

// Start places a queued job on a host (best fit) and starts it. It returns once
// the decision is durable; the start itself goes on by itself. Errors: NotFound;
// Conflict, with the reason, when the job is not queued or no host has room.
func (s *Service) Start(ctx context.Context, now time.Time, id, why string) error {
	return s.Apply(ctx, now, []Order{{id, ActStart, why}})[0]
}

// Preempt asks a running job to end: SIGTERM, the grace, SIGKILL, then it is
// Queued again with its progress and its checkpoint folder. It returns once the
// stop is under way. However the run ends after this, also by itself with
// status 0, it counts as preempted: whether the work was done is for the next
// run to find in its checkpoint. Errors: NotFound; Conflict when it does not run.
func (s *Service) Preempt(ctx context.Context, now time.Time, id, why string) error {
	return s.Apply(ctx, now, []Order{{id, ActPreempt, why}})[0]
}

// Apply carries out many orders with one transaction. The result has one error
// for each order, nil where it is under way. Preemptions go first.
func (s *Service) Apply(ctx context.Context, now time.Time, orders []Order) []error {
	errs := make([]error, len(orders))
	var stop, start []*entry
	old := map[*entry]Record{}
	at := make(map[*entry]int, len(orders))
	// A preemption goes before its storing and whatever that waits for: a power
	// limit does not wait for a disk. After a crash in between, the executor
	// knows that the run was stopped.
	s.mu.Lock()
	for i, o := range orders {
		if o.Action != ActPreempt {
			continue
		}
		var e *entry
		if e, errs[i] = s.preempt(o, Queued); e != nil {
			stop = append(stop, e)
		}
	}
	s.mu.Unlock()
	for _, e := range stop {
		s.stop(e)
	}
	// The ends of those runs are being stored, each in its turn: a caller in a hurry
	// does not wait for all of them.
	if err := s.take(ctx); err != nil {
		for i, o := range orders {
			if o.Action != ActPreempt {
				errs[i] = fmt.Errorf("%s: %w", o.Action, err)
			}
		}
		return errs
	}
	var decided []Placement
	err := s.changing(ctx, func() func() {
		var f *floor
		defer func() { decided, s.placements = s.placements, nil }()
		for i, o := range orders {
			if o.Action == ActPreempt {
				continue
			}
			if o.Action != ActStart {
				errs[i] = sluice.Errorf(sluice.Invalid, "", "unknown action %q", o.Action)
				continue
			}
			e := s.jobs[o.ID]
			if f == nil {
				f = s.floor()
			}
			var places []place
			if places, errs[i] = s.startable(now, e, o.ID, f); errs[i] != nil {
				continue
			}
			old[e], at[e] = e.Record, i
			t := now.UTC()
			e.Job.State, e.Job.Why, e.After, e.Job.Held = Starting, o.Why, "", ""
			e.Job.Runs++
			e.Job.RunID = fmt.Sprintf("%s-r%d", e.Job.ID, e.Job.Runs)
			e.Job.StartedAt, e.Job.Isolation = &t, places[0].isolation
			if e.Job.BeganAt == nil {
				e.Job.BeganAt = &t
			}
			e.setNodes(places, e.Job.RunID)
			e.stopAt, e.runningAt, e.Cut, e.ready = time.Time{}, time.Time{}, false, false
			s.touch(e)
			f.look.took(e)
			start = append(start, e)
		}
		return func() {
			for e, rec := range old {
				s.restore(e, rec)
			}
		}
	})
	if err == nil {
		// No work begins whose decision is not on record.
		err = s.keepPlacements(ctx, decided, old)
	}
	if err != nil {
		for _, i := range at {
			errs[i] = fmt.Errorf("start: %w", err)
		}
		return errs
	}
	s.launch(ctx, start)
	return errs
}

// keepPlacements stores the decisions of a change. Where they cannot be stored, the
// starts are taken back: they wait again.
func (s *Service) keepPlacements(ctx context.Context, decided []Placement, start map[*entry]Record) error {
	if s.cfg.Placements == nil || len(decided) == 0 {
		return nil
	}
	err := s.cfg.Placements.PutPlacement(ctx, decided...)
	if err == nil {
		return nil
	}
	s.mu.Lock()
	for e, rec := range start {
		if e.After == Cancelled { // meanwhile
			s.finish(e, Cancelled, "cancelled", Exit{At: s.cfg.Now(), Lost: true})
			continue
		}
		s.restore(e, rec)
		e.Job.Why = "the decision where it goes could not be stored"
	}
	s.mu.Unlock()
	_ = s.Sync(ctx)
	return fmt.Errorf("store the decisions where jobs go: %w", err)
}

// restore takes a start or an end of a waiting job back, but for what was posted of
// the job meanwhile. Callers hold mu.
func (s *Service) restore(e *entry, old Record) {
	old.BilledMS, old.BilledUSD, old.PostedMilliWh, old.CreditedUSD = e.BilledMS, e.BilledUSD, e.PostedMilliWh, e.CreditedUSD
	old.UsedMS = max(old.UsedMS, old.BilledMS)
	e.Record = old
	e.live, e.stopping = nil, nil
	s.touch(e)
}

// startable checks one start and finds its places. Callers hold mu.
func (s *Service) startable(now time.Time, e *entry, id string, f *floor) ([]place, error) {
	switch {
	case e == nil:
		return nil, notFound(id)
	case s.closing:
		return nil, sluice.Errorf(sluice.Conflict, "", "job %s: the site is shutting down", id)
	case e.Job.State != Queued:
		return nil, sluice.Errorf(sluice.Conflict, "", "job %s is %s, only a queued job starts", id, e.Job.State)
	}
	if why := f.look.holds(e); why != "" {
		return nil, sluice.Errorf(sluice.Conflict, "", "job %s is held: %s", id, why)
	}
	return s.place(now, e, f)
}

// preempt marks a job as stopping. It returns nil without an error where it
// stops already. Callers hold mu.
func (s *Service) preempt(o Order, after State) (*entry, error) {
	e := s.jobs[o.ID]
	if e == nil {
		return nil, notFound(o.ID)
	}
	switch e.Job.State {
	case Starting, Running:
	case Stopping:
		if after == Cancelled && e.After != Cancelled {
			e.After, e.Job.Why = after, o.Why
			s.touch(e)
		}
		return nil, nil
	default:
		return nil, sluice.Errorf(sluice.Conflict, "", "job %s is %s, it does not run", o.ID, e.Job.State)
	}
	e.Job.State, e.Job.Why, e.After = Stopping, o.Why, after
	s.touch(e)
	return e, nil
}

// Cancel ends a job for good: at once when it is queued, else as Preempt does,
// and then it is Cancelled. Cancelling an ended job changes nothing and returns
// it. The cancellation is durable before it returns. Errors: NotFound.
func (s *Service) Cancel(ctx context.Context, now time.Time, id string) (Job, error) {
	var stop *entry
	var failed error
	late := false
	s.mu.Lock()
	if e := s.jobs[id]; e != nil && e.Job.State != Queued && !e.Job.State.Ended() {
		stop, failed = s.preempt(Order{ID: id, Why: "cancelled"}, Cancelled)
	}
	s.mu.Unlock()
	if stop != nil {
		s.stop(stop) // also when it cannot be stored: the person wants it to end
	}
	err := s.change(ctx, func() func() {
		e := s.jobs[id]
		switch {
		case e == nil:
			failed = notFound(id)
		case e.Job.State == Queued:
			old, t := e.Record, now.UTC()
			e.Job.State, e.Job.Why, e.Job.EndedAt = Cancelled, "cancelled before it ran", &t
			if e.Job.Runs > 0 {
				e.Job.Why = "cancelled while it waited"
			}
			s.touch(e)
			return func() { s.restore(e, old) }
		case !e.Job.State.Ended(): // it has started while this waited for its turn
			stop, failed = s.preempt(Order{ID: id, Why: "cancelled"}, Cancelled)
			late = stop != nil
		}
		return nil
	})
	if late {
		s.stop(stop)
	}
	if failed == nil && err != nil {
		failed = fmt.Errorf("cancel job %s: %w", id, err)
	}
	if failed != nil {
		return Job{}, failed
	}
	s.slim(id)
	return s.Job(id)
}
