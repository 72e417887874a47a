package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice"
)

// complete fills the defaults that depend on something else in the file.
func (d *decoder) complete(c *Config) {
	if c.Site.Currency == "USD" && !d.has("site.usd_per_currency") {
		c.Site.USDPer = 1
	}
	for i := range c.Feeds {
		f := &c.Feeds[i]
		t := feedTypes[f.Type]
		p := fmt.Sprintf("feeds[%d].", i)
		if !d.has(p + "refresh") {
			f.Refresh = Duration(t.refresh)
		}
		if !d.has(p + "max_age") {
			f.MaxAge = Duration(t.maxAge)
		}
		if f.URL == "" {
			f.URL = t.url
		}
	}
}

// rest adds the sleep mode where a class does not name it, and puts it first; it
// comes after the checks, whose paths are those of the file.
func (d *decoder) rest(c *Config) {
	for i := range c.Classes {
		k := &c.Classes[i]
		if j := slices.IndexFunc(k.Modes, func(m Mode) bool { return m.Name == sluice.ModeSleep }); j > 0 {
			sleep := k.Modes[j]
			k.Modes = slices.Insert(slices.Delete(k.Modes, j, j+1), 0, sleep)
		} else if j < 0 && len(k.Modes) > 0 {
			k.Modes = slices.Insert(k.Modes, 0, Mode{Name: sluice.ModeSleep})
			d.warn(fmt.Sprintf("classes[%d].modes", i), "the class %s does not say what a sleeping miner draws; 0W is assumed", k.Name)
		}
	}
}

// check finds what is wrong between fields.
func (d *decoder) check(c *Config) {
	nodes := d.names("nodes", len(c.Nodes), func(i int) string { return c.Nodes[i].Name })
	classes := d.names("classes", len(c.Classes), func(i int) string { return c.Classes[i].Name })
	d.names("feeds", len(c.Feeds), func(i int) string { return c.Feeds[i].Name })
	d.checkSite(c, classes)
	d.checkTree(c, nodes)
	metered := map[string]int{}
	for i, m := range c.Meters {
		p := fmt.Sprintf("meters[%d]", i)
		d.ref(p+".node", "node", m.Node, nodes)
		if j, twice := metered[m.Node]; twice && m.Node != "" {
			d.bad(p+".node", "", "the node %s has a meter already, on line %d", m.Node, d.where(fmt.Sprintf("meters[%d].node", j)).Line)
		}
		metered[m.Node] = i
		if _, port, err := net.SplitHostPort(m.Address); m.Address != "" && (err != nil || !validPort(port)) {
			d.bad(p+".address", "", "%s.address: %q is not host:port", p, m.Address)
		}
	}
	d.checkFacility(c, nodes)
	for i, k := range c.Classes {
		d.checkClass(fmt.Sprintf("classes[%d]", i), k, nodes)
	}
	for i, h := range c.Hosts {
		d.ref(fmt.Sprintf("hosts[%d].node", i), "node", h.Node, nodes)
	}
	d.checkHosts(c)
	d.checkGPUs(c)
	d.checkMachines(c, classes)
	d.checkReserves(c, classes)
	d.checkFeeds(c)
	d.checkServer(c)
	d.checkTelemetry(c.Telemetry)
	d.checkFabric(c)
	d.checkHistory(c)
	d.checkPivot(c, classes)
	if len(c.Machines) == 0 && len(c.Hosts) == 0 {
		d.warn("", "there are no machines and no hosts: there is nothing to dispatch")
	}
}

// names returns the names of a list and finds those that stand twice.
func (d *decoder) names(list string, n int, name func(int) string) []string {
	seen := map[string]int{}
	var out []string
	for i := range n {
		s := name(i)
		if s == "" {
			continue
		}
		if j, twice := seen[s]; twice {
			first := d.where(fmt.Sprintf("%s[%d].name", list, j))
			d.bad(fmt.Sprintf("%s[%d].name", list, i), "", "the name %q stands a second time in %s, after line %d", s, list, first.Line)
			continue
		}
		seen[s] = i
		out = append(out, s)
	}
	return out
}

// ref finds a reference to nothing; an empty one was reported as missing.
func (d *decoder) ref(path, what, name string, known []string) {
	if name != "" && !slices.Contains(known, name) {
		d.bad(path, nearest(name, known), "%s: there is no %s %q", path, what, name)
	}
}

func (d *decoder) checkSite(c *Config, classes []string) {
	s := c.Site
	for i, k := range s.Control {
		d.ref(fmt.Sprintf("site.control[%d]", i), "class", k, classes)
	}
	if step := s.Step.Duration(); step >= time.Minute && step <= time.Hour {
		if time.Hour%step != 0 {
			d.bad("site.step", "", "site.step: %s does not divide an hour; 5m, 10m, 15m, 30m and 1h do", s.Step)
		} else if h := s.Horizon.Duration(); h < step || h%step != 0 {
			d.bad("site.horizon", "", "site.horizon: %s is not a whole number of steps of %s", s.Horizon, s.Step)
		}
	}
	switch {
	case s.Currency == "USD" && s.USDPer != 1 && d.has("site.usd_per_currency"):
		d.bad("site.usd_per_currency", "", "site.usd_per_currency: with the currency USD the rate is 1")
	case s.Currency == "" || d.broken["site.currency"] || d.broken["site.usd_per_currency"] || d.broken["site.usd_per_currency_as_of"]:
	case s.Currency != "USD" && !d.has("site.usd_per_currency"):
		d.bad("site.usd_per_currency", "", "the currency %s needs usd_per_currency, US dollars for one %s", s.Currency, s.Currency)
	case s.Currency != "USD" && !d.has("site.usd_per_currency_as_of"):
		d.bad("site.usd_per_currency_as_of", "", "the rate of %s needs its date, usd_per_currency_as_of", s.Currency)
	}
}

