package dispatch

import (
	"cmp"
	"math"
	"slices"
)

func compile(given *Instance) *problem { return compileAs(given, nil) }

// compileAs makes an instance ready, where l is not nil for a bound only.
func compileAs(given *Instance, l *lean) *problem {
	in := *given
	in.Nodes = sorted(in.Nodes, func(n Node) string { return n.Name })
	in.Classes = sorted(in.Classes, func(c Class) string { return c.Name })
	in.Jobs = sorted(in.Jobs, func(j Job) string { return j.Name })
	in.Reserves = sorted(in.Reserves, func(r Reserve) string { return r.Name })
	p := problems.Get().(*problem)
	*p = problem{
		in: &in, T: in.Intervals, h: in.StepMinutes / 60,
		nodes: p.nodes[:0], class: p.class[:0], jobs: p.jobs[:0], worth: p.worth[:0], fix: p.fix[:0],
		numbers: p.numbers, ints: p.ints, series: p.series, merits: p.merits, spare: p.spare,
	}
	p.energy = p.numbers.take(p.T)
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
	p.class = grow(p.class, len(in.Classes))
	for i := range in.Classes {
		k := &p.class[i]
		*k = pclass{name: in.Classes[i].Name, jobs: k.jobs[:0], start: k.start[:0], standing: k.standing[:0], standingWhole: k.standingWhole[:0]}
	}
	p.compileJobs()
	for i := range in.Classes {
		p.compileClass(&p.class[i], &in.Classes[i])
	}
	for i := range p.jobs {
		j := &p.jobs[i]
		j.extra = float64(j.Units) * (j.PowerKW - p.class[j.class].least)
	}
	p.compileLimits()
	for c := range p.class {
		p.class[c].crowded = l == nil && p.crowded(c)
	}
	p.compileReserves()
	p.sheddable = p.mostShed()
	if p.lean = l; l == nil {
		p.impossible()
		return p
	}
	p.fix = grow(p.fix, len(p.jobs))
	clear(p.fix)
	l.plan(p)
	return p
}

func (p *problem) compileNodes() {
	all := p.in.nodeNames()
	p.nodes = grow(p.nodes, len(p.in.Nodes))
	for i := range p.in.Nodes {
		n := &p.in.Nodes[i]
		p.nodes[i] = pnode{name: n.Name, parent: -1, room: inf}
		if n.Parent == "" {
			p.root = i
		} else {
			p.nodes[i].parent = all.find(n.Parent)
		}
	}
	for i := range p.nodes {
		deep := 0
		for n := i; n >= 0; n = p.nodes[n].parent {
			deep++
		}
		up := p.ints.take(deep)
		for k, n := 0, i; n >= 0; k, n = k+1, p.nodes[n].parent {
			up[k] = n
		}
		p.nodes[i].up = up
	}
	p.order = p.leavesFirst()
}

func (p *problem) compileClass(q *pclass, c *Class) {
	M := len(c.Modes)
	q.count, q.M, q.N, q.least = c.Count, M, M, math.Inf(1)
	q.node, _ = slices.BinarySearchFunc(p.in.Nodes, c.Node, func(n Node, s string) int { return cmp.Compare(n.Name, s) })
	if q.hasJob = len(q.jobs) > 0; q.hasJob {
		q.N = M + 1
	}
	N := q.N
	f, n := p.numbers.take(2*M+N+2*N*N), p.ints.take(3*N)
	q.kw, q.shed, q.early, q.usd, q.lost = f[:M], f[M:2*M], f[2*M:2*M+N], f[2*M+N:2*M+N+N*N], f[2*M+N+N*N:]
	q.stay, q.length, q.first = n[:N:N], n[N:2*N:2*N], n[2*N:]
	q.rate = p.series.take(M)
	for m := range c.Modes {
		mode := &c.Modes[m]
		q.kw[m], q.shed[m], q.rate[m] = mode.PowerKW, mode.ShedKW, mode.USDPerHour
		q.stay[m], q.early[m] = min(mode.minIntervals(), p.T), mode.early()
		q.least = min(q.least, mode.PowerKW)
		q.varies = q.varies || mode.USDPerHour.values != nil
	}
	if q.hasJob {
		q.stay[M] = 1
	}
	for i := range c.Switches {
		s := &c.Switches[i]
		a, b := c.mode(s.From), c.mode(s.To)
		if a >= N || b >= N {
			continue
		}
		q.usd[a*N+b] = s.USD
		if b < M {
			q.lost[a*N+b] = s.LostMinutes / 60
		}
	}
	q.compileStart(p, c)
	for m, l := range q.length {
		q.first[m] = q.states
		q.states += l
	}
	q.simple = q.states == N
	q.free = q.simple
	for i := range q.usd {
		q.free = q.free && q.usd[i] == 0 && q.lost[i] == 0
	}
	q.enter = p.ints.take(N)
	for m := range q.enter {
		q.enter[m] = q.first[m] + q.stay[m] - 1
	}
	for m, l := range q.length {
		for r := range l {
			x := stood{m, q.first[m] + max(0, r-1), q.early[m], q.early[m] * float64(min(r, q.stay[m]))}
			q.standing = append(q.standing, x)
			x.fine = q.early[m] * float64(r)
			q.standingWhole = append(q.standingWhole, x)
		}
	}
	q.cost = p.numbers.take(N * N)
	for a := range N {
		for b := range N {
			i := a*N + b
			switch q.cost[i] = q.usd[i]; {
			case a == b:
				q.cost[i] = inf
			case b < M && !q.varies:
				q.cost[i] += q.lost[i] * q.rate[b].all
			}
		}
	}
}

