package dispatch

import "math"

// block is a number of units of a class that jobs hold alike and that start
// alike: to the mathematics they are the same.
type block struct {
	class int
	lane  lane
	start int
	n     int
}

// master is the placing of all units as a linear program, jobs being given:
// how many units of each block follow each path. Paths that would pay at its
// prices are added until there are none.
type master struct {
	b      *builder
	s      *state // jobs only: no unit placed
	blocks []block
	caps   []place // rows after those of the blocks
	res    []int   // by interval: row of its reserves, -1: none
	peaks  []place // node is the demand charge
	peak0  int     // first row of peaks
	t      *tableau
	base   []float64 // least excess peak of each demand charge
	cols   []column
	known  map[string]bool // block and path
	power  [][]float64     // by class: price of power above the least, beyond energy
	shed   []float64
}

type place struct{ node, t int }

// maxRows is the size from which the program is left alone: it is for sites of
// some dozens of classes and days of intervals.
const (
	maxRows  = 700
	trifleKW = 1e-6
)

// relax solves the linear program for the jobs of s, whose units are dropped
// first, and puts whole units where it has parts. x says which limits bind, y
// takes the program's prices. It reports whether it could.
func (b *builder) relax(s *state, x, y *prices, trail []*prices, ops int) bool {
	near := b.binding(s, x)
	m := &master{b: b, s: s, caps: near, known: map[string]bool{}}
	was := make([][]group, len(s.groups))
	for c := range s.groups {
		was[c] = append(was[c], s.groups[c]...)
		s.dropGroups(c)
	}
	for t := range s.top {
		s.top[t] = inf
	}
	for c := range b.p.class {
		if b.p.class[c].count > 0 {
			m.blocks = append(m.blocks, b.blocks(s, c, x)...)
		}
	}
	if !m.open(ops) {
		return false
	}
	m.seed(was)
	for _, old := range trail {
		m.prices(old, 1)
		m.generate()
	}
	m.t.choosy = true
	// Prices half-way to those of the dual lead to fewer useless paths than the
	// program's own, which jump about while paths are few.
	trust := 0.8
	slow, before := 0, -inf
	for range 100 {
		m.t.solve(4 * len(m.t.rows))
		if m.t.worth < before+1e-5*abs(m.t.worth) {
			slow++
		} else {
			slow = 0
		}
		before = m.t.worth
		if m.t.ops > ops || slow > 3 && trust == 0 || b.stop() {
			break
		}
		if slow > 1 && trust > 0 {
			slow, trust = 0, 0
		}
		m.prices(x, trust)
		if m.generate() == 0 {
			if trust == 0 {
				break
			}
			trust = 0
		}
		if trust -= 0.04; trust < 0.1 {
			trust = 0
		}
	}
	b.w.ops += m.t.ops
	m.export(x, y)
	m.round()
	return true
}

// binding lists the limits that may bind: those with a price, or nearly reached.
func (b *builder) binding(s *state, x *prices) []place {
	var near []place
	for n, row := range x.node {
		limit := b.p.nodes[n].limit
		for t, l := range row {
			if l > 0 || s.load[n][t] > 0.9*limit[t] {
				near = append(near, place{n, t})
			}
		}
	}
	return near
}

