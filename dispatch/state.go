package dispatch

import "math"

// group is a number of units of a class that follow one path.
type group struct {
	path  []uint8 // mode in each interval
	n     int
	start int // index in pclass.start
}

// state is a plan in the making. Units that are in no group yet stand at the
// least power, so that what remains of a limit is always there for all.
type state struct {
	p      *problem
	load   [][]float64 // by node and interval
	shed   []float64
	hold   [][]int // by class (nil: no jobs): units that jobs hold
	groups [][]group
	runs   [][]span  // by job
	top    []float64 // the load of the root that demand charges let pass
}

func (p *problem) newState() *state {
	var of slab[float64]
	of.reserve((len(p.nodes) + 2) * p.T)
	s := &state{p: p, shed: of.take(p.T), top: of.take(p.T)}
	s.load = make([][]float64, len(p.nodes))
	s.hold = make([][]int, len(p.class))
	s.groups = make([][]group, len(p.class))
	s.runs = make([][]span, len(p.jobs))
	for n := range s.load {
		s.load[n] = of.take(p.T)
		for t := range s.load[n] {
			s.load[n][t] = p.nodes[n].floor
		}
	}
	for c := range s.hold {
		if p.class[c].hasJob {
			s.hold[c] = make([]int, p.T)
		}
	}
	for t := range s.top {
		s.top[t] = inf
	}
	return s
}

// copyFrom makes s what o is. Paths are shared: they are never written to
// once they are in a group.
func (s *state) copyFrom(o *state) {
	for n := range s.load {
		copy(s.load[n], o.load[n])
	}
	for c := range s.hold {
		copy(s.hold[c], o.hold[c])
		s.groups[c] = append(s.groups[c][:0], o.groups[c]...)
	}
	copy(s.shed, o.shed)
	copy(s.top, o.top)
	for i := range s.runs {
		s.runs[i] = append(s.runs[i][:0], o.runs[i]...)
	}
}

// raise adds kw to the load of a node, and of all above it, in interval t.
func (s *state) raise(node, t int, kw float64) {
	for _, n := range s.p.nodes[node].up {
		s.load[n][t] += kw
	}
}

// room returns, in out, by how many kW the load of the node may rise.
func (s *state) room(node int, out []float64) []float64 {
	out = grow(out, s.p.T)
	for t := range out {
		out[t] = inf
	}
	for _, n := range s.p.nodes[node].up {
		limit, load := s.p.nodes[n].limit, s.load[n]
		for t, l := range limit {
			out[t] = min(out[t], l-load[t])
		}
		if n == s.p.root {
			for t, l := range s.top {
				out[t] = min(out[t], l-load[t])
			}
		}
	}
	return out
}

// tiny is the load that is taken for rounding.
const tiny = 1e-7

// put adds n units of class c on the path, sign 1, or takes them away, sign -1.
func (s *state) put(c int, path []uint8, n int, sign float64) {
	k := &s.p.class[c]
	f := float64(n) * sign
	for t, m := range path {
		if int(m) == k.M {
			continue
		}
		if kw := k.kw[m] - k.least; kw > 0 {
			s.raise(k.node, t, f*kw)
		}
		s.shed[t] += f * k.shed[m]
	}
}

func (s *state) addGroup(c int, path []uint8, n, start int) {
	s.put(c, path, n, 1)
	for i := range s.groups[c] {
		g := &s.groups[c][i]
		if g.start == start && string(g.path) == string(path) {
			g.n += n
			return
		}
	}
	s.groups[c] = append(s.groups[c], group{append([]uint8(nil), path...), n, start})
}

// dropGroups takes all units of the class out of the plan.
func (s *state) dropGroups(c int) {
	for i := range s.groups[c] {
		s.put(c, s.groups[c][i].path, s.groups[c][i].n, -1)
	}
	s.groups[c] = s.groups[c][:0]
}

// setRuns gives job i these runs in place of those it had.
func (s *state) setRuns(i int, runs []span) {
	s.runJob(i, -1)
	s.runs[i] = append(s.runs[i][:0], runs...)
	s.runJob(i, 1)
}

func (s *state) runJob(i, sign int) {
	j := &s.p.jobs[i]
	node := s.p.class[j.class].node
	shed := float64(sign*j.Units) * j.ShedKW
	for _, r := range s.runs[i] {
		for t := r.from; t < r.to; t++ {
			s.raise(node, t, float64(sign)*j.extra)
			s.hold[j.class][t] += sign * j.Units
			s.shed[t] += shed
		}
	}
}

// worth is the objective, with early moves charged unit by unit: never more
// than what the plan is worth by the instance's own rules.
func (s *state) worth() float64 {
	p, sum := s.p, 0.0
	for i := range p.jobs {
		sum += p.jobs[i].account(p.T, s.runs[i])
	}
	for c := range s.groups {
		for i := range s.groups[c] {
			g := &s.groups[c][i]
			sum += float64(g.n) * p.pathWorth(c, g)
		}
	}
	return sum + s.sharedWorth()
}

// sharedWorth is the part of the worth that hangs on the load of all: energy,
// reserves and demand charges.
func (s *state) sharedWorth() float64 {
	p, sum := s.p, 0.0
	for t, kw := range s.load[p.root] {
		sum -= kw * p.energy[t]
		sum += p.earned(t, s.shed[t])
		for i := range p.res {
			sum -= p.res[i].sold[t] * p.res[i].short
		}
	}
	for d := range p.demand {
		sum -= p.demand[d].USDPerKW * max(0, s.peak(d)-p.demand[d].AlreadyKW)
	}
	return sum
}

func (s *state) peak(d int) float64 {
	peak := 0.0
	for _, kw := range s.load[s.p.root][s.p.demand[d].From:s.p.demand[d].To] {
		peak = math.Max(peak, kw)
	}
	return peak
}

// pathWorth is what one unit of the group earns less its switches and early
// moves, before energy.
func (p *problem) pathWorth(c int, g *group) float64 {
	k := &p.class[c]
	st := k.start[g.start]
	mode, left, sum := st.mode, st.left, 0.0
	for t, b := range g.path {
		if int(b) != mode {
			sum -= k.early[mode]*float64(min(left, p.T-t)) + k.usd[mode*k.N+int(b)]
			if int(b) < k.M {
				sum -= k.lost[mode*k.N+int(b)] * k.rate[b].At(t)
			}
			mode, left = int(b), k.stay[b]
		}
		if mode < k.M {
			sum += k.rate[mode].At(t) * p.h
		}
		left = max(0, left-1)
	}
	return sum
}

// holdPeaks keeps the demand that is paid for from rising.
func (s *state) holdPeaks() {
	for t := range s.top {
		s.top[t] = inf
	}
	for d := range s.p.demand {
		most := max(s.p.demand[d].AlreadyKW, s.peak(d))
		for t := s.p.demand[d].From; t < s.p.demand[d].To; t++ {
			s.top[t] = min(s.top[t], most)
		}
	}
}
