package compute

import (
	"cmp"
	"fmt"
	"slices"

	"sluice"
)

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
	if most := r.Task.Resources.MaxUSDPerHour; most > 0 {
		if err := affordable(r, most); err != nil {
			return err
		}
	}
	if t.Disabled {
		return sluice.Errorf(sluice.Invalid, "ask the operator", "the tenant %s is disabled", t.Name)
	}
	if t.MaxPriority > 0 && r.Priority > t.MaxPriority {
		return sluice.Errorf(sluice.Invalid, fmt.Sprintf("ask for %d or less", t.MaxPriority), "priority %d is more than the tenant may ask for", r.Priority)
	}
	if t.MaxQueued > 0 {
		s.mu.Lock()
		n := 0
		for _, e := range s.open {
			if e.Job.Tenant == t.Name && e.Job.State == Queued {
				n++
			}
		}
		s.mu.Unlock()
		count := 1
		if r.Task.Array != nil {
			count = len(r.Task.Array.Indexes)
		}
		if n+count > t.MaxQueued {
			return sluice.Errorf(sluice.Conflict, "wait until some have begun, or cancel some",
				"%d jobs of %s wait already, it may have %d", n, t.Name, t.MaxQueued)
		}
	}
	if t.SpendLimit > 0 {
		s.mu.Lock()
		spent := s.spent(t)
		s.mu.Unlock()
		if spent >= t.SpendLimit {
			return sluice.Errorf(sluice.Conflict, "ask the operator to raise it, or wait for the next month",
				"%s has spent its limit: %.2f of %.2f USD", t.Name, spent.USD(), t.SpendLimit.USD())
		}
	}
	return nil
}

// MaxArray is the most jobs of one array.
const MaxArray = 10_000

// affordable refuses a task whose cheapest choice costs more than it wants to pay.
func affordable(r SubmitRequest, most float64) error {
	nodes := float64(max(1, r.Task.NumNodes))
	price := func(c Choice) float64 { return c.RateUSDHour * float64(max(1, c.UnitsPerNode)) * nodes }
	all := r.Choices
	if len(all) == 0 {
		all = []Choice{{RateUSDHour: r.RateUSDHour, UnitsPerNode: cmp.Or(r.Units, r.Task.Resources.GPUs)}}
	}
	cheapest := slices.MinFunc(all, func(a, b Choice) int { return cmp.Compare(price(a), price(b)) })
	if p := price(cheapest); p > most {
		return sluice.Errorf(sluice.Invalid, "raise max_hourly_cost, or ask for less", "max_hourly_cost is %.4g USD, this task costs %.4g USD an hour here", most, p)
	}
	return nil
}

// egress is what a job may reach.
func (s *Service) egress(j Job) Egress {
	if j.Isolation == IsolationNone || j.Isolation == "" {
		return EgressHost
	}
	t, _ := s.tenant(j.Tenant)
	return cmp.Or(t.Egress, EgressOpen)
}
