package compute

import "sluice"

// Cost returns what a job has cost so far, posted or not yet, credits taken off.
// Error: NotFound.
func (s *Service) Cost(id string) (sluice.Money, error) {
	if _, err := s.Job(id); err != nil { // reads what its run uses now
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.jobs[id]
	if e == nil {
		return 0, notFound(id)
	}
	return e.BilledUSD + e.unposted() - e.Job.CreditUSD, nil
}

// unposted is what the next Meter would charge for a job. Callers hold mu.
func (e *entry) unposted() sluice.Money {
	used := max(e.UsedMS+e.liveMS(), e.BilledMS)
	return price(used, e.Job.RateUSDHour) - price(e.BilledMS, e.Job.RateUSDHour)
}

// Unposted is what the tenant's jobs have used and was not posted yet: what a
// spending limit counts beside what was. It reads no executor.
func (s *Service) Unposted(tenant string) sluice.Money {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum sluice.Money
	for _, e := range s.unbilled {
		if e.Job.Tenant == tenant {
			sum += e.unposted()
		}
	}
	return sum
}

// Ended returns the jobs that have ended, in no order and without asking anybody.
func (s *Service) Ended() []Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Job
	for _, e := range s.jobs {
		if e.Job.State.Ended() {
			out = append(out, s.view(e))
		}
	}
	return out
}
