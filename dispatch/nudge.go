package dispatch

// nudge takes a few units of a few groups out at a time and puts them back one
// group after the other, in chance order, where they now do best: what a unit
// of one class gives up, units of another may use better. A chance part of the
// prices x keeps the first ones from taking it all. Gains stay.
func (b *builder) nudge(best *state, x *prices, ops int, stop func() bool) {
	b.w.whole = true
	defer func() { b.w.whole = false }()
	best.holdPeaks()
	worth := best.worth()
	var out []taken
	for end := b.ops() + ops; b.ops() < end && !stop(); {
		out = b.takeOut(best, out[:0])
		if len(out) < 2 {
			return
		}
		for _, o := range out {
			best.put(o.class, o.path, o.n, -1)
		}
		for i := range out {
			b.putBack(best, &out[i], x, b.chancePart())
		}
		w := best.worthWith(out)
		b.w.ops += best.size()
		if w > worth+1e-9 {
			worth = w
			best.settle(out)
			continue
		}
		for _, o := range out {
			for _, m := range o.moved {
				best.put(o.class, m.path, m.n, -1)
			}
			best.put(o.class, o.path, o.n, 1)
		}
	}
}

// size is how many steps it takes to add the worth up.
func (s *state) size() int {
	n := 1 + len(s.runs)
	for c := range s.groups {
		n += len(s.groups[c])
	}
	return n * s.p.T
}

// taken is a number of units out of a group, and where they went.
type taken struct {
	class, group, n int
	path            []uint8
	moved           []group
}

// takeOut picks units of two to four groups by chance.
func (b *builder) takeOut(s *state, out []taken) []taken {
	want := 2 + b.rng.IntN(3)
	for tries := 0; len(out) < want && tries < 20; tries++ {
		c := b.rng.IntN(len(s.groups))
		if len(s.groups[c]) == 0 {
			continue
		}
		g := b.rng.IntN(len(s.groups[c]))
		again := false
		for _, o := range out {
			again = again || o.class == c && o.group == g
		}
		if k := &s.groups[c][g]; k.n > 0 && !again {
			out = append(out, taken{class: c, group: g, n: 1 + b.rng.IntN(min(k.n, 4)), path: k.path})
		}
	}
	return out
}

// chancePart is 0 half of the time, else up to one and a half.
func (b *builder) chancePart() float64 {
	return max(0, 3*b.rng.Float64()-1.5)
}

// putBack places the units again, at what they are truly worth less so much of
// the price of power.
func (b *builder) putBack(s *state, o *taken, x *prices, part float64) {
	k := &b.p.class[o.class]
	old := group{o.path, o.n, s.groups[o.class][o.group].start}
	for n := o.n; n > 0; {
		// The units are out already: what they shed is not counted in s.
		s.put(o.class, o.path, n, 1)
		b.trueRewards(s, o.class, &old, n)
		s.put(o.class, o.path, n, -1)
		if part > 0 {
			for t, price := range x.power[k.node] {
				for m := range k.M {
					b.w.reward[t*k.N+m] -= part * k.kw[m] * (price - b.p.energy[t])
				}
			}
		}
		b.space = s.room(k.node, b.space)
		b.within(o.class, 1)
		b.w.solve()
		b.w.trace(k.start[old.start], b.path)
		u := max(1, min(n, b.fits(o.class, b.path)))
		moved := group{append([]uint8(nil), b.path...), u, old.start}
		s.put(o.class, moved.path, u, 1)
		o.moved = append(o.moved, moved)
		n -= u
	}
}

// worthWith is the worth of the state with the units where they went.
func (s *state) worthWith(out []taken) float64 {
	sum := s.worth()
	for i := range out {
		o := &out[i]
		old := group{o.path, o.n, s.groups[o.class][o.group].start}
		sum -= float64(o.n) * s.p.pathWorth(o.class, &old)
		for j := range o.moved {
			sum += float64(o.moved[j].n) * s.p.pathWorth(o.class, &o.moved[j])
		}
	}
	return sum
}

// settle makes groups of the units that went elsewhere. Their load is counted
// already, and addGroup counts it: it is taken off first.
func (s *state) settle(out []taken) {
	for i := range out {
		o := &out[i]
		s.groups[o.class][o.group].n -= o.n
		for _, m := range o.moved {
			s.put(o.class, m.path, m.n, -1)
			s.addGroup(o.class, m.path, m.n, m.start)
		}
	}
	for c := range s.groups {
		kept := s.groups[c][:0]
		for _, g := range s.groups[c] {
			if g.n > 0 {
				kept = append(kept, g)
			}
		}
		s.groups[c] = kept
	}
}
