package site

import (
	"sluice"
)

// MachineReading is what is known of one machine at a turn, for whoever records
// it.
type MachineReading struct {
	Name, Class, Node, Model string
	Kind                     sluice.MachineKind
	State                    string // as of Machine.State
	Mode                     string // as last read
	Reading                  sluice.Reading
	// Power is the best figure of what the machine draws at its plug, and its source.
	Power       sluice.Watts
	PowerSource sluice.Source
	Silent      bool // not heard of within the maximum age
	Units, Busy int  // of a host
}

// Readings appends what is known of all machines, in an order that does not
// change, and returns it. It copies and no more: the loop waits for it.
func (s *Site) Readings(out []MachineReading) []MachineReading {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now
	for _, m := range s.miners {
		p, source := m.power()
		out = append(out, MachineReading{
			Name: m.spec.Name, Class: m.class.spec.Name, Node: m.class.node.spec.Name, Model: m.class.spec.Model,
			Kind: sluice.Miner, State: m.state(now, s.o.MaxReadingAge), Mode: m.read.Mode,
			Reading: m.read, Power: p, PowerSource: source, Silent: !m.fresh(now, s.o.MaxReadingAge),
		})
	}
	use := s.o.Compute.HostUse()
	for _, h := range s.hosts {
		for _, host := range h.spec.Hosts {
			u := use[host.Name]
			mode := sluice.ModeIdle
			if u.UnitsBusy > 0 {
				mode = sluice.ModeJob
			}
			out = append(out, MachineReading{
				Name: host.Name, Class: h.spec.Name, Node: h.node.spec.Name, Model: h.spec.Model,
				Kind: sluice.Host, State: s.hostState(host, u), Mode: mode, Reading: sluice.Reading{At: now},
				Power: u.PowerW, PowerSource: sluice.SourceNameplate, Units: host.Units, Busy: u.UnitsBusy,
			})
		}
	}
	return out
}
