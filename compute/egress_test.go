package compute_test

import (
	"net/netip"
	"strings"
	"testing"

	"sluice"
	"sluice/compute"
)

func TestParseReach(t *testing.T) {
	for in, want := range map[string]string{
		"10.1.2.0/24": "10.1.2.0/24", "10.1.2.3": "10.1.2.3/32", "10.1.2.3:443": "10.1.2.3/32:443",
		"10.1.2.0/24:8000-8010": "10.1.2.0/24:8000-8010", "10.1.2.3:80-80": "10.1.2.3/32:80",
		"fd00::5": "fd00::5/128", "fd00::/64": "fd00::/64", "[fd00::5]:443": "[fd00::5/128]:443",
		"[fd00::/64]:1-65535": "[fd00::/64]:1-65535", "[fd00::5]": "fd00::5/128",
	} {
		r, err := compute.ParseReach(in)
		if err != nil || r.String() != want {
			t.Errorf("%s: %s, %v", in, r, err)
		}
	}
	for in, says := range map[string]string{
		"": "no addresses", "site.example": "no addresses", "10.1.2.3/24": "did you mean 10.1.2.0/24, or 10.1.2.3/32?",
		"0.0.0.0/0": "open", "::/0": "open", "127.0.0.1": "loopback", "::1": "loopback", "::ffff:10.0.0.1": "loopback", "0.0.0.0/1": "loopback",
		"224.0.0.1": "multicast", "ff02::1": "multicast", "10.1.2.3:": "a port", "10.1.2.3:0": "no ports", "10.1.2.3:70000": "no ports",
		"10.1.2.3:9-8": "no ports", "10.1.2.3:+8": "no ports", "10.1.2.3:http": "no ports", "[fd00::5]443": "a port", "fe80::1%eth0": "no addresses",
		"10.1.2.0/33": "no addresses", strings.Repeat("1", 200): "no part",
	} {
		if r, err := compute.ParseReach(in); sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, %v, want %q", in, r, err, says)
		}
	}
}

// What is read is written as something that reads the same, and never the container's own.
func FuzzParseReach(f *testing.F) {
	for _, s := range []string{"10.1.2.0/24:8000-8010", "[fd00::/64]:443", "10.1.2.3", "::ffff:1.2.3.4/120", "[::1]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := compute.ParseReach(s)
		if err != nil {
			return
		}
		if again, err := compute.ParseReach(r.String()); err != nil || again != r {
			t.Errorf("%q: %s, then %s, %v", s, r, again, err)
		}
		if r.Net.Contains(netip.MustParseAddr("127.0.0.1")) || r.Net.Contains(netip.IPv6Loopback()) || r.Last < r.First {
			t.Errorf("%q: %s", s, r)
		}
	})
}

func TestReaches(t *testing.T) {
	for want, of := range map[compute.Egress]compute.Tenant{
		compute.EgressInternet: {}, compute.EgressOpen: {Trusted: true}, compute.EgressNone: {Egress: compute.EgressNone, Trusted: true},
	} {
		if got := of.Reaches(); got != want {
			t.Errorf("%+v: %s, want %s", of, got, want)
		}
	}
}
