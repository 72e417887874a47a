package site

import (
	"context"
	"sort"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/dispatch"
)

// costPlan works out what the orders in force cost by the hour. The caller holds
// s.mu.
func (s *Site) costPlan(now time.Time) {
	s.costRate = 0
	for _, c := range s.orders {
		if c.State == Active {
			s.costRate = max(0, s.lossUnder(now, true)-s.lossUnder(now, false))
			return
		}
	}
}

// lossUnder is what the limits take from the margin of this instant, in USD per
// hour: from the state in which everything runs as the price alone would have it,
// the way down by the order of money until the limits are kept; with the orders
// in force, or under the connection's own limits only.
func (s *Site) lossUnder(now time.Time, orders bool) float64 {
	if !orders {
		kept := s.orders
		s.orders = nil
		defer func() { s.orders = kept }()
	}
	pic := s.picture(now, 1, s.sum())
	free := &dispatch.Plan{Feasible: true}
	for i := range pic.in.Classes {
		c := &pic.in.Classes[i]
		c.Dwell, c.Switches = nil, nil // a change costs once, and this goes by the hour
		best, worth := "", 0.0
		for _, m := range c.Modes {
			if w := m.USDPerHour.At(0) - m.PowerKW/1000*pic.price; best == "" || w > worth {
				best, worth = m.Name, w
			}
		}
		for _, from := range c.Modes {
			if n := c.Initial[from.Name]; n > 0 && from.Name != best {
				free.Moves = append(free.Moves, dispatch.Move{Class: c.Name, From: from.Name, To: best, Units: n})
			}
		}
	}
	for i := range pic.in.Jobs {
		if j := &pic.in.Jobs[i]; j.Running {
			j.PreemptUSD = 0 // the work lost by a pause is counted when it happens
			if !pic.jobs[j.Name].Interruptible {
				j.PreemptUSD = firmUSD
			}
			free.Runs = append(free.Runs, dispatch.Run{Job: j.Name, Start: 0, End: 1})
		}
	}
	p, err := dispatch.Reflex(pic.in, free, 0, nil)
	if err != nil {
		return 0
	}
	// What it costs to stop firm work is a penalty that orders the way down, no
	// money that is lost.
	penalty := 0.0
	goesOn := map[string]bool{}
	for _, r := range p.Runs {
		goesOn[r.Job] = true
	}
	for _, j := range pic.in.Jobs {
		if j.Running && !goesOn[j.Name] {
			penalty += j.PreemptUSD
		}
	}
	return (-p.ObjectiveUSD - penalty) / s.o.Step.Hours()
}

// pause is a job that was stopped for an order.
type pause struct {
	order   *curtailment
	power   sluice.Watts // at the meter
	usdHour float64      // margin that it made
	lost    float64      // USD of work that is done again
	gone    bool         // nothing of it is left on its host
}

// runPauses notes when the load of stopped jobs is gone, counts what their pause
// costs, and forgets those that run again or whose order is over. The caller
// holds s.mu.
func (s *Site) runPauses(now time.Time, d time.Duration) {
	for id, p := range s.paused {
		j, err := s.o.Compute.Job(id)
		if err != nil || p.order.State != Active || (p.gone && j.State != compute.Queued) {
			delete(s.paused, id)
			continue
		}
		if j.State == compute.Running || j.State == compute.Starting {
			continue // its stop is only just under way
		}
		if !p.gone && j.State != compute.Stopping {
			p.gone = true
			p.order.gone(now, p.power, sluice.ConfirmedByDevice)
			p.order.CostUSD += p.lost
		}
		if p.gone && d > 0 {
			p.order.CostUSD += max(0, p.usdHour) * d.Hours()
			p.order.dirty = true
		}
	}
}

// costRun adds what the orders in force cost over d. The caller holds s.mu.
func (s *Site) costRun(now time.Time, d time.Duration) {
	var active []*curtailment
	for _, c := range s.orders {
		if c.State == Active {
			active = append(active, c)
		}
	}
	s.runPauses(now, d)
	for _, c := range active {
		c.CostUSD += s.costRate * d.Hours() / float64(len(active))
		c.dirty = c.dirty || s.costRate > 0
	}
}

