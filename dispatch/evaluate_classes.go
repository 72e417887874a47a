package dispatch

import (
	"cmp"
	"math"
	"slices"
)

func (e *evaluation) accountClasses(p *Plan) error {
	class := make([]int, len(p.Moves))
	for i := range p.Moves {
		m := &p.Moves[i]
		if class[i] = e.classes.find(m.Class); class[i] < 0 {
			return wrong("a move of unknown class %q", m.Class)
		}
		if m.Units <= 0 || m.T < 0 || m.T >= e.T {
			return wrong("a move of %d units of %s at %d", m.Units, m.Class, m.T)
		}
	}
	order, first := ordered(len(p.Moves), len(e.in.Classes), func(i int) int { return class[i] })
	for i := range e.in.Classes {
		moves := order[first[i]:first[i+1]]
		slices.SortStableFunc(moves, func(a, b int) int { return cmp.Compare(p.Moves[a].T, p.Moves[b].T) })
		if err := e.class(i, p.Moves, moves); err != nil {
			return err
		}
	}
	return nil
}

// class accounts for a class, whose moves are those listed, in order of time:
// between them nothing changes.
func (e *evaluation) class(i int, all []Move, moves []int) error {
	T, c := e.T, &e.in.Classes[i]
	M := len(c.Modes)
	N := M + 1
	floor, staying := math.Inf(1), 0 // until when some unit should stay where it is
	for m := range c.Modes {
		floor = math.Min(floor, c.Modes[m].PowerKW)
	}
	for k := range c.Dwell {
		staying = max(staying, c.Dwell[k].Left)
	}
	ints := make([]int, 2*N)
	count, out := ints[:N], ints[N:]
	var entered []int // by interval and mode
	if len(moves) > 0 || staying > 0 {
		entered = make([]int, N*T)
	}
	for m, n := range c.Initial {
		count[c.mode(m)] += n
	}
	held, kws := e.held[i*T:(i+1)*T], e.jobKW[i*T:(i+1)*T] // what the modes draw is added
	for t := 0; t < T; {
		clear(out)
		moved := false
		for ; len(moves) > 0 && all[moves[0]].T == t; moves = moves[1:] {
			mv := &all[moves[0]]
			a, b := c.mode(mv.From), c.mode(mv.To)
			if a < 0 || b < 0 || a == b {
				return wrong("%s cannot move from %q to %q", c.Name, mv.From, mv.To)
			}
			moved = true
			out[a] += mv.Units
			entered[t*N+b] += mv.Units
			for k := range c.Switches {
				if s := &c.Switches[k]; s.From == mv.From && s.To == mv.To {
					e.usd -= float64(mv.Units) * s.USD
					if b < M {
						e.usd -= float64(mv.Units) * s.LostMinutes / 60 * c.Modes[b].USDPerHour.At(t)
					}
				}
			}
			if b < M && c.Modes[b].minIntervals() > 1 {
				staying = max(staying, t+c.Modes[b].minIntervals())
			}
		}
		for m := 0; moved && m < N; m++ {
			if out[m] > count[m] {
				return wrong("%d units of %s leave a mode at %d where %d are", out[m], c.Name, t, count[m])
			}
			count[m] += entered[t*N+m] - out[m]
		}
		to := T
		if len(moves) > 0 {
			to = all[moves[0]].T
		}
		for s := t; s < min(to, staying); s++ {
			e.early(c, s, count, entered)
		}
		kw, shed := 0.0, 0.0
		for m := range c.Modes {
			mode, n := &c.Modes[m], float64(count[m])
			kw += n * mode.PowerKW
			shed += n * mode.ShedKW
			if v := mode.USDPerHour.values; v != nil && n > 0 {
				for _, x := range v[t:to] {
					e.usd += n * x * e.h
				}
			} else {
				e.usd += n * mode.USDPerHour.all * e.h * float64(to-t)
			}
		}
		for ; t < to; t++ {
			kws[t] += kw
			e.shed[t] += shed
			if count[M] != held[t] {
				return wrong("%d units of %s are in job at %d where jobs hold %d", count[M], c.Name, t, held[t])
			}
		}
	}
	least := float64(c.Count)*floor + 1e-9
	for n := e.nodes.find(c.Node); n >= 0; n = e.parent[n] {
		add(e.load[n*T:(n+1)*T], kws)
		could := e.could[n*T : (n+1)*T]
		for t, kw := range kws {
			could[t] = could[t] || kw > least
		}
	}
	return nil
}

// early charges for the units that left a mode before they should.
func (e *evaluation) early(c *Class, t int, count, entered []int) {
	N := len(c.Modes) + 1
	for m := range c.Modes {
		mode := &c.Modes[m]
		due := 0
		for s := max(0, t-mode.minIntervals()+1); s <= t && mode.minIntervals() > 1; s++ {
			due += entered[s*N+m]
		}
		for k := range c.Dwell {
			if d := &c.Dwell[k]; d.Left > t && d.Mode == mode.Name {
				due += d.Units
			}
		}
		if due > count[m] {
			e.usd -= float64(due-count[m]) * mode.early()
		}
	}
}
