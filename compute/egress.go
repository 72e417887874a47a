package compute

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"sluice"
)

// Egress is what a run may reach over the network.
type Egress string

// Egress policies. A gang's nodes reach each other under all but EgressNone.
const (
	EgressNone     Egress = "none"     // nothing but itself
	EgressInternet Egress = "internet" // public addresses and names, nothing of the site's own network
	EgressOpen     Egress = "open"     // what the host reaches, never the host's loopback
	EgressHost     Egress = "host"     // the host's own network: for trusted processes
)

// Reaches is what the tenant's jobs may reach where they run in containers.
func (t Tenant) Reaches() Egress {
	if t.Trusted {
		return cmp.Or(t.Egress, EgressOpen)
	}
	return cmp.Or(t.Egress, EgressInternet)
}

// Reach is a part of the network: addresses, and the ports of them.
type Reach struct {
	Net         netip.Prefix
	First, Last uint16 // ports of TCP and UDP, 0 for all of them and every protocol
}

// ParseReach reads a Reach as people write it: 10.1.2.0/24, 10.1.2.3:443,
// [fd00::5/128]:8000-8010.
func ParseReach(s string) (Reach, error) {
	bad := func(hint, format string, args ...any) (Reach, error) {
		return Reach{}, sluice.Errorf(sluice.Invalid, hint, "%q: %s", s, fmt.Sprintf(format, args...))
	}
	if len(s) > 100 {
		return Reach{}, sluice.Errorf(sluice.Invalid, "write CIDR, CIDR:PORT or CIDR:PORT-PORT", "%.100q… is no part of a network", s)
	}
	addresses, ports := s, ""
	if in, after, ok := strings.Cut(strings.TrimPrefix(s, "["), "]"); ok && strings.HasPrefix(s, "[") {
		if addresses = in; after != "" {
			if ports, ok = strings.CutPrefix(after, ":"); !ok || ports == "" {
				return bad("write [fd00::/64]:443", "after ] comes a colon and a port")
			}
		}
	} else if strings.Count(s, ":") == 1 { // more are IPv6
		if addresses, ports, _ = strings.Cut(s, ":"); ports == "" {
			return bad("write 10.1.2.3:443", "after the colon comes a port")
		}
	}
	var r Reach
	var err error
	if strings.Contains(addresses, "/") {
		r.Net, err = netip.ParsePrefix(addresses)
	} else {
		var a netip.Addr
		if a, err = netip.ParseAddr(addresses); err == nil && a.Zone() == "" {
			r.Net = netip.PrefixFrom(a, a.BitLen())
		}
	}
	if err != nil || !r.Net.IsValid() {
		return bad("such as 10.1.2.0/24 or fd00::/64", "%q are no addresses", addresses)
	}
	switch net := r.Net; {
	case net.Masked() != net:
		return bad(fmt.Sprintf("did you mean %s, or %s/%d?", net.Masked(), net.Addr(), net.Addr().BitLen()), "the address has bits that its mask takes away")
	case net.Bits() == 0:
		return bad("set egress to open", "that is everything")
	case net.Addr().Is4In6(), overlapsAny(net, "127.0.0.0/8", "::1/128", "::ffff:0:0/96"):
		return bad("a container's loopback is its own", "that has loopback addresses, which are the container's own")
	case overlapsAny(net, "224.0.0.0/4", "ff00::/8"):
		return bad("", "that has multicast addresses")
	}
	if ports == "" {
		return r, nil
	}
	first, last, both := strings.Cut(ports, "-")
	if !both {
		last = first
	}
	if r.First, err = parsePort(first); err == nil {
		r.Last, err = parsePort(last)
	}
	if err != nil || r.Last < r.First {
		return bad("a port is 1 to 65535, or a range such as 8000-8010", "%q are no ports", ports)
	}
	return r, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err == nil && (n == 0 || s[0] == '+') {
		err = strconv.ErrRange
	}
	return uint16(n), err
}

func overlapsAny(p netip.Prefix, with ...string) bool {
	for _, w := range with {
		if p.Overlaps(netip.MustParsePrefix(w)) {
			return true
		}
	}
	return false
}

// String writes a Reach as ParseReach reads it.
func (r Reach) String() string {
	switch {
	case r.First == 0:
		return r.Net.String()
	case r.Net.Addr().Is4() && r.First == r.Last:
		return fmt.Sprintf("%s:%d", r.Net, r.First)
	case r.Net.Addr().Is4():
		return fmt.Sprintf("%s:%d-%d", r.Net, r.First, r.Last)
	case r.First == r.Last:
		return fmt.Sprintf("[%s]:%d", r.Net, r.First)
	}
	return fmt.Sprintf("[%s]:%d-%d", r.Net, r.First, r.Last)
}
