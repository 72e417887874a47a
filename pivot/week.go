package pivot

import (
	"fmt"

	"sluice/dispatch"
)

// loadUnits is into how many units each part of an AI load is cut in a dispatch
// problem; each of them can be served or not.
const loadUnits = 500

// Modes of AI load in a dispatch problem.
const (
	serve = "serve"
	drop  = "drop"
)

// Parts of an AI load.
const (
	firmClass   = "ai-firm"
	backedClass = "ai-backed"
	spotClass   = "ai-spot"
)

const root = "connection"

// tally is what a week came to: money in USD, energy in MWh at the meter, and for
// AI hours of its whole load.
type tally struct {
	mineUSD, mineEnergyUSD, mineMWh float64
	served, backed, cut, spot       float64 // hours of the firm load by what carried it; of the rest
	aiMWh, aiEnergyUSD, backupMWh   float64
}

func (a *tally) add(b *tally, k float64) {
	a.mineUSD += k * b.mineUSD
	a.mineEnergyUSD += k * b.mineEnergyUSD
	a.mineMWh += k * b.mineMWh
	a.served += k * b.served
	a.backed += k * b.backed
	a.cut += k * b.cut
	a.spot += k * b.spot
	a.aiMWh += k * b.aiMWh
	a.aiEnergyUSD += k * b.aiEnergyUSD
	a.backupMWh += k * b.backupMWh
}

// minerClass is a class of miners in a week at a hashprice (the week's mean).
func (p *Plan) minerClass(i, count int, w *week, hashprice float64, name, node string) dispatch.Class {
	k := &p.Site.Classes[i]
	c := dispatch.Class{Name: name, Node: node, Count: count, Initial: map[string]int{k.strongest().Name: count}}
	for _, m := range k.Modes {
		usd := make([]float64, hoursPerWeek)
		for t := range usd {
			usd[t] = miningUSD(m.THs, hashprice*w.shape[t], p.Site.PoolFee.Value)
		}
		c.Modes = append(c.Modes, dispatch.Mode{Name: m.Name, PowerKW: m.KW * p.Site.Overhead.Value, USDPerHour: dispatch.Values(usd)})
		if m.Name != k.Modes[0].Name && k.WakeMinutes > 0 {
			c.Switches = append(c.Switches, dispatch.Switch{From: k.Modes[0].Name, To: m.Name, LostMinutes: k.WakeMinutes})
		}
	}
	return c
}

// miningUSD is what so many TH/s earn in an hour.
func miningUSD(ths, hashprice, poolFee float64) float64 {
	return ths / 1000 * hashprice / 24 * (1 - poolFee)
}

// leastPart is the share of a load that a part has at least: less is nothing to
// anybody, and too little for the optimiser to see.
const leastPart = 1e-6

// part is a kind of AI load in a week: served or not, hour by hour. Powers are kW
// at the meter, money is USD an hour before energy, but for what a client pays.
type part struct {
	flatUSD           float64 // usd without what a client pays of the energy
	name              string
	kw, elseKW        float64 // while it is served, while it is not
	usd, elseUSD      []float64
	lossUSDPerKW      []float64 // of not serving it, in a called hour
	firmShare         float64   // of the firm load; 0: it is not sold firm
	mayDrop, byBackup bool      // it need not be served in any hour; generators carry it
}

// parts are the kinds of load in a week. What was sold firm may be carried by
// generators, or not be served, only in the hours in which the grid calls; in
// others that is made a little worse than to serve it, so that it never pays.
func (l *load) parts(w *week) []part {
	var out []part
	firm := l.firmKW + l.backedKW
	add := func(p part, usd, elseUSD float64) {
		if !(p.kw-p.elseKW > leastPart*l.kw) {
			return
		}
		p.flatUSD = usd
		p.usd, p.elseUSD, p.lossUSDPerKW = make([]float64, hoursPerWeek), make([]float64, hoursPerWeek), make([]float64, hoursPerWeek)
		for t := range p.usd {
			p.usd[t], p.elseUSD[t] = usd, elseUSD
			if l.clientPays {
				p.usd[t] += w.price[t] / 1000 * p.kw
			}
			if !p.mayDrop && !w.called[t] {
				p.elseUSD[t] = min(elseUSD, p.usd[t]-w.price[t]/1000*p.kw-1e-3*usd)
			}
			p.lossUSDPerKW[t] = (p.usd[t]-p.elseUSD[t])/(p.kw-p.elseKW) - w.price[t]/1000
		}
		out = append(out, p)
	}
	if firm > 0 {
		f, b := l.firmKW/firm, l.backedKW/firm
		add(part{name: firmClass, kw: l.firmKW, firmShare: f}, l.firmUSD*f, -l.creditUSD*f)
		add(part{name: backedClass, kw: l.backedKW, firmShare: b, byBackup: true}, l.firmUSD*b, l.firmUSD*b-l.backedKW/1000*l.backupUSDPerMWh)
	}
	add(part{name: spotClass, kw: l.spotKW, elseKW: l.spotIdleKW, mayDrop: true}, l.spotUSD, 0)
	return out
}

// class is the part in a dispatch problem, cut into so many units.
func (p *part) class(name, node string, units int) dispatch.Class {
	n := float64(units)
	each := func(v []float64) dispatch.Series {
		out := make([]float64, len(v))
		for t, x := range v {
			out[t] = x / n
		}
		return dispatch.Values(out)
	}
	return dispatch.Class{
		Name: name, Node: node, Count: units, Initial: map[string]int{serve: units},
		Modes: []dispatch.Mode{
			{Name: serve, PowerKW: p.kw / n, USDPerHour: each(p.usd)},
			{Name: drop, PowerKW: p.elseKW / n, USDPerHour: each(p.elseUSD)},
		},
	}
}

