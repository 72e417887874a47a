package dispatch

import (
	"cmp"
	"math"
	"slices"
)

// problem is an instance made ready for solving: names are indices, rates are
// USD per interval, and everything stands in the order of its name so that the
// order of the input does not change the plan.
type problem struct {
	in        *Instance // sorted copy
	T         int
	h         float64   // hours in an interval
	energy    []float64 // USD per kW and interval
	nodes     []pnode
	root      int
	class     []pclass
	jobs      []pjob
	res       []preserve
	worth     [][]tranche // by interval, dearest first: what kW ready to drop earn
	demand    []DemandCharge
	broken    bool      // some limit cannot be kept
	fix       [][]fixed // by job: what branching decided
	sheddable float64   // kW that all units together could ever drop
}

type pnode struct {
	name   string
	parent int       // -1: the root
	limit  []float64 // nil: none. Where it cannot be kept, the least load
	floor  float64   // kW of its subtree when all stands at its least power
	up     []int     // itself and all above it
}

// pclass is a class. Mode M is job, where it has one.
type pclass struct {
	name    string
	node    int
	count   int
	M, N    int // modes without and with job
	kw      []float64
	least   float64 // kW of the mode of least power
	shed    []float64
	rate    []Series // USD per unit and hour
	usd     []float64
	lost    []float64 // hours of the new mode's revenue, N×N like usd
	stay    []int     // min_intervals
	early   []float64
	first   []int // state of each mode with nothing left to stay; the next ones have 1, 2, …
	length  []int // states of each mode
	states  int
	start   []start
	forced  []bool // by interval, nil: none. Everything must stand at its least power
	hasJob  bool
	crowded bool  // gangs may stand in each other's way
	room    []int // by interval, nil: not known. No more units than these can be in jobs
	jobs    []int
}

// start is a number of units that stand alike before the first interval.
type start struct {
	mode, left, n int
}

type pjob struct {
	*Job
	class    int
	gain     float64 // USD per interval of progress
	extra    float64 // kW over the least power of its units
	need     int     // intervals of progress; T+1 where it cannot finish
	deadline int
	started  bool
}

type preserve struct {
	pay, most, sold []float64 // USD per kW and interval; kW
	short           float64   // USD per kW and interval
}

// tranche is so many kW of reserve at a price.
type tranche struct {
	kw, usd float64
	reserve int
}

func compile(given *Instance) *problem {
	in := *given
	in.Nodes = slices.Clone(in.Nodes)
	in.Classes = slices.Clone(in.Classes)
	in.Jobs = slices.Clone(in.Jobs)
	in.Reserves = slices.Clone(in.Reserves)
	slices.SortFunc(in.Nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(in.Classes, func(a, b Class) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(in.Jobs, func(a, b Job) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(in.Reserves, func(a, b Reserve) int { return cmp.Compare(a.Name, b.Name) })
	p := &problem{in: &in, T: in.Intervals, h: in.StepMinutes / 60}
	p.energy = make([]float64, p.T)
	for t := range p.energy {
		p.energy[t] = in.PriceUSDPerMW.At(t) * p.h / 1000
	}
	for _, d := range in.DemandCharges {
		if d.USDPerKW > 0 && d.From < d.To {
			p.demand = append(p.demand, d)
		}
	}
	slices.SortStableFunc(p.demand, func(a, b DemandCharge) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.USDPerKW, b.USDPerKW), cmp.Compare(a.AlreadyKW, b.AlreadyKW))
	})
	p.compileNodes()
	for i := range in.Classes {
		p.compileClass(&in.Classes[i])
	}
	p.compileJobs()
	p.compileLimits()
	for c := range p.class {
		p.class[c].crowded = p.crowded(c)
	}
	p.compileReserves()
	p.sheddable = p.mostShed()
	p.impossible()
	return p
}

func (p *problem) compileNodes() {
	index := map[string]int{}
	for i := range p.in.Nodes {
		index[p.in.Nodes[i].Name] = i
	}
	for i := range p.in.Nodes {
		n := &p.in.Nodes[i]
		q := pnode{name: n.Name, parent: -1}
		if n.Parent == "" {
			p.root = i
		} else {
			q.parent = index[n.Parent]
		}
		p.nodes = append(p.nodes, q)
	}
	for i := range p.nodes {
		for n := i; n >= 0; n = p.nodes[n].parent {
			p.nodes[i].up = append(p.nodes[i].up, n)
		}
	}
}

