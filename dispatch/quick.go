package dispatch

// A plan that is made again every few minutes is mostly one in which little is
// at stake: no limit binds, or one does and the order of merit says all. So the
// first prices are tried at once: one pass over jobs and classes gives the
// bound at these prices and a plan made at them.

// quick builds a plan in s, which is empty, at the prices x, and returns it with
// the bound at these prices.
func (b *builder) quick(s *state, x *prices) (bound float64) {
	p := b.p
	r := response{shed: p.numbers.take(p.T)}
	for _, i := range b.jobOrder() {
		b.quickJob(s, &r, i, x)
	}
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

// fill moves units up into power that is left, class by class in the order of
// merit, where they gain at the prices y.
func (b *builder) fill(s *state, y *prices) {
	for _, c := range b.classOrder() {
		for i := 0; i < len(s.groups[c]); i++ {
			for range 8 {
				if !b.fillGroup(s, c, i, y) {
					break
				}
			}
		}
	}
}

// fillGroup moves as many units of a group as there is power for to the path
// that is best for one; it reports whether any were left.
func (b *builder) fillGroup(s *state, c, i int, y *prices) bool {
	p, k, g := b.p, &b.p.class[c], s.groups[c][i]
	st := k.start[g.start]
	b.w.classAt(p, c, y)
	b.space = s.room(k.node, b.space)
	for t, kw := range b.space {
		row := b.w.reward[t*k.N : (t+1)*k.N]
		old := int(g.path[t])
		if old == k.M {
			for m := range k.M {
				row[m] = -inf
			}
			continue
		}
		if k.hasJob {
			row[k.M] = -inf
		}
		for m := range k.M {
			if d := k.kw[m] - k.kw[old]; d > 0 && d > kw+tiny {
				row[m] = -inf
			}
		}
	}
	b.w.whole = true
	b.w.solve()
	was := b.w.along(st, g.path)
	best := b.w.best(st)
	if !(best > was+1e-9*max(1, abs(was))) {
		b.w.whole = false
		return false
	}
	b.w.trace(st, b.path)
	b.w.whole = false
	n := g.n
	for t, m := range b.path {
		if int(m) == k.M {
			continue
		}
		if d := k.kw[m] - k.kw[g.path[t]]; d > 0 {
			if f := (b.space[t] + tiny) / d; f < float64(n) {
				n = max(0, int(f))
			}
		}
	}
	if n == 0 {
		return false
	}
	s.put(c, g.path, n, -1)
	s.groups[c][i].n -= n
	s.addGroup(c, b.path, n, g.start)
	return s.groups[c][i].n > 0
}
