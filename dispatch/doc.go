// Package dispatch is the optimiser: the state of a site and what is expected
// of the next hours go in, a plan and a proven bound on every plan come out.
//
// It is a pure function. It does no I/O beyond the reader it is handed, reads
// no clock, and leaves no goroutine behind, so that the live controller, a
// backtest and a benchmark run the same code and get the same plan.
//
// How it works. Units of a class are interchangeable: each follows a path
// through (mode, intervals it should still stay) over time, and a job follows
// a schedule of runs. Both are easy to optimise once power has a price at each
// node and interval. Those prices (for limits, demand charges, reserves and
// the units that jobs hold) are found by ascent on the Lagrangian dual
// (dual.go), whose value is the bound. Plans are then built at those prices
// under the hard limits (construct.go), improved at true marginal worth
// (polish.go) and varied (search.go). All powers are kW at the meter, all
// money is USD.
package dispatch
