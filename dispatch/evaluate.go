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
