package docker

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"sluice/compute"
)

// passes says what the kernel does with what goes to an address, by the rules.
func passes(rules []rule, to netip.Addr, port uint16) bool {
	for _, r := range rules {
		if !r.in && r.to.Contains(to) && (r.first == 0 || r.first <= port && port <= r.last) {
			return r.pass
		}
	}
	return false
}

// Whatever a job asks for, internet is public addresses: the library of the
// language knows those that are not by other means than our list.
func TestInternetIsPublic(t *testing.T) {
	own, dns := netip.MustParseAddr("198.41.0.9"), netip.MustParseAddr("10.0.2.3")
	rules, err := filter{Egress: compute.EgressInternet}.rules([]netip.Addr{own}, []netip.Addr{dns})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		to := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "IPv4")))
		if rapid.Bool().Draw(t, "IPv6") {
			to = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "IPv6")))
		}
		port := rapid.Uint16().Draw(t, "port")
		if passes(rules, to, port) && (to.IsPrivate() || to.IsLoopback() || to.IsLinkLocalUnicast() || to.IsMulticast() || !to.IsGlobalUnicast() || to == own) && !(to == dns && port == 53) {
			t.Fatalf("%s port %d passes", to, port)
		}
	})
	for to, want := range map[string]bool{
		"1.1.1.1": true, "9.9.9.9": true, "192.31.196.7": true, "2606:4700:4700::1111": true, "172.15.0.1": true, "172.32.0.1": true,
		"198.41.0.9": false, "10.0.2.3": false, "10.0.2.2": false, "172.31.255.255": false, "192.168.0.1": false, "100.127.0.1": false,
		"169.254.169.254": false, "127.0.0.1": false, "0.0.0.0": false, "255.255.255.255": false, "224.0.0.1": false,
		"fd00::1": false, "fe80::1": false, "::1": false, "ff02::1": false, "64:ff9b::a00:1": false, "2002:a00:1::1": false, "2001:0:1::1": false, "::ffff:10.0.0.1": false,
	} {
		if got := passes(rules, netip.MustParseAddr(to), 80); got != want {
			t.Errorf("%s: %v", to, got)
		}
	}
	if !passes(rules, dns, 53) {
		t.Error("no names")
	}
}

func TestResolversOf(t *testing.T) {
	got := resolversOf("# x\nnameserver 127.0.0.11\nnameserver 10.0.0.53\nsearch a\nnameserver\nnameserver fe80::1%eth0\nnameserver x\nnameserver 2001:db8::53\nnameserver 10.0.0.54\n")
	want := []netip.Addr{netip.MustParseAddr("10.0.0.53"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("2001:db8::53")}
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func FuzzResolversOf(f *testing.F) {
	f.Add("nameserver 10.0.0.53\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, a := range resolversOf(s) {
			if !a.IsValid() || a.IsLoopback() || a.Is4In6() || a.Zone() != "" {
				t.Errorf("%q: %s", s, a)
			}
		}
	})
}

// A node has its gang on the network that connects hosts, both ways, and nothing else
// of that network, whatever else it may reach.
func TestGangIsApart(t *testing.T) {
	peer, own := netip.MustParseAddr("10.30.0.32"), netip.MustParseAddr("10.30.0.16")
	dns := netip.MustParseAddr("10.30.0.1")
	for egress, world := range map[compute.Egress][2]bool{ // the internet, the site
		compute.EgressOpen: {true, true}, compute.EgressInternet: {true, false}, compute.EgressNone: {false, false},
	} {
		f := filter{Egress: egress, Peers: []netip.Addr{own, peer}, Nets: prefixes("10.30.0.0/24")}
		if egress != compute.EgressOpen {
			f.Allow = []string{"10.0.0.0/8:22"}
		}
		all, err := f.rules(nil, []netip.Addr{dns})
		if err != nil {
			t.Fatal(err)
		}
		var in []rule // as what goes there, with the chain's policy
		for _, r := range all {
			if r.in {
				in = append(in, rule{to: r.to, pass: r.pass})
			}
		}
		in = append(in, rule{to: prefixes("0.0.0.0/0")[0], pass: true})
		for to, want := range map[string]bool{
			"10.30.0.32": true, "10.30.0.33": false, "10.30.0.1": false, "1.1.1.1": world[0], "10.9.9.9": world[1],
		} {
			if got := passes(all, netip.MustParseAddr(to), 80); got != want {
				t.Errorf("%s: %s is reached: %v", egress, to, got)
			}
		}
		if passes(all, netip.MustParseAddr("10.30.0.33"), 22) || passes(all, dns, 53) != (egress != compute.EgressNone) {
			t.Errorf("%s: another gang by what is allowed besides, or no names", egress)
		}
		for from, want := range map[string]bool{"10.30.0.32": true, "10.30.0.33": false, "1.1.1.1": true} {
			if got := passes(in, netip.MustParseAddr(from), 80); got != want {
				t.Errorf("%s: %s reaches it: %v", egress, from, got)
			}
		}
	}
}
