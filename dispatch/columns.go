package dispatch

// column is a path in the program.
type column struct {
	block, at int
	path      []uint8
}

// add makes a column of a path of block i.
func (m *master) add(i int, path []uint8) int {
	p, k := m.b.p, &m.blocks[i]
	c := &p.class[k.class]
	key := string(rune(i)) + string(path)
	if m.known[key] {
		return -1
	}
	entries := make([]float64, len(m.t.rows))
	entries[i] = 1
	above := func(t int) float64 {
		if int(path[t]) == c.M {
			return 0
		}
		return c.kw[path[t]] - c.least
	}
	up := p.nodes[c.node].up
	for r, q := range m.caps {
		for _, n := range up {
			if n == q.node {
				entries[len(m.blocks)+r] = above(q.t)
			}
		}
	}
	cost := p.pathWorth(k.class, &group{path: path, start: k.start})
	for t, a := range path {
		if int(a) == c.M {
			continue
		}
		cost -= above(t) * p.energy[t]
		if m.res[t] >= 0 {
			entries[m.res[t]] = -c.shed[a]
		}
	}
	for r, q := range m.peaks {
		entries[m.peak0+r] = above(q.t)
	}
	at := m.t.column(entries, cost, inf)
	if at < 0 {
		return at
	}
	m.known[key] = true
	m.cols = append(m.cols, column{i, at, path})
	return at
}

// seed adds the paths of groups that are in step with the jobs' lanes.
func (m *master) seed(was [][]group) {
	for i := range m.blocks {
		k := &m.blocks[i]
		c := &m.b.p.class[k.class]
		for _, g := range was[k.class] {
			fits := g.start == k.start
			for t := 0; fits && c.hasJob && t < len(g.path); t++ {
				fits = (int(g.path[t]) == c.M) == (m.s.hold[k.class][t] > k.lane.floor)
			}
			if fits {
				m.add(i, g.path)
			}
		}
	}
}

// prices reads the prices of power and of what can be shed off the program, and
// mixes in so much of the dual's.
func (m *master) prices(x *prices, trust float64) {
	p := m.b.p
	if m.power == nil {
		m.power = make([][]float64, len(p.nodes))
		for n := range m.power {
			m.power[n] = make([]float64, p.T)
		}
		m.shed = make([]float64, p.T)
	}
	own := make([][]float64, len(p.nodes))
	for n := range own {
		own[n] = make([]float64, p.T)
	}
	for r, q := range m.caps {
		own[q.node][q.t] += max(0, m.t.price(len(m.blocks)+r))
	}
	for r, q := range m.peaks {
		own[p.root][q.t] += max(0, m.t.price(m.peak0+r))
	}
	for n := range m.power {
		for t := range m.power[n] {
			m.power[n][t] = 0
			if trust > 0 {
				m.power[n][t] = trust * (x.power[n][t] - p.energy[t])
			}
		}
		for _, u := range p.nodes[n].up {
			for t, v := range own[u] {
				m.power[n][t] += (1 - trust) * v
			}
		}
	}
	for t, r := range m.res {
		if r >= 0 {
			m.shed[t] = (1-trust)*max(0, m.t.price(r)) + trust*x.shed[t]
		}
	}
}

// generate adds, for each block, the best path at the prices if it would pay.
func (m *master) generate() int {
	p, b, added := m.b.p, m.b, 0
	last := -1
	for i := range m.blocks {
		k := &m.blocks[i]
		c := &p.class[k.class]
		if k.class != last {
			m.rewards(k.class)
			last = k.class
		}
		b.only(m.s, k.class, k.lane)
		b.w.whole = true
		b.w.solve()
		b.w.trace(c.start[k.start], b.path)
		if m.add(i, append([]uint8(nil), b.path...)) >= 0 {
			added++
		}
		b.w.whole = false
	}
	return added
}

// rewards sets what each mode of the class is worth at the program's prices.
func (m *master) rewards(class int) {
	b, p := m.b, m.b.p
	c := &p.class[class]
	b.w.use(p, c)
	for t := range p.T {
		row := b.w.reward[t*c.N : (t+1)*c.N]
		power := p.energy[t] + m.power[c.node][t]
		for a := range c.M {
			row[a] = c.rate[a].At(t)*p.h - (c.kw[a]-c.least)*power + c.shed[a]*m.shed[t]
		}
		if c.hasJob {
			row[c.M] = 0
		}
	}
	b.w.forbid()
	b.base = append(b.base[:0], b.w.reward...)
}
