package compute

import (
	"cmp"
	"context"
	"math"
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
	FromMilliWh   int64        // energy posted before, in thousandths of a watt-hour
	MilliWh       int64        // and now
	Credited      sluice.Money // before
	Credit        sluice.Money // given back for notice that was cut short
}

// Meter returns what was used and not yet billed, by job. Usage is in the time
// of the host: site time for virtual ones, wall time for real ones. The amounts
// of all Uses of a job add up to exactly the price of its whole use.
func (s *Service) Meter(now time.Time) []Use {
	s.refresh()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Use
	for _, e := range s.unbilled {
		to := e.UsedMS + e.liveMS()
		to = max(to, e.BilledMS)
		if to == e.BilledMS && e.Job.CreditUSD == e.CreditedUSD {
			continue
		}
		j := e.Job
		out = append(out, Use{
			JobID: j.ID, Tenant: j.Tenant, Name: j.Name, Class: j.Class, Host: j.Host, Units: j.Units,
			Virtual: j.Virtual, Interruptible: j.Interruptible, RateUSDHour: j.RateUSDHour,
			FromUnitMS: e.BilledMS, ToUnitMS: to, UnitSeconds: float64(to-e.BilledMS) / 1000,
			Amount:      price(to, j.RateUSDHour) - price(e.BilledMS, j.RateUSDHour),
			FromMilliWh: e.PostedMilliWh, MilliWh: max(0, s.milliWh(e)-e.PostedMilliWh),
			Credited: e.CreditedUSD, Credit: j.CreditUSD - e.CreditedUSD,
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
			e.CreditedUSD += u.Credit
			e.PostedMilliWh += u.MilliWh
			s.share(u.Tenant, u.UnitSeconds)
			s.reconcile(e)
		}
	}
}

// reconcile makes what was billed count as used. A run that was metered between
// its end and the record of its end was metered a few milliseconds too long, in
// which it held its units still. Callers hold mu.
func (s *Service) reconcile(e *entry) {
	_, active := s.active[e.Job.ID]
	if !active && e.UsedMS < e.BilledMS {
		e.UsedMS = e.BilledMS
		s.dirty[e.Job.ID] = true
	}
	if !active && !e.owes() {
		delete(s.unbilled, e.Job.ID)
	}
}

// owes says whether something of an ended job is not posted yet.
func (e *entry) owes() bool { return e.UsedMS > e.BilledMS || e.Job.CreditUSD > e.CreditedUSD }

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
	type node struct {
		rank int
		run  string
		x    Executor
		h    Handle
	}
	var few [1]node
	todo := few[:0]
	s.mu.Lock()
	for i := range e.Nodes {
		n := &e.Nodes[i]
		if x := s.cfg.Executors[n.Executor]; x != nil && n.Handle != "" && n.Exit == nil {
			todo = append(todo, node{i, n.RunID, x, n.Handle})
		}
	}
	virtual := e.Job.Virtual
	s.mu.Unlock()
	for _, n := range todo {
		u, err := n.x.Usage(context.WithoutCancel(s.ctx), n.h)
		if err != nil {
			continue
		}
		s.mu.Lock()
		// Never backwards, whatever the clock does.
		if e.nodeOf(n.run) == n.rank && e.Nodes[n.rank].Exit == nil && u.Seconds >= e.live[n.rank].Seconds {
			e.live[n.rank] = u
		}
		s.mu.Unlock()
	}
	if !virtual && len(todo) > 0 {
		s.lookForCheckpoint(e, false)
	}
}

// energy is what a node has used: by its readings, else by what its host is said
// to draw for each unit.
func (s *Service) energy(e *entry, rank int, u Usage) (wh float64, estimated bool) {
	if u.EnergyWh > 0 {
		return u.EnergyWh, false
	}
	n := e.Nodes[rank]
	h := s.hosts[n.Host]
	// A limit of power is taken to be drawn in full.
	return float64(h.power(n.Units)) * max(0, u.Seconds-u.Saved) / 3600, h.UnitW > 0 && u.Seconds > 0
}

// milliWh is what a job has used so far, in thousandths of a watt-hour. Callers
// hold mu.
func (s *Service) milliWh(e *entry) int64 {
	wh := e.Job.EnergyWh
	for i, u := range e.live {
		if i < len(e.Nodes) && e.Nodes[i].Exit == nil {
			more, _ := s.energy(e, i, u)
			wh += more
		}
	}
	return int64(math.Round(wh * 1000))
}

// addEnergy adds what an ended node has used, and what its folders held for as
// long as it ran. Callers hold mu.
func (s *Service) addEnergy(e *entry, rank int, u Usage) {
	wh, estimated := s.energy(e, rank, u)
	e.Job.EnergyWh += wh
	e.Job.EnergyEstimated = e.Job.EnergyEstimated || estimated
	e.Job.StorageGBHours += float64(u.DiskBytes) / 1e9 * u.Seconds / 3600
}
