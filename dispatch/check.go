package dispatch

import "fmt"

// Validate reports the first thing wrong with the instance, as an error of kind
// sluice.Invalid that names the field and the value.
func (in *Instance) Validate() error {
	c := checker{T: in.Intervals}
	if in.check(&c); !c.bad {
		return nil
	}
	c = checker{T: in.Intervals, words: true}
	in.check(&c)
	return c.err
}

func (in *Instance) check(c *checker) {
	if in.Intervals < 1 || in.Intervals > maxIntervals {
		c.fail("", "intervals", in.Intervals, fmt.Sprintf("is not between 1 and %d", maxIntervals))
		return
	}
	if !(in.StepMinutes > 0) || in.StepMinutes > 1e6 {
		c.fail("", "step_minutes", in.StepMinutes, "is not a positive number of minutes")
	}
	if !in.PriceUSDPerMW.set {
		c.fail("", "price_usd_per_mwh", "", "is missing")
	}
	c.series("", "price_usd_per_mwh", &in.PriceUSDPerMW, false, true)
	nodes := in.nodeNames()
	in.checkNodes(c, &nodes)
	for i := range in.DemandCharges {
		d := &in.DemandCharges[i]
		f := c.at("demand_charges", i, "")
		c.positive(f, "usd_per_kw", d.USDPerKW)
		c.positive(f, "already_kw", d.AlreadyKW)
		if d.From < 0 || d.From > d.To || d.To > in.Intervals {
			c.fail(f, "from, to", fmt.Sprintf("[%d, %d)", d.From, d.To), fmt.Sprintf("is not a range within the %d intervals", in.Intervals))
		}
	}
	reserves := namesOf(len(in.Reserves), func(i int) string { return in.Reserves[i].Name })
	for i := range in.Reserves {
		r := &in.Reserves[i]
		f := c.at("reserves", i, "")
		c.name(f, i, &reserves)
		c.series(f, "usd_per_mw_h", &r.USDPerMWh, false, true)
		if r.MaxKW != nil {
			c.series(f, "max_kw", r.MaxKW, true, false)
		}
		c.series(f, "committed_kw", &r.CommittedKW, false, false)
		c.positive(f, "shortfall_usd_per_mw_h", r.ShortfallUSDPerMW)
	}
	classes := in.classNames()
	for i := range in.Classes {
		if c.bad {
			return
		}
		in.Classes[i].check(c, i, &classes, &nodes)
	}
	in.checkJobs(c, &classes)
}

func (in *Instance) checkNodes(c *checker, all *names) {
	root := ""
	up := make([]int, len(in.Nodes)) // by node: its parent, -1: the root
	for i := range in.Nodes {
		n := &in.Nodes[i]
		f := c.at("nodes", i, "")
		c.name(f, i, all)
		if up[i] = -1; n.Parent == "" {
			if root != "" {
				c.fail(f, "parent", n.Name, "has none, and neither has "+root+": there is one root")
			}
			root = n.Name
		} else if up[i] = all.find(n.Parent); up[i] < 0 {
			c.fail(f, "parent", n.Parent, "is not a node")
		}
		if n.LimitKW != nil {
			c.series(f, "limit_kw", n.LimitKW, true, false)
		}
	}
	if c.bad {
		return
	}
	if root == "" {
		c.fail("", "nodes", fmt.Sprintf("%d nodes", len(in.Nodes)), "have no root, or a cycle")
		return
	}
	// A node is sound once its way up is known to end at the root.
	sound := make([]bool, len(in.Nodes))
	for i := range in.Nodes {
		steps := 0
		for n := i; n >= 0 && !sound[n]; n = up[n] {
			if steps++; steps > len(in.Nodes) {
				c.fail(c.at("nodes", i, ""), "parent", in.Nodes[i].Parent, "leads into a cycle")
				return
			}
		}
		for n := i; n >= 0 && !sound[n]; n = up[n] {
			sound[n] = true
		}
	}
}

