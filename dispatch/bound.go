package dispatch

import (
	"math"

	"sluice"
)

// BoundOptions says what is bounded, and how hard to try.
type BoundOptions struct {
	// FreeStart lets all units begin in whatever mode is best, at no charge, in
	// place of where the instance says that they stand.
	FreeStart bool
	// Until has for each job, in the order of the instance, the interval from
	// which on it cannot run any more; nil: none has such an end.
	Until []int
	// Steps is how many steps of ascent are made; 0: 120.
	Steps int
	// Deadline reports that time is up; nil: no such budget.
	Deadline func() bool
}

// Relaxed is what a bound is known by.
type Relaxed struct {
	USD float64 // no plan is worth more
	// Ran has for each job, in the order of the instance, in how many intervals
	// it runs in the relaxed problem: a mean over prices near the best. From 0
	// to its intervals.
	Ran []float64
}

// Bound proves an upper bound on the worth of all plans for the instance,
// without making one. It is for long horizons: a job costs its window's length,
// memory and time are linear in intervals times classes and in the sum of
// windows. The bound is that of the Lagrangian dual (Geoffrion 1974) at the best
// prices that were found; jobs are relaxed further, to their best intervals in
// any order, where they pay nothing for stops, restarts and delay or where it
// would take too long to know better. Where a limit cannot be kept, it stands
// for the least load there is.
//
// Without a deadline the same instance gives the same bound. Errors are those
// of Validate, and of Until: a wrong length, or a negative interval.
func Bound(in *Instance, opt BoundOptions) (*Relaxed, error) {
	if err := in.Validate(); err != nil {
		return nil, err
	}
	if opt.Until != nil && len(opt.Until) != len(in.Jobs) {
		return nil, sluice.Errorf(sluice.Invalid, "give one for each job of the instance", "bounding: %d ends of jobs where %d jobs are", len(opt.Until), len(in.Jobs))
	}
	for i, t := range opt.Until {
		if t < 0 {
			return nil, sluice.Errorf(sluice.Invalid, "", "bounding: job %s ends at interval %d", in.Jobs[i].Name, t)
		}
	}
	stop := opt.Deadline
	if stop == nil {
		stop = func() bool { return false }
	}
	p := compileAs(in, &lean{freeStart: opt.FreeStart, until: untilByName(in, opt.Until)})
	a := p.newAscent(p.firstPrices())
	a.evaluate()
	n := opt.Steps
	if n <= 0 {
		n = boundSteps
	}
	made, counted := make([]float64, len(p.jobs)), 0.0
	for k := range n {
		if stop() {
			break
		}
		a.gradient()
		a.step(0.2 * math.Pow(0.005, float64(k)/float64(n)))
		a.evaluate()
		if 3*k > 2*n || n < 3 {
			counted++
			for i := range made {
				made[i] += a.r[i%shards].made[i]
			}
		}
	}
	out := &Relaxed{USD: a.bound, Ran: make([]float64, len(in.Jobs))}
	names := p.in.jobNames()
	for i := range out.Ran {
		out.Ran[i] = made[names.find(in.Jobs[i].Name)] / math.Max(1, counted)
	}
	p.release(nil)
	return out, nil
}

const (
	boundSteps = 120
	// exactSteps is how much work the exact schedules of all jobs may be at each
	// step of ascent.
	exactSteps = 2_000_000
)

// lean says how a problem differs for which there is to be a bound only.
type lean struct {
	freeStart bool
	until     map[string]int // by job; nil: none ends
	exact     []bool         // by job: its schedules are gone through, not relaxed
	end       []int          // by job
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
		if l.exact[i] {
			work += p.T * min(j.need, p.T) * (min(j.RestartIntervals, p.T) + 2)
		}
	}
	if work > exactSteps {
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
