package site

import (
	"context"
	"fmt"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/dispatch"
)

// enforce brings the load under the limits at once, by the order of money: what
// loses least for each kilowatt goes first. It is the reflex between two plans:
// it looks at this instant only. The caller holds s.mu.
//
// relief is load that has to go from a node beside what its limit says, because
// the meter shows more than the setpoints account for; nil for none.
func (s *Site) enforce(ctx context.Context, now time.Time, c *curtailment, relief map[*node]sluice.Watts) {
	s.raises, s.starts = nil, nil // whatever was to come up waits for the next plan
	trigger := "limit"
	if c != nil {
		trigger = "curtailment"
	}
	pic := s.picture(now, 1, s.sum())
	s.relieve(pic, relief)
	slow := s.hurry(pic, s.orderFor(c, s.root()), now)
	p, err := s.reflex(pic)
	if err != nil {
		s.alarm(now, sluice.Critical, "reflex", s.o.Name, "the reflex failed: "+err.Error(), "")
		return
	}
	d := s.decision(pic, p, trigger, now)
	if slow {
		d.ObjectiveUSD = withoutHurry(pic.in, p)
	}
	for _, m := range firstMoves(pic.in, p) {
		cl := s.classBy[m.Class]
		if cl == nil {
			continue
		}
		from, _ := cl.mode(m.From)
		to, _ := cl.mode(m.To)
		if to.Power >= from.Power {
			continue
		}
		why := fmt.Sprintf("limit of %s; strike %.1f, price %.1f $/MWh: least lost for each kW", s.tightest(cl.node, now),
			s.strikeOf(cl, from, pic.hash), pic.price)
		d.Moves = append(d.Moves, Move{
			Class: m.Class, From: m.From, To: m.To, Units: m.Units,
			KW: -(s.atMeter(from.Power-to.Power) * sluice.Watts(m.Units)).KW(), Reason: why,
		})
		if s.mayAct(cl) {
			s.shed(cl, m.From, m.To, m.Units, now, d.ID, len(d.Moves)-1, s.orderFor(c, cl.node))
		}
	}
	running := map[string]bool{}
	for _, r := range p.Runs {
		running[r.Job] = r.Start == 0
	}
	spared := s.capInstead(ctx, d, pic, p, running, s.orderFor(c, s.root()), now)
	for _, dj := range pic.in.Jobs {
		if j := pic.jobs[dj.Name]; dj.Running && !running[dj.Name] && !spared[dj.Name] {
			h := s.hostClassOf(j)
			s.preempt(d, j, h, s.orderFor(c, h.node), fmt.Sprintf("limit of %s; strike %s, price %s $/MWh: least lost for each kW that is left",
				s.tightest(h.node, now), perMWh(s.jobStrike(j, h)), perMWh(pic.price)))
		}
	}
	s.stopJobs(ctx, now)
	// Also what a price has stopped and what still waits for the disk.
	for _, m := range s.toLaunch {
		m.act.limit = true
	}
	if len(s.toLaunch) > 0 {
		s.beginWave()
	}
	if len(d.Moves)+len(d.JobMoves) > 0 {
		s.record(d)
		s.need(trigger)
	}
}

func (s *Site) orderFor(c *curtailment, n *node) *curtailment {
	if c != nil {
		return c
	}
	return s.orderOver(n)
}

// reflex asks dispatch for the next setpoints from those that stand.
func (s *Site) reflex(pic *picture) (*dispatch.Plan, error) {
	standing := &dispatch.Plan{Feasible: true}
	for _, j := range pic.in.Jobs {
		if j.Running {
			standing.Runs = append(standing.Runs, dispatch.Run{Job: j.Name, Start: 0, End: 1})
		}
	}
	return dispatch.Reflex(pic.in, standing, 0, nil)
}

// tightest names the node above n whose limit an order has lowered, else n.
func (s *Site) tightest(n *node, now time.Time) string {
	for x := n; x != nil; x = x.parent {
		if limit := s.limitAt(x, now); limit > 0 && limit != x.spec.Limit {
			return x.spec.Name
		}
	}
	return n.spec.Name
}