// open sets the rows up, and a first path for each block: at the least power.
func (m *master) open(ops int) bool {
	p := m.b.p
	var right []float64
	for _, k := range m.blocks {
		right = append(right, float64(k.n))
	}
	for _, c := range m.caps {
		right = append(right, math.Max(0, p.nodes[c.node].limit[c.t]-m.s.load[c.node][c.t]))
	}
	m.res = make([]int, p.T)
	for t := range m.res {
		if m.res[t] = -1; len(p.worth[t]) > 0 {
			m.res[t] = len(right)
			right = append(right, m.s.shed[t])
		}
	}
	m.peak0 = len(right)
	m.base = make([]float64, len(p.demand))
	for d := range p.demand {
		q := &p.demand[d]
		m.base[d] = max(q.AlreadyKW, m.s.peak(d))
		for t := q.From; t < q.To; t++ {
			m.peaks = append(m.peaks, place{d, t})
			right = append(right, m.base[d]-m.s.load[p.root][t])
		}
	}
	if n := len(right); n > maxRows || n*n*n/3 > ops {
		return false
	}
	// Limits that are a trifle different from each other spare the simplex
	// method steps that gain nothing; whole units hide the trifle.
	for i := len(m.blocks); i < len(right); i++ {
		right[i] = max(0, right[i]) + trifleKW*float64(1+i*7919%101)
	}
	m.t = newTableau(right, len(m.blocks))
	entries := make([]float64, len(right))
	for t := range p.worth {
		for _, w := range p.worth[t] {
			entries[m.res[t]] = 1
			m.t.column(entries, w.usd, w.kw)
			entries[m.res[t]] = 0
		}
	}
	for d := range p.demand {
		for i, q := range m.peaks {
			if q.node == d {
				entries[m.peak0+i] = -1
			}
		}
		m.t.column(entries, -p.demand[d].USDPerKW, inf)
		clear(entries)
	}
	for i := range m.blocks {
		m.first(i)
	}
	return true
}

// first gives block i the path of least power, as its basic column.
func (m *master) first(i int) {
	k := &m.blocks[i]
	c := &m.b.p.class[k.class]
	path := make([]uint8, m.b.p.T)
	least := 0
	for a := range c.M {
		if c.kw[a] < c.kw[least] {
			least = a
		}
	}
	for t := range path {
		path[t] = uint8(least)
		if c.hasJob && m.s.hold[k.class][t] > k.lane.floor {
			path[t] = uint8(c.M)
		}
	}
	m.t.pivot(i, m.add(i, path))
}

// export writes the program's prices over those of x, into y.
func (m *master) export(x, y *prices) {
	y.copyFrom(x)
	for r, q := range m.caps {
		y.node[q.node][q.t] = max(0, m.t.price(len(m.blocks)+r))
	}
	for r, q := range m.peaks {
		y.peak[q.node][q.t-m.b.p.demand[q.node].From] = max(0, m.t.price(m.peak0+r))
	}
	for t, r := range m.res {
		if r >= 0 {
			y.shed[t] = max(0, m.t.price(r))
		}
	}
	y.spread(m.b.p)
}

// round places whole units: the whole part of each path's number, then one more
// where the greatest parts are left, as far as there is power.
func (m *master) round() {
	x := m.t.values()
	left := make([]int, len(m.blocks))
	for i := range left {
		left[i] = m.blocks[i].n
	}
	part := make([]float64, len(m.cols))
	for i := range m.cols {
		q := &m.cols[i]
		k := &m.blocks[q.block]
		n := min(left[q.block], int(x[q.at]+1e-6))
		part[i] = x[q.at] - float64(n)
		if n > 0 {
			m.b.space = m.s.room(m.b.p.class[k.class].node, m.b.space)
			if n = min(n, m.b.fits(k.class, q.path)); n > 0 {
				m.s.addGroup(k.class, q.path, n, k.start)
				left[q.block] -= n
			}
		}
	}
	for range m.cols {
		best := -1
		for i := range m.cols {
			if left[m.cols[i].block] > 0 && part[i] > 1e-6 && (best < 0 || part[i] > part[best]) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		q := &m.cols[best]
		k := &m.blocks[q.block]
		part[best] = 0
		m.b.space = m.s.room(m.b.p.class[k.class].node, m.b.space)
		if m.b.fits(k.class, q.path) > 0 {
			m.s.addGroup(k.class, q.path, 1, k.start)
			left[q.block]--
		}
	}
	for i := range m.blocks {
		k := &m.blocks[i]
		if left[i] == 0 {
			continue
		}
		m.rewards(k.class)
		m.b.place(m.s, k.class, k.lane, k.start, left[i])
	}
}
