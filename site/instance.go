package site

import (
	"math"
	"sort"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/dispatch"
	"sluice/feed"
)

// maxQueued is how many waiting jobs a plan considers, the first of the queue: more
// cannot start within its horizon on a site that is full.
const maxQueued = 120

// picture is what a plan is made from: the instance and what its names mean.
type picture struct {
	in       *dispatch.Instance
	from     time.Time
	price    float64 // of the first interval, USD/MWh
	hash     sluice.Hashprice
	jobs     map[string]compute.Job // by ID, as the instance knows them
	counts   map[string]map[string]int
	limitGen int

	starting    int     // jobs that the plan starts in its first interval
	startStrike float64 // the lowest strike price among them
}

// picture draws the site as dispatch sees it: from the interval that now lies
// in, over n intervals. Machines that may not be moved are not in it: what they
// draw is taken off the limits. The caller holds s.mu.
func (s *Site) picture(now time.Time, n int, by sums) *picture {
	from := now.Truncate(s.o.Step)
	p := &picture{from: from, jobs: map[string]compute.Job{}, counts: map[string]map[string]int{}, limitGen: s.limitGen}
	p.hash = sluice.HashpriceFromUSD(s.o.Feeds.Hashprice(now).Value)
	prices := s.prices(now, n)
	p.price = prices[0]
	in := &dispatch.Instance{Start: from.UTC().Format(time.RFC3339), StepMinutes: s.o.Step.Minutes(), Intervals: n}
	in.PriceUSDPerMW = dispatch.Values(prices)
	fixed := map[*node]sluice.Watts{} // drawn by what is not in the plan
	// Where Sluice acts on some classes, what it may not move is a load like any
	// other: a limit must be kept without it. A site that only observes plans as if
	// it acted.
	acts := s.controls()
	for _, c := range s.classes {
		s.addClass(p, in, c, now, fixed, !acts || s.mayAct(c))
	}
	s.addReserves(in, now)
	open := map[string][]compute.Job{} // by class, in the order in which they should go
	if len(s.hosts) > 0 {
		for _, j := range s.o.Compute.Open() {
			open[j.Class] = append(open[j.Class], j)
		}
	}
	for _, h := range s.hosts {
		s.addHosts(p, in, h, open[h.spec.Name], now, fixed, !acts || s.o.Control(h.spec.Name))
	}
	for _, x := range s.nodes {
		in.Nodes = append(in.Nodes, s.addNode(x, from, now, n, fixed[x]))
	}
	p.in = in
	return p
}

