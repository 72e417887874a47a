package dispatch

import (
	"cmp"
	"slices"
)

// plan writes the state down as a plan, without worth or bound.
func (s *state) plan(x *prices) *Plan {
	p := s.p
	out := &Plan{Feasible: true, Moves: []Move{}, Runs: []Run{}, Reserves: []ReserveKW{}, Violations: []Violation{}}
	for c := range p.class {
		out.Moves = append(out.Moves, s.moves(c)...)
	}
	slices.SortFunc(out.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(a.T, b.T), cmp.Compare(a.Class, b.Class), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	for i := range p.jobs {
		for _, r := range s.runs[i] {
			out.Runs = append(out.Runs, Run{p.jobs[i].Name, r.from, r.to})
		}
	}
	for i := range p.res {
		kw := make([]float64, p.T)
		out.Reserves = append(out.Reserves, ReserveKW{p.in.Reserves[i].Name, kw})
	}
	for t := range p.worth {
		rest := max(0, s.shed[t])
		for _, w := range p.worth[t] {
			kw := min(rest, w.kw)
			out.Reserves[w.reserve].KW[t] += kw
			rest -= kw
		}
	}
	if x != nil {
		out.Prices = map[string][]float64{}
		for n := range p.nodes {
			row := make([]float64, p.T)
			for t, v := range x.power[n] {
				row[t] = v * 1000 / p.h
			}
			out.Prices[p.nodes[n].name] = row
		}
	}
	return out
}

// moves nets the paths of a class to as few and as cheap moves as they allow.
func (s *state) moves(c int) []Move {
	p, k := s.p, &s.p.class[c]
	name := func(m int) string {
		if m == k.M {
			return JobMode
		}
		return p.in.Classes[c].Modes[m].Name
	}
	var out []Move
	flow := make([]int, k.N*k.N)
	for t := range p.T {
		any := false
		for i := range s.groups[c] {
			g := &s.groups[c][i]
			from := k.start[g.start].mode
			if t > 0 {
				from = int(g.path[t-1])
			}
			if to := int(g.path[t]); to != from && g.n > 0 {
				flow[from*k.N+to] += g.n
				any = true
			}
		}
		if !any {
			continue
		}
		k.shortcut(flow, t)
		for a := range k.N {
			for b := range k.N {
				if n := flow[a*k.N+b]; n > 0 && a != b {
					out = append(out, Move{t, k.name, name(a), name(b), n})
				}
				flow[a*k.N+b] = 0
			}
		}
	}
	return out
}

// shortcut replaces a to b and b to c by a to c where that costs no more: it
// leaves as many units in each mode, and units longer in b.
func (k *pclass) shortcut(flow []int, t int) {
	cost := func(a, b int) float64 {
		if a == b {
			return 0
		}
		v := k.usd[a*k.N+b]
		if b < k.M {
			v += k.lost[a*k.N+b] * k.rate[b].At(t)
		}
		return v
	}
	for again := true; again; {
		again = false
		for a := range k.N {
			for b := range k.N {
				for c := range k.N {
					n := min(flow[a*k.N+b], flow[b*k.N+c])
					if n == 0 || a == b || b == c || cost(a, c) > cost(a, b)+cost(b, c) {
						continue
					}
					flow[a*k.N+b] -= n
					flow[b*k.N+c] -= n
					if a != c {
						flow[a*k.N+c] += n
					}
					again = true
				}
			}
		}
	}
}