func (d *decoder) checkTree(c *Config, nodes []string) {
	if len(c.Nodes) == 0 {
		if d.has("nodes") && !d.broken["nodes"] {
			d.bad("nodes", "", "there are no nodes; give at least the connection with its limit")
		}
		return
	}
	parent := map[string]string{}
	var roots []int
	limited := false
	unsure := false // a node cannot be read, so what the tree lacks may stand there
	for i, n := range c.Nodes {
		at := fmt.Sprintf("nodes[%d]", i)
		unsure = unsure || d.broken[at] || d.broken[at+".parent"]
		limited = limited || n.Limit > 0 || d.broken[at] || d.broken[at+".limit"]
		if n.Parent == "" && !d.broken[at] && !d.broken[at+".parent"] {
			roots = append(roots, i)
		}
		d.ref(fmt.Sprintf("nodes[%d].parent", i), "node", n.Parent, nodes)
		if _, twice := parent[n.Name]; !twice {
			parent[n.Name] = n.Parent
		}
	}
	if !limited {
		d.bad("nodes", "", "no node has a limit; give at least the connection's")
	}
	for _, i := range roots[min(1, len(roots)):] {
		d.bad(fmt.Sprintf("nodes[%d]", i), "", "the node %s has no parent, and %s is the root already", c.Nodes[i].Name, c.Nodes[roots[0]].Name)
	}
	told := map[string]bool{}
	for i, n := range c.Nodes {
		ring := []string{}
		for x := n.Name; x != "" && !slices.Contains(ring, x); x = parent[x] {
			ring = append(ring, x)
			if parent[x] == n.Name && !told[n.Name] {
				for _, r := range ring {
					told[r] = true
				}
				d.bad(fmt.Sprintf("nodes[%d].parent", i), "", "the nodes %s stand in a circle", strings.Join(append(ring, n.Name), " under "))
			}
		}
	}
	if len(roots) == 0 && len(told) == 0 && !unsure {
		d.bad("nodes", "", "every node has a parent; the connection itself has none")
	}
	for i, n := range c.Nodes {
		for p := n.Parent; p != "" && len(told) == 0; p = parent[p] {
			if j := slices.IndexFunc(c.Nodes, func(x Node) bool { return x.Name == p }); j >= 0 && c.Nodes[j].Limit > 0 {
				if n.Limit > c.Nodes[j].Limit {
					d.warn(fmt.Sprintf("nodes[%d].limit", i), "the limit of %s is above that of %s, which feeds it: it never binds", n.Name, p)
				}
				break
			}
		}
	}
}

func (d *decoder) checkClass(p string, k Class, nodes []string) {
	d.ref(p+".node", "node", k.Node, nodes)
	if d.has(p+".modes") && !d.broken[p+".modes"] && !slices.ContainsFunc(k.Modes, func(m Mode) bool { return m.Name != sluice.ModeSleep }) {
		d.bad(p+".modes", "", "the class %s has no mode but sleep; give at least one in which it mines", k.Name)
	}
	seen := map[string]bool{}
	for i, m := range k.Modes {
		where := fmt.Sprintf("%s.modes[%d]", p, i)
		switch {
		case m.Name == "":
		case seen[m.Name]:
			d.bad(where+".name", "", "the mode %q stands a second time in the class %s", m.Name, k.Name)
		case m.Name == sluice.ModeIdle || m.Name == sluice.ModeJob:
			d.bad(where+".name", "", "the mode %q is kept for compute hosts", m.Name)
		case m.Name == sluice.ModeSleep:
			if m.Hashrate != 0 {
				d.bad(where+".hashrate_ths", "", "a sleeping miner has no hashrate")
			}
		default:
			if m.Power <= 0 && d.has(where+".power") && !d.broken[where+".power"] {
				d.bad(where+".power", "", "the mode %s of the class %s draws no power", m.Name, k.Name)
			}
			if m.Hashrate <= 0 && !d.broken[where+".hashrate_ths"] {
				d.bad(where+".hashrate_ths", "", "the mode %s of the class %s has no hashrate; give hashrate_ths", m.Name, k.Name)
			}
		}
		seen[m.Name] = true
	}
}

func (d *decoder) checkServer(c *Config) {
	if c.Server.Listen == "" {
		return
	}
	host, port, err := net.SplitHostPort(c.Server.Listen)
	if err != nil || !validPort(port) {
		d.bad("server.listen", "", "server.listen: %q is not host:port", c.Server.Listen)
		return
	}
	ip, err := netip.ParseAddr(host)
	loopback := host == "localhost" || (err == nil && ip.IsLoopback())
	if !loopback && c.Server.TokenFile == "" {
		d.bad("server.listen", net.JoinHostPort("127.0.0.1", port), "server.listen: %s can be reached from other machines, so server.token_file is needed", c.Server.Listen)
	}
}

func validPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 0 && n <= 65535
}
