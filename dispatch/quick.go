package dispatch

// A plan that is made again every few minutes is mostly one in which little is
// at stake: no limit binds, or one does and the order of merit says all. So the
// first prices are tried at once: one pass over jobs and classes gives the
// bound at these prices and a plan made at them.

// first makes a plan in best, which is empty, and finds a bound, as long as the
// two are further apart than is good enough and ops steps are not spent. x are
// the prices to begin with, and takes those that were best.
func (b *builder) first(best *state, x *prices, opt *Options, ops int, stop func() bool) (bound float64) {
	p := b.p
	bound = b.quick(best, x)
	if bound <= opt.enough(best.worth()) {
		return bound
	}
	y := p.pricesIn(&p.numbers)
	if !stop() && b.queue(best, x) {
		x.spread(p)
		best.empty()
		bound = min(bound, b.quick(best, x))
	}
	if len(p.class)*p.T > manyPaths && opt.Gap <= 0 && opt.Spent == nil {
		return bound // a better plan is made at better prices anyway
	}
	b.fillUp(best, x, y, bound, opt)
	if bound <= opt.enough(best.worth()) || opt.Gap <= 0 {
		return bound
	}
	a, try := p.newAscent(x), p.newState()
	defer func() {
		x.copyFrom(a.best)
		b.w.ops += a.ops()
	}()
	a.evaluate()
	worth := best.worth()
	for rate := 0.08; a.ops()+b.ops() < ops && !stop(); rate = max(0.01, rate*0.7) {
		a.runTo(quickSteps, rate, rate/2, worth, stop)
		if bound = min(bound, a.bound); bound <= opt.enough(worth) {
			break
		}
		try.empty()
		x.copyFrom(a.best)
		x.spread(p)
		b.quick(try, x)
		b.fillUp(try, x, y, bound, opt)
		if w := try.worth(); w > worth {
			worth = w
			best.copyFrom(try)
		}
		if bound <= opt.enough(worth) {
			break
		}
	}
	return bound
}

// quickSteps is how many steps of ascent are made between one plan and the next.
const quickSteps = 6

// queue raises the price of a unit where jobs wait in plan s: one unit more
// would have each of them done a little sooner. It reports whether any waits.
func (b *builder) queue(s *state, x *prices) (waits bool) {
	p := b.p
	for c := range p.class {
		k := &p.class[c]
		for t := 0; k.hasJob && t < p.T; t++ {
			late := 0.0
			for _, i := range k.jobs {
				runs := s.runs[i]
				if j := &p.jobs[i]; t >= j.deadline && (len(runs) == 0 || runs[0].from > t) {
					late += j.LateUSDPerInterval
				}
			}
			waits = waits || late > 0
			x.hold[c][t] += late / float64(max(1, k.count))
		}
	}
	return waits
}

// empty takes everything out of the plan.
func (s *state) empty() {
	for c := range s.groups {
		s.dropGroups(c)
	}
	for i := range s.runs {
		s.setRuns(i, nil)
	}
	for t := range s.top {
		s.top[t] = inf
	}
}

// quick builds a plan in s, which is empty, at the prices x, and returns the
// bound at these prices.
func (b *builder) quick(s *state, x *prices) (bound float64) {
	p := b.p
	r := response{shed: p.numbers.take(p.T)}
	order := b.jobOrder()
	for _, i := range order {
		b.quickJob(s, &r, i, x)
	}
	b.seat(s, order, x)
	for _, c := range b.classOrder() {
		if p.class[c].hasJob || p.class[c].longDwell() {
			r.classValue(&b.w, p, c, x)
			b.placeClass(s, c, x)
		} else {
			b.quickClass(s, &r, c, x)
		}
	}
	p.shared(x, &r)
	return r.bound()
}

// seat schedules jobs that the price of a unit keeps out though units are left: a
// price too high by a little empties a house. Power costs what it costs.
func (b *builder) seat(s *state, order []int, x *prices) {
	var bare *prices
	for _, i := range order {
		if len(s.runs[i]) > 0 || b.stop() || !b.vacant(s, i) {
			continue
		}
		if bare == nil {
			bare = b.p.pricesIn(&b.p.numbers)
			bare.copyFrom(x)
			for _, row := range bare.hold {
				clear(row)
			}
			bare.spread(b.p)
		}
		b.placeJob(s, i, bare)
	}
}

// vacant says whether the units of job i are free at some time at which it could
// run.
func (b *builder) vacant(s *state, i int) bool {
	j := &b.p.jobs[i]
	for t := j.Earliest; t < b.p.T; t++ {
		if s.hold[j.class][t]+j.Units <= b.p.class[j.class].count {
			return true
		}
	}
	return false
}

// quickJob schedules job i, and adds what it is worth at the prices to r.
func (b *builder) quickJob(s *state, r *response, i int, x *prices) {
	p, j := b.p, &b.p.jobs[i]
	k := &p.class[j.class]
	b.plans.jobAt(p, i, x)
	r.add(b.plans.best() - b.plans.bonus)
	b.spans = b.plans.trace(b.spans[:0])
	b.space = s.room(k.node, b.space)
	for _, run := range b.spans {
		for t := run.from; t < run.to; t++ {
			if s.hold[j.class][t]+j.Units > k.count || j.extra > b.space[t]+tiny && j.extra > 0 {
				b.placeJob(s, i, x) // not all at once with what runs already
				return
			}
		}
	}
	s.setRuns(i, b.spans)
}

// quickClass gives the units of class c, which has no jobs, their paths, and
// adds what they are worth at the prices to r.
func (b *builder) quickClass(s *state, r *response, c int, x *prices) {
	p, k := b.p, &b.p.class[c]
	if k.count == 0 {
		return
	}
	b.w.classAt(p, c, x)
	b.base = append(b.base[:0], b.w.reward...)
	b.w.solve()
	var few [16]int
	left := few[:0]
	for i, st := range k.start {
		r.add(float64(st.n) * b.w.best(st))
		b.w.trace(st, b.path)
		b.space = s.room(k.node, b.space)
		n := min(st.n, b.fits(c, b.path))
		if n > 0 {
			s.addGroup(c, b.path, n, i)
		}
		left = append(left, st.n-n)
	}
	for i, n := range left {
		if n > 0 {
			b.place(s, c, lane{k.count, k.count}, i, n)
		}
	}
}

// classValue adds what the units of class c are worth at the prices.
func (r *response) classValue(w *paths, p *problem, c int, x *prices) {
	w.classAt(p, c, x)
	w.solve()
	for _, st := range p.class[c].start {
		r.add(float64(st.n) * w.best(st))
	}
}

// longDwell says whether some unit has longer to stay than its mode asks for.
func (k *pclass) longDwell() bool {
	for _, st := range k.start {
		if st.left > k.stay[st.mode] {
			return true
		}
	}
	return false
}
