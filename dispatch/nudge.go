package dispatch

import "slices"

const warmPart = 0.1

// nudge takes a few units of a few groups out at a time and puts them back one
// group after the other, in chance order, where they now do best: what a unit
// of one class gives up, units of another may use better. A chance part of the
// prices x keeps the first ones from taking it all. Small losses are taken on
// the way, smaller and smaller ones (simulated annealing): units that fill a
// limit to the last kW are rarely one gain away. best takes the best there was.
func (b *builder) nudge(best *state, x *prices, ops int, stop func() bool) {
	b.w.whole = true
	defer func() { b.w.whole = false }()
	best.holdPeaks()
	worth := best.worth()
	now, is := b.p.newState(), worth
	now.copyFrom(best)
	warm := b.warmth()
	if b.handful == nil {
		b.handful = b.p.handfuls()
		for c, n := range b.handful {
			if k := b.p.class[c].count; k > 0 && k <= n {
				b.fillers = append(b.fillers, c)
			}
		}
	}
	var out []taken
	from := b.ops()
	for end := from + ops; b.ops() < end && !stop(); {
		b.w.ops += b.p.T
		if out = b.takeOut(now, out[:0]); len(out) == 0 {
			continue
		}
		before := now.sharedWorth()
		for _, o := range out {
			now.put(o.class, o.path, o.n, -1)
		}
		for i := range out {
			b.putBack(now, &out[i], x, b.chancePart())
		}
		w := is + now.sharedWorth() - before + now.pathGain(out)
		b.w.ops += 4 * len(out) * b.p.T
		part := 1 - float64(b.ops()-from)/float64(ops)
		if w > is-warm*max(0, part)*b.rng.ExpFloat64() {
			now.settle(out)
			if is = w; w > worth+1e-9 {
				is = now.worth() // without what rounding added up to
				if is > worth+1e-9 {
					worth = is
					best.copyFrom(now)
				}
			}
			continue
		}
		for _, o := range out {
			for _, m := range o.moved {
				now.put(o.class, m.path, m.n, -1)
			}
			now.put(o.class, o.path, o.n, 1)
		}
	}
}

// handfuls returns, for each class, how many units are taken out at most: four,
// or as many as draw what four of the hungriest class do.
func (p *problem) handfuls() []int {
	most := 0.0
	for c := range p.class {
		most = max(most, slices.Max(p.class[c].kw))
	}
	out := make([]int, len(p.class))
	for c := range out {
		out[c] = 4
		if kw := slices.Max(p.class[c].kw); kw > 0 {
			out[c] = int(min(4*most/kw, 1000))
		}
	}
	return out
}

// warmth is the loss that nudge takes lightly at first: a fraction of what a
// unit earns in an interval.
func (b *builder) warmth() float64 {
	units, kw := 0, 0.0
	for c := range b.p.class {
		k := &b.p.class[c]
		units += k.count
		kw += float64(k.count) * slices.Max(k.kw)
	}
	return warmPart * b.p.typical() * kw / float64(max(1, units))
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

// takeOut picks units of one to four groups by chance and, now and then, all of
// a class that draws little: what fills up the last kW has to go before
// something that earns more with them finds room.
func (b *builder) takeOut(s *state, out []taken) []taken {
	filler := -1
	if len(b.fillers) > 0 && b.rng.IntN(3) == 0 {
		filler = b.fillers[b.rng.IntN(len(b.fillers))]
	}
	want := 2 + b.rng.IntN(3)
	if filler >= 0 {
		want--
	}
	// Half of the time those that change their mode about the same time: they
	// make room for each other.
	at := -1
	if b.rng.IntN(2) == 0 {
		at = b.rng.IntN(b.p.T)
		want += b.rng.IntN(3)
	}
	for tries := 0; len(out) < want && tries < 40; tries++ {
		c := b.rng.IntN(len(s.groups))
		if len(s.groups[c]) == 0 || c == filler {
			continue
		}
		g := b.rng.IntN(len(s.groups[c]))
		again := false
		for _, o := range out {
			again = again || o.class == c && o.group == g
		}
		k := &s.groups[c][g]
		if k.n == 0 || again || at >= 0 && len(out) > 0 && !k.changes(at) {
			continue
		}
		out = append(out, taken{class: c, group: g, n: 1 + b.rng.IntN(min(k.n, b.handful[c])), path: k.path})
	}
	if filler >= 0 {
		for g, k := range s.groups[filler] {
			out = append(out, taken{class: filler, group: g, n: k.n, path: k.path})
		}
	}
	return out
}

// changes says whether the units of the group change their mode about t.
func (g *group) changes(t int) bool {
	for u := max(1, t-1); u <= t+1 && u < len(g.path); u++ {
		if g.path[u] != g.path[u-1] {
			return true
		}
	}
	return false
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

// pathGain is what the units gain by their new paths, before energy, reserves
// and demand.
func (s *state) pathGain(out []taken) float64 {
	sum := 0.0
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
