package dispatch

// schedules finds the best runs of a job, given what it costs to run in each
// interval (power and the units it holds; +Inf where it cannot run).
//
// States at the start of an interval: not yet started, stopped, or running with
// so many restart intervals still to sit out; each with the progress made. Of
// progress only a band is gone through: no more than there was time for, and no
// less than what can still be finished. All that cannot are worth the same, so
// that the most progress of these, low, stands for them.
//
// Values are kept of the intervals at hand only; of the others it is enough to know
// what was best, in an eighth of the memory, which a long horizon has to go through.
type schedules struct {
	p       *problem
	j       *pjob
	cost    []float64 // T
	idle    []float64 // 3×B, by t mod 3: stopped, has run before
	run     []float64 // 2×(R+1)×B, by t mod 2: runs in this interval, with so much restart left
	never   []float64 // T+1
	begin   []float64 // T: runs in this interval for the first time
	start   []bool    // T×B: who is stopped had best run
	halt    []bool    // T×(R+1)×B: who runs had best stop after this interval
	P, R, K int
	B       int     // width of the band
	first   int     // interval before which there is no progress
	count   bool    // progress matters
	bonus   float64 // part of the value that is not money
	ops     int     // elementary steps done so far
}

func (w *schedules) late(t int) float64 {
	if t >= w.j.deadline {
		return w.j.LateUSDPerInterval
	}
	return 0
}

// use makes ready for job j; the caller then fills in cost.
func (w *schedules) use(p *problem, j *pjob) {
	w.p, w.j = p, j
	w.cost = grow(w.cost, p.T)
}

// best solves, and returns the value of the best schedule.
func (w *schedules) best() float64 {
	j, T := w.j, w.p.T
	if j.MustRun {
		sum := 0.0
		for t := j.Earliest; t < min(T, j.Earliest+j.Intervals); t++ {
			sum += max(-j.UnservedUSDPerInterval, j.gain-w.cost[t])
		}
		return sum
	}
	w.count = j.need <= T
	w.P = 1
	if w.count {
		w.P = j.need
	}
	// More restart left than the horizon is the same as the horizon.
	w.R = min(j.RestartIntervals, T)
	switch w.first = min(j.Earliest, T); {
	case j.Running:
		w.R = max(w.R, min(j.RestartLeft, T))
	case j.started:
		w.first = min(w.first+j.RestartIntervals, T)
	}
	w.K = w.R + 1
	w.B = w.P
	if w.count {
		w.B = min(w.P, T-w.first-w.P+2+bandEdge)
	}
	w.idle = grow(w.idle, 3*w.B)
	w.run = grow(w.run, 2*w.B*w.K)
	w.never = grow(w.never, T+1)
	w.begin = grow(w.begin, T)
	w.start = grow(w.start, T*w.B)
	w.halt = grow(w.halt, T*w.B*w.K)
	clear(w.idle)
	clear(w.run)
	w.never[T] = 0
	// Counted as if all progress were gone through: how much is, which depends on
	// the job's window, is not to change how much search a plan is worth.
	w.ops += T * min(w.P, T/2+1) * (w.K + 1)
	again := min(j.RestartIntervals, T)
	for t := T - 1; t >= 0; t-- {
		w.backward(t, again)
	}
	switch {
	case j.Running:
		return max(w.running(0, 0, min(j.RestartLeft, T)), w.stop(0, 0))
	case j.started:
		return w.stopped(0, 0)
	}
	return w.never[0]
}

// bandEdge is how much below low the band's values are also written down: a step
// of running looks one interval ahead, a stop two.
const bandEdge = 2

// low is the most progress from which, at the start of t, the job cannot be
// finished any more; 0 where there is none.
func (w *schedules) low(t int) int {
	if !w.count {
		return 0
	}
	return max(0, w.P-(w.p.T-t)-1)
}

// top is one more than the most progress there can be at the start of t.
func (w *schedules) top(t int) int { return min(w.P, max(0, t-w.first)+1) }

// from is the least progress whose values are written down at t.
func (w *schedules) from(t int) int { return max(0, w.low(t)-bandEdge) }

