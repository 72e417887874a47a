package dispatch

// span is one unbroken run over the intervals [from, to).
type span struct{ from, to int }

// schedules finds the best runs of a job, given what it costs to run in each
// interval (power and the units it holds; +Inf where it cannot run).
//
// States at the start of an interval: not yet started, stopped, or running with
// so many restart intervals still to sit out; each with the progress made.
type schedules struct {
	p       *problem
	j       *pjob
	cost    []float64 // T
	idle    []float64 // (T+1)×P: stopped, has run before
	run     []float64 // (T+1)×(R+1)×P: runs in this interval, with so much restart left
	never   []float64 // T+1
	P, R, K int
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
	if j.Running {
		w.R = max(w.R, min(j.RestartLeft, T))
	}
	w.K = w.R + 1
	P, K := w.P, w.K
	w.ops += T * min(P, T/2+1) * (K + 1)
	w.idle = grow(w.idle, (T+1)*P)
	w.run = grow(w.run, (T+1)*P*K)
	w.never = grow(w.never, T+1)
	clear(w.idle[T*P:])
	clear(w.run[T*P*K:])
	w.never[T] = 0
	again := min(j.RestartIntervals, T)
	for t := T - 1; t >= 0; t-- {
		w.backward(t, again)
	}
	switch {
	case j.Running:
		return max(w.run[w.at(0, 0, min(j.RestartLeft, T))], w.stop(0, 0))
	case j.started:
		return w.idle[0]
	}
	return w.never[0]
}

// backward fills in the values of interval t from those of the next.
func (w *schedules) backward(t, again int) {
	j, T, P, K := w.j, w.p.T, w.P, w.K
	late := w.late(t)
	// What a stop at the start of the next interval brings, beyond being idle then.
	stopping, halted := 0.0, w.idle[T*P:]
	if t+1 < T {
		stopping, halted = -j.PreemptUSD-w.late(t+1), w.idle[(t+2)*P:(t+3)*P]
	}
	wait, gain := -w.cost[t]-late, j.gain-w.cost[t]-late
	top := min(P, t+1) // no more progress than intervals gone by
	for r := K - 1; r > 0; r-- {
		next := w.run[((t+1)*K+r-1)*P:][:top]
		now := w.run[(t*K+r)*P:][:top]
		for q, on := range next {
			if stop := stopping + halted[q]; stop > on {
				on = stop
			}
			now[q] = wait + on
		}
	}
	now := w.run[t*K*P:][:top]
	switch next := w.run[(t+1)*K*P:][:P]; {
	case !w.count:
		now[0] = gain + max(next[0], stopping+halted[0])
	default:
		made := min(top, P-1)
		next, halted := next[1:made+1], halted[1:made+1]
		for q, on := range next {
			if stop := stopping + halted[q]; stop > on {
				on = stop
			}
			now[q] = gain + on
		}
		if top == P {
			now[P-1] = gain
		}
	}
	idle, idleNext := w.idle[t*P:][:top], w.idle[(t+1)*P:][:top]
	if t >= j.Earliest {
		start := w.run[(t*K+again)*P:][:top]
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
	w.never[t] = w.never[t+1] - late
	if t >= j.Earliest {
		w.never[t] = max(w.never[t], now[0])
	}
}

// at is where the value lies of running in interval t with progress q and so
// much restart left.
func (w *schedules) at(t, q, r int) int { return (t*w.K+r)*w.P + q }

// stop is the value of stopping at the start of t with progress q. At the end
// of the horizon all is over, and it is no stop.
func (w *schedules) stop(t, q int) float64 {
	if t >= w.p.T {
		return 0
	}
	return -w.j.PreemptUSD - w.late(t) + w.idle[(t+1)*w.P+q]
}

// trace appends the runs of the best schedule.
func (w *schedules) trace(out []span) []span {
	j, T := w.j, w.p.T
	if j.MustRun {
		for t := j.Earliest; t < min(T, j.Earliest+j.Intervals); t++ {
			if j.gain-w.cost[t] < -j.UnservedUSDPerInterval {
				continue
			}
			if k := len(out) - 1; k >= 0 && out[k].to == t {
				out[k].to++
			} else {
				out = append(out, span{t, t + 1})
			}
		}
		return out
	}
	P := w.P
	t, q := 0, 0
	ran := j.started
	if j.Running {
		if w.run[w.at(0, 0, min(j.RestartLeft, T))] >= w.stop(0, 0) {
			out = append(out, span{0, 0})
			t, q = w.follow(0, 0, min(j.RestartLeft, T))
			out[0].to = t
			if w.count && q == P {
				return out
			}
		}
		t++
	}
	for t < T {
		r := 0
		if ran {
			r = min(j.RestartIntervals, T)
			if t < j.Earliest || w.run[w.at(t, q, r)] < -w.late(t)+w.idle[(t+1)*P+q] {
				t++
				continue
			}
		} else if t < j.Earliest || w.run[w.at(t, 0, 0)] < -w.late(t)+w.never[t+1] {
			t++
			continue
		}
		from := t
		t, q = w.follow(t, q, r)
		out = append(out, span{from, t})
		ran = true
		if w.count && q == P {
			return out
		}
		t++
	}
	return out
}

// follow runs on from t until the best schedule stops, and returns when and
// with what progress.
func (w *schedules) follow(t, q, r int) (int, int) {
	P := w.P
	for {
		if r > 0 {
			r--
		} else if w.count {
			q++
		}
		t++
		if w.count && q == P || t >= w.p.T {
			return t, q
		}
		if w.run[w.at(t, q, r)] < w.stop(t, q) {
			return t, q
		}
	}
}

// account returns what the runs are worth by the job's own rules, without the
// cost of power and units.
func (j *pjob) account(T int, runs []span) float64 {
	sum := 0.0
	if j.MustRun {
		due := max(0, min(T, j.Earliest+j.Intervals)-j.Earliest)
		for _, r := range runs {
			due -= r.to - r.from
			sum += float64(r.to-r.from) * j.gain
		}
		return sum - float64(due)*j.UnservedUSDPerInterval
	}
	progress, end := 0, T
	started := j.started
	for _, r := range runs {
		restart := 0
		if j.Running && r.from == 0 {
			restart = j.RestartLeft
		} else if started {
			restart = j.RestartIntervals
		}
		started = true
		made := max(0, r.to-r.from-restart)
		progress += made
		sum += float64(made) * j.gain
		if progress < j.Intervals && r.to < T {
			sum -= j.PreemptUSD
		} else if progress >= j.Intervals {
			end = r.to
		}
	}
	if j.Running && (len(runs) == 0 || runs[0].from > 0) {
		sum -= j.PreemptUSD
	}
	if j.deadline < end {
		sum -= float64(end-j.deadline) * j.LateUSDPerInterval
	}
	return sum
}
