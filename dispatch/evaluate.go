package dispatch

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"sluice"
)

// slack is how far a load may exceed a limit by rounding: one part in a million.
func slack(limit float64) float64 { return 1e-6 * math.Max(1, math.Abs(limit)) }

// Evaluate derives the worth of the plan from the instance and the plan's
// moves, runs and reserves alone. An error says why it is no plan for the
// instance: a job run against its rules, units that are not there, a limit
// broken that could be kept, violations not listed.
func (in *Instance) Evaluate(p *Plan) (objectiveUSD float64, err error) {
	e, over, err := in.account(p)
	if err != nil {
		return 0, err
	}
	if err := e.verdict(p, over); err != nil {
		return 0, err
	}
	return e.usd, nil
}

// verdict says whether what is over its limit had to be, and is listed.
func (e *evaluation) verdict(p *Plan, over []Violation) error {
	listed := 0
	for _, o := range over {
		switch {
		case p.Feasible:
			return wrong("the load of %s at %d is %.3f kW over its limit", o.Node, o.T, o.OverKW)
		case e.could[o.Node][o.T]:
			return wrong("the load of %s at %d is %.3f kW over its limit, and could be less", o.Node, o.T, o.OverKW)
		}
		for _, v := range p.Violations {
			if v.T == o.T && v.Node == o.Node {
				listed++
				break
			}
		}
	}
	if !p.Feasible && (len(over) == 0 || listed != len(over) || listed != len(p.Violations)) {
		return wrong("%d violations are listed and %d limits are broken", len(p.Violations), len(over))
	}
	return nil
}

// account goes through the plan, and returns the limits that it breaks.
func (in *Instance) account(p *Plan) (*evaluation, []Violation, error) {
	e := newEvaluation(in)
	for _, part := range []func(*Plan) error{e.jobs, e.classes, e.reserves} {
		if err := part(p); err != nil {
			return nil, nil, err
		}
	}
	return e, e.tree(), nil
}

func wrong(format string, args ...any) error {
	return sluice.Errorf(sluice.Invalid, "", "no plan for this instance: "+format, args...)
}

// evaluation is the running account of a plan.
type evaluation struct {
	in      *Instance
	h       float64 // hours in an interval
	usd     float64
	jobKW   map[string][]float64 // by class
	held    map[string][]int     // units that jobs hold, by class
	shed    []float64            // kW that could be dropped
	load    map[string][]float64 // by node
	could   map[string][]bool    // by node: something in its subtree is above its least power
	parents map[string]string
	root    string
}

func newEvaluation(in *Instance) *evaluation {
	e := &evaluation{
		in: in, h: in.StepMinutes / 60, shed: make([]float64, in.Intervals),
		jobKW: map[string][]float64{}, held: map[string][]int{},
		load: map[string][]float64{}, could: map[string][]bool{}, parents: map[string]string{},
	}
	for i := range in.Classes {
		e.jobKW[in.Classes[i].Name] = make([]float64, in.Intervals)
		e.held[in.Classes[i].Name] = make([]int, in.Intervals)
	}
	for i := range in.Nodes {
		n := in.Nodes[i].Name
		e.load[n] = make([]float64, in.Intervals)
		e.could[n] = make([]bool, in.Intervals)
		if e.parents[n] = in.Nodes[i].Parent; in.Nodes[i].Parent == "" {
			e.root = n
		}
	}
	return e
}

func (e *evaluation) jobs(p *Plan) error {
	runs := map[string][]Run{}
	known := map[string]bool{}
	for i := range e.in.Jobs {
		known[e.in.Jobs[i].Name] = true
	}
	for _, r := range p.Runs {
		if !known[r.Job] {
			return wrong("a run of unknown job %q", r.Job)
		}
		if r.Start < 0 || r.Start >= r.End || r.End > e.in.Intervals {
			return wrong("run [%d, %d) of %s is outside the horizon", r.Start, r.End, r.Job)
		}
		runs[r.Job] = append(runs[r.Job], r)
	}
	for i := range e.in.Jobs {
		j := &e.in.Jobs[i]
		rs := runs[j.Name]
		slices.SortFunc(rs, func(a, b Run) int { return cmp.Compare(a.Start, b.Start) })
		if err := e.job(j, rs); err != nil {
			return err
		}
	}
	return nil
}

