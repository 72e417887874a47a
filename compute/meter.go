package compute

import (
	"cmp"
	"context"
	"slices"
	"time"

	"sluice"
)

// Use is what a job has used since it was last billed. The site posts Amount
// and calls store.MarkBilled in the same transaction, then Billed.
type Use struct {
	JobID         string
	Tenant        string
	Name          string
	Class         string
	Host          string // of the present run, "" when it has ended
	Units         int
	Virtual       bool
	Interruptible bool
	RateUSDHour   float64
	FromUnitMS    int64   // unit-milliseconds billed before
	ToUnitMS      int64   // and after this Use
	UnitSeconds   float64 // the difference
	Amount        sluice.Money
}

// Meter returns what was used and not yet billed, by job. Usage is in the time
// of the host: site time for virtual ones, wall time for real ones. The amounts
// of all Uses of a job add up to exactly the price of its whole use.
func (s *Service) Meter(now time.Time) []Use {
	s.refresh()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Use
	for _, e := range s.jobs {
		to := e.UsedMS + unitMS(e.live.Seconds, e.Job.Units)
		if to <= e.BilledMS {
			continue
		}
		j := e.Job
		out = append(out, Use{
			JobID: j.ID, Tenant: j.Tenant, Name: j.Name, Class: j.Class, Host: j.Host, Units: j.Units,
			Virtual: j.Virtual, Interruptible: j.Interruptible, RateUSDHour: j.RateUSDHour,
			FromUnitMS: e.BilledMS, ToUnitMS: to, UnitSeconds: float64(to-e.BilledMS) / 1000,
			Amount: price(to, j.RateUSDHour) - price(e.BilledMS, j.RateUSDHour),
		})
	}
	slices.SortFunc(out, func(a, b Use) int { return cmp.Compare(jobNumber(a.JobID), jobNumber(b.JobID)) })
	return out
}

// price of the use at the rate per unit and hour, rounded half to even to the
// micro-dollar.
func price(unitMS int64, usdHour float64) sluice.Money {
	return sluice.Money(sluice.MulDiv(unitMS, int64(sluice.MoneyOfUSD(usdHour)), 3_600_000))
}

// Billed notes that the Uses were posted and marked in a transaction that has
// been committed.
func (s *Service) Billed(uses []Use) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range uses {
		if e := s.jobs[u.JobID]; e != nil && e.BilledMS == u.FromUnitMS {
			e.BilledMS = u.ToUnitMS
			e.BilledUSD += u.Amount
			s.reconcile(e)
		}
	}
}

// reconcile makes what was billed count as used. A run that was metered between
// its end and the record of its end was metered a few milliseconds too long, in
// which it held its units still. Callers hold mu.
func (s *Service) reconcile(e *entry) {
	if _, active := s.active[e.Job.ID]; !active && e.UsedMS < e.BilledMS {
		e.UsedMS = e.BilledMS
		s.dirty[e.Job.ID] = true
	}
}

// refresh reads what the runs use now.
func (s *Service) refresh() {
	s.mu.Lock()
	active := make([]*entry, 0, len(s.active))
	for _, e := range s.active {
		active = append(active, e)
	}
	s.mu.Unlock()
	for _, e := range active {
		s.refreshOne(e)
	}
}

func (s *Service) refreshOne(e *entry) {
	s.mu.Lock()
	x, h, run, virtual := s.cfg.Executors[e.Executor], e.Handle, e.Job.RunID, e.Job.Virtual
	dir := e.checkpointDir(s)
	s.mu.Unlock()
	if x == nil || h == "" {
		return
	}
	u, err := x.Usage(context.WithoutCancel(s.ctx), h)
	var saved time.Time
	if !virtual {
		saved = newest(dir)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Job.RunID != run || e.Handle != h || e.Job.State.Ended() || e.Job.State == Queued {
		return
	}
	if err == nil && u.Seconds >= e.live.Seconds { // never backwards, whatever the clock does
		e.live = u
	}
	if saved.After(e.checkpoint) {
		// Files are dated in wall time, jobs in site time: the stamp is when it
		// was first seen.
		now := s.cfg.Now().UTC()
		if e.checkpoint = saved; e.Job.CheckpointAt == nil || e.Job.Runs > 0 {
			e.Job.CheckpointAt = &now
		}
	}
}
