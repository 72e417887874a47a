package site

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sort"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/dispatch"
)

// plan makes a plan and adopts it. The solver runs without s.mu, so that orders
// and people are answered meanwhile; a plan made under limits that have changed
// since is dropped and made again.
func (s *Site) plan(ctx context.Context, now, began time.Time) {
	for range 3 {
		s.mu.Lock()
		s.learnCurves(now)
		trigger := s.replan
		pic := s.picture(now, int(s.o.Horizon/s.o.Step), s.sum())
		s.mu.Unlock()
		t0 := time.Now()
		p, err := s.o.Solve(pic.in)
		solve := time.Since(t0)
		s.mu.Lock()
		if err != nil {
			s.alarm(now, sluice.Critical, "plan", s.o.Name, "no plan could be made: "+err.Error(), "limits are kept all the same; please report this with the decision's inputs")
			s.plannedFor, s.plannedAt, s.replan = pic.from, now, ""
			s.mu.Unlock()
			return
		}
		if pic.limitGen != s.limitGen {
			s.mu.Unlock()
			continue
		}
		s.clearAlarm(now, "plan", s.o.Name)
		s.adopt(ctx, pic, p, trigger, now, solve, began)
		s.mu.Unlock()
		return
	}
}

// adopt makes the plan's first interval the site's setpoints. The caller holds
// s.mu.
func (s *Site) adopt(ctx context.Context, pic *picture, p *dispatch.Plan, trigger string, now time.Time, solve time.Duration, began time.Time) {
	interval := !pic.from.Equal(s.plannedFor)
	s.replan, s.plannedFor, s.plannedAt, s.solveWall = "", pic.from, now, solve
	s.raises, s.starts, s.early = nil, nil, nil
	s.worth = map[string]float64{}
	for _, n := range s.nodes {
		s.worth[n.spec.Name] = shadow(p, n, pic.price)
	}
	d := s.decision(pic, p, trigger, now)
	d.SolveMS = float64(solve.Microseconds()) / 1000
	s.setAlarm(!p.Feasible, now, sluice.Critical, "over-limit-plan", s.o.Name,
		"no plan keeps the limits, though everything stands still", "look at the machines that are locked, pinned or do not obey")
	s.adoptReserves(p, now)
	s.whoStarts(pic, p)
	for _, m := range firstMoves(pic.in, p) {
		s.adoptMove(d, pic, p, m, now)
	}
	s.adoptJobs(ctx, d, pic, p, now)
	s.costPlan(now)
	s.planInfo = &PlanInfo{
		At: now, Decision: d.ID, HorizonHours: s.o.Horizon.Hours(), ObjectiveUSD: p.ObjectiveUSD,
		Feasible: p.Feasible, SolveMS: d.SolveMS, StepMS: float64(time.Since(began).Microseconds()) / 1000,
	}
	if p.BoundUSD != nil {
		s.planInfo.BoundUSD = *p.BoundUSD
	}
	if !interval && len(d.Moves)+len(d.JobMoves) == 0 {
		s.planInfo.Decision = s.lastDecision
		return // asked again within the interval, and nothing changes
	}
	s.record(d)
}

// record makes a decision known. The caller holds s.mu.
func (s *Site) record(d *Decision) {
	s.openDecisions[d.ID] = d
	s.dirtyDecision[d.ID] = true
	s.lastDecision = d.ID
	s.events.send(Event{Kind: "decision", Data: d.copy()})
}

// decision begins the record of a turn.
func (s *Site) decision(pic *picture, p *dispatch.Plan, trigger string, now time.Time) *Decision {
	d := &Decision{
		ID: s.lastDecision + 1, At: now.UTC(), Trigger: trigger, Applied: s.controls(),
		Inputs: map[string]string{}, PriceUSDMWh: pic.price, Hashprice: pic.hash.USDPerPHDay(),
		LimitKW: s.limitAt(s.root(), now).KW(), Moves: []Move{}, JobMoves: []JobMove{},
	}
	if !s.o.Bare {
		for name, sum := range s.o.Feeds.Digest(now) {
			d.Inputs["feed/"+name] = sum
		}
		d.Inputs["instance"] = digest(pic.in)
		d.Inputs["readings"] = s.readingsDigest()
	}
	if p != nil {
		d.ObjectiveUSD = p.ObjectiveUSD
		if p.BoundUSD != nil {
			d.BoundUSD = *p.BoundUSD
		}
		if !s.o.Bare {
			d.Inputs["plan"] = digest(p)
		}
	}
	return d
}

// controls says whether any class is under control.
func (s *Site) controls() bool {
	for _, c := range s.classes {
		if s.mayAct(c) {
			return true
		}
	}
	for _, h := range s.hosts {
		if s.o.Control(h.spec.Name) {
			return true
		}
	}
	return false
}