// job accounts for one job's runs, in order of time.
func (e *evaluation) job(j *Job, runs []Run) error {
	T := e.in.Intervals
	progress, last, started := 0, -1, j.Started || j.Running
	for i, r := range runs {
		switch {
		case i > 0 && r.Start <= runs[i-1].End:
			return wrong("runs of %s touch or overlap at %d", j.Name, r.Start)
		case r.Start < j.Earliest:
			return wrong("%s starts at %d, before %d", j.Name, r.Start, j.Earliest)
		case j.MustRun && r.End > j.Earliest+j.Intervals:
			return wrong("%s runs until %d, after its term", j.Name, r.End)
		}
		restart := 0
		switch {
		case j.MustRun:
		case j.Running && r.Start == 0:
			restart = j.RestartLeft
		case started:
			restart = j.RestartIntervals
		}
		started = true
		for t := r.Start; t < r.End; t++ {
			e.held[j.Class][t] += j.Units
			e.jobKW[j.Class][t] += float64(j.Units) * j.PowerKW
			e.shed[t] += float64(j.Units) * j.ShedKW
			if progress >= j.Intervals {
				return wrong("%s runs on at %d though it is done", j.Name, t)
			}
			if t-r.Start < restart {
				continue
			}
			progress++
			last = t
			e.usd += float64(j.Units) * j.USDPerUnitHour * e.h
		}
		if !j.MustRun && progress < j.Intervals && r.End < T {
			e.usd -= j.PreemptUSD
		}
	}
	if j.MustRun {
		due := max(0, min(T, j.Earliest+j.Intervals)-j.Earliest)
		e.usd -= float64(due-progress) * j.UnservedUSDPerInterval
		return nil
	}
	if j.Running && (len(runs) == 0 || runs[0].Start > 0) {
		e.usd -= j.PreemptUSD
	}
	if j.Deadline != nil {
		end := T
		if progress >= j.Intervals {
			end = last + 1
		}
		e.usd -= float64(max(0, end-*j.Deadline)) * j.LateUSDPerInterval
	}
	return nil
}

func (e *evaluation) classes(p *Plan) error {
	moves := map[string][][]Move{}
	for i := range e.in.Classes {
		moves[e.in.Classes[i].Name] = make([][]Move, e.in.Intervals)
	}
	for _, m := range p.Moves {
		if moves[m.Class] == nil {
			return wrong("a move of unknown class %q", m.Class)
		}
		if m.Units <= 0 || m.T < 0 || m.T >= e.in.Intervals {
			return wrong("a move of %d units of %s at %d", m.Units, m.Class, m.T)
		}
		moves[m.Class][m.T] = append(moves[m.Class][m.T], m)
	}
	for i := range e.in.Classes {
		if err := e.class(&e.in.Classes[i], moves[e.in.Classes[i].Name]); err != nil {
			return err
		}
	}
	return nil
}

