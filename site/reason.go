package site

import (
	"fmt"
	"math"
	"time"

	"sluice"
	"sluice/dispatch"
)

// reason says in money why units of a class move.
func (s *Site) reason(c *class, from, to sluice.Mode, pic *picture, p *dispatch.Plan, now time.Time) string {
	down := to.Power < from.Power
	upper := to
	if down {
		upper = from
	}
	strike := s.strikeOf(c, upper, pic.hash)
	worth := shadow(p, c.node, pic.price)
	reserve, pays := s.bestReserve(c, pic, p)
	switch {
	case down && strike < pic.price:
		return fmt.Sprintf("strike %.1f < price %.1f $/MWh", strike, pic.price)
	case down && pic.starting > 0:
		return fmt.Sprintf("makes room for %d AI jobs, of which a MWh earns %.0f $ and more: strike %.1f loses least", pic.starting, pic.startStrike, strike)
	case down && worth > strike:
		return fmt.Sprintf("makes room under the limit of %s: strike %.1f < %.1f $/MWh that the power is worth there", s.binding(c.node, p, now), strike, worth)
	case down:
		return fmt.Sprintf("strike %.1f, price %.1f $/MWh: less is needed over the next hours", strike, pic.price)
	case strike >= pic.price:
		return fmt.Sprintf("strike %.1f > price %.1f $/MWh", strike, pic.price)
	case pays > 0 && strike+pays >= pic.price:
		return fmt.Sprintf("strike %.1f, price %.1f $/MWh: stands ready for %s at %.1f $/MW·h", strike, pic.price, reserve, pays)
	}
	return fmt.Sprintf("strike %.1f, price %.1f $/MWh now and lower soon", strike, pic.price)
}

// strikeOf is the strike price of a class's mode.
func (s *Site) strikeOf(c *class, mode sluice.Mode, hp sluice.Hashprice) float64 {
	for i := range c.modes {
		if i > 0 && c.modes[i].Name == mode.Name {
			return s.strike(c, i, hp.USDPerPHDay())
		}
	}
	return 0
}

// shadow is what a MWh is worth at the node in the plan's first interval: the
// price of energy and of the limits above it.
func shadow(p *dispatch.Plan, n *node, price float64) float64 {
	if p != nil {
		if v := p.Prices[n.spec.Name]; len(v) > 0 {
			return v[0]
		}
	}
	return price
}

// binding names the lowest node whose limit makes power dearer than above it.
func (s *Site) binding(n *node, p *dispatch.Plan, now time.Time) string {
	for x := n; x != nil; x = x.parent {
		if s.limitAt(x, now) == 0 {
			continue
		}
		if x.parent == nil || shadow(p, x, 0) > shadow(p, x.parent, 0)+1e-6 {
			return x.spec.Name
		}
	}
	return n.spec.Name
}

func jobReason(strike float64, format string, price float64) string {
	return fmt.Sprintf(format, perMWh(strike), perMWh(price))
}

// perMWh writes a price that may be of any size: a job on a host that draws little
// earns very much with a MWh.
func perMWh(usd float64) string {
	if math.Abs(usd) >= 1e4 && !math.IsInf(usd, 0) {
		return fmt.Sprintf("%.0f", usd)
	}
	return fmt.Sprintf("%.4g", usd)
}