// runs are the values of running in t with so much restart left, for progress
// from q on; idles those of being stopped. They last for two and three intervals.
func (w *schedules) runs(t, r, q int) []float64 {
	return w.run[(t%2*w.K+r)*w.B:][q-w.from(t) : w.B]
}
func (w *schedules) idles(t, q int) []float64 { return w.idle[t%3*w.B:][q-w.from(t) : w.B] }

// halts says after which intervals of running in t it is best to stop, starts
// whether it is best to run in t, for progress from q on.
func (w *schedules) halts(t, r, q int) []bool { return w.halt[(t*w.K+r)*w.B:][q-w.from(t) : w.B] }
func (w *schedules) starts(t, q int) []bool   { return w.start[t*w.B:][q-w.from(t) : w.B] }

// edge repeats the value of low for the progress below it.
func (w *schedules) edge(t int, row []float64) {
	n := w.low(t) - w.from(t)
	for i := range n {
		row[i] = row[n]
	}
}

// backward fills in the values of interval t from those of the next.
func (w *schedules) backward(t, again int) {
	j, T, P, K := w.j, w.p.T, w.P, w.K
	late := w.late(t)
	low, width := w.low(t), w.top(t)-w.low(t)
	// What a stop at the start of the next interval brings, beyond being idle then.
	stopping, after := 0.0, T
	if t+1 < T {
		stopping, after = -j.PreemptUSD-w.late(t+1), t+2
	}
	halted := w.idles(after, low)
	wait, gain := -w.cost[t]-late, j.gain-w.cost[t]-late
	for r := K - 1; r > 0; r-- {
		next, halted := w.runs(t+1, r-1, low)[:width], halted[:width]
		now, halt := w.runs(t, r, low)[:width], w.halts(t, r, low)[:width]
		for q, on := range next {
			stop := stopping + halted[q]
			if halt[q] = stop > on; stop > on {
				on = stop
			}
			now[q] = wait + on
		}
		w.edge(t, w.runs(t, r, w.from(t)))
	}
	now, halt := w.runs(t, 0, low)[:width], w.halts(t, 0, low)[:width]
	switch next := w.runs(t+1, 0, low+min(1, P-1)); {
	case t < w.first:
		now[0] = -inf
	case !w.count:
		stop := stopping + halted[0]
		halt[0] = stop > next[0]
		now[0] = gain + max(next[0], stop)
	default:
		made := min(low+width, P-1) - low
		next, halted, halt := next[:made], halted[1:][:made], halt[:made]
		for q, on := range next {
			stop := stopping + halted[q]
			if halt[q] = stop > on; stop > on {
				on = stop
			}
			now[q] = gain + on
		}
		if low+width == P {
			now[width-1] = gain
		}
	}
	w.edge(t, w.runs(t, 0, w.from(t)))
	idle, idleNext := w.idles(t, low)[:width], w.idles(t+1, low)[:width]
	if t >= j.Earliest {
		run, start := w.runs(t, again, low)[:width], w.starts(t, low)[:width]
		for q, v := range idleNext {
			v -= late
			x := run[q]
			if start[q] = x >= v; x > v {
				v = x
			}
			idle[q] = v
		}
	} else {
		for q, v := range idleNext {
			idle[q] = v - late
		}
	}
	w.edge(t, w.idles(t, w.from(t)))
	w.never[t] = w.never[t+1] - late
	w.begin[t] = now[0]
	if t >= j.Earliest {
		w.never[t] = max(w.never[t], now[0])
	}
}

// running is the value of running in interval t with progress q and so much
// restart left. It is known of the first interval only, as stopped is, and of the
// one after it.
func (w *schedules) running(t, q, r int) float64 { return w.runs(t, r, max(q, w.low(t)))[0] }

// stopped is the value of not running in interval t, with progress q.
func (w *schedules) stopped(t, q int) float64 { return w.idles(t, max(q, w.low(t)))[0] }

// stop is the value of stopping at the start of t with progress q. At the end
// of the horizon all is over, and it is no stop.
func (w *schedules) stop(t, q int) float64 {
	if t >= w.p.T {
		return 0
	}
	return -w.j.PreemptUSD - w.late(t) + w.stopped(t+1, q)
}