// compileStart groups the units that stand alike before the first interval.
func (q *pclass) compileStart(p *problem, c *Class) {
	rest := p.ints.take(q.N)
	for m, n := range c.Initial {
		if i := c.mode(m); i < q.N {
			rest[i] = n
		}
	}
	copy(q.length, q.stay)
	for _, d := range c.Dwell {
		m, left := c.mode(d.Mode), min(d.Left, p.T)
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
	if len(q.start) > 1 {
		slices.SortFunc(q.start, func(a, b start) int { return cmp.Or(cmp.Compare(a.mode, b.mode), cmp.Compare(a.left, b.left)) })
	}
}

// compileJobs makes the jobs ready, but for what depends on their class, and
// gives each class its own.
func (p *problem) compileJobs() {
	classes := p.in.classNames()
	p.jobs = grow(p.jobs, len(p.in.Jobs))
	for i := range p.in.Jobs {
		j := &p.in.Jobs[i]
		q := &p.jobs[i]
		*q = pjob{Job: j, class: classes.find(j.Class), gain: float64(j.Units) * j.USDPerUnitHour * p.h, deadline: p.T, started: j.Started || j.Running}
		p.class[q.class].jobs = append(p.class[q.class].jobs, i)
		if j.Deadline != nil {
			q.deadline = min(p.T, *j.Deadline)
		}
		q.wait(p.T)
	}
}

// wait sets how many intervals of progress the job needs, by when these could
// begin.
func (j *pjob) wait(T int) {
	wait := j.Earliest
	switch {
	case j.Running:
		wait = min(j.RestartLeft, j.RestartIntervals+1)
	case j.Started:
		wait += j.RestartIntervals
	}
	if j.need = j.Intervals; j.need > T-wait {
		j.need = T + 1
	}
}

// compileLimits raises limits that cannot be kept to the least load there is,
// and forbids everything else under them.
func (p *problem) compileLimits() {
	for c := range p.class {
		k := &p.class[c]
		kw := slices.Max(k.kw)
		for _, i := range k.jobs {
			kw = max(kw, p.jobs[i].PowerKW)
		}
		for _, n := range p.nodes[k.node].up {
			p.nodes[n].floor += float64(k.count) * k.least
			p.nodes[n].most += float64(k.count) * kw
		}
	}
	for n := range p.nodes {
		spec := p.in.Nodes[n].LimitKW
		if spec == nil {
			continue
		}
		q := &p.nodes[n]
		q.limit = p.numbers.take(p.T)
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
		q.room = slices.Min(q.limit) - q.floor
	}
}

func (p *problem) compileReserves() {
	p.worth = grow(p.worth, p.T)
	for t := range p.worth {
		p.worth[t] = p.worth[t][:0]
	}
	for i := range p.in.Reserves {
		r := &p.in.Reserves[i]
		q := preserve{pay: p.numbers.take(p.T), most: p.numbers.take(p.T), sold: p.numbers.take(p.T), short: r.ShortfallUSDPerMW * p.h / 1000}
		for t := range p.T {
			pay, most, sold := r.USDPerMWh.At(t)*p.h/1000, math.Inf(1), r.CommittedKW.At(t)
			if r.MaxKW != nil {
				most = r.MaxKW.At(t)
			}
			q.pay[t], q.most[t], q.sold[t] = pay, most, sold
			if kw := math.Min(sold, most); kw > 0 && pay+q.short > 0 {
				p.worth[t] = append(p.worth[t], tranche{kw, pay + q.short, i})
			}
			if kw := most - math.Min(sold, most); kw > 0 && pay > 0 {
				p.worth[t] = append(p.worth[t], tranche{kw, pay, i})
			}
		}
		p.res = append(p.res, q)
	}
	for t := 0; t < p.T && len(p.res) > 0; t++ {
		slices.SortStableFunc(p.worth[t], func(a, b tranche) int { return cmp.Compare(b.usd, a.usd) })
	}
}