// bound is the problem of a plant in a week at a hashprice: its miners and the
// parts of a load behind a connection of kw. The parts come last.
func (p *Plan) bound(w *week, hashprice float64, kept []int, parts []part, kw float64) *dispatch.Instance {
	limit := make([]float64, hoursPerWeek)
	for t := range limit {
		limit[t] = p.limit(w, kw, t)
	}
	s := dispatch.Values(limit)
	in := w.instance([]dispatch.Node{{Name: root, LimitKW: &s}})
	name := func(node string) string {
		if parentOf(p.Site.Nodes, node) == "" {
			return root
		}
		return "n:" + node
	}
	for _, n := range p.Site.Nodes {
		if n.Parent == "" {
			continue
		}
		node := dispatch.Node{Name: name(n.Name), Parent: name(n.Parent)}
		if n.KW > 0 {
			l := dispatch.Const(n.KW)
			node.LimitKW = &l
		}
		in.Nodes = append(in.Nodes, node)
	}
	for i, n := range kept {
		if n > 0 {
			in.Classes = append(in.Classes, p.minerClass(i, n, w, hashprice, fmt.Sprintf("m%d", i), name(p.Site.Classes[i].Node)))
		}
	}
	for i := range parts {
		in.Classes = append(in.Classes, parts[i].class(parts[i].name, root, loadUnits))
	}
	return in
}

// limit is what the connection gives in an hour: the firm share of kw when the
// grid calls.
func (p *Plan) limit(w *week, kw float64, t int) float64 {
	if w.called[t] {
		return kw * p.Terms.FirmShare.Value
	}
	return kw
}

func (w *week) instance(nodes []dispatch.Node) *dispatch.Instance {
	return &dispatch.Instance{StepMinutes: 60, Intervals: hoursPerWeek, PriceUSDPerMW: dispatch.Values(w.price), Nodes: nodes}
}

// settled is what miners of a class came to in a week.
type settled struct {
	usd, energyUSD, mwh float64
	kw                  []float64 // by hour
}

// settle adds up what the class's units do in the plan.
func settle(in *dispatch.Instance, plan *dispatch.Plan, c *dispatch.Class, w *week) settled {
	out := settled{kw: make([]float64, hoursPerWeek)}
	modes := map[string]*dispatch.Mode{}
	for i := range c.Modes {
		modes[c.Modes[i].Name] = &c.Modes[i]
	}
	for t, row := range plan.Counts(in, c.Name) {
		for i := range c.Modes {
			m := &c.Modes[i]
			n := float64(row[m.Name])
			out.kw[t] += n * m.PowerKW
			out.usd += n * m.USDPerHour.At(t)
		}
		out.mwh += out.kw[t] / 1000
		out.energyUSD += out.kw[t] / 1000 * w.price[t]
	}
	for _, v := range plan.Moves {
		if v.Class != c.Name {
			continue
		}
		for _, s := range c.Switches {
			if s.From == v.From && s.To == v.To {
				out.usd -= s.LostMinutes / 60 * modes[v.To].USDPerHour.At(v.T) * float64(v.Units)
			}
		}
	}
	return out
}

// served is which share of the class's units are served in each hour.
func served(in *dispatch.Instance, plan *dispatch.Plan, c *dispatch.Class) []float64 {
	out := make([]float64, hoursPerWeek)
	for t, row := range plan.Counts(in, c.Name) {
		out[t] = float64(row[serve]) / float64(c.Count)
	}
	return out
}

// mine adds miners to the tally, k times.
func (a *tally) mine(s *settled, k float64) {
	a.mineUSD += k * s.usd
	a.mineEnergyUSD += k * s.energyUSD
	a.mineMWh += k * s.mwh
}

// ai adds a part of an AI load to the tally, of which the share x is served in
// each hour.
func (a *tally) ai(p *part, x []float64, w *week) {
	hours := 0.0
	for t, on := range x {
		mwh := (on*p.kw + (1-on)*p.elseKW) / 1000
		hours += on
		a.aiMWh += mwh
		a.aiEnergyUSD += mwh * w.price[t]
	}
	missed := float64(len(x)) - hours
	switch {
	case p.mayDrop:
		a.spot += hours
	case p.byBackup:
		a.served += hours * p.firmShare
		a.backed += missed * p.firmShare
		a.backupMWh += missed * p.kw / 1000
	default:
		a.served += hours * p.firmShare
		a.cut += missed * p.firmShare
	}
}

// turnover is what the week takes in, and what it pays for energy where that is
// more.
func (a *tally) turnover(parts []part) float64 {
	sum := a.mineUSD
	for i := range parts {
		sum += hoursPerWeek * parts[i].flatUSD
	}
	return max(sum, a.mineEnergyUSD+a.aiEnergyUSD)
}

// newMiner is one machine of the class as the plan without limits runs it.
func newMiner(in *dispatch.Instance, plan *dispatch.Plan, c *dispatch.Class, w *week) miner {
	m := miner{settled: settle(in, plan, c, w), class: c, mode: make([]int, hoursPerWeek), best: make([]int, hoursPerWeek)}
	for h, row := range plan.Counts(in, c.Name) {
		for j := range c.Modes {
			if row[c.Modes[j].Name] > 0 {
				m.mode[h] = j
			}
			if m.margin(w, j, h) > m.margin(w, m.best[h], h) {
				m.best[h] = j
			}
		}
	}
	return m
}
