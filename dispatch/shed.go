package dispatch

import (
	"container/heap"
	"math"
	"slices"
)

// step is one way to shed: units of a class from one mode to another, or a job.
type step struct {
	rank     int // modes, jobs, leases
	loss     float64
	name     string
	class    int
	from, to int
	job      int
	kw       float64 // of one unit, or of the whole job
	usd      float64 // of one unit, or of the whole job
}

type steps []step

func (s steps) Len() int { return len(s) }

func (s steps) Less(i, j int) bool {
	a, b := &s[i], &s[j]
	if a.rank != b.rank {
		return a.rank < b.rank
	}
	if a.loss != b.loss {
		return a.loss < b.loss
	}
	if a.name != b.name {
		return a.name < b.name
	}
	return a.from < b.from
}

func (s steps) Swap(i, j int) { s[i], s[j] = s[j], s[i] }

// Push adds a step, for container/heap.
func (s *steps) Push(x any) { *s = append(*s, x.(step)) }

// Pop removes the last step, for container/heap.
func (s *steps) Pop() any {
	old := *s
	x := old[len(old)-1]
	*s = old[:len(old)-1]
	return x
}

// down is the cheapest step from a mode, for each kW, to one of less power.
func (r *reflex) down(c, from int) (step, bool) {
	k := &r.in.Classes[c]
	best := step{loss: inf}
	energy := r.in.PriceUSDPerMW.At(r.t) * r.h / 1000
	for to := range k.Modes {
		kw := k.Modes[from].PowerKW - k.Modes[to].PowerKW
		if kw <= 0 {
			continue
		}
		usd := (k.Modes[from].USDPerHour.At(r.t)-k.Modes[to].USDPerHour.At(r.t))*r.h - kw*energy
		for i := range k.Switches {
			if s := &k.Switches[i]; s.From == k.Modes[from].Name && s.To == k.Modes[to].Name {
				usd += s.USD + s.LostMinutes/60*k.Modes[to].USDPerHour.At(r.t)
			}
		}
		if usd/kw < best.loss {
			best = step{loss: usd / kw, name: k.Name, class: c, from: from, to: to, job: -1, kw: kw, usd: usd}
		}
	}
	return best, best.kw > 0
}

// relieve sheds below the node until its load is within its limit.
func (r *reflex) relieve(n int) {
	over := func() float64 { return r.load[n] - r.limit[n] - 0.1*slack(r.limit[n]) }
	if over() <= 0 {
		return
	}
	var q steps
	for c := range r.class {
		if !slices.Contains(r.up[r.node[r.in.Classes[c].Node]], n) {
			continue
		}
		for m, count := range r.class[c].count[:len(r.in.Classes[c].Modes)] {
			if count > 0 {
				if s, ok := r.down(c, m); ok {
					q = append(q, s)
				}
			}
		}
		for _, i := range r.class[c].jobs {
			if s, ok := r.stop(c, i); ok && r.jobs[i] {
				q = append(q, s)
			}
		}
	}
	heap.Init(&q)
	for over() > 0 && len(q) > 0 {
		s := heap.Pop(&q).(step)
		k := &r.class[s.class]
		if s.job >= 0 {
			r.jobs[s.job] = false
			units := r.in.Jobs[s.job].Units
			r.move(s.class, len(k.count)-1, k.least, units)
			r.raise(s.class, -s.kw)
			r.lost += s.usd
			continue
		}
		units := min(float64(k.count[s.from]), math.Ceil(over()/s.kw))
		r.move(s.class, s.from, s.to, int(units))
		r.raise(s.class, -units*s.kw)
		r.lost += units * s.usd
		// Those that were moved may have to go further down still.
		if next, ok := r.down(s.class, s.to); ok && k.count[s.to] == int(units) {
			heap.Push(&q, next)
		}
	}
}

// stop is the step of stopping a job: what it costs, and what its units then
// draw in their mode of least power.
func (r *reflex) stop(c, i int) (step, bool) {
	k, j := &r.in.Classes[c], &r.in.Jobs[i]
	units := float64(j.Units)
	kw := units * (j.PowerKW - k.Modes[r.class[c].least].PowerKW)
	if kw <= 0 {
		return step{}, false
	}
	usd := units*j.USDPerUnitHour*r.h - kw*r.in.PriceUSDPerMW.At(r.t)*r.h/1000
	rank := 1
	if j.MustRun {
		rank = 2
		usd += j.UnservedUSDPerInterval
	} else {
		usd += j.PreemptUSD
	}
	return step{rank: rank, loss: usd / kw, name: j.Name, class: c, job: i, kw: kw, usd: usd}, true
}
