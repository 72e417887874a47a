package dispatch

import (
	"fmt"
)

// Options says how hard to try.
type Options struct {
	// Deadline reports that time is up; nil: no such budget. It is asked often.
	Deadline func() bool
	// Effort multiplies the work done where nothing stops it before: 0 and 1
	// are for a controller that plans every few minutes, 10 and more for a plan
	// that is made once.
	Effort int
}

// Solve returns the best plan that it finds and a proven bound on all plans.
// Without a deadline the same instance gives the same plan, whatever the order
// of its nodes, classes, jobs and reserves. The error is that of Validate.
func Solve(in *Instance, opt Options) (*Plan, error) {
	if err := in.Validate(); err != nil {
		return nil, err
	}
	stop := opt.Deadline
	if stop == nil {
		stop = func() bool { return false }
	}
	p := compile(in)
	ops := solveOps * max(1, opt.Effort)
	a := p.newAscent()
	a.run(ops/3, 0.3, 0.003, stop)
	b := p.newBuilder()
	best := b.construct(a.best)
	if len(p.jobs) > 0 && a.ops() < ops {
		a.bound = b.split(best, a, ops/3, stop)
	}
	b.search(best, a.best, ops-a.ops()-b.ops(), stop)
	return p.finish(best, a)
}

// solveOps is how many elementary steps (a few nanoseconds each) a solution of
// effort 1 may take.
const solveOps = 10_000_000

// finish writes the plan and puts its worth, bound and violations in.
func (p *problem) finish(s *state, a *ascent) (*Plan, error) {
	a.best.spread(p)
	plan := s.plan(a.best)
	e, over, err := p.in.account(plan)
	if err != nil {
		return nil, fmt.Errorf("checking the plan that was made: %w", err)
	}
	plan.ObjectiveUSD = e.usd
	if len(over) > 0 {
		plan.Feasible = false
		plan.Violations = over
	} else {
		bound := max(a.bound, e.usd)
		plan.BoundUSD = &bound
	}
	if _, err := p.in.Evaluate(plan); err != nil {
		return nil, fmt.Errorf("checking the plan that was made: %w", err)
	}
	return plan, nil
}
