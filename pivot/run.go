package pivot

import (
	"context"
	"fmt"
	"sync"
)

// Run works the plan out. It can be cancelled at any time, then it returns the
// context's error; progress is called from one goroutine at a time. Errors of kind
// sluice.Invalid say what in the plan makes no sense.
func Run(ctx context.Context, plan Plan, progress func(Progress)) (*Result, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	p, err := plan.complete()
	if err != nil {
		return nil, err
	}
	m, err := newMarket(p.History, &p.Terms)
	if err != nil {
		return nil, err
	}
	scenarios := m.draw(&p)
	lo, hi := hashRange(scenarios)
	t, err := newTable(ctx, &p, m, levelsOf(scenarios), progress)
	if err != nil {
		return nil, err
	}
	r := &Result{
		Site: p.Site.Name, PowerMW: p.Site.KW.Value / 1000, Years: p.Years, Scenarios: p.Scenarios, Seed: p.Seed,
		History: HistoryFacts{
			From: m.from, To: m.end, Weeks: len(m.weeks), WeeksLeftOut: m.leftOut, HoursHeld: m.held,
			CalledHoursYear: m.calledHours(), HalfLifeWeeks: p.Terms.HalfLife.Value, WeeklyVolatility: m.shockSD,
			LeastHashprice: lo, MostHashprice: hi,
		},
		Solver: SolverFacts{t.solved.solves, t.solved.direct, t.solved.infeasible, t.solved.worstGap, len(t.levels)},
		Inputs: p.inputs(m),
	}
	for ci := range p.Conversions {
		steps, err := t.measure(ctx, ci, scenarios, func(done int) {
			progress(Progress{"scenarios of " + p.Conversions[ci].Name, "scenarios", done, len(scenarios)})
		})
		if err != nil {
			return nil, err
		}
		r.Steps = append(r.Steps, steps...)
		r.Best = append(r.Best, best(p.Conversions[ci].Name, steps))
	}
	r.Notes = t.notes()
	return r, nil
}

func (m *market) calledHours() float64 {
	n := 0
	for _, w := range m.weeks {
		n += w.calls
	}
	return float64(n) / float64(len(m.weeks)) * weeksPerYear
}

// measure runs every scenario at every share of a conversion.
func (t *table) measure(ctx context.Context, ci int, scenarios []scenario, progress func(int)) ([]Step, error) {
	sums := make([]*sums, len(t.plants))
	for i := range sums {
		sums[i] = newSums(12*t.p.Years, len(scenarios))
	}
	// Scenarios are worked out side by side, and added up in their order, so that
	// the result does not depend on the number of workers.
	type worked struct{ ledgers []*ledger }
	batch := make([]worked, min(len(scenarios), 16*t.p.Workers))
	for from := 0; from < len(scenarios); from += len(batch) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(len(batch), len(scenarios)-from)
		var all sync.WaitGroup
		for w := range t.p.Workers {
			all.Go(func() {
				for i := w; i < n; i += t.p.Workers {
					s := &scenarios[from+i]
					firm, spot := t.p.Conversions[ci].rates(s, 12*t.p.Years)
					batch[i].ledgers = make([]*ledger, len(t.plants))
					for si := range t.plants {
						batch[i].ledgers[si] = t.run(ci, si, s, firm, spot)
					}
				}
			})
		}
		all.Wait()
		for _, b := range batch[:n] {
			for si, g := range b.ledgers {
				sums[si].add(g, b.ledgers[0], t.p.Terms.Discount.Value, t.p.Conversions[ci].leadMonths())
			}
		}
		progress(from + n)
	}
	steps := make([]Step, len(t.plants))
	for si := range steps {
		steps[si] = t.step(ci, si, sums[si])
	}
	return steps, nil
}

func best(name string, steps []Step) Best {
	b := Best{Conversion: name}
	for i, s := range steps {
		if i == 0 || s.NPVUSD.P50 > b.NPVP50USD {
			b.Share, b.AIMW, b.NPVP50USD = s.Share, s.AIMW, s.NPVUSD.P50
		}
		if i == 0 || s.NPVUSD.P5 > b.NPVP5USD {
			b.Careful, b.CarefulMW, b.NPVP5USD = s.Share, s.AIMW, s.NPVUSD.P5
		}
	}
	return b
}

// notes are what the reader of the result has to know.
func (t *table) notes() []string {
	p, m := t.p, t.m
	out := []string{
		"All figures are before tax and interest, in the prices of the history's years (real, no inflation).",
		"The plan of a week knows the prices of that week; the share of it that a controller earns is the input capture.",
		"New miners are never bought, and what the kept ones are worth at the end is not counted.",
	}
	if m.leftOut > 0 {
		out = append(out, fmt.Sprintf("Weeks of the history that are left out, since more than %d of their hours are unknown: %d.", maxUnknown, m.leftOut))
	}
	if m.held > 0 {
		out = append(out, fmt.Sprintf("%d unknown hours hold the value before them.", m.held))
	}
	if p.History.Hashprice == nil {
		out = append(out, "The history has no hashprice: it is taken as steady but for its growth, which understates the risk of mining.")
	}
	for i := range p.Site.Classes {
		if n := p.Site.Classes[i].Count - t.plants[0].kept[i]; n > 0 {
			out = append(out, fmt.Sprintf("%d machines of the class %s do not fit behind the connection at full power and are left out.", n, p.Site.Classes[i].Name))
		}
	}
	if t.solved.infeasible > 0 {
		out = append(out, fmt.Sprintf("In %d hours, over all shares, even what stands still draws more than the grid leaves.", t.solved.infeasible))
	}
	return append(out, p.History.Notes...)
}
