package dispatch

import (
	"math"
	"slices"
)

// ascent looks for the prices at which the bound is lowest: a subgradient
// method in which each price has its own step (as in Adam), of sizes that fall
// from a fraction of what power is typically worth to nearly nothing.
type ascent struct {
	p       *problem
	now     *prices
	best    *prices
	bound   float64
	r       []*response
	scale   []float64 // a step size for each vector of prices
	m, v    [][]float64
	steps   int
	g       [][]float64
	often   [][]float64 // by job and interval: in how many of the counted steps it ran
	counted float64
	trails  bool      // keep some of the prices on the way
	trail   []*prices // the last of them
}

func (p *problem) newAscent(x *prices) *ascent {
	a := &ascent{p: p, now: p.newPrices(), best: p.newPrices(), bound: inf}
	a.now.copyFrom(x)
	for range shards {
		a.r = append(a.r, p.newResponse())
	}
	of, like := new(slab[float64]), a.now.vectors()
	size := 0
	for _, v := range like {
		size += len(v)
	}
	jobs := len(p.jobs)
	if p.lean != nil {
		jobs = 0
	}
	of.reserve(3*size + jobs*p.T)
	a.often = make([][]float64, jobs)
	of.rows(a.often, p.T)
	rows := make([][]float64, 3*len(like))
	for i := range rows {
		rows[i] = of.take(len(like[i%len(like)]))
	}
	a.m, a.v, a.g = rows[:len(like)], rows[len(like):2*len(like)], rows[2*len(like):]
	a.scale = p.scales(x)
	return a
}

// gradient of the dual in each price; a positive one says: lower the price.
func (a *ascent) gradient() {
	p, r, i := a.p, a.r[0], 0
	for n, row := range a.now.node {
		for t := range row {
			a.g[i][t] = p.nodes[n].limit[t] - r.load[n][t]
		}
		i++
	}
	for t := range a.now.shed {
		a.g[i][t] = r.shed[t]
	}
	i++
	for d := range a.now.peak {
		load := r.load[p.root][p.demand[d].From:]
		sum, peak := 0.0, 0.0
		for t, l := range a.now.peak[d] {
			sum += l
			peak += l * load[t]
		}
		y := p.demand[d].AlreadyKW
		if sum >= 0.999*p.demand[d].USDPerKW && peak > y*sum {
			y = peak / sum
		}
		for t := range a.now.peak[d] {
			a.g[i][t] = y - load[t]
		}
		i++
	}
	for j, row := range a.now.crowd {
		for t := range row {
			a.g[i][t] = 0
			if fit, ran := r.fit[j][t], a.r[j%shards].ran[j][t]; fit != ran {
				a.g[i][t] = 1
				if ran {
					a.g[i][t] = -1
				}
			}
		}
		i++
	}
	for c := range a.now.hold {
		for t := range a.now.hold[c] {
			a.g[i][t] = -r.hold[c][t]
		}
		i++
	}
}

// run takes about so many elementary steps to move the prices, by sizes from
// first to last times the typical worth; but no more than half of the time that
// is left by what spent says.
func (a *ascent) run(ops int, first, last float64, spent func() float64) {
	a.evaluate()
	each := a.ops()
	n := min(maxSteps, max(minSteps, ops/max(1, each)))
	from := spent()
	a.climb(n, first, last, -inf, func() float64 { return (spent() - from) / max(1e-9, (1-from)/2) })
}

// runTo makes n steps, or fewer where the bound falls to enough.
func (a *ascent) runTo(n int, first, last, enough float64, stop func() bool) {
	a.climb(n, first, last, enough, func() float64 {
		if stop() {
			return 1
		}
		return 0
	})
}