func (e *evaluation) class(c *Class, moves [][]Move) error {
	T, M := e.in.Intervals, len(c.Modes)
	index := map[string]int{JobMode: M}
	floor := math.Inf(1)
	for m := range c.Modes {
		index[c.Modes[m].Name] = m
		floor = math.Min(floor, c.Modes[m].PowerKW)
	}
	switches := map[[2]int]*Switch{}
	for i := range c.Switches {
		switches[[2]int{index[c.Switches[i].From], index[c.Switches[i].To]}] = &c.Switches[i]
	}
	count := make([]int, M+1)
	for m, n := range c.Initial {
		count[index[m]] += n
	}
	entered := make([][]int, M+1) // by mode and interval
	for m := range entered {
		entered[m] = make([]int, T)
	}
	for t := range T {
		out := make([]int, M+1)
		for _, mv := range moves[t] {
			a, okA := index[mv.From]
			b, okB := index[mv.To]
			if !okA || !okB || a == b {
				return wrong("%s cannot move from %q to %q", c.Name, mv.From, mv.To)
			}
			out[a] += mv.Units
			entered[b][t] += mv.Units
			if s := switches[[2]int{a, b}]; s != nil {
				e.usd -= float64(mv.Units) * s.USD
				if b < M {
					e.usd -= float64(mv.Units) * s.LostMinutes / 60 * c.Modes[b].USDPerHour.At(t)
				}
			}
		}
		kw := e.jobKW[c.Name][t]
		for m := range count {
			if out[m] > count[m] {
				return wrong("%d units of %s leave a mode at %d where %d are", out[m], c.Name, t, count[m])
			}
			count[m] += entered[m][t] - out[m]
			if m == M {
				continue
			}
			mode := &c.Modes[m]
			due := 0
			if k := mode.minIntervals(); k > 1 {
				for s := max(0, t-k+1); s <= t; s++ {
					due += entered[m][s]
				}
			}
			for _, d := range c.Dwell {
				if d.Mode == mode.Name && d.Left > t {
					due += d.Units
				}
			}
			e.usd -= float64(max(0, due-count[m])) * mode.early()
			e.usd += float64(count[m]) * mode.USDPerHour.At(t) * e.h
			e.shed[t] += float64(count[m]) * mode.ShedKW
			kw += float64(count[m]) * mode.PowerKW
		}
		if count[M] != e.held[c.Name][t] {
			return wrong("%d units of %s are in job at %d where jobs hold %d", count[M], c.Name, t, e.held[c.Name][t])
		}
		above := kw > float64(c.Count)*floor+1e-9
		for n := c.Node; n != ""; n = e.parents[n] {
			e.load[n][t] += kw
			e.could[n][t] = e.could[n][t] || above
		}
	}
	return nil
}

func (e *evaluation) reserves(p *Plan) error {
	kept := map[string][]float64{}
	for _, r := range p.Reserves {
		kept[r.Name] = r.KW
	}
	total := make([]float64, e.in.Intervals)
	for i := range e.in.Reserves {
		r := &e.in.Reserves[i]
		kw := kept[r.Name]
		if kw == nil {
			kw = make([]float64, e.in.Intervals)
		}
		delete(kept, r.Name)
		if len(kw) != e.in.Intervals {
			return wrong("reserve %s has %d values", r.Name, len(kw))
		}
		for t, x := range kw {
			if !(x >= 0) || math.IsInf(x, 0) || r.MaxKW != nil && x > r.MaxKW.At(t)+slack(r.MaxKW.At(t)) {
				return wrong("reserve %s keeps %v kW at %d", r.Name, x, t)
			}
			total[t] += x
			lack := math.Max(0, r.CommittedKW.At(t)-x)
			e.usd += (x*r.USDPerMWh.At(t) - lack*r.ShortfallUSDPerMW) * e.h / 1000
		}
	}
	for t := range total {
		if total[t] > e.shed[t]+slack(e.shed[t]) {
			return wrong("reserves keep %.3f kW at %d where %.3f can be shed", total[t], t, e.shed[t])
		}
	}
	if len(kept) > 0 {
		return wrong("%d reserves are not known", len(kept))
	}
	return nil
}

// tree charges energy and demand, and returns the limits that are exceeded.
func (e *evaluation) tree() []Violation {
	var over []Violation
	for i := range e.in.Nodes {
		n := &e.in.Nodes[i]
		if n.LimitKW == nil {
			continue
		}
		for t, kw := range e.load[n.Name] {
			if limit := n.LimitKW.At(t); kw > limit+slack(limit) {
				over = append(over, Violation{T: t, Node: n.Name, OverKW: kw - limit})
			}
		}
	}
	root := e.load[e.root]
	for t, kw := range root {
		e.usd -= kw * e.h * e.in.PriceUSDPerMW.At(t) / 1000
	}
	for _, d := range e.in.DemandCharges {
		peak := 0.0
		for _, kw := range root[d.From:d.To] {
			peak = math.Max(peak, kw)
		}
		e.usd -= d.USDPerKW * math.Max(0, peak-d.AlreadyKW)
	}
	slices.SortFunc(over, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.T, b.T), cmp.Compare(a.Node, b.Node))
	})
	return over
}

// String is how a violation reads in a message.
func (v Violation) String() string {
	return fmt.Sprintf("t=%d %s over by %.3f kW", v.T, v.Node, v.OverKW)
}
