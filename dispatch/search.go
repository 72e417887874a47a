package dispatch

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// build makes a first plan at the prices in a state that it empties first: jobs by
// what a unit brings, or as in the standing plan, if there is one, as far as they
// still can; then classes by what a kW brings, then units one by one. It reports
// whether there was time to place all units.
func (b *builder) build(s *state, x *prices, standing *Plan) bool {
	b.x.copyFrom(x)
	b.x.spread(b.p)
	x = b.x
	for c := range s.groups {
		s.dropGroups(c)
	}
	for i := range s.runs {
		s.setRuns(i, nil)
	}
	for t := range s.top {
		s.top[t] = inf
	}
	if standing == nil {
		b.placeJobs(s, b.jobOrder(), x)
	} else {
		b.followRuns(s, standing, x)
	}
	for _, c := range b.classOrder() {
		if b.stop() {
			return false
		}
		b.placeClass(s, c, x)
	}
	passes := 3
	if len(b.p.class)*b.p.T > manyPaths {
		passes = 1 // many classes even each other out
	}
	b.polish(s, passes)
	return true
}

// manyPaths is from how many classes times intervals on work is spared that
// pays on small instances only.
const manyPaths = 100_000

// jobOrder puts leases first, then running jobs, then the best paying.
func (b *builder) jobOrder() []int {
	p := b.p
	rank := func(i int) int {
		switch j := &p.jobs[i]; {
		case j.MustRun:
			return 0
		case j.Running:
			return 1
		}
		return 2
	}
	order := make([]int, len(p.jobs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(p.jobs[y].USDPerUnitHour, p.jobs[x].USDPerUnitHour))
	})
	return order
}

// classOrder puts first those that earn most with a kW.
func (b *builder) classOrder() []int {
	p := b.p
	value := make([]float64, len(p.class))
	order := make([]int, len(p.class))
	for c := range p.class {
		order[c] = c
		k := &p.class[c]
		for m := range k.M {
			if kw := k.kw[m] - k.least; kw > 0 {
				value[c] = max(value[c], k.rate[m].At(p.T/2)/kw)
			}
		}
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(value[y], value[x]) })
	return order
}

// search varies the plan: some jobs are taken out and scheduled again, and the
// units placed again, at prices that are shaken a little. What is better stays;
// what is nearly as good with other schedules is noted in the pool.
func (b *builder) search(best *state, x *prices, pool *pool, ops int, stop func() bool) {
	p := b.p
	try, y := p.newState(), p.newPrices()
	worth := best.worth()
	order := b.classOrder()
	for end := b.ops() + ops; b.ops() < end && !stop(); {
		b.w.ops += best.size() // to copy it, take it apart and add it up
		try.copyFrom(best)
		b.shake(x, y, b.rng)
		if len(p.jobs) > 0 && b.rng.IntN(3) > 0 {
			b.reshuffle(try, y)
			w := try.worth()
			if w > worth+1e-9 {
				worth = w
				best.copyFrom(try)
			}
			pool.add(try, w)
			continue
		}
		for c := range try.groups {
			try.dropGroups(c)
		}
		for t := range try.top {
			try.top[t] = inf
		}
		b.placeJobs(try, b.someJobs(b.rng), y)
		if b.rng.IntN(3) == 0 {
			i, j := b.rng.IntN(len(order)), b.rng.IntN(len(order))
			order[i], order[j] = order[j], order[i]
		}
		for _, c := range order {
			if stop() {
				return
			}
			b.placeClass(try, c, y)
		}
		b.polish(try, 2)
		w := try.worth()
		if w > worth+1e-9 {
			worth = w
			best.copyFrom(try)
		}
		pool.add(try, w)
	}
}

