package compute

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"sluice"
)

// Admits says why a submission would be refused for what its tenant may do.
func (s *Service) Admits(r SubmitRequest) error { return s.admits(r) }

// admits checks a submission against what its tenant may do.
func (s *Service) admits(r SubmitRequest) error {
	t, known := s.tenant(r.Tenant)
	if !known {
		return sluice.Errorf(sluice.Invalid, "the operator adds one with sluice tenant add", "there is no tenant %q", r.Tenant)
	}
	for _, d := range r.Task.After {
		for _, id := range d.Jobs {
			s.mu.Lock()
			m := s.members(id)
			known := len(m) > 0 && m[0].Job.Tenant == r.Tenant
			s.mu.Unlock()
			if !known {
				return sluice.Errorf(sluice.Invalid, "sluice job list shows the jobs", "dependency %s: there is no job %q", d.Kind, id)
			}
		}
	}
	if a := r.Task.Array; a != nil && (len(a.Indexes) == 0 || len(a.Indexes) > MaxArray) {
		return sluice.Errorf(sluice.Invalid, fmt.Sprintf("an array has at most %d jobs", MaxArray), "an array of %d jobs", len(a.Indexes))
	}
	count, nodes := 1, max(1, r.Task.NumNodes)
	if r.Task.Array != nil {
		count = len(r.Task.Array.Indexes)
	}
	s.askSpentBy(t.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	queued := 0
	if t.MaxQueued > 0 {
		for _, e := range s.open {
			if e.Job.Tenant == t.Name && e.Job.State == Queued {
				queued++
			}
		}
	}
	return t.Check(s.look().spent(t), s.heldUnits(t.Name), queued, LimitRequest{
		Units: nodes * cmp.Or(r.Units, unitsOf(r.Task.Resources)), Priority: r.Priority,
		Isolation: r.Task.Resources.Isolation, Jobs: count,
	})
}

// unitsOf is how many units of a host a node takes: its GPUs, or CPU slots.
func unitsOf(r Resources) int { return cmp.Or(r.GPUs, max(1, int(math.Ceil(r.CPUs)))) }

// MaxArray is the most jobs of one array.
const MaxArray = 10_000

// affordable leaves out the choices that cost more than the task wants to pay.
func affordable(t *Task, choices []Choice) ([]Choice, error) {
	nodes := float64(max(1, t.NumNodes))
	var first error
	out := slices.DeleteFunc(slices.Clone(choices), func(c Choice) bool {
		most, p := c.Resources.MaxUSDPerHour, c.RateUSDHour*float64(c.UnitsPerNode)*nodes
		if most <= 0 || p <= most {
			return false
		}
		first = cmp.Or(first, sluice.Errorf(sluice.Invalid, "raise max_hourly_cost, or ask for less",
			"max_hourly_cost is %.4g USD, this task costs %.4g USD an hour here", most, p))
		return true
	})
	if len(out) == 0 {
		return nil, first
	}
	return out, nil
}

// egress is what a job may reach.
func (s *Service) egress(j Job) (Egress, []string) {
	if j.Isolation == IsolationNone || j.Isolation == "" {
		return EgressHost, nil
	}
	t, _ := s.tenant(j.Tenant)
	return t.Reaches(), t.EgressAllow
}
