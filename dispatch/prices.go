package dispatch

// prices are the multipliers of what units and jobs share, each at least 0
// but mu. All are USD per interval.
type prices struct {
	node  [][]float64 // by node, nil: no limit that could bind; per kW
	shed  []float64   // per kW that could be dropped; nil: no reserves
	peak  [][]float64 // by demand charge and interval from its start; per kW
	crowd [][]float64 // by job, nil: its class is not crowded; of running
	hold  [][]float64 // by class, nil: no jobs; per unit that a job holds
	list  [][]float64 // all of the above
	power [][]float64 // derived, by node: energy and all of the above that applies, per kW
}

// newPrices returns prices of 0.
func (p *problem) newPrices() *prices { return p.pricesIn(new(slab[float64])) }

// pricesIn takes their memory from the slab.
func (p *problem) pricesIn(of *slab[float64]) *prices {
	N, D, C, J := len(p.nodes), len(p.demand), len(p.class), len(p.jobs)
	rows := make([][]float64, N+1+D+J+C+N)
	x := &prices{list: rows[: N+1+D+J+C : N+1+D+J+C], power: rows[N+1+D+J+C:]}
	x.node, x.peak = rows[:N:N], rows[N+1:N+1+D:N+1+D]
	x.crowd, x.hold = rows[N+1+D:N+1+D+J:N+1+D+J], rows[N+1+D+J:N+1+D+J+C:N+1+D+J+C]
	need := N * p.T
	for n := range p.nodes {
		if p.mayBind(n) {
			need += p.T
		}
	}
	need += p.T
	for d := range p.demand {
		need += p.demand[d].To - p.demand[d].From
	}
	for c := range p.class {
		if p.class[c].hasJob {
			need += p.T
		}
		if p.class[c].crowded {
			need += p.T * len(p.class[c].jobs)
		}
	}
	of.reserve(need)
	for n := range p.nodes {
		x.power[n] = of.take(p.T)
		if p.mayBind(n) {
			x.node[n] = of.take(p.T)
		}
	}
	if len(p.res) > 0 {
		x.shed = of.take(p.T)
		rows[N] = x.shed
	}
	for d := range p.demand {
		x.peak[d] = of.take(p.demand[d].To - p.demand[d].From)
	}
	for c := range p.class {
		if p.class[c].hasJob {
			x.hold[c] = of.take(p.T)
		}
		if p.class[c].crowded {
			for _, i := range p.class[c].jobs {
				x.crowd[i] = of.take(p.T)
			}
		}
	}
	return x
}

// mayBind says whether the limit of node n may be reached.
func (p *problem) mayBind(n int) bool {
	q := &p.nodes[n]
	return q.limit != nil && q.floor+q.room < q.most
}

// vectors are all of the prices but power: of nodes, shed, peaks, crowds and
// holds, in this order; nil where there are none.
func (x *prices) vectors() [][]float64 { return x.list }

func (x *prices) copyFrom(y *prices) {
	for i, v := range x.list {
		copy(v, y.list[i])
	}
	for n := range x.power {
		copy(x.power[n], y.power[n])
	}
}

// spread derives the price of power at each node.
func (x *prices) spread(p *problem) {
	for n := range p.nodes {
		row := x.power[n]
		copy(row, p.energy)
		for _, u := range p.nodes[n].up {
			for t, l := range x.node[u] {
				row[t] += l
			}
		}
		for d := range p.demand {
			for i, l := range x.peak[d] {
				row[p.demand[d].From+i] += l
			}
		}
	}
}