// PreviewCurtailment says what an order would shed and cost, in the order of
// shedding, and changes nothing.
func (s *Site) PreviewCurtailment(_ context.Context, o CurtailmentOrder) (Preview, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.stamp()
	kept, replan := s.orders, s.replan
	c, err := s.newOrder(o, now)
	if err != nil {
		return Preview{}, err
	}
	c.State = Active
	load, _ := s.load(c.node, s.sum(), now)
	v := Preview{Node: c.Node, LimitKW: c.LimitKW, LoadKW: load.KW(), Shed: []PreviewShed{}}
	free := s.lossUnder(now, true)
	from := c.From
	c.From = now
	s.orders = append(append([]*curtailment{}, kept...), c)
	defer func() { s.orders, s.replan = kept, replan }()
	pic := s.picture(now, 1, s.sum())
	s.hurry(pic, c, now)
	p, err := s.reflex(pic)
	if err != nil {
		return Preview{}, err
	}
	v.Feasible = p.Feasible
	v.AfterKW = v.LoadKW
	s.previewMiners(&v, c, pic, p)
	s.previewJobs(&v, c, pic, p)
	hours := c.Until.Sub(from).Hours()
	v.CostUSD += max(0, s.lossUnder(now, true)-free) * hours
	if v.AfterKW > v.LimitKW && v.Feasible && load > c.limit {
		v.Note = "some of the load is not under control"
	}
	if !v.Feasible {
		v.Note = "the limit cannot be kept even if everything that may be stopped stands still"
	}
	if load <= c.limit {
		v.Note = "the load is under this limit already; nothing is shed, and nothing may rise above it"
	}
	return v, nil
}

func (s *Site) previewMiners(v *Preview, c *curtailment, pic *picture, p *dispatch.Plan) {
	for _, m := range firstMoves(pic.in, p) {
		cl := s.classBy[m.Class]
		if cl == nil || !cl.node.under(c.node) {
			continue
		}
		from, _ := cl.mode(m.From)
		to, _ := cl.mode(m.To)
		kw := (s.atMeter(from.Power-to.Power) * sluice.Watts(m.Units)).KW()
		rev := func(x sluice.Mode) float64 {
			return sluice.MiningRevenue(x.HashRate, pic.hash, s.o.PoolFee, time.Hour).USD()
		}
		usd := float64(m.Units)*(rev(from)-rev(to)) - kw/1000*pic.price
		line := PreviewShed{Class: m.Class, From: m.From, To: m.To, Units: m.Units, KW: kw, USDPerHour: usd}
		if kw > 0 {
			line.USDPerKWh = usd / kw
		}
		v.Shed = append(v.Shed, line)
		v.Machines += m.Units
		v.AfterKW -= kw
	}
	sort.SliceStable(v.Shed, func(i, j int) bool { return v.Shed[i].USDPerKWh < v.Shed[j].USDPerKWh })
}

func (s *Site) previewJobs(v *Preview, c *curtailment, pic *picture, p *dispatch.Plan) {
	running := map[string]bool{}
	for _, r := range p.Runs {
		running[r.Job] = running[r.Job] || r.Start == 0
	}
	lines := map[bool]*PreviewShed{}
	for _, dj := range pic.in.Jobs {
		j := pic.jobs[dj.Name]
		h := s.hostClassOf(j)
		if !dj.Running || running[dj.Name] || !h.node.under(c.node) {
			continue
		}
		kw := s.jobPower(j, h).KW()
		line := lines[j.Interruptible]
		if line == nil {
			line = &PreviewShed{Class: j.Class, From: "job", To: sluice.ModeIdle}
			lines[j.Interruptible] = line
		}
		line.Units += j.Units
		line.KW += kw
		line.USDPerHour += j.RateUSDHour*float64(j.Units) - kw/1000*pic.price
		line.Jobs = append(line.Jobs, j.ID)
		v.Jobs++
		v.AfterKW -= kw
		v.CostUSD += lostWork(j)
	}
	for _, spot := range []bool{true, false} {
		if line := lines[spot]; line != nil {
			if line.KW > 0 {
				line.USDPerKWh = line.USDPerHour / line.KW
			}
			v.Shed = append(v.Shed, *line)
		}
	}
}

// lostWork is what a stop of the job costs, in USD: the work that is done again,
// at the job's price. Of a job on real hosts it is what was done since its last
// checkpoint, unless the job is known to save when it is told to end, and its
// restart; of a virtual one half of checkpointEvery, as a restart repeats on average.
func lostWork(j compute.Job) float64 {
	sec := checkpointEvery.Seconds() / 2
	if !j.Virtual && j.LossSeconds > 0 {
		sec = j.LossSeconds
	}
	return j.RateUSDHour * float64(j.Units) * sec / 3600
}
