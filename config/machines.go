package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxMachines bounds what ranges expand to: 65,536 addresses are a /16.
const maxMachines = 65536

// ExpandMachines returns each miner by itself: ranges of addresses unrolled, the
// port of an address moved to APIPort (luxos) or WebPort (antminer), Address
// being the bare host. A machine of a range is named after its prefix and the end
// of its address, so that a longer range renames nothing: rack1- over
// 10.0.1.10-10.0.1.12 gives rack1-010, rack1-011, rack1-012; a range over more
// than one /24 gives rack1-1-010.
func (c *Config) ExpandMachines() []Machine {
	var out []Machine
	for _, m := range c.Machines {
		ms, err := m.expand()
		if err != nil {
			continue // a Config from Parse has none: check reported it
		}
		out = append(out, ms...)
	}
	return out
}

func (m Machine) expand() ([]Machine, error) {
	r, err := parseRange(m.Address)
	if err != nil {
		return nil, err
	}
	if r.port != 0 {
		switch own := m.ownPort(); {
		case *own != 0 && *own != r.port:
			return nil, &wrong{msg: fmt.Sprintf("the address says port %d and the field says %d", r.port, *own)}
		default:
			*own = r.port
		}
	}
	if !r.from.IsValid() {
		m.Address = r.host
		return []Machine{m}, nil
	}
	out := make([]Machine, 0, r.n)
	a, z := r.from.As4(), r.to.As4()
	for ip, i := r.from, 0; i < r.n; ip, i = ip.Next(), i+1 {
		x, b := m, ip.As4()
		x.Address, x.Outlet = ip.String(), nextOutlet(m.Outlet, i)
		switch {
		case a[0] != z[0] || a[1] != z[1]:
			x.Name += fmt.Sprintf("%d-%d-%03d", b[1], b[2], b[3])
		case a[2] != z[2]:
			x.Name += fmt.Sprintf("%d-%03d", b[2], b[3])
		default:
			x.Name += fmt.Sprintf("%03d", b[3])
		}
		out = append(out, x)
	}
	return out, nil
}

// ownPort is the field that the port of an address means.
func (m *Machine) ownPort() *int {
	if m.Driver == "antminer" {
		return &m.WebPort
	}
	return &m.APIPort
}

type addressRange struct {
	host     string // without a range
	from, to netip.Addr
	n        int
	port     int
}

func parseRange(s string) (addressRange, error) {
	var r addressRange
	host := s
	if _, err := netip.ParseAddr(s); err != nil && strings.Contains(s, ":") { // a bare IPv6 address has colons too
		h, port, err := net.SplitHostPort(s)
		if err != nil || !validPort(port) {
			return r, &wrong{msg: fmt.Sprintf("%q is not host:port", s)}
		}
		host = h
		r.port, _ = strconv.Atoi(port)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		r.host = host
		return r, nil
	}
	first, last, isRange := strings.Cut(host, "-")
	from, err := netip.ParseAddr(first)
	if !isRange || err != nil {
		if !hostName(host) {
			return r, &wrong{msg: fmt.Sprintf("%q is no host name, IP address or range of addresses", s)}
		}
		r.host = host
		return r, nil
	}
	to, err := netip.ParseAddr(last)
	if n, e := strconv.Atoi(last); e == nil && n >= 0 && n <= 255 && from.Is4() { // the short form, 10.0.1.10-250
		b := from.As4()
		b[3] = byte(n)
		return r, &wrong{fmt.Sprintf("the range %q ends with no address", s), first + "-" + netip.AddrFrom4(b).String()}
	}
	switch {
	case err != nil:
		return r, &wrong{msg: fmt.Sprintf("the range %q ends with no address", s)}
	case !from.Is4() || !to.Is4():
		return r, &wrong{msg: fmt.Sprintf("the range %q is not of IPv4 addresses", s)}
	case to.Less(from):
		return r, &wrong{fmt.Sprintf("the range %q ends before it begins", s), last + "-" + first}
	}
	a, z := from.As4(), to.As4()
	n := int(be(z)) - int(be(a)) + 1
	if n > maxMachines {
		return r, &wrong{msg: fmt.Sprintf("the range %q has %d addresses; %d is the most", s, n, maxMachines)}
	}
	r.from, r.to, r.n = from, to, n
	return r, nil
}

func be(b [4]byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func hostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	digits := true
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, r := range label {
			letter := r == '-' || r == '_' || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z')
			if !letter && (r < '0' || r > '9') {
				return false
			}
			digits = digits && !letter
		}
	}
	return !digits // 10.0.1.300 is a mistyped address, no name
}

// checkMachines unrolls the ranges to find names and addresses that stand twice.
func (d *decoder) checkMachines(c *Config, classes []string) {
	names, places := map[string]string{}, map[string]string{}
	used := map[string]bool{}
	total := 0
	for i, h := range c.Hosts {
		d.unique(names, h.Name, h.Name, fmt.Sprintf("hosts[%d].name", i), "name")
	}
	for i, m := range c.Machines {
		p := fmt.Sprintf("machines[%d]", i)
		d.ref(p+".class", "class", m.Class, classes)
		used[m.Class] = true
		if m.Password.clear() {
			d.warn(p+".password", "the password of the machine %s stands in this file; write env:NAME or file:PATH instead", m.Name)
		}
		if m.Address == "" {
			continue
		}
		ms, err := m.expand()
		if err != nil {
			w := asWrong(err)
			d.bad(p+".address", w.suggestion, "%s.address: %s", p, w.msg)
			continue
		}
		if total += len(ms); total > maxMachines {
			d.bad(p+".address", "", "these are more than %d machines", maxMachines)
			return
		}
		for _, x := range ms {
			// One mistake for a range is enough.
			named := d.unique(names, x.Name, x.Name, p+".name", "machine's name")
			placed := d.unique(places, fmt.Sprintf("%s %d %d", x.Address, x.APIPort, x.WebPort), x.Address, p+".address", "address")
			if !named || !placed {
				break
			}
		}
	}
	for i, k := range c.Classes {
		if k.Name != "" && !used[k.Name] && k.Count == 0 {
			d.warn(fmt.Sprintf("classes[%d]", i), "the class %s has no machines", k.Name)
		}
	}
}

func (d *decoder) unique(seen map[string]string, key, shown, path, what string) bool {
	if key == "" {
		return true
	}
	first, twice := seen[key]
	if twice {
		d.bad(path, "", "the %s %q stands a second time, after line %d", what, shown, d.where(first).Line)
		return false
	}
	seen[key] = path
	return true
}