// addNode gives a node its limit by interval, less the guard, what is drawn by
// machines outside the plan, and what its meter shows beyond the readings.
func (s *Site) addNode(x *node, from, now time.Time, n int, fixed sluice.Watts) dispatch.Node {
	out := dispatch.Node{Name: x.spec.Name}
	if x.parent != nil {
		out.Parent = x.parent.spec.Name
	}
	limits := make([]float64, n)
	any := false
	for t := range limits {
		// The strictest limit that holds at any time of the interval.
		at := from.Add(time.Duration(t) * s.o.Step)
		limit := s.limitOver(x, later(at, now), at.Add(s.o.Step))
		limits[t] = math.Inf(1)
		if limit > 0 {
			any = true
			limits[t] = math.Max(0, (s.usable(limit) - fixed - max(x.resid, 0)).KW())
		}
	}
	if any {
		s := dispatch.Values(limits)
		out.LimitKW = &s
	}
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// limitOver is the strictest limit of a node within [from, to).
func (s *Site) limitOver(x *node, from, to time.Time) sluice.Watts {
	limit := s.limitAt(x, from)
	for _, c := range s.orders {
		if c.node == x && (c.State == Active || c.State == Pending) && c.From.Before(to) && from.Before(c.Until) {
			if limit == 0 || c.limit < limit {
				limit = max(c.limit, 1)
			}
		}
	}
	return limit
}

// addClass puts the machines of a class that may be moved into the instance.
func (s *Site) addClass(p *picture, in *dispatch.Instance, c *class, now time.Time, fixed map[*node]sluice.Watts, moves bool) {
	steps := func(d time.Duration) int { return max(1, int((d+s.o.Step-1)/s.o.Step)) }
	d := dispatch.Class{Name: c.spec.Name, Node: c.node.spec.Name, Initial: map[string]int{}}
	stands := max(c.spec.Stands, 1)
	early := earlyUSD * stands
	n := len(c.modes)
	d.Modes, d.Switches = make([]dispatch.Mode, 0, n), s.switches(c)
	for i, m := range c.modes {
		dm := dispatch.Mode{Name: m.Name, PowerKW: s.atMeter(m.Power).KW(), ShedKW: s.sheds(c, m.Power).KW(), MinIntervals: steps(c.spec.MinOn), EarlyUSD: &early}
		if i == 0 {
			dm.MinIntervals = steps(c.spec.MinOff)
		}
		dm.USDPerHour = dispatch.Const(sluice.MiningRevenue(m.HashRate, p.hash, s.o.PoolFee, time.Hour).USD())
		d.Modes = append(d.Modes, dm)
	}
	var dwell map[string]map[int]int // mostly none
	for _, m := range c.miners {
		if !moves || !m.available(now, s.o.MaxReadingAge) {
			w, _ := m.power()
			w = s.atMeter(w)
			c.node.path(func(x *node) { fixed[x] += w })
			continue
		}
		mode := m.modelled()
		d.Initial[mode]++
		d.Count++
		least := c.spec.MinOn
		if mode == sluice.ModeSleep {
			least = c.spec.MinOff
		}
		if left := m.since.Add(least).Sub(p.from); left > 0 && now.Sub(m.since) < least && !s.retuned(m) {
			if dwell == nil {
				dwell = map[string]map[int]int{}
			}
			if dwell[mode] == nil {
				dwell[mode] = map[int]int{}
			}
			dwell[mode][steps(left)]++
		}
	}
	for _, mode := range c.modes {
		if dwell == nil {
			break
		}
		for _, left := range sortedKeys(dwell[mode.Name]) {
			d.Dwell = append(d.Dwell, dispatch.Dwell{Mode: mode.Name, Units: dwell[mode.Name][left], Left: left})
		}
	}
	p.counts[d.Name] = d.Initial
	if d.Count > 0 {
		in.Classes = append(in.Classes, d)
	}
}

// retuned says whether the machine's newest change is done, came as an order came into
// force, and was one between two modes of mining during which it went on hashing. The
// reflex takes few machines down far, as that is soon done: no dwell keeps the plan after
// it from taking more of them down less, which keeps more of the hashrate. What is brought
// down later, at the edge of a limit, is held as ever. The caller holds s.mu.
func (s *Site) retuned(m *miner) bool {
	from, ok := m.class.mode(m.act.from)
	to, ok2 := m.class.mode(m.act.to)
	if !ok || !ok2 || m.phase != settled || m.want != to.Name || to.Power >= from.Power || to.Name == sluice.ModeSleep {
		return false
	}
	if c := m.act.order; c == nil || m.act.first.Sub(c.From) > s.o.Step {
		return false
	}
	_, ok = s.goesOn([]string{s.firmwareOf(m)}, changeOf(m.class, from, to))
	return ok
}

func sortedKeys(m map[int]int) []int {
	out := make([]int, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Ints(out)
	return out
}

// What a plan pays for wear, so that it does not flutter over cents: a cold
// start, and each interval by which a dwell is cut short.
const (
	wakeUSD  = 0.01
	earlyUSD = 0.05 // of a unit and interval
)

// addHosts puts a class of hosts and its jobs into the instance. Units of
// locked hosts are left out, but for those that jobs still hold.
func (s *Site) addHosts(p *picture, in *dispatch.Instance, h *hostClass, open []compute.Job, now time.Time, fixed map[*node]sluice.Watts, moves bool) {
	use := s.o.Compute.HostUse()
	draws := func(w sluice.Watts) {
		w = s.atMeter(w)
		h.node.path(func(x *node) { fixed[x] += w })
	}
	if !moves {
		for _, host := range h.spec.Hosts {
			draws(use[host.Name].PowerW)
		}
		return
	}
	d := dispatch.Class{Name: h.spec.Name, Node: h.node.spec.Name, Initial: map[string]int{}}
	for _, host := range h.spec.Hosts {
		busy := use[host.Name].UnitsBusy
		d.Count += busy
		if _, locked := s.pins[host.Name]; !locked {
			d.Count += host.Units - busy
		} else {
			draws((h.perUnit() - h.unitW) * sluice.Watts(host.Units-busy))
		}
	}
	if d.Count == 0 {
		return
	}
	idle := s.atMeter(h.perUnit() - h.unitW).KW()
	power := s.atMeter(h.perUnit()).KW()
	d.Modes = []dispatch.Mode{{Name: sluice.ModeIdle, PowerKW: idle, USDPerHour: dispatch.Const(0)}}
	queued, held := 0, 0
	for _, j := range open {
		if j.State.Ended() || j.State == compute.Stopping || j.Held != "" {
			continue
		}
		running := j.State == compute.Running || j.State == compute.Starting
		if !running {
			if queued++; queued > maxQueued {
				continue
			}
		} else {
			held += j.Units
		}
		dj := s.job(j, h, running, power, now)
		if !running {
			// Of jobs that pay alike the first of the queue goes first, and one of
			// higher priority before them all.
			dj.LateUSDPerInterval *= 1 + turnShare*(1-float64(queued)/maxQueued) + priorityShare*float64(min(max(j.Priority, 0), maxPriority))
		}
		in.Jobs = append(in.Jobs, dj)
		p.jobs[j.ID] = j
	}
	// Units whose job is on its way out are not free yet, and earn nothing.
	d.Initial[sluice.ModeJob] = min(held, d.Count)
	d.Initial[sluice.ModeIdle] = d.Count - d.Initial[sluice.ModeJob]
	p.counts[d.Name] = d.Initial
	in.Classes = append(in.Classes, d)
}

// job is a job as dispatch sees it. What was not sold as interruptible costs
// more to stop than it could ever save.
func (s *Site) job(j compute.Job, h *hostClass, running bool, powerKW float64, now time.Time) dispatch.Job {
	left := s.o.Horizon
	if j.ExpectSeconds > 0 {
		left = time.Duration((j.ExpectSeconds - j.RunSeconds + j.SlowedSeconds) * float64(time.Second))
	}
	d := dispatch.Job{
		Name: j.ID, Class: h.spec.Name, Units: j.Units, Intervals: max(1, int(math.Ceil(float64(left)/float64(s.o.Step)))),
		USDPerUnitHour: j.RateUSDHour, PowerKW: powerKW, Running: running, RestartIntervals: 1,
		// What a waiting job lost by its stop is lost whenever it goes on: counted again, it
		// would stand behind each one that has just come.
		Started: running,
	}
	if j.PowerShare > 0 {
		d.PowerKW -= (1 - j.PowerShare) * s.atMeter(h.unitW).KW()
	}
	hour := j.RateUSDHour * float64(j.Units)
	d.PreemptUSD = lostWork(j)
	if !j.Interruptible {
		d.PreemptUSD = firmUSD + hour*24
	}
	// Work that waits is work that the client misses: without a deadline of its
	// own each interval until it is done costs a share of its revenue, so that
	// nothing is put off that could as well run now.
	soon := 0
	d.Deadline, d.LateUSDPerInterval = &soon, waitShare*hour*s.o.Step.Hours()
	if j.Deadline != nil {
		t := int(j.Deadline.Sub(now.Truncate(s.o.Step)) / s.o.Step)
		if t = max(t, 0); t < int(s.o.Horizon/s.o.Step) {
			d.Deadline, d.LateUSDPerInterval = &t, hour*s.o.Step.Hours()
		}
	}
	return d
}

const (
	checkpointEvery = 20 * time.Minute
	// What the place in the queue and a step of priority add to what waiting costs,
	// as shares of it.
	turnShare, priorityShare, maxPriority = 0.02, 0.5, 10
	// waitShare is what an hour of waiting counts, as a share of the revenue of
	// an hour of running.
	waitShare = 0.25
	// firmUSD is what stopping a job counts that was not sold as interruptible.
	firmUSD = 10_000
)

// prices is what a plan expects energy to cost: what Options.Expect says; beyond
// that, and where it says nothing, a rule: the price in force for this
// interval; then the day-ahead price of each hour, drawn toward the price in
// force with a time constant of an hour, since scarcity outlasts an interval but
// not an afternoon. Where no day-ahead price is known the price in force stays.
func (s *Site) prices(now time.Time, n int) []float64 {
	from := now.Truncate(s.o.Step)
	rt := s.o.Feeds.At(feed.RealTimePrice, now)
	da := s.o.Feeds.Series(feed.DayAheadPrice, now, s.o.Step, n)
	var told []float64
	if s.o.Expect != nil {
		told = s.o.Expect(now, n)
	}
	out := make([]float64, n)
	for t := range out {
		if t < len(told) {
			out[t] = told[t]
			continue
		}
		out[t] = rt.Value
		if t > 0 && t < len(da) && da[t].Known {
			w := math.Exp(-from.Add(time.Duration(t)*s.o.Step).Sub(from).Hours() / 1.0)
			out[t] = w*rt.Value + (1-w)*da[t].Value
		}
	}
	return out
}
