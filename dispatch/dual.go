package dispatch

import (
	"math"
	"slices"
	"sync"
)

// response is what units and jobs do at given prices, and the dual value.
type response struct {
	load  [][]float64 // by node
	shed  []float64
	hold  [][]float64 // by class: units that jobs ask for less those offered
	usd   float64
	size  float64 // sum of the terms' sizes: what rounding is relative to
	paths paths
	plans schedules
	path  []uint8
	spans []span
	ran   [][]bool // by job: in which intervals it runs
	fit   [][]bool // by job of a crowded class: in which it is in the best set
	value []float64
	taken []uint64
	items []int
	// For a bound only.
	made       []float64 // by job: intervals in which it runs
	worth, top []float64
}

func (p *problem) newResponse() *response {
	N, C, J := len(p.nodes), len(p.class), len(p.jobs)
	of := new(slab[float64])
	jobs := 0
	for c := range p.class {
		if p.class[c].hasJob {
			jobs++
		}
	}
	of.reserve((N + 1 + jobs) * p.T)
	rows := make([][]float64, N+C)
	r := &response{load: rows[:N], hold: rows[N:], path: make([]uint8, p.T), shed: of.take(p.T)}
	of.rows(r.load, p.T)
	for c := range r.hold {
		if p.class[c].hasJob {
			r.hold[c] = of.take(p.T)
		}
	}
	if r.made = make([]float64, J); p.lean != nil {
		return r
	}
	bits, on := make([]bool, 2*J*p.T), make([][]bool, 2*J)
	for i := range on {
		on[i] = bits[i*p.T : (i+1)*p.T]
	}
	r.ran, r.fit = on[:J], on[J:]
	return r
}

func (r *response) reset() {
	for n := range r.load {
		clear(r.load[n])
	}
	for _, h := range r.hold {
		clear(h)
	}
	clear(r.shed)
	r.usd, r.size = 0, 0
}

func (r *response) add(usd float64) {
	r.usd += usd
	r.size += math.Abs(usd)
}

// classAt sets the rewards of class c at the prices.
func (w *paths) classAt(p *problem, c int, x *prices) {
	k := &p.class[c]
	w.use(p, k)
	power := x.power[k.node]
	for m := range k.M {
		kw, shed, rate := k.kw[m], k.shed[m], k.rate[m]
		values := rate.values
		fixed := rate.all * p.h
		for t := range p.T {
			v := fixed
			if values != nil {
				v = values[t] * p.h
			}
			v -= kw * power[t]
			if x.shed != nil {
				v += shed * x.shed[t]
			}
			w.reward[t*k.N+m] = v
		}
	}
	if k.hasJob {
		for t, mu := range x.hold[c] {
			w.reward[t*k.N+k.M] = mu
		}
	}
	w.forbid()
}

// forbid keeps units out of all but the modes of least power where a limit
// above them cannot be kept.
func (w *paths) forbid() {
	c := w.c
	for t, f := range c.forced {
		if !f {
			continue
		}
		for m := range c.N {
			if m == c.M || c.kw[m] > c.least {
				w.reward[t*c.N+m] = -inf
			}
		}
	}
}

func (r *response) class(p *problem, c int, x *prices) {
	k := &p.class[c]
	w := &r.paths
	w.classAt(p, c, x)
	if p.lean != nil && k.free {
		r.freely(c, w)
		return
	}
	w.solve()
	load := r.load[k.node]
	starts := k.start
	if p.lean != nil && p.lean.freeStart {
		s := start{n: k.count}
		for m := range k.N {
			if w.value[k.first[m]] > w.value[k.first[s.mode]] {
				s.mode = m
			}
		}
		starts = []start{s}
	}
	for _, s := range starts {
		n := float64(s.n)
		r.add(n * w.best(s))
		w.trace(s, r.path)
		for t, m := range r.path {
			if int(m) == k.M {
				r.hold[c][t] -= n
				continue
			}
			load[t] += n * k.kw[m]
			r.shed[t] += n * k.shed[m]
		}
	}
}

// freely adds what the units of a class do where all switches are free.
func (r *response) freely(c int, w *paths) {
	k, T := w.c, w.p.T
	n, sum := float64(k.count), 0.0
	load, hold := r.load[k.node], r.hold[c]
	w.ops += T * k.N
	for t := range T {
		row := w.reward[t*k.N : (t+1)*k.N]
		best := 0
		for m, v := range row {
			if v > row[best] {
				best = m
			}
		}
		sum += row[best]
		if best == k.M {
			hold[t] -= n
			continue
		}
		load[t] += n * k.kw[best]
		r.shed[t] += n * k.shed[best]
	}
	r.add(n * sum)
}

