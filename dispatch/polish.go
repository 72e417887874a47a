package dispatch

// polish moves units to better paths at what these are truly worth beside all
// the others, until nothing improves or passes are spent. It keeps limits, and
// the peaks that demand charges are paid for.
func (b *builder) polish(s *state, passes int) {
	s.holdPeaks()
	b.w.whole = true
	defer func() { b.w.whole = false }()
	for range passes {
		gain := 0.0
		for c := range s.groups {
			if b.stop() {
				return
			}
			for i := 0; i < len(s.groups[c]); i++ {
				gain += b.polishGroup(s, c, i)
			}
		}
		if gain < 1e-7 {
			return
		}
	}
}

// polishGroup tries to move all, or fewer and fewer, units of a group.
func (b *builder) polishGroup(s *state, c, i int) float64 {
	k := &b.p.class[c]
	g := s.groups[c][i]
	st := k.start[g.start]
	// Without limits and for one unit: if there is nothing to gain, stop here.
	b.trueRewards(s, c, &g, 1)
	b.w.solve()
	was := b.w.along(st, g.path)
	if b.w.best(st) <= was+1e-9*max(1, abs(was)) {
		return 0
	}
	total := 0.0
	for n := g.n; n > 0; n /= 2 {
		for range 64 { // rounding of very large numbers may look like gains
			gain := b.shift(s, c, i, n)
			if gain <= 0 {
				break
			}
			total += gain
			if n = min(n, s.groups[c][i].n); n == 0 {
				return total
			}
		}
	}
	return total
}

// shift moves n units of a group to the best path for them together, if it is
// better; it returns the gain.
func (b *builder) shift(s *state, c, i, n int) float64 {
	k := &b.p.class[c]
	g := s.groups[c][i]
	st := k.start[g.start]
	b.trueRewards(s, c, &g, n)
	s.put(c, g.path, n, -1)
	b.space = s.room(k.node, b.space)
	b.within(c, float64(n))
	// What is over already may stay as it is.
	for t, m := range g.path {
		if v := &b.w.reward[t*k.N+int(m)]; *v == -inf {
			*v = b.base[t*k.N+int(m)]
		}
	}
	b.w.solve()
	was := b.w.along(st, g.path)
	best := b.w.best(st)
	if !(best > was+1e-9*max(1, abs(was))) {
		s.put(c, g.path, n, 1)
		return 0
	}
	b.w.trace(st, b.path)
	s.groups[c][i].n -= n
	s.addGroup(c, b.path, n, g.start)
	return float64(n) * (best - was)
}

// trueRewards sets what each mode is worth to each of n units of the group,
// with all other units where they are; jobs keep the units they hold.
func (b *builder) trueRewards(s *state, c int, g *group, n int) {
	p, k := b.p, &b.p.class[c]
	b.w.use(p, k)
	f := float64(n)
	for t := range p.T {
		row := b.w.reward[t*k.N : (t+1)*k.N]
		held := int(g.path[t]) == k.M
		if held {
			for m := range k.M {
				row[m] = -inf
			}
			row[k.M] = 0
			continue
		}
		if k.hasJob {
			row[k.M] = -inf
		}
		rest := s.shed[t] - f*k.shed[g.path[t]]
		earned := 0.0
		if len(p.worth[t]) > 0 {
			earned = p.earned(t, rest)
		}
		for m := range k.M {
			row[m] = k.rate[m].At(t)*p.h - k.kw[m]*p.energy[t]
			if len(p.worth[t]) > 0 && k.shed[m] > 0 {
				row[m] += (p.earned(t, rest+f*k.shed[m]) - earned) / f
			}
		}
	}
	b.w.forbid()
	b.base = append(b.base[:0], b.w.reward...)
}
