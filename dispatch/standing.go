package dispatch

import (
	"cmp"
	"slices"
)

// From returns what is left of the plan from interval t on, as a plan for the
// instance that begins there with the state that the plan left. Its worth and
// bound are not known.
func (p *Plan) From(t int) *Plan {
	rest := &Plan{Feasible: p.Feasible}
	for _, m := range p.Moves {
		if m.T -= t; m.T >= 0 {
			rest.Moves = append(rest.Moves, m)
		}
	}
	for _, r := range p.Runs {
		if r.Start, r.End = max(0, r.Start-t), r.End-t; r.End > 0 {
			rest.Runs = append(rest.Runs, r)
		}
	}
	for _, r := range p.Reserves {
		rest.Reserves = append(rest.Reserves, ReserveKW{r.Name, slices.Clone(r.KW[min(t, len(r.KW)):])})
	}
	for _, v := range p.Violations {
		if v.T -= t; v.T >= 0 {
			rest.Violations = append(rest.Violations, v)
		}
	}
	return rest
}

// keep makes p do what the standing plan does, where that is worth more.
func (p *Plan) keep(in *Instance, standing *Plan) {
	usd, err := in.Evaluate(standing)
	if err != nil || !standing.Feasible || !p.Feasible || usd <= p.ObjectiveUSD {
		return
	}
	p.ObjectiveUSD = usd
	p.Moves = append([]Move{}, standing.Moves...)
	p.Runs = append([]Run{}, standing.Runs...)
	p.Reserves = append([]ReserveKW{}, standing.Reserves...)
	bound := max(*p.BoundUSD, usd)
	p.BoundUSD = &bound
}

// followRuns runs the jobs as the standing plan does, as far as there is room
// and their rules let them; those that cannot are scheduled at the prices.
func (b *builder) followRuns(s *state, standing *Plan, x *prices) {
	runs := map[string][]span{}
	for _, r := range standing.Runs {
		runs[r.Job] = append(runs[r.Job], span{r.Start, r.End})
	}
	var again []int
	for _, i := range b.jobOrder() {
		given := runs[b.p.jobs[i].Name]
		slices.SortFunc(given, func(a, b span) int { return cmp.Compare(a.from, b.from) })
		if given == nil || !b.canRun(s, i, given) {
			again = append(again, i)
			continue
		}
		s.setRuns(i, given)
	}
	b.placeJobs(s, again, x)
}

// canRun says whether the job may run so by its rules, and there is room for it.
func (b *builder) canRun(s *state, i int, runs []span) bool {
	p, j := b.p, &b.p.jobs[i]
	k := &p.class[j.class]
	b.space = s.room(k.node, b.space)
	progress, started := 0, j.started
	for n, r := range runs {
		if r.from < j.Earliest || r.from >= r.to || r.to > p.T || n > 0 && r.from <= runs[n-1].to || progress >= j.Intervals ||
			j.MustRun && r.to > j.Earliest+j.Intervals {
			return false
		}
		restart := 0
		switch {
		case j.MustRun:
		case j.Running && r.from == 0:
			restart = j.RestartLeft
		case started:
			restart = j.RestartIntervals
		}
		started = true
		if progress += max(0, r.to-r.from-restart); progress > j.Intervals {
			return false
		}
		for t := r.from; t < r.to; t++ {
			if p.fix[i] != nil && p.fix[i][t] == banned || k.forced != nil && k.forced[t] ||
				s.hold[j.class][t]+j.Units > k.count || j.extra > 0 && j.extra > b.space[t]+tiny {
				return false
			}
		}
	}
	return true
}
