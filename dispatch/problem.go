package dispatch

// problem is an instance made ready for solving: names are indices, rates are
// USD per interval, and everything stands in the order of its name so that the
// order of the input does not change the plan.
type problem struct {
	in        *Instance // sorted copy
	T         int
	h         float64   // hours in an interval
	energy    []float64 // USD per kW and interval
	nodes     []pnode
	root      int
	class     []pclass
	jobs      []pjob
	res       []preserve
	worth     [][]tranche // by interval, dearest first: what kW ready to drop earn
	demand    []DemandCharge
	broken    bool      // some limit cannot be kept
	fix       [][]fixed // by job: what branching decided
	order     []int     // nodes, leaves first
	numbers   slab[float64]
	ints      slab[int]
	series    slab[Series]
	merits    merits
	lean      *lean    // nil: there is to be a plan
	spare     *builder // one done with
	sheddable float64  // kW that all units together could ever drop
}

type pnode struct {
	name   string
	parent int       // -1: the root
	limit  []float64 // nil: none. Where it cannot be kept, the least load
	floor  float64   // kW of its subtree when all stands at its least power
	room   float64   // kW above that which are there in every interval; no limit: +Inf
	most   float64   // its load if every unit drew the most it can
	up     []int     // itself and all above it
}

// pclass is a class. Mode M is job, where it has one.
type pclass struct {
	name   string
	node   int
	count  int
	M, N   int // modes without and with job
	kw     []float64
	least  float64 // kW of the mode of least power
	shed   []float64
	rate   []Series // USD per unit and hour
	usd    []float64
	lost   []float64 // hours of the new mode's revenue, N×N like usd
	varies bool      // some revenue is not the same in all intervals
	cost   []float64 // usd and, unless revenues vary, lost together, N×N; to itself +Inf
	simple bool      // no mode has anything left to stay
	free   bool      // nor does a switch cost anything
	enter  []int     // state of each mode on entering it
	// By state, with the fine that a bound may charge, and with all of a long dwell.
	standing, standingWhole []stood
	stay                    []int // min_intervals
	early                   []float64
	first                   []int // state of each mode with nothing left to stay; the next ones have 1, 2, …
	length                  []int // states of each mode
	states                  int
	start                   []start
	forced                  []bool // by interval, nil: none. Everything must stand at its least power
	hasJob                  bool
	crowded                 bool  // gangs may stand in each other's way
	room                    []int // by interval, nil: not known. No more units than these can be in jobs
	jobs                    []int
}

// stood is a state of a unit: a mode, and so many intervals to stay in it.
type stood struct {
	mode, next  int     // next: the state it is in an interval later
	early, fine float64 // USD for each interval that it leaves early, and for all of them
}

// start is a number of units that stand alike before the first interval.
type start struct {
	mode, left, n int
}

type pjob struct {
	*Job
	class    int
	gain     float64 // USD per interval of progress
	extra    float64 // kW over the least power of its units
	need     int     // intervals of progress; T+1 where it cannot finish
	deadline int
	started  bool
}

type preserve struct {
	pay, most, sold []float64 // USD per kW and interval; kW
	short           float64   // USD per kW and interval
}

// tranche is so many kW of reserve at a price.
type tranche struct {
	kw, usd float64
	reserve int
}

// earned returns what shed kW, ready to be dropped in interval t, earn there.
func (p *problem) earned(t int, shed float64) float64 {
	usd := 0.0
	for _, w := range p.worth[t] {
		if shed <= w.kw {
			return usd + shed*w.usd
		}
		usd += w.kw * w.usd
		shed -= w.kw
	}
	return usd
}
