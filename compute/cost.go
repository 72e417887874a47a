package compute

import "sluice"

// Cost is what a job has cost so far, posted or not yet. Error: NotFound.
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
	return e.soFar(), nil
}

// soFar is what was posted of a job and what the next Meter would add. Callers
// hold mu.
func (e *entry) soFar() sluice.Money {
	used := max(e.UsedMS+e.liveMS(), e.BilledMS)
	return e.BilledUSD + price(used, e.Job.RateUSDHour) - price(e.BilledMS, e.Job.RateUSDHour)
}

// Unposted is what the tenant's jobs have used and Meter has not been asked for
// yet: what a spending limit counts beside what was posted. It reads no executor.
func (s *Service) Unposted(tenant string) sluice.Money {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unposted(tenant)
}

func (s *Service) unposted(tenant string) sluice.Money {
	var sum sluice.Money
	for _, e := range s.unbilled {
		if e.Job.Tenant == tenant {
			sum += e.soFar() - e.BilledUSD
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
