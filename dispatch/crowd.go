package dispatch

// A price for a unit that a job holds cannot say that two gangs do not fit
// side by side: half of each would. So each job of a crowded class also pays a
// price of its own in each interval, and in each interval the set of jobs that
// fit into the class and pay most earns these prices: a knapsack problem for
// each interval, whose value is part of the bound. With all of these prices 0
// it is the bound without them.

const (
	maxCrowd     = 64     // jobs in a knapsack: they are bits of a word
	maxKnapsack  = 20_000 // jobs × units of a class
	crowdTieUSD  = 1e-9
	crowdMinimum = 2 // jobs; one alone fits or is banned
)

// crowded says whether gangs of the class may stand in each other's way.
func (p *problem) crowded(c int) bool {
	k := &p.class[c]
	units, gang := 0, false
	for _, i := range k.jobs {
		units += p.jobs[i].Units
		gang = gang || p.jobs[i].Units > 1
	}
	n := len(k.jobs)
	return gang && n >= crowdMinimum && n <= maxCrowd && units > k.count && n*k.count <= maxKnapsack
}

// knapsacks adds the value of the best sets of jobs of class c to r, and tells
// which job fits in which interval.
func (r *response) knapsacks(p *problem, c int, x *prices, ran func(i, t int) bool) {
	k := &p.class[c]
	r.value = grow(r.value, k.count+1)
	r.taken = grow(r.taken, k.count+1)
	for t := range p.T {
		room, items, units := k.count, r.items[:0], 0
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
