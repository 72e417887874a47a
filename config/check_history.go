package config

import "fmt"

// checkHistory finds what is wrong with the recorded series, and with what only
// backtests and plans know of.
func (d *decoder) checkHistory(c *Config) {
	seen := map[string]int{}
	for i, r := range c.History.Series {
		p := fmt.Sprintf("history.series[%d].quantity", i)
		if r.Quantity == "" {
			continue
		}
		if !isQuantity(r.Quantity) {
			d.bad(p, nearQuantity(r.Quantity), "%s: %q is no quantity", p, r.Quantity)
		}
		if j, twice := seen[r.Quantity]; twice {
			d.bad(p, "", "%s: %s has a series already, on line %d", p, r.Quantity, d.where(fmt.Sprintf("history.series[%d].quantity", j)).Line)
		}
		seen[r.Quantity] = i
	}
	for i, h := range c.Hosts {
		p := fmt.Sprintf("hosts[%d]", i)
		switch {
		case h.Driver == "virtual" && h.Slots == 0:
			d.bad(p+".slots", "", "%s: a virtual host needs slots, the number of its GPUs", p)
		case h.Here() && (h.Count > 1 || h.GPU != ""):
			d.bad(p+".driver", "virtual", "%s: count and gpu are of virtual hosts", p)
		}
	}
	listed := map[string]int{}
	for _, m := range c.Machines {
		listed[m.Class]++
	}
	for i, k := range c.Classes {
		if k.Count > 0 && listed[k.Name] == 0 && len(c.Machines) > 0 {
			d.warn(fmt.Sprintf("classes[%d].count", i), "no machine of the class %s is listed: it stands in backtests and plans only", k.Name)
		}
	}
}
