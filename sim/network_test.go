package sim_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sluice"
	"sluice/device/antminer"
	"sluice/device/luxos"
	"sluice/sim"
)

// freePort returns a port that nobody has now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Each miner answers at its own address, and nobody at the others.
func TestNetwork(t *testing.T) {
	all := specs(6)
	prefix := netip.MustParsePrefix("127.71.255.200/21") // its miners lie over the end of a third byte
	n := sim.Network{Prefix: prefix, APIPort: freePort(t), WebPort: freePort(t), V3Port: freePort(t)}
	f, err := sim.StartFleet(all, sim.FleetOptions{Instant: true, Network: &n})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := map[string]bool{}
	for i := range all {
		a := f.Address(i)
		if at := netip.MustParseAddr(a.Host); !prefix.Masked().Contains(at) || seen[a.Host] {
			t.Fatalf("miner %d at %s", i, a.Host)
		}
		seen[a.Host] = true
		set := luxos.New(a).Set
		if all[i].Dialect == sim.Antminer {
			set = antminer.New(a).Set
		}
		if o, err := set(t.Context(), sluice.ModeSleep, nil); o != sluice.Accepted || err != nil {
			t.Fatalf("miner %d: %s, %v", i, o, err)
		}
		for j := range all {
			if asleep := f.Mode(j) == sluice.ModeSleep; asleep != (j <= i) {
				t.Fatalf("after the order to miner %d: miner %d asleep %v", i, j, asleep)
			}
		}
	}
	for _, nobody := range []string{"127.71.248.0", "127.71.248.7", "127.71.247.255", "127.1.1.1"} {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp4", net.JoinHostPort(nobody, strconv.Itoa(n.APIPort)))
		if err != nil {
			continue // refused: as good
		}
		if _, err := io.ReadAll(c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v", nobody, err)
		}
		_ = c.Close()
	}
}

func TestNetworkRefuses(t *testing.T) {
	for prefix, want := range map[string]string{
		"10.0.0.0/8": "loopback", "127.0.0.0/7": "loopback", "::1/64": "loopback", "127.3.0.0/29": "has room for 6 miners, not 7", "127.3.0.1/32": "room for 0",
	} {
		_, err := sim.StartFleet(specs(7), sim.FleetOptions{Network: &sim.Network{Prefix: netip.MustParsePrefix(prefix)}})
		if sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", prefix, err)
		}
	}
}
