package dispatch

import (
	"cmp"
	"slices"
)

// Prices to begin with. If nothing but the present interval counted, units
// would take power in the order of what they earn with a kW (merit order) until
// a limit is reached, and the first that finds none left sets its price. That
// is right but for switches, dwell, gangs and what ties intervals together, so
// that ascent from there has little left to do.

// segment is a step of the units of a class from one mode to one of more power.
type segment struct {
	usd  float64 // what a kW brings in the interval, before energy
	kw   float64 // of all units
	shed float64 // kW that could be dropped for each kW
	node int
}

// merits finds prices interval by interval.
type merits struct {
	p        *problem
	segments []segment
	used     []float64 // by node
	cut      []float64 // by node: worth of a kW more, -Inf: there is power left
	modes    []int
	busy     [][]float64 // by class with jobs: how many units these may want
}

// merit sets the prices of nodes, reserves and units that jobs hold, given
// those of peaks.
func (p *problem) merit(x *prices) {
	m := &p.merits
	*m = merits{p: p, used: p.numbers.take(len(p.nodes)), cut: p.numbers.take(len(p.nodes)), segments: m.segments, modes: m.modes, busy: grow(m.busy, len(p.class))}
	varies := false
	for c := range p.class {
		m.busy[c] = nil
		varies = varies || p.class[c].varies
		if p.class[c].hasJob {
			m.busy[c] = p.wanted(c)
		}
	}
	for t := range p.T {
		if t == 0 || varies {
			m.order(t)
		}
		m.interval(t, x)
	}
	x.spread(p)
	for c := range x.hold {
		k := &p.class[c]
		for t := range x.hold[c] {
			most := -inf
			for a := range k.M {
				v := k.rate[a].At(t)*p.h - k.kw[a]*x.power[k.node][t]
				if x.shed != nil {
					v += k.shed[a] * x.shed[t]
				}
				most = max(most, v)
			}
			x.hold[c][t] = most
		}
	}
}

// wanted guesses how many units of the class jobs hold in each interval, if
// they all ran as soon as there are units.
func (p *problem) wanted(c int) []float64 {
	k := &p.class[c]
	out := p.numbers.take(p.T)
	come := p.numbers.take(p.T) // units of the jobs that there are from then on
	for _, i := range k.jobs {
		if j := &p.jobs[i]; j.Earliest < p.T {
			out[j.Earliest] += float64(j.Units) * float64(j.Intervals)
			come[j.Earliest] += float64(j.Units)
		}
	}
	work, units := 0.0, 0.0
	for t := range out {
		work += out[t]
		units += come[t]
		out[t] = min(work, units, float64(k.count))
		work -= out[t]
	}
	return out
}

// order makes the segments of interval t, what brings most first.
func (m *merits) order(t int) {
	p := m.p
	m.segments = m.segments[:0]
	for c := range p.class {
		k := &p.class[c]
		m.modes = m.modes[:0]
		for a := range k.M {
			m.modes = append(m.modes, a)
		}
		rate := func(a int) float64 { return k.rate[a].At(t) * p.h }
		slices.SortFunc(m.modes, func(a, b int) int {
			return cmp.Or(cmp.Compare(k.kw[a], k.kw[b]), cmp.Compare(rate(b), rate(a)))
		})
		// From each mode to the one that brings most for each kW more.
		for at := 0; at < len(m.modes); {
			a, next, most := m.modes[at], len(m.modes), -inf
			for i := at + 1; i < len(m.modes); i++ {
				b := m.modes[i]
				if kw := k.kw[b] - k.kw[a]; kw > 0 {
					if v := (rate(b) - rate(a)) / kw; v >= most {
						next, most = i, v
					}
				}
			}
			if next < len(m.modes) {
				b := m.modes[next]
				kw := k.kw[b] - k.kw[a]
				m.segments = append(m.segments, segment{most, kw * float64(k.count), (k.shed[b] - k.shed[a]) / kw, k.node})
			}
			at = next
		}
	}
	slices.SortStableFunc(m.segments, func(a, b segment) int { return cmp.Compare(b.usd, a.usd) })
}

// interval hands the power of interval t out in the order of merit.
func (m *merits) interval(t int, x *prices) {
	p := m.p
	energy := p.energy[t]
	for d := range p.demand {
		if q := &p.demand[d]; t >= q.From && t < q.To {
			energy += x.peak[d][t-q.From]
		}
	}
	for n := range m.used {
		m.used[n], m.cut[n] = p.nodes[n].floor, -inf
	}
	shed := 0.0
	for c, units := range m.busy {
		if units != nil && units[t] > 0 {
			k := &p.class[c]
			j := &p.jobs[k.jobs[0]]
			shed += units[t] * j.ShedKW
			for _, n := range p.nodes[k.node].up {
				m.used[n] += units[t] * (j.PowerKW - k.least)
			}
		}
	}
	drop := 0.0 // price of a kW that could be dropped
	for i := range m.segments {
		s := &m.segments[i]
		want := s.kw
		if s.usd <= energy {
			// It runs for the reserves alone, or not at all.
			if s.shed <= 0 || x.shed == nil {
				continue
			}
			need := (energy - s.usd) / s.shed
			most := 0.0
			for _, w := range p.worth[t] {
				if w.usd > need {
					most += w.kw
				}
			}
			if shed >= most {
				break
			}
			want = min(want, (most-shed)/s.shed)
			drop = need
		}
		up := p.nodes[s.node].up
		room := inf
		for _, n := range up {
			if l := p.nodes[n].limit; l != nil {
				room = min(room, l[t]-m.used[n])
			}
		}
		take := max(0, min(want, room))
		shed += take * s.shed
		for _, n := range up {
			m.used[n] += take
			if l := p.nodes[n].limit; take < want && l != nil && m.used[n] >= l[t]-tiny && m.cut[n] == -inf {
				m.cut[n] = s.usd
			}
		}
	}
	if x.shed != nil {
		left := shed
		for _, w := range p.worth[t] {
			if left < w.kw {
				drop = max(drop, w.usd)
				break
			}
			left -= w.kw
		}
		x.shed[t] = drop
	}
	for i := len(p.order) - 1; i >= 0; i-- { // from the root down
		n, above := p.order[i], 0.0
		if up := p.nodes[n].parent; up >= 0 {
			above = m.cut[up]
		}
		m.cut[n] = max(above, m.cut[n]+drop-energy)
		if x.node[n] != nil {
			x.node[n][t] = m.cut[n] - above
		}
	}
}
