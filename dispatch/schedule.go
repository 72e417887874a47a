package dispatch

// schedules finds the best runs of a job, given what it costs to run in each
// interval (power and the units it holds; +Inf where it cannot run).
//
// States at the start of an interval: not yet started, stopped, or running with
// so many restart intervals still to sit out; each with the progress made. Of
// progress only a band is gone through: no more than there was time for, and no
// less than what can still be finished. All that cannot are worth the same, so
// that the most progress of these, low, stands for them.
type schedules struct {
	p       *problem
	j       *pjob
	cost    []float64 // T
	idle    []float64 // (T+1)×B: stopped, has run before
	run     []float64 // (T+1)×(R+1)×B: runs in this interval, with so much restart left
	never   []float64 // T+1
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
	w.idle = grow(w.idle, (T+1)*w.B)
	w.run = grow(w.run, (T+1)*w.B*w.K)
	w.never = grow(w.never, T+1)
	clear(w.idle[T*w.B:])
	clear(w.run[T*w.B*w.K:])
	w.never[T] = 0
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
// from q on; idles those of being stopped.
func (w *schedules) runs(t, r, q int) []float64 { return w.run[(t*w.K+r)*w.B:][q-w.from(t) : w.B] }
func (w *schedules) idles(t, q int) []float64   { return w.idle[t*w.B:][q-w.from(t) : w.B] }

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
	w.ops += width * (K + 1)
	// What a stop at the start of the next interval brings, beyond being idle then.
	stopping, after := 0.0, T
	if t+1 < T {
		stopping, after = -j.PreemptUSD-w.late(t+1), t+2
	}
	halted := w.idles(after, low)
	wait, gain := -w.cost[t]-late, j.gain-w.cost[t]-late
	for r := K - 1; r > 0; r-- {
		next, halted := w.runs(t+1, r-1, low)[:width], halted[:width]
		now := w.runs(t, r, low)[:width]
		for q, on := range next {
			if stop := stopping + halted[q]; stop > on {
				on = stop
			}
			now[q] = wait + on
		}
		w.edge(t, w.runs(t, r, w.from(t)))
	}
	now := w.runs(t, 0, low)[:width]
	switch next := w.runs(t+1, 0, low+min(1, P-1)); {
	case t < w.first:
		now[0] = -inf
	case !w.count:
		now[0] = gain + max(next[0], stopping+halted[0])
	default:
		made := min(low+width, P-1) - low
		next, halted := next[:made], halted[1:][:made]
		for q, on := range next {
			if stop := stopping + halted[q]; stop > on {
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
		start := w.runs(t, again, low)[:width]
		for q, v := range idleNext {
			v -= late
			if x := start[q]; x > v {
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
	if t >= j.Earliest {
		w.never[t] = max(w.never[t], now[0])
	}
}

// running is the value of running in interval t with progress q and so much
// restart left.
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