func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "unmarshalable: " + err.Error()
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (s *Site) readingsDigest() string {
	h := sha256.New()
	var buf []byte
	for _, m := range s.miners {
		p, _ := m.power()
		buf = append(buf[:0], m.spec.Name...)
		buf = append(buf, 0)
		buf = append(buf, m.read.Mode...)
		buf = append(buf, 0)
		for i := range 8 {
			buf = append(buf, byte(int64(p)>>(8*i)))
		}
		h.Write(buf)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// firstMoves lists the plan's moves at its start between modes of miners, what
// comes down first.
func firstMoves(in *dispatch.Instance, p *dispatch.Plan) []dispatch.Move {
	power := map[string]map[string]float64{}
	for _, c := range in.Classes {
		power[c.Name] = map[string]float64{}
		for _, m := range c.Modes {
			power[c.Name][m.Name] = m.PowerKW
		}
	}
	var out []dispatch.Move
	for _, m := range p.Moves {
		if m.T == 0 && m.From != sluice.ModeJob && m.To != sluice.ModeJob {
			out = append(out, m)
		}
	}
	rise := func(m dispatch.Move) float64 { return power[m.Class][m.To] - power[m.Class][m.From] }
	sort.SliceStable(out, func(i, j int) bool { return rise(out[i]) < 0 && rise(out[j]) >= 0 })
	return out
}

// adoptMove carries out one move: down at once, up when there is room.
func (s *Site) adoptMove(d *Decision, pic *picture, p *dispatch.Plan, m dispatch.Move, now time.Time) {
	c := s.classBy[m.Class]
	if c == nil {
		return
	}
	from, _ := c.mode(m.From)
	to, _ := c.mode(m.To)
	each := s.atMeter(to.Power - from.Power)
	d.Moves = append(d.Moves, Move{
		Class: m.Class, From: m.From, To: m.To, Units: m.Units,
		KW: (each * sluice.Watts(m.Units)).KW(), Reason: s.reason(c, from, to, pic, p, now),
	})
	if !s.mayAct(c) {
		return
	}
	i := len(d.Moves) - 1
	if each < 0 {
		s.shed(c, m.From, m.To, m.Units, now, d.ID, i, s.orderOver(c.node))
		return
	}
	worth := s.strikeOf(c, to, pic.hash)
	s.raises = append(s.raises, &raise{class: c, from: m.From, to: m.To, units: m.Units, decision: d.ID, move: i, worth: worth})
}

// orderOver is the order in force over the node, if any.
func (s *Site) orderOver(n *node) *curtailment {
	for _, c := range s.orders {
		if c.State == Active && n.under(c.node) {
			return c
		}
	}
	return nil
}

// whoStarts notes which jobs the plan starts at once: what comes down meanwhile
// makes room for them.
func (s *Site) whoStarts(pic *picture, p *dispatch.Plan) {
	for _, r := range p.Runs {
		j, ok := pic.jobs[r.Job]
		if !ok || r.Start != 0 || j.State != compute.Queued {
			continue
		}
		strike := s.jobStrike(j, s.hostClassOf(j))
		if pic.starting++; pic.starting == 1 || strike < pic.startStrike {
			pic.startStrike = strike
		}
	}
}

// adoptJobs starts and preempts jobs as the plan's first interval says.
func (s *Site) adoptJobs(ctx context.Context, d *Decision, pic *picture, p *dispatch.Plan, now time.Time) {
	runs := map[string]bool{}
	for _, r := range p.Runs {
		if r.Start == 0 {
			runs[r.Job] = true
		}
	}
	waits := map[string]string{}
	defer func() { s.pending.Store(&waits) }()
	for _, dj := range pic.in.Jobs {
		j := pic.jobs[dj.Name]
		h := s.hostClassOf(j)
		switch {
		case !dj.Running && !runs[dj.Name]:
			if why := s.waitReason(j, h, pic, p); why != "" {
				waits[j.ID] = why
			}
		case dj.Running && !runs[dj.Name]:
			s.preempt(d, j, h, s.orderOver(h.node), s.pauseReason(j, h, pic, p))
		case !dj.Running && runs[dj.Name]:
			why := startReason(j, s.jobStrike(j, h), pic.price)
			d.JobMoves = append(d.JobMoves, JobMove{Job: j.ID, Name: j.Name, Action: "start", Units: j.Units, Reason: why})
			if s.o.Control(h.spec.Name) {
				s.starts = append(s.starts, &start{
					job: j.ID, node: h.node, power: s.atMeter(h.unitW) * sluice.Watts(j.Units),
					why: why, decision: d.ID, move: len(d.JobMoves) - 1,
				})
			}
		}
	}
	s.stopJobs(ctx, now)
	// Large gangs first: small ones fill the gaps that they leave.
	sort.SliceStable(s.starts, func(i, k int) bool { return s.starts[i].power > s.starts[k].power })
}

// pauseReason says in money why the plan pauses a job.
func (s *Site) pauseReason(j compute.Job, h *hostClass, pic *picture, p *dispatch.Plan) string {
	strike, worth := s.jobStrike(j, h), shadow(p, h.node, pic.price)
	switch {
	case strike < pic.price:
		return jobReason(strike, "strike %s < price %s $/MWh", pic.price)
	case worth > strike:
		return jobReason(strike, "makes room under the limit: strike %s < %s $/MWh that the power is worth there", worth)
	}
	return jobReason(strike, "strike %s, price %s $/MWh: it loses less by waiting for cheaper hours", pic.price)
}

// startReason says in money why the plan starts a job.
func startReason(j compute.Job, strike, price float64) string {
	switch {
	case strike >= price:
		return jobReason(strike, "strike %s > price %s $/MWh", price)
	case j.Deadline != nil:
		return jobReason(strike, "strike %s, price %s $/MWh: it is due", price) + " " + j.Deadline.UTC().Format("2006-01-02 15:04") + " UTC"
	}
	return jobReason(strike, "strike %s, price %s $/MWh: it earns more over the next hours", price)
}

// waitReason says in money why the plan lets a job wait, or "" where it is not money.
func (s *Site) waitReason(j compute.Job, h *hostClass, pic *picture, p *dispatch.Plan) string {
	strike, worth := s.jobStrike(j, h), shadow(p, h.node, pic.price)
	switch {
	case strike < pic.price:
		return jobReason(strike, "waits for cheaper power: strike %s < price %s $/MWh", pic.price)
	case worth > strike:
		return jobReason(strike, "waits for power under the limit: strike %s < %s $/MWh that it is worth there", worth)
	}
	return ""
}

// JobsWait says of jobs that the newest plan lets wait for their price, by ID, why. What
// is not there waits for room. It must not be changed.
func (s *Site) JobsWait() map[string]string {
	if w := s.pending.Load(); w != nil {
		return *w
	}
	return nil
}

// preempt decides to pause a job, for an order where there is one.
func (s *Site) preempt(d *Decision, j compute.Job, h *hostClass, order *curtailment, why string) {
	if !j.Interruptible {
		why += "; not sold as interruptible: stopped because the limit cannot be kept otherwise"
	} else {
		why += "; sold as interruptible"
	}
	d.JobMoves = append(d.JobMoves, JobMove{Job: j.ID, Name: j.Name, Action: "preempt", Host: j.Host, Units: j.Units, Reason: why})
	if !s.o.Control(h.spec.Name) {
		return
	}
	x := stop{order: compute.Order{ID: j.ID, Action: compute.ActPreempt, Why: why}}
	if order != nil {
		x.pause = &pause{
			order: order, power: s.jobPower(j, h), lost: lostWork(j),
			usdHour: float64(j.Units)*j.RateUSDHour - s.jobPower(j, h).KW()/1000*d.PriceUSDMWh,
		}
	}
	s.stops = append(s.stops, x)
}

// stop is a job that a decision pauses.
type stop struct {
	order compute.Order
	pause *pause // nil: for no order
}

// stopJobs stops what a decision pauses, with one transaction: each would wait for
// itself while somebody holds the database.
func (s *Site) stopJobs(ctx context.Context, now time.Time) {
	stops := s.stops
	s.stops = nil
	if len(stops) == 0 {
		return
	}
	orders := make([]compute.Order, len(stops))
	for i, x := range stops {
		orders[i] = x.order
	}
	wctx, cancel := context.WithTimeout(s.life(ctx), storeWait)
	defer cancel()
	for i, err := range s.o.Compute.Apply(wctx, now, orders) {
		id := orders[i].ID
		if err != nil && sluice.KindOf(err) != sluice.Conflict {
			s.alarm(now, sluice.Warning, "job-preempt", id, err.Error(), "it is tried again with the next plan")
			continue
		}
		s.clearAlarm(now, "job-preempt", id)
		if p := stops[i].pause; err == nil && p != nil {
			s.paused[id] = p
		}
	}
}

// sumUp computes the figures over the proofs of each move.
func (d *Decision) sumUp() {
	for i := range d.Moves {
		m := &d.Moves[i]
		if len(m.times) == 0 {
			continue
		}
		t := append([]float64(nil), m.times...)
		sort.Float64s(t)
		m.P50S, m.P95S = t[len(t)/2], t[len(t)*95/100]
	}
}

func (d *Decision) copy() Decision {
	c := *d
	c.Moves = make([]Move, len(d.Moves))
	for i, m := range d.Moves {
		if m.Outcomes != nil {
			o := make(map[string]int, len(m.Outcomes))
			for k, v := range m.Outcomes {
				o[k] = v
			}
			m.Outcomes = o
		}
		m.times = nil
		c.Moves[i] = m
	}
	c.JobMoves = append([]JobMove{}, d.JobMoves...)
	return c
}
