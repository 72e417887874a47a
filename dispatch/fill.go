package dispatch

// fillUp fills power that is left, at lower and lower prices of it, so that who
// brings most comes first, until the plan is good enough. y is for its use.
func (b *builder) fillUp(s *state, x, y *prices, bound float64, opt *Options) {
	some := false
	for _, row := range x.node {
		some = some || row != nil
	}
	for _, part := range []float64{0.95, 0.8} {
		if !some || b.stop() || bound <= opt.enough(s.worth()) {
			return
		}
		y.copyFrom(x)
		for _, row := range y.node {
			for t := range row {
				row[t] *= part
			}
		}
		y.spread(b.p)
		b.fill(s, y)
	}
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

// roomToRise says whether a unit on the path could take a mode of more power in
// some interval.
func (k *pclass) roomToRise(path []uint8, space []float64) bool {
	for t, kw := range space {
		if int(path[t]) == k.M {
			continue
		}
		for _, x := range k.kw[:k.M] {
			if d := x - k.kw[path[t]]; d > 0 && d <= kw+tiny {
				return true
			}
		}
	}
	return false
}

// fillGroup moves as many units of a group as there is power for to the path
// that is best for one; it reports whether any were left.
func (b *builder) fillGroup(s *state, c, i int, y *prices) bool {
	p, k, g := b.p, &b.p.class[c], s.groups[c][i]
	st := k.start[g.start]
	b.space = s.room(k.node, b.space)
	if !k.roomToRise(g.path, b.space) {
		return false
	}
	b.w.classAt(p, c, y)
	gains := false
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
			if d := k.kw[m] - k.kw[old]; d > 0 {
				if d > kw+tiny {
					row[m] = -inf
				}
				gains = gains || row[m] > row[old]
			}
		}
	}
	if !gains {
		return false // most groups: spare them the search
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