// jobAt sets the cost of running job i at the prices.
func (w *schedules) jobAt(p *problem, i int, x *prices) {
	j := &p.jobs[i]
	w.use(p, j)
	units, k := float64(j.Units), &p.class[j.class]
	power, hold := x.power[k.node], x.hold[j.class]
	for t := range w.cost {
		w.cost[t] = units * (j.PowerKW*power[t] + hold[t])
	}
	add(w.cost, x.crowd[i])
	if x.shed != nil && j.ShedKW > 0 {
		for t := range w.cost {
			w.cost[t] -= units * j.ShedKW * x.shed[t]
		}
	}
	for t, f := range k.forced {
		if f {
			w.cost[t] = inf
		}
	}
	if p.lean != nil {
		for t := p.lean.end[i]; t < p.T; t++ {
			w.cost[t] = inf
		}
	}
	w.bonus = 0
	for t, f := range p.fix[i] {
		switch f {
		case banned:
			w.cost[t] = inf
		case forced:
			w.cost[t] -= force
			w.bonus += force
		}
	}
}

func (r *response) job(p *problem, i int, x *prices) {
	if p.lean != nil && !p.lean.exact[i] {
		r.relaxed(p, i, x)
		return
	}
	j := &p.jobs[i]
	r.plans.jobAt(p, i, x)
	r.add(r.plans.best() - r.plans.bonus)
	r.spans = r.plans.trace(r.spans[:0])
	if p.lean == nil {
		clear(r.ran[i])
	}
	r.made[i] = 0
	units, node := float64(j.Units), p.class[j.class].node
	for _, s := range r.spans {
		for t := s.from; t < s.to; t++ {
			r.load[node][t] += units * j.PowerKW
			r.shed[t] += units * j.ShedKW
			r.hold[j.class][t] += units
			if p.lean == nil {
				r.ran[i][t] = true
			}
		}
		r.made[i] += float64(s.to - s.from)
	}
}

// shards is how many parts classes are split into, whatever the machine, so
// that sums are the same everywhere.
const shards = 2

// respond fills r[0] with the response of all classes and jobs to the prices.
func (p *problem) respond(x *prices, r []*response) {
	x.spread(p)
	part := func(s int) {
		r[s].reset()
		for c := s; c < len(p.class); c += shards {
			r[s].class(p, c, x)
		}
		for i := s; i < len(p.jobs); i += shards {
			r[s].job(p, i, x)
		}
	}
	if len(p.class)*p.T > 20_000 {
		var wg sync.WaitGroup
		for s := range shards {
			wg.Go(func() { part(s) })
		}
		wg.Wait()
	} else {
		for s := range shards {
			part(s)
		}
	}
	all := r[0]
	for _, o := range r[1:] {
		for n := range all.load {
			add(all.load[n], o.load[n])
		}
		for c := range all.hold {
			add(all.hold[c], o.hold[c])
		}
		add(all.shed, o.shed)
		all.usd += o.usd
		all.size += o.size
	}
	p.sumUp(all.load)
	p.shared(x, all)
	ran := func(i, t int) bool { return r[i%shards].ran[i][t] }
	for c := range p.class {
		if p.class[c].crowded {
			all.knapsacks(p, c, x, ran)
		}
	}
}

func add(a, b []float64) {
	for i, x := range b {
		a[i] += x
	}
}

// sumUp turns the load of each node's own classes into that of its subtree.
func (p *problem) sumUp(load [][]float64) {
	for _, n := range p.order {
		if up := p.nodes[n].parent; up >= 0 {
			add(load[up], load[n])
		}
	}
}

func (p *problem) leavesFirst() []int {
	order := make([]int, len(p.nodes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(p.nodes[b].up) - len(p.nodes[a].up) })
	return order
}

// shared adds what limits, reserves and demand charges are worth at the prices.
func (p *problem) shared(x *prices, r *response) {
	for n, row := range x.node {
		for t, l := range row {
			if l > 0 {
				r.add(l * p.nodes[n].limit[t])
			}
		}
	}
	for d := range p.demand {
		for _, l := range x.peak[d] {
			r.add(l * p.demand[d].AlreadyKW)
		}
	}
	for t := range p.T {
		for i := range p.res {
			r.add(-p.res[i].sold[t] * p.res[i].short)
		}
		for _, w := range p.worth[t] {
			if x.shed != nil && w.usd > x.shed[t] {
				kw := min(w.kw, p.sheddable)
				r.add(kw * (w.usd - x.shed[t]))
				r.shed[t] -= kw
			}
		}
	}
}

// mostShed bounds the kW that all units together could ever drop.
func (p *problem) mostShed() float64 {
	sum := 0.0
	for c := range p.class {
		k := &p.class[c]
		most := slices.Max(k.shed)
		for _, i := range k.jobs {
			most = max(most, p.jobs[i].ShedKW)
		}
		sum += most * float64(k.count)
	}
	return sum
}

// bound is the proven upper bound of a response, with room for rounding.
func (r *response) bound() float64 { return r.usd + 1e-9*r.size }
