package dispatch

import (
	"cmp"
	"math"
	"slices"

	"sluice"
)

// Reflex answers a limit that changed within interval t, between two plans:
// what has to come down at once, least money lost for each kW first. Modes step
// down first, then jobs stop in the order of what a kW of them costs
// (preempt_usd and the interval's revenue), leases last.
//
// limitKW overrides limits of nodes by name in kW. Moves and runs of p say how
// things stand. The plan returned is about interval t only: Moves (from what
// stands, all at t), Runs [t, t+1) of the jobs that go on, Feasible and
// Violations; ObjectiveUSD is what the change loses in that interval, as a
// negative number. The instance has to be valid. Errors are of kind
// sluice.Invalid: an interval or a node that is not there, a limit that is none.
func Reflex(in *Instance, p *Plan, t int, limitKW map[string]float64) (*Plan, error) {
	if t < 0 || t >= in.Intervals {
		return nil, sluice.Errorf(sluice.Invalid, "", "interval %d is outside the horizon of %d", t, in.Intervals)
	}
	r := &reflex{in: in, t: t, h: in.StepMinutes / 60, node: map[string]int{}}
	if err := r.limits(limitKW); err != nil {
		return nil, err
	}
	if err := r.stand(p); err != nil {
		return nil, err
	}
	for _, n := range r.deepFirst() {
		r.relieve(n)
	}
	return r.plan(), nil
}

type reflex struct {
	in    *Instance
	t     int
	h     float64
	node  map[string]int
	up    [][]int // by node: itself and all above
	limit []float64
	load  []float64
	class []standing
	jobs  []bool // runs
	lost  float64
	moves map[[3]int]int // class, from, to: units
}

// standing is how the units of a class stand; the last count is those in job.
type standing struct {
	count []int
	least int // the mode of least power
	jobs  []int
}

func (r *reflex) limits(limitKW map[string]float64) error {
	for i := range r.in.Nodes {
		r.node[r.in.Nodes[i].Name] = i
	}
	for name, kw := range limitKW {
		if _, ok := r.node[name]; !ok {
			return sluice.Errorf(sluice.Invalid, "", "limit of %q: there is no such node", name)
		}
		if math.IsNaN(kw) || kw < 0 {
			return sluice.Errorf(sluice.Invalid, "", "limit of %q: %v kW is no limit", name, kw)
		}
	}
	r.load = make([]float64, len(r.in.Nodes))
	for i := range r.in.Nodes {
		n := &r.in.Nodes[i]
		limit := inf
		if kw, ok := limitKW[n.Name]; ok {
			limit = kw
		} else if n.LimitKW != nil {
			limit = n.LimitKW.At(r.t)
		}
		r.limit = append(r.limit, limit)
		var up []int
		for m := i; ; m = r.node[r.in.Nodes[m].Parent] {
			up = append(up, m)
			if r.in.Nodes[m].Parent == "" {
				break
			}
		}
		r.up = append(r.up, up)
	}
	return nil
}

// stand finds the counts and jobs of interval t in the plan, and the loads.
func (r *reflex) stand(p *Plan) error {
	class := make(map[string]int, len(r.in.Classes))
	index := func(c *Class, mode string) int {
		for m := range c.Modes {
			if c.Modes[m].Name == mode {
				return m
			}
		}
		return len(c.Modes)
	}
	r.class = make([]standing, len(r.in.Classes))
	r.moves = map[[3]int]int{}
	for i := range r.in.Classes {
		c := &r.in.Classes[i]
		class[c.Name] = i
		s := &r.class[i]
		s.count = make([]int, len(c.Modes)+1)
		for m, n := range c.Initial {
			s.count[index(c, m)] += n
		}
		for m := range c.Modes {
			if c.Modes[m].PowerKW < c.Modes[s.least].PowerKW {
				s.least = m
			}
		}
	}
	for _, m := range p.Moves {
		i, ok := class[m.Class]
		if !ok {
			return wrong("a move of unknown class %q", m.Class)
		}
		if m.T <= r.t {
			c := &r.in.Classes[i]
			r.class[i].count[index(c, m.From)] -= m.Units
			r.class[i].count[index(c, m.To)] += m.Units
		}
	}
	for i := range r.in.Classes {
		c := &r.in.Classes[i]
		for m := range c.Modes {
			r.raise(i, float64(r.class[i].count[m])*c.Modes[m].PowerKW)
		}
	}
	r.jobs = make([]bool, len(r.in.Jobs))
	job := make(map[string]int, len(r.in.Jobs))
	for i := range r.in.Jobs {
		job[r.in.Jobs[i].Name] = i
	}
	for _, run := range p.Runs {
		i, ok := job[run.Job]
		if !ok {
			return wrong("a run of unknown job %q", run.Job)
		}
		if run.Start <= r.t && r.t < run.End && !r.jobs[i] {
			j := &r.in.Jobs[i]
			r.jobs[i] = true
			c := class[j.Class]
			r.class[c].jobs = append(r.class[c].jobs, i)
			r.raise(c, float64(j.Units)*j.PowerKW)
		}
	}
	return nil
}

func (r *reflex) raise(class int, kw float64) {
	for _, n := range r.up[r.node[r.in.Classes[class].Node]] {
		r.load[n] += kw
	}
}

func (r *reflex) deepFirst() []int {
	order := make([]int, len(r.limit))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(len(r.up[b]), len(r.up[a])), cmp.Compare(r.in.Nodes[a].Name, r.in.Nodes[b].Name))
	})
	return order
}

func (r *reflex) move(class, from, to, units int) {
	if units <= 0 {
		return
	}
	r.class[class].count[from] -= units
	r.class[class].count[to] += units
	// Units on their second step down left where they stood first.
	for f := range r.class[class].count {
		key := [3]int{class, f, from}
		n := min(units, r.moves[key])
		if n == 0 {
			continue
		}
		if r.moves[key] -= n; r.moves[key] == 0 {
			delete(r.moves, key)
		}
		r.moves[[3]int{class, f, to}] += n
		units -= n
	}
	if units > 0 {
		r.moves[[3]int{class, from, to}] += units
	}
}

func (r *reflex) plan() *Plan {
	out := &Plan{Feasible: true, ObjectiveUSD: -r.lost, Moves: []Move{}, Runs: []Run{}, Reserves: []ReserveKW{}, Violations: []Violation{}}
	for key, n := range r.moves {
		c := &r.in.Classes[key[0]]
		name := func(m int) string {
			if m == len(c.Modes) {
				return JobMode
			}
			return c.Modes[m].Name
		}
		out.Moves = append(out.Moves, Move{r.t, c.Name, name(key[1]), name(key[2]), n})
	}
	slices.SortFunc(out.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	for i, on := range r.jobs {
		if on {
			out.Runs = append(out.Runs, Run{r.in.Jobs[i].Name, r.t, r.t + 1})
		}
	}
	slices.SortFunc(out.Runs, func(a, b Run) int { return cmp.Compare(a.Job, b.Job) })
	for n, kw := range r.load {
		if kw > r.limit[n]+slack(r.limit[n]) {
			out.Feasible = false
			out.Violations = append(out.Violations, Violation{r.t, r.in.Nodes[n].Name, kw - r.limit[n]})
		}
	}
	slices.SortFunc(out.Violations, func(a, b Violation) int { return cmp.Compare(a.Node, b.Node) })
	return out
}