func (p *problem) compileClass(c *Class) {
	M := len(c.Modes)
	q := pclass{name: c.Name, count: c.Count, M: M, N: M, least: math.Inf(1)}
	q.node, _ = slices.BinarySearchFunc(p.in.Nodes, c.Node, func(n Node, s string) int { return cmp.Compare(n.Name, s) })
	index := map[string]int{JobMode: M}
	for m := range c.Modes {
		mode := &c.Modes[m]
		index[mode.Name] = m
		q.kw = append(q.kw, mode.PowerKW)
		q.shed = append(q.shed, mode.ShedKW)
		q.rate = append(q.rate, mode.USDPerHour)
		q.stay = append(q.stay, min(mode.minIntervals(), p.T))
		q.early = append(q.early, mode.early())
		q.least = math.Min(q.least, mode.PowerKW)
	}
	for i := range p.in.Jobs {
		if p.in.Jobs[i].Class == c.Name {
			q.hasJob = true
			q.jobs = append(q.jobs, i)
		}
	}
	q.N = M
	if q.hasJob {
		q.N = M + 1
		q.stay = append(q.stay, 1)
		q.early = append(q.early, 0)
	}
	q.usd = make([]float64, q.N*q.N)
	q.lost = make([]float64, q.N*q.N)
	for _, s := range c.Switches {
		a, b := index[s.From], index[s.To]
		if a >= q.N || b >= q.N {
			continue
		}
		q.usd[a*q.N+b] = s.USD
		if b < M {
			q.lost[a*q.N+b] = s.LostMinutes / 60
		}
	}
	rest := make([]int, q.N)
	for m, n := range c.Initial {
		if i := index[m]; i < q.N {
			rest[i] = n
		}
	}
	q.length = slices.Clone(q.stay)
	for _, d := range c.Dwell {
		m, left := index[d.Mode], min(d.Left, p.T)
		if d.Units > 0 && left > 0 {
			q.start = append(q.start, start{m, left, d.Units})
			rest[m] -= d.Units
			q.length[m] = max(q.length[m], left)
		}
	}
	for m, n := range rest {
		if n > 0 {
			q.start = append(q.start, start{m, 0, n})
		}
	}
	slices.SortFunc(q.start, func(a, b start) int { return cmp.Or(cmp.Compare(a.mode, b.mode), cmp.Compare(a.left, b.left)) })
	for _, l := range q.length {
		q.first = append(q.first, q.states)
		q.states += l
	}
	p.class = append(p.class, q)
}

func (p *problem) compileJobs() {
	at := map[string]int{}
	for c := range p.class {
		at[p.class[c].name] = c
	}
	for i := range p.in.Jobs {
		j := &p.in.Jobs[i]
		c := at[j.Class]
		q := pjob{Job: j, class: c, gain: float64(j.Units) * j.USDPerUnitHour * p.h, deadline: p.T, started: j.Started || j.Running}
		q.extra = float64(j.Units) * (j.PowerKW - p.class[c].least)
		if j.Deadline != nil {
			q.deadline = min(p.T, *j.Deadline)
		}
		wait := j.Earliest
		switch {
		case j.Running:
			wait = min(j.RestartLeft, j.RestartIntervals+1)
		case j.Started:
			wait += j.RestartIntervals
		}
		if q.need = j.Intervals; q.need > p.T-wait {
			q.need = p.T + 1
		}
		p.jobs = append(p.jobs, q)
	}
}

// compileLimits raises limits that cannot be kept to the least load there is,
// and forbids everything else under them.
func (p *problem) compileLimits() {
	for c := range p.class {
		for _, n := range p.nodes[p.class[c].node].up {
			p.nodes[n].floor += float64(p.class[c].count) * p.class[c].least
		}
	}
	for n := range p.nodes {
		spec := p.in.Nodes[n].LimitKW
		if spec == nil {
			continue
		}
		q := &p.nodes[n]
		q.limit = make([]float64, p.T)
		for t := range q.limit {
			q.limit[t] = spec.At(t)
			if q.limit[t] >= q.floor {
				continue
			}
			if q.floor > q.limit[t]+slack(q.limit[t]) {
				p.broken = true
				for c := range p.class {
					k := &p.class[c]
					if slices.Contains(p.nodes[k.node].up, n) {
						if k.forced == nil {
							k.forced = make([]bool, p.T)
						}
						k.forced[t] = true
					}
				}
			}
			q.limit[t] = q.floor
		}
	}
}

func (p *problem) compileReserves() {
	p.worth = make([][]tranche, p.T)
	for i := range p.in.Reserves {
		r := &p.in.Reserves[i]
		q := preserve{short: r.ShortfallUSDPerMW * p.h / 1000}
		for t := range p.T {
			pay, most, sold := r.USDPerMWh.At(t)*p.h/1000, math.Inf(1), r.CommittedKW.At(t)
			if r.MaxKW != nil {
				most = r.MaxKW.At(t)
			}
			q.pay, q.most, q.sold = append(q.pay, pay), append(q.most, most), append(q.sold, sold)
			if kw := math.Min(sold, most); kw > 0 && pay+q.short > 0 {
				p.worth[t] = append(p.worth[t], tranche{kw, pay + q.short, i})
			}
			if kw := most - math.Min(sold, most); kw > 0 && pay > 0 {
				p.worth[t] = append(p.worth[t], tranche{kw, pay, i})
			}
		}
		p.res = append(p.res, q)
	}
	for t := range p.worth {
		slices.SortStableFunc(p.worth[t], func(a, b tranche) int { return cmp.Compare(b.usd, a.usd) })
	}
}

// earned returns what shed kW, ready to be dropped in interval t, earn there.
func (p *problem) earned(t int, shed float64) float64 {
	usd := 0.0
	for _, w := range p.worth[t] {
		if shed <= w.kw {
			return usd + shed*w.usd
		}
		usd += w.kw * w.usd
		shed -= w.kw
	}
	return usd
}
