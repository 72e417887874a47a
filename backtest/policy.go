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
		return func(in *dispatch.Instance) (*dispatch.Plan, error) { return solve(free(now(in, 0))) }
	case Static:
		return func(in *dispatch.Instance) (*dispatch.Plan, error) { return solve(setAside(free(now(in, 0)))) }
	case LastPrice:
		return func(in *dispatch.Instance) (*dispatch.Plan, error) { return solve(free(now(in, in.PriceUSDPerMW.At(0)))) }
	}
	return solve
}

// gap is the certified gap at which the optimiser stops: far below what prices are
// known to.
const gap = 0.001

func solve(in *dispatch.Instance) (*dispatch.Plan, error) {
	return dispatch.Solve(in, dispatch.Options{})
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
	return in
}

// setAside lets each unit of a host draw what a job's would, with or without one:
// its power is nobody else's.
func setAside(in *dispatch.Instance) *dispatch.Instance {
	power := map[string]float64{}
	for _, j := range in.Jobs {
		power[j.Class] = max(power[j.Class], j.PowerKW)
	}
	for i := range in.Classes {
		for j := range in.Classes[i].Modes {
			if m := &in.Classes[i].Modes[j]; m.Name == sluice.ModeIdle && m.PowerKW < power[in.Classes[i].Name] {
				m.PowerKW = power[in.Classes[i].Name]
			}
		}
	}
	return in
}
