package dispatch

import (
	"math"
	"slices"
)

// Where the ascent begins, and how far its steps go.

// typical returns what a kW is typically worth for an interval beyond energy.
func (p *problem) typical() float64 {
	var s []float64
	for c := range p.class {
		k := &p.class[c]
		for m := range k.M {
			if k.kw[m] > k.least && k.count > 0 {
				s = append(s, math.Abs(k.rate[m].At(p.T/2))*p.h/k.kw[m])
			}
		}
	}
	for _, e := range p.energy {
		s = append(s, math.Abs(e))
	}
	slices.Sort(s)
	if len(s) == 0 || s[len(s)*3/4] == 0 {
		return 1e-3
	}
	return s[len(s)*3/4]
}

// firstPrices returns the prices to begin with.
func (p *problem) firstPrices() *prices {
	x := p.pricesIn(&p.numbers)
	for d := range x.peak {
		n := float64(max(1, len(x.peak[d])))
		for t := range x.peak[d] {
			x.peak[d][t] = 0.3 * p.demand[d].USDPerKW / n
		}
	}
	p.merit(x)
	return x
}

// scales returns the size of steps for each vector of prices.
func (p *problem) scales(x *prices) []float64 {
	kw := p.typical()
	out := make([]float64, 0, len(x.vectors()))
	for range x.node {
		out = append(out, kw)
	}
	most := 0.0
	for t := range p.worth {
		for _, w := range p.worth[t] {
			most = max(most, w.usd)
		}
	}
	out = append(out, min(most, 2*kw))
	for d := range x.peak {
		out = append(out, p.demand[d].USDPerKW/math.Sqrt(float64(max(1, len(x.peak[d])))))
	}
	for i := range x.crowd {
		j := &p.jobs[i]
		out = append(out, 0.5*j.stake(p.T))
	}
	for c := range x.hold {
		k := &p.class[c]
		s := 0.0
		for _, i := range k.jobs {
			s = max(s, p.jobs[i].USDPerUnitHour*p.h)
		}
		out = append(out, max(0.1*s, kw*slices.Max(k.kw)))
	}
	return out
}
