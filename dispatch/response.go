package dispatch

import "math"

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

// bound is the proven upper bound of a response, with room for rounding.
func (r *response) bound() float64 { return r.usd + 1e-9*r.size }
