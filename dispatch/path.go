package dispatch

import "math"

// paths finds the best path of one unit of a class through (mode, intervals it
// should still stay), given what each mode is worth in each interval.
//
// Leaving a mode with r intervals to stay costs early × min(r, min_intervals,
// intervals left). Where units leave in the order in which they came free, the
// sum over units is exactly the instance's rule on totals; where some dwell is
// longer than min_intervals it is no more than that rule charges, so that a
// bound made of these paths is a bound.
type paths struct {
	p      *problem
	c      *pclass
	reward []float64 // T×N, USD per unit; -Inf where not allowed
	value  []float64 // (T+1)×states: best from the start of t on, being in the state during t
	leave  []float64 // T×N: best from the start of t on, leaving the mode then
	to     []uint8   // T×N: for which mode
	enter  []float64 // N: best from the interval on, entering the mode then
	whole  bool      // charge all of a long dwell, as a plan has to, not what a bound may
	ops    int       // elementary steps done so far
}

var inf = math.Inf(1)

func (w *paths) use(p *problem, c *pclass) {
	w.p, w.c = p, c
	w.reward = grow(w.reward, p.T*c.N)
	w.value = grow(w.value, (p.T+1)*c.states)
	w.leave = grow(w.leave, p.T*c.N)
	w.to = grow(w.to, p.T*c.N)
	w.enter = grow(w.enter, c.N)
}

func grow[E any](s []E, n int) []E {
	if cap(s) < n {
		return make([]E, n, n+n/4)
	}
	return s[:n]
}

// solve fills in values backwards in time.
func (w *paths) solve() {
	c, T, N, S := w.c, w.p.T, w.c.N, w.c.states
	w.ops += T * (N*N + N + S)
	clear(w.value[T*S : (T+1)*S])
	for t := T - 1; t >= 0; t-- {
		now, reward := w.value[t*S:(t+1)*S], w.reward[t*N:(t+1)*N]
		switch {
		case t == T-1:
			for m, v := range reward {
				for r := range c.length[m] {
					now[c.first[m]+r] = v
				}
			}
		case c.simple:
			next, leave := w.value[(t+1)*S:(t+2)*S], w.leave[(t+1)*N:(t+2)*N]
			for m, v := range reward {
				best := next[m]
				if leave[m] > best {
					best = leave[m]
				}
				now[m] = v + best
			}
		default:
			w.stays(t, now, reward)
		}
		if c.varies {
			w.entriesVary(t, now)
		} else {
			w.entries(t, now)
		}
	}
}

// stays fills in the values of interval t, before the last, where some mode has
// intervals to stay: what it is worth to go on, or to leave for what that costs.
func (w *paths) stays(t int, now, reward []float64) {
	c, S, N, rest := w.c, w.c.states, w.c.N, float64(w.p.T-t-1)
	next, leave := w.value[(t+1)*S:(t+2)*S], w.leave[(t+1)*N:(t+2)*N]
	standing := c.standing
	if w.whole {
		standing = c.standingWhole
	}
	for s := range now[:len(standing)] {
		q := &standing[s]
		best, fine := next[q.next], q.fine
		if most := q.early * rest; fine > most {
			fine = most // the horizon's end cuts it short
		}
		if out := leave[q.mode] - fine; out > best {
			best = out
		}
		now[s] = reward[q.mode] + best
	}
}

// entries finds, for each mode, the best mode to leave it for at t.
func (w *paths) entries(t int, now []float64) {
	c, N := w.c, w.c.N
	leave, to, enter := w.leave[t*N:(t+1)*N], w.to[t*N:(t+1)*N], w.enter
	for b, s := range c.enter {
		enter[b] = now[s]
	}
	for a := range leave {
		best, at := -inf, 0
		cost := c.cost[a*N : (a+1)*N]
		for b, v := range enter[:len(cost)] {
			if x := v - cost[b]; x > best {
				best, at = x, b
			}
		}
		leave[a], to[a] = best, uint8(at)
	}
}

// entriesVary does the same where revenues, and so what a switch loses of them,
// are not the same in all intervals.
func (w *paths) entriesVary(t int, now []float64) {
	c, N := w.c, w.c.N
	leave, to, enter := w.leave[t*N:(t+1)*N], w.to[t*N:(t+1)*N], w.enter
	for b, s := range c.enter {
		enter[b] = now[s]
	}
	for a := range leave {
		best, at := -inf, 0
		for b, v := range enter {
			x := v - c.cost[a*N+b]
			if lost := c.lost[a*N+b]; lost > 0 {
				x -= lost * c.rate[b].At(t)
			}
			if x > best {
				best, at = x, b
			}
		}
		leave[a], to[a] = best, uint8(at)
	}
}

// dwell is how many intervals are charged to a unit that leaves with left to go.
func (w *paths) dwell(mode, left int) int {
	if w.whole {
		return left
	}
	return min(left, w.c.stay[mode])
}

// best returns what a unit that starts so is worth.
func (w *paths) best(s start) float64 {
	stay, leave := w.choices(s)
	return max(stay, leave)
}

func (w *paths) choices(s start) (stay, leave float64) {
	c := w.c
	stay = w.value[c.first[s.mode]+max(0, s.left-1)]
	leave = w.leave[s.mode] - c.early[s.mode]*float64(min(w.dwell(s.mode, s.left), w.p.T))
	return stay, leave
}

// trace writes the best path of a unit that starts so: its mode in each interval.
func (w *paths) trace(s start, path []uint8) {
	c, T, N, S := w.c, w.p.T, w.c.N, w.c.states
	mode, left := s.mode, s.left
	for t := range T {
		stay := w.value[t*S+c.first[mode]+max(0, left-1)]
		leave := w.leave[t*N+mode] - c.early[mode]*float64(min(w.dwell(mode, left), T-t))
		if leave > stay {
			mode = int(w.to[t*N+mode])
			left = c.stay[mode]
		}
		path[t] = uint8(mode)
		left = max(0, left-1)
	}
}

// along returns what the given path is worth at the same rewards.
func (w *paths) along(s start, path []uint8) float64 {
	c, T, N := w.c, w.p.T, w.c.N
	mode, left, sum := s.mode, s.left, 0.0
	for t := range T {
		if b := int(path[t]); b != mode {
			sum -= c.early[mode]*float64(min(w.dwell(mode, left), T-t)) + c.usd[mode*N+b]
			if b < c.M {
				sum -= c.lost[mode*N+b] * c.rate[b].At(t)
			}
			mode, left = b, c.stay[b]
		}
		sum += w.reward[t*N+mode]
		left = max(0, left-1)
	}
	return sum
}
