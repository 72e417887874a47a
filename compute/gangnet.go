package compute

import (
	"net/netip"

	"sluice"
)

// The nodes of a gang in containers reach each other where they are on one host, or
// on hosts whose containers a network of the engines connects. So they are placed
// on one host, or on such hosts.

// GangNet is a network of a host's container engine that connects hosts: those
// whose networks have the same name.
type GangNet struct {
	Name      string
	Addresses netip.Prefix // of it, those that are this host's to give
}

// GangPlace is what a node of a gang has on such a network.
type GangPlace struct {
	Network string
	Address netip.Addr
	Peers   []netip.Addr // of all nodes, by rank
}

// part is some of the hosts of a class: one, those of a network, those that run
// processes, or all where it is zero.
type part struct {
	host, net string
	processes bool
}

// has says whether the host is of the part, for work that needs an isolation.
func (p part) has(h Host, want Isolation) bool {
	_, gives := h.ExecutorFor(want)
	switch {
	case p == part{}:
		return true
	case p.processes:
		return gives == IsolationNone
	case p.host != "":
		return gives != IsolationNone && h.Name == p.host
	}
	return gives == IsolationContainer && h.GangNet.Name == p.net
}

// parts are where the nodes of a job, of so many units each, would reach each other,
// the better first. Where its nodes have no need to, that is everywhere.
func parts(hosts []Host, nodes, units int, want Isolation) []part {
	if nodes <= 1 {
		return []part{{}}
	}
	var one, nets, out []part
	processes, contained := false, false
	seen := map[string]bool{}
	for _, h := range hosts {
		switch _, gives := h.ExecutorFor(want); {
		case !h.Real || gives == IsolationNone:
			processes = true
		case gives != "":
			contained = true
			if h.Units >= nodes*units {
				one = append(one, part{host: h.Name})
			}
			if n := h.GangNet.Name; n != "" && gives == IsolationContainer && !seen[n] {
				seen[n] = true
				nets = append(nets, part{net: n})
			}
		}
	}
	if !contained {
		return []part{{}}
	}
	if processes {
		out = append(out, part{processes: true})
	}
	if out = append(append(out, one...), nets...); len(out) == 0 {
		out = []part{{host: hosts[0].Name}} // for what it says
	}
	return out
}

// joinGang gives the nodes of a gang that is spread over hosts in containers their
// addresses, which no run has that may still be there. Callers hold mu.
func (s *Service) joinGang(places []place) error {
	spread := false
	for _, p := range places {
		spread = spread || p.host.Name != places[0].host.Name
	}
	if !spread || places[0].isolation != IsolationContainer {
		return nil
	}
	used := map[string]map[netip.Addr]bool{}
	hold := func(net string, a netip.Addr) {
		if used[net] == nil {
			used[net] = map[netip.Addr]bool{}
		}
		used[net][a] = true
	}
	for _, e := range s.active {
		for _, n := range e.Nodes {
			hold(n.Network, n.Address)
		}
	}
	for i := range places {
		net := places[i].host.GangNet
		a, last := net.Addresses.Masked().Addr(), false
		for !last && used[net.Name][a] {
			a = a.Next()
			last = !net.Addresses.Contains(a)
		}
		if last || !a.IsValid() {
			return sluice.Errorf(sluice.Conflict, "it waits until a gang there ends; give the host more addresses under gang_network to avoid that",
				"the host %s has no address left on the network %s", places[i].host.Name, net.Name)
		}
		hold(net.Name, a)
		places[i].network, places[i].address = net.Name, a
	}
	return nil
}

// gangPlace is what a node has on the network of its gang, nil where it has none.
func gangPlace(nodes []NodeRun, rank int) *GangPlace {
	if nodes[rank].Network == "" {
		return nil
	}
	p := &GangPlace{Network: nodes[rank].Network, Address: nodes[rank].Address}
	for _, n := range nodes {
		p.Peers = append(p.Peers, n.Address)
	}
	return p
}