// reshuffle takes a few jobs out, the units of their classes, and some others;
// schedules the jobs again in the room that this leaves, at the prices y; and
// puts the units back where they are truly worth most. All else stays as it is.
func (b *builder) reshuffle(s *state, y *prices) {
	jobs := b.someJobs(b.rng)
	s.holdPeaks()
	top := slices.Clone(s.top)
	var classes []int
	for _, i := range jobs {
		s.setRuns(i, nil)
		if c := b.p.jobs[i].class; !slices.Contains(classes, c) {
			classes = append(classes, c)
			s.dropGroups(c)
		}
	}
	out := b.takeOut(s, nil)
	for _, o := range out {
		s.put(o.class, o.path, o.n, -1)
	}
	for t := range s.top {
		s.top[t] = inf // the prices know of demand charges
	}
	b.avoid = -1
	if b.rng.IntN(2) == 0 {
		b.avoid = b.rng.IntN(b.p.T)
	}
	for _, i := range jobs {
		b.placeJob(s, i, y)
		b.avoid = -1
	}
	s.holdPeaks()
	for t, kw := range top {
		s.top[t] = max(s.top[t], kw)
	}
	b.w.whole = true
	for i := range out {
		b.putBack(s, &out[i], y, b.chancePart())
	}
	s.settle(out)
	b.w.whole = false
	for _, c := range classes {
		b.placeClass(s, c, y)
	}
	b.w.whole = true
	for _, c := range classes {
		for i := 0; i < len(s.groups[c]); i++ {
			b.polishGroup(s, c, i)
		}
	}
	b.w.whole = false
}

// improve looks for the best placing of units for the jobs of s as they are:
// prices are found for these, and the units placed by a linear program. y takes
// its prices. It is left undone where that would take more than ops.
func (b *builder) improve(s *state, a *ascent, x, y *prices, ops int, stop func() bool) bool {
	p := b.p
	end := a.ops() + b.ops() + ops
	fix := p.fix
	p.fix = s.fixed()
	a.trails = true
	a.restart(x)
	a.runTo(improveSteps, 0.06, 0.002, -inf, stop)
	a.trails = false
	p.fix = fix
	if stop() || !b.relax(s, a.best, y, a.trail, end-a.ops()-b.ops()) {
		return false
	}
	b.polish(s, 10)
	return true
}

const improveSteps = 60

// pool keeps the job schedules of the best plans that were tried, one plan each.
type pool struct {
	plans []*state
	worth []float64
	seen  map[string]bool
	most  int
}

func (o *pool) add(s *state, worth float64) {
	if o.most == 0 {
		return
	}
	at := len(o.plans)
	if at == o.most {
		at--
		for i := range o.plans {
			if o.worth[i] < o.worth[at] {
				at = i
			}
		}
		if o.worth[at] >= worth {
			return
		}
	}
	key := fmt.Sprint(s.runs)
	if o.seen[key] {
		return
	}
	o.seen[key] = true
	if at == len(o.plans) {
		o.plans = append(o.plans, s.p.newState())
		o.worth = append(o.worth, 0)
	}
	o.plans[at].copyFrom(s)
	o.worth[at] = worth
}

// take removes the best plan of the pool; nil where there is none.
func (o *pool) take() *state {
	at := -1
	for i := range o.plans {
		if at < 0 || o.worth[i] > o.worth[at] {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	s := o.plans[at]
	o.plans = slices.Delete(o.plans, at, at+1)
	o.worth = slices.Delete(o.worth, at, at+1)
	return s
}

// ops is how many elementary steps the builder has made.
func (b *builder) ops() int { return b.w.ops + b.plans.ops }

func (b *builder) someJobs(rng *rand.Rand) []int {
	n := len(b.p.jobs)
	if n == 0 {
		return nil
	}
	some := rng.Perm(n)
	return some[:min(n, 1+rng.IntN(4))]
}

// shake makes y of x: each price times its own factor about 1.
func (b *builder) shake(x, y *prices, rng *rand.Rand) {
	p := b.p
	y.copyFrom(x)
	spread := 0.0
	switch rng.IntN(4) {
	case 0:
	case 1:
		spread = 0.02
	case 2:
		spread = 0.1
	case 3:
		spread = 0.4
	}
	for _, v := range y.vectors() {
		f := 1 + spread*(2*rng.Float64()-1)
		for t := range v {
			v[t] *= f * (1 + 0.3*spread*(2*rng.Float64()-1))
		}
	}
	y.spread(p)
}
