package pivot

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"sluice"
	"sluice/dispatch"
)

// table holds what each week comes to, at each share and level of the hashprice.
type table struct {
	p      *Plan
	m      *market
	plants []plant
	levels []float64    // of the hashprice, USD per PH/s and day, rising
	mix    [][]tally    // by conversion, then by cell: the plant
	alone  []tally      // by cell: its miners alone, behind a connection of what the AI leaves
	solved solverReport // over all weeks
}

type solverReport struct {
	solves, direct, infeasible int
	worstGap                   float64 // of a week's worth
}

func (t *table) cell(share, week, level int) int {
	return (share*len(t.m.weeks)+week)*len(t.levels) + level
}

// The levels of the hashprice: how many at most, how far apart at least, and
// which share of the scenarios' weeks lies beyond them at either end.
const (
	maxLevels  = 20
	levelRatio = 1.2
	levelTail  = 0.002
)

// levelsOf returns the levels at which weeks are solved: one at which no miner
// runs for its revenue, and others evenly spaced in the logarithm over what the
// scenarios hold. Between them a week is interpolated. Beyond the last, miners run
// nearly all the time, so that what they earn is a straight line.
func levelsOf(ss []scenario) []float64 {
	var all []float64
	for _, s := range ss {
		all = append(all, s.hashprice...)
	}
	slices.Sort(all)
	lo, hi := quantile(all, levelTail), quantile(all, 1-levelTail)
	out := []float64{0, lo}
	if hi > lo*(1+1e-9) {
		n := min(maxLevels, 1+int(math.Ceil(math.Log(hi/lo)/math.Log(levelRatio))))
		for i := 1; i < n; i++ {
			out = append(out, lo*math.Pow(hi/lo, float64(i)/float64(n-1)))
		}
	}
	return out
}

