package dispatch

import (
	"slices"
	"sync"
)

// shards is how many parts classes are split into, whatever the machine, so
// that sums are the same everywhere.
const shards = 2

// respond fills r[0] with the response of all classes and jobs to the prices.
func (p *problem) respond(x *prices, r []*response) {
	x.spread(p)
	part := func(s int) {
		r[s].reset()
		for c := s; c < len(p.class); c += shards {
			r[s].class(p, c, x)
		}
		for i := s; i < len(p.jobs); i += shards {
			r[s].job(p, i, x)
		}
	}
	if len(p.class)*p.T > 20_000 {
		var wg sync.WaitGroup
		for s := range shards {
			wg.Go(func() { part(s) })
		}
		wg.Wait()
	} else {
		for s := range shards {
			part(s)
		}
	}
	all := r[0]
	for _, o := range r[1:] {
		for n := range all.load {
			add(all.load[n], o.load[n])
		}
		for c := range all.hold {
			add(all.hold[c], o.hold[c])
		}
		add(all.shed, o.shed)
		all.usd += o.usd
		all.size += o.size
	}
	p.sumUp(all.load)
	p.shared(x, all)
	ran := func(i, t int) bool { return r[i%shards].ran[i][t] }
	for c := range p.class {
		if p.class[c].crowded {
			all.knapsacks(p, c, x, ran)
		}
	}
}

func add(a, b []float64) {
	for i, x := range b {
		a[i] += x
	}
}

// sumUp turns the load of each node's own classes into that of its subtree.
func (p *problem) sumUp(load [][]float64) {
	for _, n := range p.order {
		if up := p.nodes[n].parent; up >= 0 {
			add(load[up], load[n])
		}
	}
}

func (p *problem) leavesFirst() []int {
	order := make([]int, len(p.nodes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(p.nodes[b].up) - len(p.nodes[a].up) })
	return order
}

// shared adds what limits, reserves and demand charges are worth at the prices.
func (p *problem) shared(x *prices, r *response) {
	for n, row := range x.node {
		for t, l := range row {
			if l > 0 {
				r.add(l * p.nodes[n].limit[t])
			}
		}
	}
	for d := range p.demand {
		for _, l := range x.peak[d] {
			r.add(l * p.demand[d].AlreadyKW)
		}
	}
	for t := range p.T {
		for i := range p.res {
			r.add(-p.res[i].sold[t] * p.res[i].short)
		}
		for _, w := range p.worth[t] {
			if x.shed != nil && w.usd > x.shed[t] {
				kw := min(w.kw, p.sheddable)
				r.add(kw * (w.usd - x.shed[t]))
				r.shed[t] -= kw
			}
		}
	}
}

// mostShed bounds the kW that all units together could ever drop.
func (p *problem) mostShed() float64 {
	sum := 0.0
	for c := range p.class {
		k := &p.class[c]
		most := slices.Max(k.shed)
		for _, i := range k.jobs {
			most = max(most, p.jobs[i].ShedKW)
		}
		sum += most * float64(k.count)
	}
	return sum
}
