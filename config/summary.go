package config

import (
	"fmt"
	"strconv"

	"sluice"
)

// Summary is a configuration in a few figures.
type Summary struct {
	Site      string  `json:"site"`
	Mode      string  `json:"mode"`
	Nodes     int     `json:"nodes"`
	LimitKW   float64 `json:"limit_kw"` // of the connection; 0: none of its own
	Classes   int     `json:"classes"`
	Machines  int     `json:"machines"`
	Planned   int     `json:"planned_machines"` // of classes without machines: backtests and plans reckon with them
	MinersKW  float64 `json:"miners_kw"`        // all of them in their strongest mode, at their plugs
	HashPHs   float64 `json:"hashrate_ph_s"`
	Hosts     int     `json:"hosts"`
	Feeds     int     `json:"feeds"`
	StepS     int     `json:"step_s"`
	BindsHere bool    `json:"connection_binds"` // the miners alone can draw more than the connection gives
}

// Summary counts what the configuration holds.
func (c *Config) Summary() Summary {
	s := Summary{
		Site: c.Site.Name, Mode: c.Site.Mode, Nodes: len(c.Nodes), Classes: len(c.Classes), Hosts: len(c.Hosts),
		Feeds: len(c.Feeds), StepS: int(c.Site.Step.Duration().Seconds()),
	}
	for _, n := range c.Nodes {
		if n.Parent == "" {
			s.LimitKW = n.Limit.Watts().KW()
		}
	}
	most := map[string]Mode{}
	for _, k := range c.Classes {
		for _, m := range k.Modes {
			if m.Power > most[k.Name].Power {
				most[k.Name] = m
			}
		}
	}
	var power sluice.Watts
	listed := map[string]int{}
	for _, m := range c.ExpandMachines() {
		s.Machines++
		listed[m.Class]++
		power += most[m.Class].Power.Watts()
		s.HashPHs += most[m.Class].Hashrate / 1000
	}
	for _, k := range c.Classes { // those that stand in backtests and plans only
		if n := k.Count - listed[k.Name]; n > 0 && listed[k.Name] == 0 {
			s.Planned += n
			power += most[k.Name].Power.Watts() * sluice.Watts(n)
			s.HashPHs += most[k.Name].Hashrate / 1000 * float64(n)
		}
	}
	s.MinersKW = power.KW()
	s.BindsHere = s.LimitKW > 0 && s.MinersKW*c.Site.Overhead > s.LimitKW
	return s
}

// String prints the figures on one line.
func (s Summary) String() string {
	limit := "no limit at the connection"
	if s.LimitKW > 0 {
		limit = sluice.WattsOfKW(s.LimitKW).String() + " at the connection"
	}
	return fmt.Sprintf("site %s in mode %s: %s, %s, %s, %s of %s and %.1f PH/s, %s, %s",
		s.Site, s.Mode, limit, count(s.Nodes, "node", "nodes"), count(s.Classes, "class", "classes"),
		s.machines(), sluice.WattsOfKW(s.MinersKW), s.HashPHs,
		count(s.Hosts, "host", "hosts"), count(s.Feeds, "feed", "feeds"))
}

func (s Summary) machines() string {
	if s.Planned == 0 {
		return count(s.Machines, "machine", "machines")
	}
	return count(s.Machines, "machine", "machines") + " and " + strconv.Itoa(s.Planned) + " that only plans know"
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
