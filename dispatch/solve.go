package dispatch

import (
	"fmt"
)

// Options says how hard to try.
type Options struct {
	// Spent returns the share of the time that is up, and 1 or more when it is over:
	// it rules how long prices are looked for, and when all ends. It is asked often.
	// nil: there is time for all that Effort allows.
	Spent func() float64
	// Standing is a plan for this instance that may be followed as it is, such as
	// what is left of the last one (Plan.From). Its runs are where the search
	// begins; and where it is a plan for the instance, none that is worth less is
	// returned. One that no longer fits is taken for what it is worth.
	Standing *Plan
	// Effort multiplies the work done where nothing stops it before: 0 and 1
	// are for a controller that plans every few minutes, 10 and more for a plan
	// that is made once.
	Effort int
	// Gap is how far below the bound a plan may be to be good enough, as a share
	// of the bound: 0.002 for a backtest that solves a hundred thousand
	// instances. 0: look for better ones as long as there is work to do.
	Gap float64
	// Steps is how many elementary steps (a few nanoseconds each) the solution
	// may take; 0: 10 million times the effort.
	Steps int
}

// enough is the bound up to which a plan of that worth is good enough.
func (o *Options) enough(worth float64) float64 {
	return worth + max(o.Gap, 1e-7)*max(1, abs(worth))
}

// Solve returns the best plan that it finds and a proven bound on all plans.
// Without Spent the same instance gives the same plan, whatever the order
// of its nodes, classes, jobs and reserves. The error is that of Validate.
func Solve(in *Instance, opt Options) (*Plan, error) {
	plan, _, err := solve(in, opt)
	if err == nil && opt.Standing != nil {
		plan.keep(in, opt.Standing)
	}
	return plan, err
}

// solve also returns the bound as it was found: tests hold it against the plan,
// which it may not be below.
func solve(in *Instance, opt Options) (*Plan, float64, error) {
	if err := in.Validate(); err != nil {
		return nil, 0, err
	}
	spent := opt.Spent
	if spent == nil {
		spent = func() float64 { return 0 }
	}
	stop := func() bool { return spent() >= 1 }
	p := compile(in)
	x, b := p.firstPrices(), p.newBuilder(stop)
	best := p.newState()
	ops := solveOps * max(1, opt.Effort)
	if opt.Steps > 0 {
		ops = opt.Steps
	}
	bound := b.first(best, x, &opt, min(ops, solveOps/10), stop)
	if bound <= opt.enough(best.worth()) || opt.Steps > 0 && b.ops() >= ops || stop() {
		plan, err := p.finish(best, x, bound)
		p.release(b)
		return plan, bound, err
	}
	a := p.newAscent(x)
	left := func() int { return ops - a.ops() - b.ops() }
	a.run(ops/4, 0.3, 0.003, spent)
	a.bound = min(bound, a.bound)
	bound = a.bound
	root := p.newPrices()
	root.copyFrom(a.best)
	// Where time is up before a plan is made at these prices, the first one has
	// to do.
	found := &pool{seen: map[string]bool{}, most: 6}
	found.add(best, best.worth())
	try := p.newState()
	if b.build(try, root, nil) {
		found.add(try, try.worth())
		if try.worth() > best.worth() {
			best.copyFrom(try)
		}
	}
	if opt.Standing != nil && len(p.jobs) > 0 && b.build(try, root, opt.Standing) {
		found.add(try, try.worth())
		if try.worth() > best.worth() {
			best.copyFrom(try)
		}
	}
	all := b.newTree(a)
	y, z := p.newPrices(), p.newPrices()
	y.copyFrom(root)
	worth := best.worth()
	// Rounds get longer: a greater effort begins as a smaller one does, and goes
	// on where that ends.
	took := 0
	for slice, tries := solveOps/8, found.most; left() > 0 && !stop() && bound > opt.enough(worth); slice, tries = min(2*slice, solveOps), 2 {
		before := left()
		if len(p.jobs) > 0 {
			all.grow(best, a, found, min(max(slice, took), left()), stop)
			bound = all.bound()
			worth = best.worth()
		}
		for range tries {
			s := found.take()
			if s == nil || left() <= 0 {
				break
			}
			try.copyFrom(s)
			if !b.improve(try, a, root, z, min(left()/2, 4*solveOps), stop) {
				break
			}
			if w := try.worth(); w > worth+1e-9 {
				worth = w
				best.copyFrom(try)
				y.copyFrom(z)
			}
		}
		// What the linear programs took, nudging and the next branches get too.
		took = before - left()
		b.nudge(best, y, max(1, min(max(2*slice, took), left())), stop)
		b.search(best, y, found, max(1, min(slice, left())), stop)
		worth = best.worth()
	}
	plan, err := p.finish(best, root, bound)
	p.release(b)
	return plan, bound, err
}

// solveOps is how many elementary steps (a few nanoseconds each) a solution of
// effort 1 may take.
const solveOps = 10_000_000

// finish writes the plan and puts its worth, bound and violations in.
func (p *problem) finish(s *state, x *prices, bound float64) (*Plan, error) {
	x.spread(p)
	plan := s.plan(x)
	e, over, err := p.in.account(plan)
	if err != nil {
		return nil, fmt.Errorf("checking the plan that was made: %w", err)
	}
	plan.ObjectiveUSD = e.usd
	if len(over) > 0 {
		plan.Feasible = false
		plan.Violations = over
	} else {
		bound := max(bound, e.usd)
		plan.BoundUSD = &bound
	}
	err = e.verdict(plan, over)
	evaluations.Put(e)
	if err != nil {
		return nil, fmt.Errorf("checking the plan that was made: %w", err)
	}
	return plan, nil
}