// guardLimits is the last word on limits between two plans: where a load comes
// closer to its limit than a third of the guard, it is brought down at once. The
// caller holds s.mu.
func (s *Site) guardLimits(ctx context.Context, now time.Time, by sums) {
	relief := map[*node]sluice.Watts{}
	for _, n := range s.nodes {
		limit := s.limitAt(n, now)
		if limit == 0 {
			s.clearAlarm(now, "over-limit", n.spec.Name) // of an order that is over
			continue
		}
		load, _ := s.load(n, by, now)
		edge := limit - sluice.Watts(float64(limit)*s.o.Guard/3)
		if load > limit {
			if s.overSince[n].IsZero() {
				s.overSince[n] = now
			}
			s.cutJobs(ctx, now, n, load, limit)
		} else {
			delete(s.overSince, n)
		}
		if load > limit && !s.settling(n, now) {
			s.alarm(now, sluice.Critical, "over-limit", n.spec.Name,
				fmt.Sprintf("draws %v under a limit of %v", load, limit), "machines that do not obey are named by their own alarms; lower the load by hand if it lasts")
		} else {
			s.clearAlarm(now, "over-limit", n.spec.Name)
		}
		if down := s.shedding(n); load-down > edge {
			relief[n] = load - down - s.usable(limit)
		}
	}
	if len(relief) > 0 && s.controls() { // what only observes has nothing to bring down
		s.enforce(ctx, now, nil, relief)
	}
	s.residuals(now, by)
}

// relieve lowers the limits of a picture so that so much goes of what stands.
func (s *Site) relieve(pic *picture, relief map[*node]sluice.Watts) {
	if len(relief) == 0 {
		return
	}
	stands := map[*node]float64{} // kW by the setpoints
	add := func(name string, kw float64) {
		s.nodeBy[name].path(func(x *node) { stands[x] += kw })
	}
	at := map[string]string{}
	for _, c := range pic.in.Classes {
		at[c.Name] = c.Node
		for _, m := range c.Modes {
			add(c.Node, float64(c.Initial[m.Name])*m.PowerKW)
		}
	}
	for _, j := range pic.in.Jobs {
		if j.Running {
			add(at[j.Class], float64(j.Units)*j.PowerKW)
		}
	}
	for i := range pic.in.Nodes {
		n := &pic.in.Nodes[i]
		x := s.nodeBy[n.Name]
		if w, ok := relief[x]; ok {
			to := max(0, stands[x]-w.KW())
			if n.LimitKW == nil || to < n.LimitKW.At(0) {
				v := dispatch.Const(to)
				n.LimitKW = &v
			}
		}
	}
}

// settling says whether an order over the node is so young that its load cannot
// have come down yet.
func (s *Site) settling(n *node, now time.Time) bool {
	for _, c := range s.orders {
		if c.State == Active && (n.under(c.node) || c.node.under(n)) {
			if now.Sub(c.From) < s.proof(shedProof) {
				return true
			}
		}
	}
	return false
}

// shedding is the load below a node that is on its way down.
func (s *Site) shedding(n *node) sluice.Watts {
	var w sluice.Watts
	for _, m := range s.miners {
		waits := m.phase == commanding && m.cancel == nil && !m.act.limit // for the disk
		if m.phase != settled && !waits && m.act.expect < m.act.before && !m.late(s.now) && m.class.node.under(n) {
			if p, _ := m.power(); p > m.act.expect {
				w += s.atMeter(p - m.act.expect)
			}
		}
	}
	for _, j := range s.o.Compute.Active() {
		if h := s.hostClassOf(j); h != nil && j.State == compute.Stopping && h.node.under(n) {
			w += s.jobPower(j, h)
		}
	}
	return w
}

// residuals follows what each meter shows beyond the sum of readings, when all
// below it is quiet: it is load that no plan can move.
func (s *Site) residuals(now time.Time, by sums) {
	for _, n := range s.nodes {
		if n.spec.Meter == nil || n.meterAt.IsZero() || now.Sub(n.meterAt) > s.o.MaxReadingAge {
			n.resid = 0
			continue
		}
		// A machine that ignores its commands is always under way: little is quiet
		// enough.
		if s.shedding(n)+n.pending > n.meter/200+50*sluice.Kilowatt {
			continue
		}
		r := n.meter - by.load[n]
		// Half of a new figure at a time: readings are a little older than the
		// meter's, and a plan that chased each difference would flutter.
		n.resid += (r - n.resid) / 2
		if most := n.meter / 20; n.resid > most {
			n.resid = most
		}
	}
}