// check checks class i, k.
func (k *Class) check(c *checker, i int, classes, nodes *names) {
	f := c.at("classes", i, k.Name)
	c.name(f, i, classes)
	if nodes.find(k.Node) < 0 {
		c.fail(f, "node", k.Node, "is not a node")
	}
	c.count(f, "count", k.Count)
	if len(k.Modes) == 0 || len(k.Modes) > 100 {
		c.fail(f, "modes", fmt.Sprintf("%d modes", len(k.Modes)), "where 1 to 100 are due")
	}
	modes := names{n: len(k.Modes), name: func(m int) string { return k.Modes[m].Name }}
	for j := range k.Modes {
		m := &k.Modes[j]
		g := c.at(f+"modes", j, "")
		c.name(g, j, &modes)
		if m.Name == JobMode {
			c.fail(g, "name", m.Name, "is reserved")
		}
		c.positive(g, "power_kw", m.PowerKW)
		c.series(g, "usd_per_hour", &m.USDPerHour, false, true)
		c.positive(g, "shed_kw", m.ShedKW)
		c.count(g, "min_intervals", m.MinIntervals)
		c.positive(g, "early_usd", m.early())
	}
	total := 0
	for m, n := range k.Initial {
		if c.words {
			break // in order of the names, below
		}
		if k.mode(m) < 0 {
			c.fail(f, "initial", m, "is not a mode")
		}
		c.count(f, "initial", n)
		total += n
	}
	if c.words {
		for _, m := range sortedKeys(k.Initial) {
			if k.mode(m) < 0 {
				c.fail(f, "initial", m, "is not a mode")
			}
			c.count(f, "initial."+m, k.Initial[m])
			total += k.Initial[m]
		}
	}
	if total != k.Count {
		c.fail(f, "initial", total, fmt.Sprintf("units do not add up to the count of %d", k.Count))
	}
	for j := range k.Dwell {
		d := &k.Dwell[j]
		g := c.at(f+"dwell", j, "")
		if k.mode(d.Mode) < 0 || d.Mode == JobMode {
			c.fail(g, "mode", d.Mode, "is not a mode of the class")
		}
		c.count(g, "units", d.Units)
		c.count(g, "left", d.Left)
	}
	for m := range k.Modes {
		held, name := 0, k.Modes[m].Name
		for j := range k.Dwell {
			if d := &k.Dwell[j]; d.Mode == name {
				if held += d.Units; held > k.Initial[name] {
					c.fail(c.at(f+"dwell", j, ""), "units", held, fmt.Sprintf("units should stay in %s, where %d are", name, k.Initial[name]))
				}
			}
		}
	}
	k.checkSwitches(c, f)
}

func (k *Class) checkSwitches(c *checker, f string) {
	var few [64]bool
	seen := few[:]
	if n := (len(k.Modes) + 1) * (len(k.Modes) + 1); n > len(few) && len(k.Switches) > 0 {
		seen = make([]bool, n)
	}
	for j := range k.Switches {
		s := &k.Switches[j]
		g := c.at(f+"switches", j, "")
		a, b := k.mode(s.From), k.mode(s.To)
		if a < 0 {
			c.fail(g, "from", s.From, "is not a mode")
		}
		if b < 0 {
			c.fail(g, "to", s.To, "is not a mode")
		}
		if a >= 0 && b >= 0 {
			pair := &seen[a*(len(k.Modes)+1)+b]
			if a == b || *pair {
				c.fail(g, "to", s.To, "from "+s.From+" is given twice or is no switch")
			}
			*pair = true
		}
		c.number(g, "usd", s.USD)
		c.positive(g, "lost_minutes", s.LostMinutes)
	}
}

func (in *Instance) checkJobs(c *checker, classes *names) {
	running := make([]int, len(in.Classes))
	all := in.jobNames()
	for i := range in.Jobs {
		if c.bad {
			return
		}
		j := &in.Jobs[i]
		f := c.at("jobs", i, j.Name)
		c.name(f, i, &all)
		class := classes.find(j.Class)
		if class < 0 {
			c.fail(f, "class", j.Class, "is not a class")
		}
		c.count(f, "units", j.Units)
		c.count(f, "intervals", j.Intervals)
		if j.Intervals < 1 {
			c.fail(f, "intervals", j.Intervals, "is less than 1")
		}
		c.number(f, "usd_per_unit_hour", j.USDPerUnitHour)
		c.positive(f, "power_kw", j.PowerKW)
		c.positive(f, "shed_kw", j.ShedKW)
		c.count(f, "earliest", j.Earliest)
		if j.Deadline != nil {
			c.count(f, "deadline", *j.Deadline)
		}
		c.positive(f, "late_usd_per_interval", j.LateUSDPerInterval)
		c.positive(f, "preempt_usd", j.PreemptUSD)
		c.count(f, "restart_intervals", j.RestartIntervals)
		c.count(f, "restart_left", j.RestartLeft)
		c.positive(f, "unserved_usd_per_interval", j.UnservedUSDPerInterval)
		if j.Running {
			if class >= 0 {
				running[class] += j.Units
			}
			if j.Earliest != 0 {
				c.fail(f, "earliest", j.Earliest, "where a running job has 0")
			}
		}
	}
	for i := range in.Classes {
		k := &in.Classes[i]
		if got := k.Initial[JobMode]; got != running[i] {
			c.fail(c.at("classes", i, k.Name), "initial.job", got, fmt.Sprintf("units where running jobs hold %d", running[i]))
		}
	}
}
