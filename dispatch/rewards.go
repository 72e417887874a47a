package dispatch

// What units and jobs earn, and what they cost, at given prices.

// classAt sets the rewards of class c at the prices.
func (w *paths) classAt(p *problem, c int, x *prices) {
	k := &p.class[c]
	w.use(p, k)
	power := x.power[k.node]
	for m := range k.M {
		kw, shed, rate := k.kw[m], k.shed[m], k.rate[m]
		values := rate.values
		fixed := rate.all * p.h
		for t := range p.T {
			v := fixed
			if values != nil {
				v = values[t] * p.h
			}
			v -= kw * power[t]
			if x.shed != nil {
				v += shed * x.shed[t]
			}
			w.reward[t*k.N+m] = v
		}
	}
	if k.hasJob {
		for t, mu := range x.hold[c] {
			w.reward[t*k.N+k.M] = mu
		}
	}
	w.forbid()
}

// forbid keeps units out of all but the modes of least power where a limit
// above them cannot be kept.
func (w *paths) forbid() {
	c := w.c
	for t, f := range c.forced {
		if !f {
			continue
		}
		for m := range c.N {
			if m == c.M || c.kw[m] > c.least {
				w.reward[t*c.N+m] = -inf
			}
		}
	}
}

// jobAt sets the cost of running job i at the prices.
func (w *schedules) jobAt(p *problem, i int, x *prices) {
	j := &p.jobs[i]
	w.use(p, j)
	units, k := float64(j.Units), &p.class[j.class]
	power, hold := x.power[k.node], x.hold[j.class]
	for t := range w.cost {
		w.cost[t] = units * (j.PowerKW*power[t] + hold[t])
	}
	add(w.cost, x.crowd[i])
	if x.shed != nil && j.ShedKW > 0 {
		for t := range w.cost {
			w.cost[t] -= units * j.ShedKW * x.shed[t]
		}
	}
	for t, f := range k.forced {
		if f {
			w.cost[t] = inf
		}
	}
	if p.lean != nil {
		for t := p.lean.end[i]; t < p.T; t++ {
			w.cost[t] = inf
		}
	}
	w.bonus = 0
	for t, f := range p.fix[i] {
		switch f {
		case banned:
			w.cost[t] = inf
		case forced:
			w.cost[t] -= force
			w.bonus += force
		}
	}
}
