package compute

import (
	"context"
	"fmt"
	"time"

	"sluice"
)

// Notice is something about jobs that a person should know.
type Notice struct {
	Kind  string // spending-80, spending-100, time-limit, never
	About string // tenant or job
	Text  string
}

// Tend does what time alone brings about: a job whose time limit is over is
// stopped and has failed, one that waits for what can never come is cancelled, and
// the jobs of a tenant that has spent its limit checkpoint, stop and are held. It
// is called in each turn of the site; it never waits for a run to end.
func (s *Service) Tend(ctx context.Context, now time.Time) []Notice {
	var out []Notice
	var stop []*entry
	over := map[string]string{}
	s.refresh()
	s.mu.Lock()
	for _, e := range s.active {
		t, known := s.tenant(e.Job.Tenant)
		if !known || t.SpendLimit <= 0 {
			continue
		}
		if _, seen := over[t.Name]; seen {
			continue
		}
		spent := s.spent(t)
		over[t.Name] = ""
		switch {
		case spent >= t.SpendLimit:
			over[t.Name] = fmt.Sprintf("spending limit: %.2f of %.2f USD are spent", spent.USD(), t.SpendLimit.USD())
			out = append(out, Notice{"spending-100", t.Name, fmt.Sprintf("%s has spent %.2f of %.2f USD: its jobs save their work, stop and wait until the limit is raised or the month ends",
				t.Name, spent.USD(), t.SpendLimit.USD())})
		case sluice.MulDiv(int64(spent), 100, int64(t.SpendLimit)) >= 80:
			out = append(out, Notice{"spending-80", t.Name, fmt.Sprintf("%s has spent %.2f of %.2f USD", t.Name, spent.USD(), t.SpendLimit.USD())})
		}
	}
	var never []*entry
	for _, e := range s.open {
		switch e.Job.State {
		case Queued:
			if len(e.Task.After) > 0 {
				if why, no := s.depends(e); no {
					e.Job.Held = why
					never = append(never, e)
				}
			}
		case Starting, Running:
			limit, ran := e.Task.TimeLimit.Seconds(), e.Job.RunSeconds+e.liveSeconds()
			if limit > 0 && e.Task.Interrupt.Before > 0 && ran >= limit-e.Task.Interrupt.Before.Seconds() {
				limit = ran // its signal comes before the limit
			}
			switch {
			case limit > 0 && ran >= limit:
				text := fmt.Sprintf("its time limit of %s is over", e.Task.TimeLimit)
				if x, _ := s.preempt(Order{ID: e.Job.ID, Why: text}, Failed); x != nil {
					stop = append(stop, x)
					out = append(out, Notice{"time-limit", e.Job.ID, text})
				}
			case over[e.Job.Tenant] != "":
				if x, _ := s.preempt(Order{ID: e.Job.ID, Why: over[e.Job.Tenant]}, Queued); x != nil {
					stop = append(stop, x)
				}
			}
		}
	}
	s.mu.Unlock()
	for _, e := range stop {
		s.stop(e)
	}
	if len(never) > 0 || len(stop) > 0 {
		_ = s.change(ctx, func() func() {
			for _, e := range never {
				if e.Job.State == Queued {
					at := now.UTC()
					e.Job.State, e.Job.Why, e.Job.EndedAt = Cancelled, "what it waits for can never come: "+e.Job.Held, &at
					e.Job.Held = ""
					s.touch(e)
					out = append(out, Notice{"never", e.Job.ID, e.Job.Why})
				}
			}
			return nil
		})
	}
	return out
}

// TakePlacements hands over the decisions where jobs go that were made since the
// last call, for whoever keeps them.
func (s *Service) TakePlacements() []Placement {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.placements
	s.placements = nil
	return out
}
