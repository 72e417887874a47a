package compute

import (
	"context"
	"fmt"
	"time"
)

// Notice is something about jobs that a person should know.
type Notice struct {
	Kind     string       // spending, time-limit, never
	About    string       // tenant or job
	Text     string       // for a person
	Spending *SpendNotice // of a spending notice
}

// Tend does what time alone brings about: a job whose time limit is over is
// stopped and has failed, one that waits for what can never come is cancelled, the
// jobs of a tenant that has spent its limit checkpoint, stop and are held, and
// waiting jobs go where there is room. It is called in each turn of the site; it
// never waits for a run to end.
func (s *Service) Tend(ctx context.Context, now time.Time) []Notice {
	var out []Notice
	var stop []*entry
	over := map[string]string{}
	s.refresh()
	s.askSpent()
	s.mu.Lock()
	looked := map[string]bool{}
	for _, e := range s.open {
		t, known := s.tenant(e.Job.Tenant)
		if !known || looked[t.Name] {
			continue
		}
		looked[t.Name] = true
		spent := s.posted[t.Name] + s.unpostedOf(t)
		sp := t.Spending(spent, now)
		if sp.State == SpendReached {
			over[t.Name] = fmt.Sprintf("%s: %s of %s spent this month", HeldBySpending, spent, t.SpendLimit)
		}
		if turn := s.spending.Look(t, spent); turn != SpendNone {
			out = append(out, Notice{
				Kind: "spending", About: t.Name, Spending: &SpendNotice{Tenant: t.Name, Turn: turn, Spending: sp},
				Text: fmt.Sprintf("%s has spent %s of its limit of %s this month; %s", t.Name, spent, t.SpendLimit, sp.Then),
			})
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
					out = append(out, Notice{Kind: "time-limit", About: e.Job.ID, Text: text})
				}
			case over[e.Job.Tenant] != "":
				if x, _ := s.preempt(Order{ID: e.Job.ID, Why: over[e.Job.Tenant]}, Queued); x != nil {
					stop = append(stop, x)
				}
			}
		}
	}
	moved := s.reconsider()
	s.mu.Unlock()
	for _, e := range stop {
		s.stop(e)
	}
	if len(never) > 0 || len(stop) > 0 || len(moved) > 0 {
		_ = s.change(ctx, func() func() {
			for _, e := range moved {
				s.touch(e)
			}
			for _, e := range never {
				if e.Job.State == Queued {
					at := now.UTC()
					e.Job.State, e.Job.Why, e.Job.EndedAt = Cancelled, "what it waits for can never come: "+e.Job.Held, &at
					e.Job.Held = ""
					s.touch(e)
					out = append(out, Notice{Kind: "never", About: e.Job.ID, Text: e.Job.Why})
				}
			}
			return nil
		})
	}
	return out
}
