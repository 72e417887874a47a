package dispatch

import "slices"

// A price for a unit that a job holds cannot say that two gangs do not fit
// side by side: half of each would. So each job of a crowded class also pays a
// price of its own in each interval, and in each interval the set of jobs that
// fit into the class and pay most earns these prices: a knapsack problem for
// each interval, whose value is part of the bound. With all of these prices 0
// it is the bound without them.
//
// What fits into the class is a number of units: its count, or what there is
// power for at the least that a job's unit draws, where that is fewer.

const (
	maxCrowd     = 64     // jobs in a knapsack: they are bits of a word
	maxKnapsack  = 20_000 // jobs × units of a class
	crowdTieUSD  = 1e-9
	crowdMinimum = 2 // jobs; one alone fits or is banned
)

// crowded says whether gangs of the class may stand in each other's way, and
// notes how many units there is room for.
func (p *problem) crowded(c int) bool {
	k := &p.class[c]
	units, gang, each := 0, false, inf
	for _, i := range k.jobs {
		j := &p.jobs[i]
		units += j.Units
		gang = gang || j.Units > 1
		if j.Units > 0 {
			each = min(each, j.PowerKW-k.least)
		}
	}
	n := len(k.jobs)
	if !gang || n < crowdMinimum || n > maxCrowd || n*k.count > maxKnapsack {
		return false
	}
	k.room = make([]int, p.T)
	for t := range k.room {
		k.room[t] = k.count
		for _, u := range p.nodes[k.node].up {
			if q := &p.nodes[u]; q.limit != nil && each > 0 {
				if most := (q.limit[t] - q.floor + slack(q.limit[t])) / each; most < float64(k.room[t]) {
					k.room[t] = max(0, int(most))
				}
			}
		}
	}
	return units > slices.Min(k.room)
}

// knapsacks adds the value of the best sets of jobs of class c to r, and tells
// which job fits in which interval.
func (r *response) knapsacks(p *problem, c int, x *prices, ran func(i, t int) bool) {
	k := &p.class[c]
	r.value = grow(r.value, k.count+1)
	r.taken = grow(r.taken, k.count+1)
	for t := range p.T {
		room, items, units := k.room[t], r.items[:0], 0
		for n, i := range k.jobs {
			r.fit[i][t] = false
			f := open
			if p.fix[i] != nil {
				f = p.fix[i][t]
			}
			switch {
			case f == forced:
				r.fit[i][t] = true
				room -= p.jobs[i].Units
				r.add(x.crowd[i][t])
			case f == banned:
			case x.crowd[i][t] > 0 || ran(i, t):
				items = append(items, n)
				units += p.jobs[i].Units
			}
		}
		r.items = items
		if room < 0 {
			r.add(-force) // too much was forced: there is no such plan
			continue
		}
		if units <= room {
			for _, n := range items {
				i := k.jobs[n]
				r.fit[i][t] = true
				r.add(x.crowd[i][t])
			}
			continue
		}
		r.plans.ops += len(items) * room
		value, taken := r.value[:room+1], r.taken[:room+1]
		clear(value)
		clear(taken)
		for _, n := range items {
			i := k.jobs[n]
			w, u := x.crowd[i][t], p.jobs[i].Units
			if ran(i, t) {
				w += crowdTieUSD // of equals, rather what runs
			}
			for have := room; have >= u; have-- {
				if v := value[have-u] + w; v > value[have] {
					value[have] = v
					taken[have] = taken[have-u] | 1<<n
				}
			}
		}
		r.add(value[room])
		for _, n := range items {
			r.fit[k.jobs[n]][t] = taken[room]&(1<<n) != 0
		}
	}
}

// stake is about what hangs on a job's running in an interval.
func (j *pjob) stake(T int) float64 {
	usd := abs(j.gain) + j.UnservedUSDPerInterval + j.LateUSDPerInterval
	if j.Running && !j.MustRun {
		usd += j.PreemptUSD / float64(min(j.Intervals, T))
	}
	return usd
}
