package dispatch

import "slices"

// Gangs that do not fit side by side leave a gap between the dual bound and
// any plan: half of each would fit. Branching closes it: in one branch a job
// runs in an interval, in the other it does not. The highest bound of the open
// branches is a bound on all plans.

// fixed says what was decided of a job in an interval.
type fixed int8

const (
	banned fixed = -1
	open   fixed = 0
	forced fixed = 1
)

// force is what running where it must is worth to a job: far more than anything
// else, and still small enough to leave cents their digits.
const force = 1e7

// branch is a part of all plans, and what is known of it.
type branch struct {
	bound float64
	fix   [][]fixed // by job and interval; nil: nothing decided
	x     *prices
	share [][]float64 // by job: how often it ran while prices settled
}

// impossible forbids, from the start, what no plan can do.
func (p *problem) impossible() {
	p.fix = grow(p.fix, len(p.jobs))
	for i := range p.jobs {
		p.fix[i] = nil
		if p.alwaysFits(i) {
			continue
		}
		var f []fixed
		for t := range p.T {
			if !p.fits(i, t, 0, nil) {
				if f == nil {
					f = make([]fixed, p.T)
				}
				f[t] = banned
			}
		}
		p.fix[i] = f
	}
}

// alwaysFits says that job i, alone, surely fits in every interval.
func (p *problem) alwaysFits(i int) bool {
	j := &p.jobs[i]
	for _, n := range p.nodes[p.class[j.class].node].up {
		if j.extra > max(0, p.nodes[n].room) {
			return false
		}
	}
	return j.Units <= p.class[j.class].count
}

// fits says whether job i can run in interval t beside so many units of its
// class, and loads of nodes above the least, that are taken.
func (p *problem) fits(i, t, units int, extra []float64) bool {
	j := &p.jobs[i]
	k := &p.class[j.class]
	if j.Units+units > k.count {
		return false
	}
	for _, n := range p.nodes[k.node].up {
		q := &p.nodes[n]
		if q.limit == nil {
			continue
		}
		kw := j.extra
		if extra != nil {
			kw += extra[n]
		}
		// The judge lets a trifle pass: what it lets pass is not impossible.
		if kw > q.limit[t]-q.floor+slack(q.limit[t]) && j.extra > 0 {
			return false
		}
	}
	return true
}

// decide fixes job i in interval t, on a copy of what was fixed of it before.
func (p *problem) decide(i, t int, v fixed) {
	f := make([]fixed, p.T)
	copy(f, p.fix[i])
	f[t] = v
	p.fix[i] = f
}

// follow bans the jobs that do not fit beside those that must run at t.
func (p *problem) follow(t int) {
	extra := make([]float64, len(p.nodes))
	units := make([]int, len(p.class))
	for i, f := range p.fix {
		if f != nil && f[t] == forced {
			j := &p.jobs[i]
			units[j.class] += j.Units
			for _, n := range p.nodes[p.class[j.class].node].up {
				extra[n] += j.extra
			}
		}
	}
	for i, f := range p.fix {
		if f != nil && f[t] != open {
			continue
		}
		if !p.fits(i, t, units[p.jobs[i].class], extra) {
			p.decide(i, t, banned)
		}
	}
}

// tree is all plans, in parts.
type tree struct {
	b      *builder
	root   *branch
	leaves []*branch
	closed float64 // the highest bound of the parts in which no plan is better
	try    *state
}

// newTree is one part, with what a has found of it.
func (b *builder) newTree(a *ascent) *tree {
	root := &branch{bound: a.bound, fix: slices.Clone(b.p.fix), x: b.p.newPrices(), share: a.shares()}
	root.x.copyFrom(a.best)
	return &tree{b: b, root: root, leaves: []*branch{root}, closed: -inf, try: b.p.newState()}
}

// bound is a bound on all plans.
func (t *tree) bound() float64 {
	bound := t.closed
	for _, l := range t.leaves {
		bound = max(bound, l.bound)
	}
	return bound
}

// highest returns the number of the leaf with the highest bound, -1 where none
// is left.
func (t *tree) highest() int {
	at := -1
	for i := range t.leaves {
		if at < 0 || t.leaves[i].bound > t.leaves[at].bound {
			at = i
		}
	}
	return at
}

// grow takes the highest leaf apart until the gap is closed, or the steps are
// spent. best takes the best plan that comes up on the way.
func (t *tree) grow(best *state, a *ascent, pool *pool, ops int, stop func() bool) {
	b, p := t.b, t.b.p
	worth := best.worth()
	used := func() int { return a.ops() + b.ops() }
	defer func() { p.fix = t.root.fix }()
	for end := used() + ops; used() < end && !stop(); {
		at := t.highest()
		if at < 0 || t.leaves[at].bound <= worth+closeEnough*max(1, abs(worth)) {
			return
		}
		up := t.leaves[at]
		job, when := p.choose(up)
		if job < 0 {
			return
		}
		t.leaves = slices.Delete(t.leaves, at, at+1)
		for _, v := range []fixed{forced, banned} {
			p.fix = slices.Clone(up.fix)
			p.decide(job, when, v)
			if v == forced {
				p.follow(when)
			}
			a.restart(up.x)
			a.runTo(branchSteps, 0.06, 0.004, worth, stop)
			leaf := &branch{bound: min(up.bound, a.bound), fix: p.fix, x: p.newPrices(), share: a.shares()}
			leaf.x.copyFrom(a.best)
			if leaf.bound <= worth {
				t.closed = max(t.closed, leaf.bound)
				continue
			}
			t.leaves = append(t.leaves, leaf)
			if !b.build(t.try, leaf.x, nil) {
				continue
			}
			w := t.try.worth()
			pool.add(t.try, w)
			if w > worth+1e-9 {
				worth = w
				best.copyFrom(t.try)
			}
		}
	}
}

const (
	branchSteps = 30
	closeEnough = 5e-4 // relative gap at which branching stops
)

func abs(x float64) float64 { return max(x, -x) }

// choose picks the job and interval whose decision is most at fault: it runs
// there about half of the time, and much hangs on it.
func (p *problem) choose(l *branch) (job, t int) {
	job, most := -1, 0.0
	for i, s := range l.share {
		j := &p.jobs[i]
		weight := j.stake(p.T) + 0.1*j.PreemptUSD
		for u, f := range s {
			if l.fix[i] != nil && l.fix[i][u] != open {
				continue
			}
			if v := min(f, 1-f) * weight; f > 0.03 && f < 0.97 && v > most {
				job, t, most = i, u, v
			}
		}
	}
	return job, t
}

// fixed returns the decisions that leave each job just the runs it has.
func (s *state) fixed() [][]fixed {
	fix := make([][]fixed, len(s.runs))
	for i, runs := range s.runs {
		fix[i] = make([]fixed, s.p.T)
		for t := range fix[i] {
			fix[i][t] = banned
		}
		for _, r := range runs {
			for t := r.from; t < r.to; t++ {
				fix[i][t] = forced
			}
		}
	}
	return fix
}
