package dispatch

// span is one unbroken run over the intervals [from, to).
type span struct{ from, to int }

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
		if w.running(0, 0, min(j.RestartLeft, T)) >= w.stop(0, 0) {
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
			if t < j.Earliest || !w.starts(t, max(q, w.low(t)))[0] {
				t++
				continue
			}
		} else if t < j.Earliest || w.begin[t] < -w.late(t)+w.never[t+1] {
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
		halt := w.halts(t, r, max(q, w.low(t)))[0]
		if r > 0 {
			r--
		} else if w.count {
			q++
		}
		t++
		if w.count && q == P || t >= w.p.T || halt {
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
