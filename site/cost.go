package site

import (
	"context"
	"sort"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/dispatch"
)

// costPlan works out what the orders in force cost by the hour: the best margin
// of this interval under the connection's own limits, less the best under the
// orders. The caller holds s.mu.
func (s *Site) costPlan(pic *picture, now time.Time) {
	s.costRate = 0
	if !s.ordered(now) {
		return
	}
	free, tight := s.bestMargin(now, false), s.bestMargin(now, true)
	s.costRate = max(0, free-tight)
}

func (s *Site) ordered(now time.Time) bool {
	for _, c := range s.orders {
		if c.State == Active {
			return true
		}
	}
	return false
}

// bestMargin is the margin per hour of the best setpoints for this instant,
// switching left aside, with or without the orders.
func (s *Site) bestMargin(now time.Time, orders bool) float64 {
	if !orders {
		kept := s.orders
		s.orders = nil
		defer func() { s.orders = kept }()
	}
	pic := s.picture(now, 1, s.sum())
	for i := range pic.in.Classes {
		c := &pic.in.Classes[i]
		c.Switches, c.Dwell = nil, nil
		for k := range c.Modes {
			c.Modes[k].MinIntervals = 1
		}
	}
	p, err := dispatch.Solve(pic.in, dispatch.Options{})
	if err != nil {
		return 0
	}
	return p.ObjectiveUSD / s.o.Step.Hours()
}

// costRun adds what the orders in force cost over d. The caller holds s.mu.
func (s *Site) costRun(now time.Time, d time.Duration) {
	var active []*curtailment
	for _, c := range s.orders {
		if c.State == Active {
			active = append(active, c)
		}
	}
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
	c, err := s.newOrder(o, now)
	if err != nil {
		return Preview{}, err
	}
	c.State = Active
	load, _ := s.load(c.node, s.sum(), now)
	v := Preview{Node: c.Node, LimitKW: c.LimitKW, LoadKW: load.KW(), Shed: []PreviewShed{}}
	free := s.bestMargin(now, true)
	kept, replan := s.orders, s.replan
	from := c.From
	c.From = now
	s.orders = append(append([]*curtailment{}, kept...), c)
	defer func() { s.orders, s.replan = kept, replan }()
	pic := s.picture(now, 1, s.sum())
	p, err := s.reflex(pic)
	if err != nil {
		return Preview{}, err
	}
	v.Feasible = p.Feasible
	v.AfterKW = v.LoadKW
	s.previewMiners(&v, c, pic, p)
	s.previewJobs(&v, c, pic, p)
	hours := c.Until.Sub(from).Hours()
	v.CostUSD += max(0, free-s.bestMargin(now, true)) * hours
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
		kw := s.atMeter(h.unitW).KW() * float64(j.Units)
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

// lostWork is what is paid again when a job restarts from its last checkpoint.
func lostWork(j compute.Job) float64 {
	return j.RateUSDHour * float64(j.Units) * checkpointEvery.Hours() / 2
}