// climb is runTo for a time of which spent tells how much is up: where there is
// not enough of it for n steps, their sizes fall as it runs out, less far.
func (a *ascent) climb(n int, first, last, enough float64, spent func() float64) {
	for k := range n {
		part := spent()
		if part >= 1 || a.bound <= enough {
			return
		}
		to, late := last, 3*k > n
		if planned := float64(k) / float64(max(1, n-1)); planned >= part {
			part = planned
		} else if late = 3*part > 1; k > 0 {
			// There is time for about k/part steps: fewer end with longer ones.
			to = max(last, first*part/float64(k))
		}
		a.gradient()
		a.step(first * math.Pow(to/first, part))
		a.evaluate()
		if late {
			a.count()
			if a.trails && (k*trailLength)%n < trailLength {
				x := a.p.newPrices()
				x.copyFrom(a.now)
				a.trail = append(a.trail, x)
			}
		}
	}
}

// restart sets out anew from the given prices.
func (a *ascent) restart(x *prices) {
	a.now.copyFrom(x)
	a.best.copyFrom(x)
	a.bound, a.steps, a.counted, a.trail = inf, 0, 0, nil
	for i := range a.m {
		clear(a.m[i])
		clear(a.v[i])
	}
	for i := range a.often {
		clear(a.often[i])
	}
	a.evaluate()
}

// count notes in which intervals each job runs at the present prices.
func (a *ascent) count() {
	a.counted++
	for i := range a.often {
		for t, on := range a.r[i%shards].ran[i] {
			if on {
				a.often[i][t]++
			}
		}
	}
}

// shares returns how often each job ran in each interval.
func (a *ascent) shares() [][]float64 {
	out := make([][]float64, len(a.often))
	for i, row := range a.often {
		out[i] = make([]float64, len(row))
		for t, n := range row {
			out[i][t] = n / max(1, a.counted)
		}
	}
	return out
}

const (
	minSteps    = 25
	maxSteps    = 400
	trailLength = 12
)

func (a *ascent) ops() int {
	n := 0
	for _, r := range a.r {
		n += r.paths.ops + r.plans.ops
	}
	return n
}

// evaluate finds the bound at the present prices, and keeps the best.
func (a *ascent) evaluate() {
	a.p.respond(a.now, a.r)
	if b := a.r[0].bound(); b < a.bound {
		a.bound = b
		a.best.copyFrom(a.now)
	}
}

func (a *ascent) step(rate float64) {
	const beta1, beta2 = 0.8, 0.97
	a.steps++
	c1, c2 := 1-math.Pow(beta1, float64(a.steps)), 1-math.Pow(beta2, float64(a.steps))
	free := len(a.now.node) + 1 + len(a.now.peak) + len(a.now.crowd) // from here on prices may be negative
	for i, x := range a.now.vectors() {
		size := 0.0
		for t := range x {
			size = max(size, math.Abs(a.g[i][t]))
		}
		tiny := 1e-3*size + 1e-12
		s := rate * a.scale[i]
		for t := range x {
			g := a.g[i][t]
			a.m[i][t] = beta1*a.m[i][t] + (1-beta1)*g
			a.v[i][t] = beta2*a.v[i][t] + (1-beta2)*g*g
			x[t] -= s * (a.m[i][t] / c1) / (math.Sqrt(a.v[i][t]/c2) + tiny)
			if i < free && x[t] < 0 {
				x[t] = 0
			}
		}
	}
	for d, x := range a.now.peak {
		capSum(x, a.p.demand[d].USDPerKW)
	}
}

// capSum moves x to the nearest vector of numbers ≥ 0 whose sum is at most most.
func capSum(x []float64, most float64) {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	if sum <= most {
		return
	}
	s := slices.Clone(x)
	slices.SortFunc(s, func(a, b float64) int {
		switch {
		case a > b:
			return -1
		case a < b:
			return 1
		}
		return 0
	})
	run, cut := 0.0, 0.0
	for i, v := range s {
		run += v
		if c := (run - most) / float64(i+1); c < v {
			cut = c
		}
	}
	total := 0.0
	for t := range x {
		x[t] = max(0, x[t]-cut)
		total += x[t]
	}
	if total > most { // rounding
		for t := range x {
			x[t] *= most / total * (1 - 1e-12)
		}
	}
}