// newTable solves all weeks, on so many workers as the plan says.
func newTable(ctx context.Context, p *Plan, m *market, levels []float64, progress func(Progress)) (*table, error) {
	t := &table{p: p, m: m, plants: p.plants(), levels: levels}
	cells := len(t.plants) * len(m.weeks) * len(levels)
	t.alone = make([]tally, cells)
	for range p.Conversions {
		t.mix = append(t.mix, make([]tally, cells))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var first error
	done := 0
	next := make(chan int)
	var all sync.WaitGroup
	for range p.Workers {
		all.Go(func() {
			for w := range next {
				r, err := t.solveWeek(ctx, w)
				mu.Lock()
				t.solved.solves += r.solves
				t.solved.direct += r.direct
				t.solved.infeasible += r.infeasible
				t.solved.worstGap = max(t.solved.worstGap, r.worstGap)
				done++
				if err != nil && first == nil {
					first = fmt.Errorf("the week from %s: %w", m.weeks[w].start.Format("2006-01-02"), err)
					cancel()
				}
				if err == nil {
					progress(Progress{"weeks", "weeks", done, len(m.weeks)})
				}
				mu.Unlock()
			}
		})
	}
	for w := range m.weeks {
		select {
		case next <- w:
		case <-ctx.Done():
		}
	}
	close(next)
	all.Wait()
	if err := context.Cause(ctx); first == nil && err != nil {
		return nil, err
	}
	return t, first
}

// free is a week without limits: then no machine stands in the way of another, so
// that one of each kind stands for all.
type free struct {
	miners [][]miner              // one machine, by level and class
	serve  []map[string][]float64 // by conversion and part, for each hour: 1 where it is served
}

func (t *table) freely(w *week, r *solverReport) (*free, error) {
	in := w.instance([]dispatch.Node{{Name: root}})
	names := make([][]string, len(t.p.Conversions)) // of the parts
	for li, level := range t.levels {
		for i := range t.p.Site.Classes {
			in.Classes = append(in.Classes, t.p.minerClass(i, 1, w, level, fmt.Sprintf("m%d.%d", li, i), root))
		}
	}
	for ci := range t.p.Conversions {
		l := t.p.Conversions[ci].load(t.p.Site.KW.Value)
		for i, p := range l.parts(w) {
			in.Classes = append(in.Classes, p.class(fmt.Sprintf("c%d.%d", ci, i), root, 1))
			names[ci] = append(names[ci], p.name)
		}
	}
	plan, err := t.solve(in, r)
	if err != nil {
		return nil, err
	}
	out := &free{serve: make([]map[string][]float64, len(t.p.Conversions))}
	next := 0
	for range t.levels {
		var row []miner
		for range t.p.Site.Classes {
			row = append(row, newMiner(in, plan, &in.Classes[next], w))
			next++
		}
		out.miners = append(out.miners, row)
	}
	for ci := range t.p.Conversions {
		out.serve[ci] = map[string][]float64{}
		for _, name := range names[ci] {
			out.serve[ci][name] = served(in, plan, &in.Classes[next])
			next++
		}
	}
	return out, nil
}

// serving is which share of each part is served in each hour: all of one that is
// too small to be among those of the whole site.
func (f *free) serving(ci int, parts []part) [][]float64 {
	out := make([][]float64, len(parts))
	for i, p := range parts {
		if out[i] = f.serve[ci][p.name]; out[i] == nil {
			out[i] = slices.Repeat([]float64{1}, hoursPerWeek)
		}
	}
	return out
}

func (t *table) solve(in *dispatch.Instance, r *solverReport) (*dispatch.Plan, error) {
	plan, err := dispatch.Solve(in, dispatch.Options{})
	if err != nil {
		return nil, sluice.Errorf(sluice.Internal, "", "solving it: %v", err)
	}
	r.solves++
	if plan.BoundUSD == nil {
		r.infeasible += len(plan.Violations)
	}
	return plan, nil
}

// cellWork is a cell that has to be worked out: what a plant comes to in a week
// behind a connection of kw, with the parts of a load.
type cellWork struct {
	at      *plant
	parts   []part
	serving [][]float64 // of the parts, without limits
	kw      float64
	cells   []tally
}

// solveWeek fills the cells of a week: of each plant, and of its miners alone.
// Where the best plan follows from that without limits (see fit) that is all; else
// the plant is solved.
func (t *table) solveWeek(ctx context.Context, wi int) (solverReport, error) {
	w := &t.m.weeks[wi]
	var r solverReport
	f, err := t.freely(w, &r)
	if err != nil {
		return r, err
	}
	var work []cellWork
	for s := range t.plants {
		at := &t.plants[s]
		work = append(work, cellWork{at: at, kw: at.kw - at.aiKW, cells: t.alone})
		for ci := range t.p.Conversions {
			c := cellWork{at: at, kw: at.kw, cells: t.mix[ci]}
			if at.aiKW > 0 {
				l := t.p.Conversions[ci].load(at.aiKW)
				c.parts = l.parts(w)
				c.serving = f.serving(ci, c.parts)
			}
			work = append(work, c)
		}
	}
	for li := range t.levels {
		for _, c := range work {
			if err := ctx.Err(); err != nil {
				return r, err
			}
			out := &c.cells[t.cell(c.at.index, wi, li)]
			x, ok := t.fit(w, c.at, f.miners[li], c.parts, c.serving, c.kw)
			var got tally
			if ok {
				for i, n := range c.at.kept {
					one := x.settled(i, &f.miners[li][i], w)
					got.mine(&one, float64(n))
				}
				for i := range c.parts {
					got.ai(&c.parts[i], x.serve[i], w)
				}
				ok = x.gap <= directGap*got.turnover(c.parts)
			}
			if ok {
				r.direct++
				r.worstGap = max(r.worstGap, x.gap/max(1, got.turnover(c.parts)))
				*out = got
				continue
			}
			if err := t.solvePlant(w, li, c, out, &r); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// directGap is how far a plan that was found without solving may be from the best,
// as a share of what the week turns over.
const directGap = 0.002

// solvePlant solves a plant in a week at a level.
func (t *table) solvePlant(w *week, level int, c cellWork, out *tally, r *solverReport) error {
	in := t.p.bound(w, t.levels[level], c.at.kept, c.parts, c.kw)
	plan, err := t.solve(in, r)
	if err != nil {
		return err
	}
	miners := len(in.Classes) - len(c.parts)
	for i := range in.Classes {
		if i < miners {
			s := settle(in, plan, &in.Classes[i], w)
			out.mine(&s, 1)
		} else {
			out.ai(&c.parts[i-miners], served(in, plan, &in.Classes[i]), w)
		}
	}
	if plan.BoundUSD != nil {
		r.worstGap = max(r.worstGap, (*plan.BoundUSD-plan.ObjectiveUSD)/max(1, out.turnover(c.parts)))
	}
	return nil
}

func parentOf(nodes []Node, name string) string {
	for _, n := range nodes {
		if n.Name == name {
			return n.Parent
		}
	}
	return ""
}

// at returns the tally at a hashprice, linear between the levels beside it. The
// worth of a week is a convex function of the hashprice, so that this is a little
// too high; see levelRatio.
func (t *table) at(cells []tally, share, week int, hashprice float64) tally {
	i := 0
	for i+2 < len(t.levels) && t.levels[i+1] < hashprice {
		i++
	}
	var out tally
	k := (hashprice - t.levels[i]) / (t.levels[i+1] - t.levels[i])
	out.add(&cells[t.cell(share, week, i)], 1-k)
	out.add(&cells[t.cell(share, week, i+1)], k)
	return out
}
