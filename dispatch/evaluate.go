package dispatch

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"

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
	err, usd := e.verdict(p, over), e.usd
	evaluations.Put(e)
	if err != nil {
		return 0, err
	}
	return usd, nil
}

// verdict says whether what is over its limit had to be, and is listed.
func (e *evaluation) verdict(p *Plan, over []Violation) error {
	listed := 0
	for _, o := range over {
		switch {
		case p.Feasible:
			return wrong("the load of %s at %d is %.3f kW over its limit", o.Node, o.T, o.OverKW)
		case e.could[e.nodes.find(o.Node)*e.in.Intervals+o.T]:
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
	if err := e.accountJobs(p); err != nil {
		return nil, nil, err
	}
	if err := e.accountClasses(p); err != nil {
		return nil, nil, err
	}
	if err := e.accountReserves(p); err != nil {
		return nil, nil, err
	}
	return e, e.tree(), nil
}

func wrong(format string, args ...any) error {
	return sluice.Errorf(sluice.Invalid, "", "no plan for this instance: "+format, args...)
}

// evaluation is the running account of a plan. Rows of T numbers lie one after
// the other, in the order of the instance's nodes or classes.
type evaluation struct {
	in                   *Instance
	T                    int
	h                    float64 // hours in an interval
	usd                  float64
	nodes, classes, jobs names
	jobKW                []float64 // by class
	held                 []int     // units that jobs hold, by class
	shed                 []float64 // kW that could be dropped
	load                 []float64 // by node
	could                []bool    // by node: something in its subtree is above its least power
	parent               []int     // by node, -1: the root
	root                 int
	numbers              []float64 // those of jobKW, shed and load
}

// evaluations are those done with.
var evaluations = sync.Pool{New: func() any { return new(evaluation) }}

func newEvaluation(in *Instance) *evaluation {
	T, C, N := in.Intervals, len(in.Classes), len(in.Nodes)
	e := evaluations.Get().(*evaluation)
	numbers, held, could, parent := grow(e.numbers, T*(1+C+N)), grow(e.held, T*C), grow(e.could, T*N), grow(e.parent, N)
	clear(numbers)
	clear(held)
	clear(could)
	*e = evaluation{
		numbers: numbers, held: held, could: could, parent: parent,
		in: in, T: T, h: in.StepMinutes / 60, nodes: in.nodeNames(), classes: in.classNames(), jobs: in.jobNames(),
		shed: numbers[:T], jobKW: numbers[T : T*(1+C)], load: numbers[T*(1+C):],
	}
	for i := range in.Nodes {
		if e.parent[i] = -1; in.Nodes[i].Parent == "" {
			e.root = i
		} else {
			e.parent[i] = e.nodes.find(in.Nodes[i].Parent)
		}
	}
	return e
}

// loadOf returns the load of a node, in kW by interval.
func (e *evaluation) loadOf(node string) []float64 {
	i := e.nodes.find(node)
	return e.load[i*e.T : (i+1)*e.T]
}

// ordered returns how to go through n things so that those of one index come
// together, in their order: those of index k are order[first[k]:first[k+1]].
func ordered(n, indices int, index func(i int) int) (order, first []int) {
	all := make([]int, n+indices+1)
	order, first = all[:n], all[n:]
	for i := range n {
		first[index(i)]++
	}
	for k, at := 0, 0; k <= indices; k++ {
		at, first[k] = at+first[k], at
	}
	for i := range n {
		k := index(i)
		order[first[k]] = i
		first[k]++
	}
	for k := indices; k > 0; k-- {
		first[k] = first[k-1]
	}
	first[0] = 0
	return order, first
}

func (e *evaluation) accountJobs(p *Plan) error {
	job := make([]int, len(p.Runs))
	for i, r := range p.Runs {
		if job[i] = e.jobs.find(r.Job); job[i] < 0 {
			return wrong("a run of unknown job %q", r.Job)
		}
		if r.Start < 0 || r.Start >= r.End || r.End > e.T {
			return wrong("run [%d, %d) of %s is outside the horizon", r.Start, r.End, r.Job)
		}
	}
	order, first := ordered(len(p.Runs), len(e.in.Jobs), func(i int) int { return job[i] })
	var runs []Run
	for i := range e.in.Jobs {
		j := &e.in.Jobs[i]
		runs = runs[:0]
		for _, r := range order[first[i]:first[i+1]] {
			runs = append(runs, p.Runs[r])
		}
		slices.SortFunc(runs, func(a, b Run) int { return cmp.Compare(a.Start, b.Start) })
		if err := e.job(j, runs); err != nil {
			return err
		}
	}
	return nil
}

// job accounts for one job's runs, in order of time.
func (e *evaluation) job(j *Job, runs []Run) error {
	T := e.T
	row := e.classes.find(j.Class) * T
	held, jobKW := e.held[row:row+T], e.jobKW[row:row+T]
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
			held[t] += j.Units
			jobKW[t] += float64(j.Units) * j.PowerKW
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

func (e *evaluation) accountReserves(p *Plan) error {
	if len(e.in.Reserves) == 0 && len(p.Reserves) == 0 {
		return nil
	}
	kept := map[string][]float64{}
	for _, r := range p.Reserves {
		kept[r.Name] = r.KW
	}
	total := make([]float64, e.T)
	for i := range e.in.Reserves {
		r := &e.in.Reserves[i]
		kw := kept[r.Name]
		if kw == nil {
			kw = make([]float64, e.T)
		}
		delete(kept, r.Name)
		if len(kw) != e.T {
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
		for t, kw := range e.load[i*e.T : (i+1)*e.T] {
			if limit := n.LimitKW.At(t); kw > limit+slack(limit) {
				over = append(over, Violation{T: t, Node: n.Name, OverKW: kw - limit})
			}
		}
	}
	root := e.load[e.root*e.T : (e.root+1)*e.T]
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
