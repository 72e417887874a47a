package dispatch

// lean says how a problem differs for which there is to be a bound only.
type lean struct {
	freeStart bool
	until     map[string]int // by job; nil: none ends
	exact     []bool         // by job: its schedules are gone through, not relaxed
	end       []int          // by job
	work      int            // how much exact schedules may be
}

func untilByName(in *Instance, until []int) map[string]int {
	if until == nil {
		return nil
	}
	m := make(map[string]int, len(until))
	for i, t := range until {
		m[in.Jobs[i].Name] = t
	}
	return m
}

// plan decides which jobs are relaxed.
func (l *lean) plan(p *problem) {
	l.exact, l.end = make([]bool, len(p.jobs)), make([]int, len(p.jobs))
	work := 0
	for i := range p.jobs {
		j := &p.jobs[i]
		if l.end[i] = p.T; l.until != nil {
			l.end[i] = min(p.T, l.until[j.Name])
		}
		restarts := j.RestartIntervals > 0 || j.Running && j.RestartLeft > 0
		l.exact[i] = !j.MustRun && (restarts || j.PreemptUSD > 0 || j.LateUSDPerInterval > 0 && j.deadline < p.T)
		if l.exact[i] && work <= l.work {
			work += p.T * min(j.need, p.T) * (min(j.RestartIntervals, p.T) + 2)
		}
	}
	if work > l.work {
		clear(l.exact)
	}
}

// relaxed adds the value of job i, and what it does, where it may run in its
// best intervals whatever their order.
//
// An upper bound on any schedule: what is late costs at least the intervals of
// progress made late; a stop, and work not done, cost nothing here; and an
// interval of restart, which makes no progress, brings what its power and units
// cost where that is less than nothing.
func (r *response) relaxed(p *problem, i int, x *prices) {
	j := &p.jobs[i]
	k := &p.class[j.class]
	from, to := min(j.Earliest, p.T), p.lean.end[i]
	r.made[i] = 0
	if j.MustRun {
		to = min(to, from+min(j.Intervals, p.T))
		if due := min(p.T, from+min(j.Intervals, p.T)); due > to && due > from {
			r.add(-float64(due-max(from, to)) * j.UnservedUSDPerInterval)
		}
	}
	if to <= from {
		return
	}
	n := to - from
	r.plans.ops += 2 * n
	r.plans.cost = grow(r.plans.cost, n)
	cost, units := r.plans.cost, float64(j.Units)
	power, hold := x.power[k.node][from:to], x.hold[j.class][from:to]
	kw := units * j.PowerKW
	for t := range cost {
		cost[t] = kw*power[t] + units*hold[t]
	}
	if x.shed != nil && j.ShedKW > 0 {
		for t, usd := range x.shed[from:to] {
			cost[t] -= units * j.ShedKW * usd
		}
	}
	if !p.alwaysFits(i) {
		for t := range cost {
			if !p.fits(i, from+t, 0, nil) {
				cost[t] = inf
			}
		}
	}
	for t := range cost {
		if k.forced != nil && k.forced[from+t] {
			cost[t] = inf
		}
	}
	run := func(t int) {
		t += from
		r.load[k.node][t] += kw
		r.shed[t] += units * j.ShedKW
		r.hold[j.class][t] += units
	}
	if j.MustRun {
		for t, c := range cost {
			if v := j.gain - c; v > -j.UnservedUSDPerInterval {
				r.add(v)
				run(t)
				r.made[i]++
			} else {
				r.add(-j.UnservedUSDPerInterval)
			}
		}
		return
	}
	restarts := j.RestartIntervals > 0 || j.Running && j.RestartLeft > 0
	r.worth = r.worth[:0]
	for t, c := range cost {
		v := j.gain - c
		if from+t >= j.deadline {
			v -= j.LateUSDPerInterval
		}
		if restarts && c < 0 {
			v += c // it brings -c without progress as well
		}
		r.worth = append(r.worth, v)
	}
	// What brings as much as the last that is still taken is taken from the left.
	r.top = append(r.top[:0], r.worth...)
	least, equal := topOf(r.top, j.Intervals)
	for t, v := range r.worth {
		take := v > least
		if v == least && equal > 0 {
			take, equal = true, equal-1
		}
		if take {
			r.add(v)
			r.made[i]++
		}
		if restarts && cost[t] < 0 {
			r.add(-cost[t])
			take = true
		}
		if take {
			run(t)
		}
	}
}

// topOf says which of the values to take for the greatest sum of at most k of
// them: those above least, and so many of those equal to it. It moves them about.
func topOf(v []float64, k int) (least float64, equal int) {
	n := 0
	for i, x := range v {
		if x > 0 {
			v[i], v[n] = v[n], x
			n++
		}
	}
	if n <= k {
		return 0, 0
	}
	// The k greatest come first: quickselect (Hoare 1961).
	v = v[:n]
	from, to := 0, n-1
	for from < to {
		a, b, c := v[from], v[(from+to)/2], v[to]
		pivot := max(min(a, b), min(max(a, b), c))
		i, j := from, to
		for i <= j {
			for v[i] > pivot {
				i++
			}
			for v[j] < pivot {
				j--
			}
			if i <= j {
				v[i], v[j] = v[j], v[i]
				i++
				j--
			}
		}
		switch {
		case k-1 <= j:
			to = j
		case k-1 >= i:
			from = i
		default:
			from = to
		}
	}
	least = v[k-1]
	equal = k
	for _, x := range v {
		if x > least {
			equal--
		}
	}
	return least, equal
}
