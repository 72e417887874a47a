package backtest

import (
	"sluice"
	"sluice/dispatch"
)

// planner is what a policy puts in the optimiser's place: it is given the picture
// that the controller draws, and its plan's first interval is carried out by the
// controller, within the same limits, ramps and dwells.
func planner(policy string, o *Options) func(*dispatch.Instance) (*dispatch.Plan, error) {
	switch policy {
	case Always:
		return func(in *dispatch.Instance) (*dispatch.Plan, error) { return solve(keep(free(now(in, 0)))) }
	case Static:
		power := unitPower(o)
		return func(in *dispatch.Instance) (*dispatch.Plan, error) {
			return solve(setAside(keep(free(now(in, 0))), power))
		}
	case LastPrice:
		return func(in *dispatch.Instance) (*dispatch.Plan, error) {
			return solve(free(now(in, in.PriceUSDPerMW.At(0))))
		}
	}
	return solve
}

// gap is the certified gap at which the optimiser stops: far below what prices are
// known to.
const gap = 0.002

// steps bounds the optimiser's work on a plan that stays further from its bound:
// a millisecond or so.
const steps = 100_000

func solve(in *dispatch.Instance) (*dispatch.Plan, error) {
	return dispatch.Solve(in, dispatch.Options{Gap: gap, Steps: steps})
}

// now is the picture's first interval alone, at a price of power; reserves are not
// sold.
func now(in *dispatch.Instance, usdPerMWh float64) *dispatch.Instance {
	out := *in
	out.Intervals = 1
	out.PriceUSDPerMW = dispatch.Const(usdPerMWh)
	out.Reserves, out.DemandCharges = nil, nil
	first := func(s dispatch.Series) dispatch.Series { return dispatch.Const(s.At(0)) }
	out.Nodes = make([]dispatch.Node, len(in.Nodes))
	for i, n := range in.Nodes {
		if n.LimitKW != nil {
			s := first(*n.LimitKW)
			n.LimitKW = &s
		}
		out.Nodes[i] = n
	}
	out.Classes = make([]dispatch.Class, len(in.Classes))
	for i, c := range in.Classes {
		c.Modes = append([]dispatch.Mode(nil), c.Modes...)
		for j := range c.Modes {
			c.Modes[j].USDPerHour = first(c.Modes[j].USDPerHour)
		}
		out.Classes[i] = c
	}
	out.Jobs = append([]dispatch.Job(nil), in.Jobs...)
	for i := range out.Jobs {
		if d := out.Jobs[i].Deadline; d != nil && *d > 1 {
			out.Jobs[i].Deadline, out.Jobs[i].LateUSDPerInterval = nil, 0
		}
	}
	return &out
}

// free leaves out what switching costs: a rule that knows no plan does not weigh
// it.
func free(in *dispatch.Instance) *dispatch.Instance {
	for i := range in.Classes {
		c := &in.Classes[i]
		c.Switches, c.Dwell = nil, nil
		for j := range c.Modes {
			c.Modes[j].MinIntervals = 1
		}
	}
	for i := range in.Jobs {
		// In a plan of one interval a restart would earn nothing, and no paused job
		// ever go on.
		in.Jobs[i].RestartIntervals = 0
	}
	return in
}

// keep makes stopping any job cost more than it could save.
func keep(in *dispatch.Instance) *dispatch.Instance {
	for i := range in.Jobs {
		in.Jobs[i].PreemptUSD = max(in.Jobs[i].PreemptUSD, neverUSD)
	}
	return in
}

const neverUSD = 100_000

// setAside lets each unit of a host draw what a job's would, with or without one:
// its power is nobody else's.
func setAside(in *dispatch.Instance, powerKW map[string]float64) *dispatch.Instance {
	for i := range in.Classes {
		for j := range in.Classes[i].Modes {
			if m := &in.Classes[i].Modes[j]; m.Name == sluice.ModeIdle {
				m.PowerKW = max(m.PowerKW, powerKW[in.Classes[i].Name])
			}
		}
	}
	return in
}

// unitPower is what a unit of each class of hosts draws with a job, its share of
// the idle host in it, in kW at the meter.
func unitPower(o *Options) map[string]float64 {
	out := map[string]float64{}
	for _, h := range o.Site.Hosts {
		var idle, unit sluice.Watts
		units := 0
		for _, x := range h.Hosts {
			idle += x.IdleW
			units += x.Units
			unit = max(unit, x.UnitW)
		}
		if units > 0 {
			out[h.Name] = (float64(idle)/float64(units) + float64(unit)) * o.Site.Overhead / 1000
		}
	}
	return out
}
