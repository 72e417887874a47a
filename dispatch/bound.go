package dispatch

import (
	"math"
	"slices"

	"sluice"
)

// BoundOptions says what is bounded, and how hard to try.
type BoundOptions struct {
	// FreeStart lets all units begin in whatever mode is best, at no charge, in
	// place of where the instance says that they stand.
	FreeStart bool
	// Until has for each job, in the order of the instance, the interval from
	// which on it cannot run any more; nil: none has such an end.
	Until []int
	// Steps is how many steps of ascent are made; 0: 120.
	Steps int
	// Deadline reports that time is up; nil: no such budget.
	Deadline func() bool
}

// Relaxed is what a bound is known by.
type Relaxed struct {
	USD float64 // no plan is worth more
	// Ran has for each job, in the order of the instance, in how many intervals
	// it runs in the relaxed problem: a mean over prices near the best. From 0
	// to its intervals.
	Ran []float64
}

// Bound proves an upper bound on the worth of all plans for the instance,
// without making one. It is for long horizons: a job costs its window's length,
// memory and time are linear in intervals times classes and in the sum of
// windows. The bound is that of the Lagrangian dual (Geoffrion 1974) at the best
// prices that were found; jobs are relaxed further, to their best intervals in
// any order, where they pay nothing for stops, restarts and delay or where it
// would take too long to know better. Where a limit cannot be kept, it stands
// for the least load there is.
//
// Without a deadline the same instance gives the same bound. Errors are those
// of Validate, and of Until: a wrong length, or a negative interval.
func Bound(in *Instance, opt BoundOptions) (*Relaxed, error) { return bound(in, opt, exactSteps) }

// bound relaxes all jobs whose exact schedules would together be more work than
// exact at each step of ascent.
func bound(in *Instance, opt BoundOptions, exact int) (*Relaxed, error) {
	if err := in.Validate(); err != nil {
		return nil, err
	}
	if opt.Until != nil && len(opt.Until) != len(in.Jobs) {
		return nil, sluice.Errorf(sluice.Invalid, "give one for each job of the instance", "bounding: %d ends of jobs where %d jobs are", len(opt.Until), len(in.Jobs))
	}
	for i, t := range opt.Until {
		if t < 0 {
			return nil, sluice.Errorf(sluice.Invalid, "", "bounding: job %s ends at interval %d", in.Jobs[i].Name, t)
		}
	}
	stop := opt.Deadline
	if stop == nil {
		stop = func() bool { return false }
	}
	p := compileAs(in, &lean{freeStart: opt.FreeStart, until: untilByName(in, opt.Until), work: exact})
	a := p.newAscent(p.firstPrices())
	a.evaluate()
	n := opt.Steps
	if n <= 0 {
		n = boundSteps
	}
	if !slices.ContainsFunc(a.now.vectors(), func(v []float64) bool { return len(v) > 0 }) {
		n = 0 // nothing is shared: the bound is exact
	}
	made, counted := make([]float64, len(p.jobs)), 0.0
	climb := func(n int, first, last float64, count bool) {
		for k := 0; k < n && !stop(); k++ {
			a.gradient()
			a.step(first * math.Pow(last/first, float64(k)/float64(n)))
			a.evaluate()
			if count && 2*k >= n {
				counted++
				for i := range made {
					made[i] += a.r[i%shards].made[i]
				}
			}
		}
	}
	// Units that jobs hold may be worth far more than they begin at, where there
	// are few: they go first, with great strides, and all settles then.
	a.scaleHolds(holdStride)
	climb(n/2, 0.2, 0.02, false)
	a.scaleHolds(1 / holdStride)
	a.restart(a.best)
	climb(n-n/2, 0.02, 0.0005, true)
	out := &Relaxed{USD: a.bound, Ran: make([]float64, len(in.Jobs))}
	names := p.in.jobNames()
	for i := range out.Ran {
		out.Ran[i] = made[names.find(in.Jobs[i].Name)] / math.Max(1, counted)
	}
	p.release(nil)
	return out, nil
}

const (
	boundSteps = 120
	holdStride = 6
	// exactSteps is how much work the exact schedules of all jobs may be at each
	// step of ascent.
	exactSteps = 2_000_000
)

// scaleHolds makes the steps of the prices of units that jobs hold so much
// greater.
func (a *ascent) scaleHolds(by float64) {
	for i := len(a.scale) - len(a.now.hold); i < len(a.scale); i++ {
		a.scale[i] *= by
	}
}
