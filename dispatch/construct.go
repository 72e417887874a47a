package dispatch

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// builder builds and improves plans. It holds what would else be allocated
// again and again.
type builder struct {
	p       *problem
	w       paths
	plans   schedules
	base    []float64 // rewards before what is not allowed
	space   []float64
	path    []uint8
	spans   []span
	lanes   []lane
	x       *prices
	rng     *rand.Rand
	handful []int       // by class: how many units are nudged at most
	avoid   int         // the interval in which placeJob runs nothing; -1: none
	fillers []int       // classes of so few units or less
	stop    func() bool // time is up: leave plans as they are
}

func (p *problem) newBuilder(stop func() bool) *builder {
	b := p.spare
	if p.spare = nil; b == nil {
		b = new(builder)
	}
	*b = builder{
		p: p, avoid: -1, stop: stop, x: p.pricesIn(&p.numbers), rng: rand.New(rand.NewPCG(1, 2)), path: grow(b.path, p.T),
		w:     paths{reward: b.w.reward, value: b.w.value, leave: b.w.leave, to: b.w.to, enter: b.w.enter},
		plans: schedules{cost: b.plans.cost, idle: b.plans.idle, run: b.plans.run, never: b.plans.never, begin: b.plans.begin, start: b.plans.start, halt: b.plans.halt},
		base:  b.base, space: b.space, spans: b.spans, lanes: b.lanes,
	}
	return b
}

// placeJobs schedules the given jobs one after the other, in that order, at the
// prices and within what is left of power and units.
func (b *builder) placeJobs(s *state, order []int, x *prices) {
	for _, i := range order {
		s.setRuns(i, nil)
	}
	for _, i := range order {
		b.placeJob(s, i, x)
	}
}

func (b *builder) placeJob(s *state, i int, x *prices) {
	p, j := b.p, &b.p.jobs[i]
	k := &p.class[j.class]
	b.plans.jobAt(p, i, x)
	b.space = s.room(k.node, b.space)
	for t := range b.plans.cost {
		if t == b.avoid || s.hold[j.class][t]+j.Units > k.count || j.extra > b.space[t]+tiny && j.extra > 0 {
			b.plans.cost[t] = inf
		}
	}
	b.plans.best()
	b.spans = b.plans.trace(b.spans[:0])
	s.setRuns(i, b.spans)
}

// lane is a number of units of a class that jobs hold in the same intervals:
// those in which more than floor units are held.
type lane struct {
	floor, n int
}

// lanesOf splits the class by how the jobs' demand for units nests: the first
// lanes are busiest, the last is free throughout.
func (b *builder) lanesOf(s *state, c int) []lane {
	k := &b.p.class[c]
	b.lanes = b.lanes[:0]
	if !k.hasJob {
		return append(b.lanes, lane{k.count, k.count})
	}
	levels := slices.Clone(s.hold[c])
	slices.Sort(levels)
	last := 0
	for _, v := range slices.Compact(levels) {
		if v > last {
			b.lanes = append(b.lanes, lane{last, v - last})
			last = v
		}
	}
	if last < k.count {
		b.lanes = append(b.lanes, lane{last, k.count - last})
	}
	return b.lanes
}

// placeClass gives all units of the class their paths, at the prices and within
// what is left of power.
func (b *builder) placeClass(s *state, c int, x *prices) {
	s.dropGroups(c)
	if b.p.class[c].count == 0 {
		return
	}
	for _, k := range b.blocks(s, c, x) {
		b.place(s, c, k.lane, k.start, k.n)
	}
}

// blocks says which units of the class are held in which lane: those that would
// lose least by it at the prices. It leaves the rewards in base.
func (b *builder) blocks(s *state, c int, x *prices) []block {
	k := &b.p.class[c]
	b.w.classAt(b.p, c, x)
	b.base = append(b.base[:0], b.w.reward...)
	lanes := b.lanesOf(s, c)
	left := make([]int, len(k.start))
	order := make([]int, len(k.start))
	for i := range left {
		left[i], order[i] = k.start[i].n, i
	}
	var out []block
	fill := func(l lane) {
		n := l.n
		for _, i := range order {
			if u := min(n, left[i]); u > 0 {
				out = append(out, block{c, l, i, u})
				left[i] -= u
				n -= u
			}
		}
	}
	if len(k.start) == 1 || len(lanes) == 1 {
		for _, l := range lanes {
			fill(l)
		}
		return out
	}
	value := func(l lane) []float64 {
		b.only(s, c, l)
		b.w.solve()
		v := make([]float64, len(k.start))
		for i, st := range k.start {
			v[i] = b.w.best(st)
		}
		return v
	}
	free := value(lanes[len(lanes)-1])
	for _, l := range lanes {
		held := value(l)
		slices.SortStableFunc(order, func(a, b int) int {
			return cmp.Compare(held[b]-free[b], held[a]-free[a])
		})
		fill(l)
	}
	return out
}

// only sets the rewards of a lane: job where it is held, all else elsewhere.
func (b *builder) only(s *state, c int, l lane) {
	k := &b.p.class[c]
	b.w.use(b.p, k)
	copy(b.w.reward, b.base)
	if !k.hasJob {
		return
	}
	for t, h := range s.hold[c] {
		row := b.w.reward[t*k.N : (t+1)*k.N]
		if h > l.floor {
			for m := range k.M {
				row[m] = -inf
			}
			row[k.M] = 0
		} else {
			row[k.M] = -inf
		}
	}
}

// place gives n units of a lane the best paths that there is power for.
func (b *builder) place(s *state, c int, l lane, start, n int) {
	k := &b.p.class[c]
	for round := 0; n > 0; round++ {
		b.only(s, c, l)
		b.space = s.room(k.node, b.space)
		if round > 0 {
			each := 1
			if round > 12 {
				each = n
			}
			b.within(c, float64(each))
		}
		b.w.whole = true
		b.w.solve()
		b.w.trace(k.start[start], b.path)
		b.w.whole = false
		u := min(n, b.fits(c, b.path))
		if round > 12 {
			u = n
		}
		if u > 0 {
			s.addGroup(c, b.path, u, start)
			n -= u
		}
	}
}

// within forbids the modes for which there is no room for so many units more.
func (b *builder) within(c int, units float64) {
	k := &b.p.class[c]
	for t, kw := range b.space {
		for m := range k.M {
			if d := units * (k.kw[m] - k.least); d > 0 && d > kw+tiny {
				b.w.reward[t*k.N+m] = -inf
			}
		}
	}
}

// fits returns how many units there is room for on the path.
func (b *builder) fits(c int, path []uint8) int {
	k := &b.p.class[c]
	n := maxUnits
	for t, m := range path {
		if int(m) == k.M {
			continue
		}
		if d := k.kw[m] - k.least; d > 0 {
			if f := (b.space[t] + tiny) / d; f < float64(n) {
				n = max(0, int(f))
			}
		}
	}
	return n
}
