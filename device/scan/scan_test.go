package scan_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/device"
	"sluice/device/scan"
)

// doors opens a port at each address and returns it.
func doors(t *testing.T, at ...string) int {
	t.Helper()
	port := 0
	for _, a := range at {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", net.JoinHostPort(a, strconv.Itoa(port)))
		if err != nil {
			t.Fatalf("this system has no address %s on loopback: %v", a, err)
		}
		t.Cleanup(func() { _ = l.Close() })
		port = l.Addr().(*net.TCPAddr).Port
	}
	return port
}

func prefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestScan(t *testing.T) {
	port := doors(t, "127.90.1.1", "127.90.1.77", "127.90.1.254", "127.90.2.9", "127.90.1.255")
	var found, nameless []string
	last := 0
	n, err := scan.Run(t.Context(), scan.Options{
		Prefixes: prefixes("127.90.1.128/24", "127.90.2.9/32"), Ports: []int{1, port}, Rate: 1e5,
		Identify: func(ctx context.Context, a device.Address) (device.Report, error) {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("a device has no deadline")
			}
			if a.Host == "127.90.1.77" {
				return device.Report{}, errors.New("a printer")
			}
			return device.Report{Address: a.Host}, nil
		},
		Found:    func(r device.Report) { found = append(found, r.Address) },
		Nameless: func(a string, _ error) { nameless = append(nameless, a) },
		Progress: func(done, total int) {
			if done != last+1 || total != 255 {
				t.Errorf("progress %d of %d after %d", done, total, last)
			}
			last = done
		},
	})
	slices.Sort(found)
	if want := []string{"127.90.1.1", "127.90.1.254", "127.90.2.9"}; err != nil || n != 3 || !slices.Equal(found, want) || last != 255 {
		t.Errorf("%d, %v: %v, want %v; progress ended at %d", n, err, found, want, last)
	}
	if !slices.Equal(nameless, []string{"127.90.1.77"}) {
		t.Errorf("nameless: %v", nameless)
	}
}

// A device that opens and then says nothing costs its own time only.
func TestSilentCostsItsOwn(t *testing.T) {
	port := doors(t, "127.90.3.1", "127.90.3.2", "127.90.3.3")
	told := make(chan string, 3)
	var asked atomic.Int64
	n, err := scan.Run(t.Context(), scan.Options{
		Prefixes: prefixes("127.90.3.0/29"), Ports: []int{port}, Parallel: 2, Answer: time.Second,
		Identify: func(ctx context.Context, a device.Address) (device.Report, error) {
			if a.Host == "127.90.3.1" {
				for range 2 { // the others must come while this one waits
					select {
					case <-told:
					case <-ctx.Done():
						if asked.Add(1) == 1 {
							t.Error("the others waited for the silent one")
						}
					}
				}
				asked.Add(1)
				<-ctx.Done()
				return device.Report{}, ctx.Err()
			}
			return device.Report{Address: a.Host}, nil
		},
		Found:    func(r device.Report) { told <- r.Address },
		Nameless: func(string, error) {},
	})
	if n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// Who could not be named in the rush is asked once more, and found then.
func TestAskedOnceMore(t *testing.T) {
	port := doors(t, "127.90.7.1", "127.90.7.2", "127.90.7.3")
	var asked [4]atomic.Int64
	var nameless []string
	n, err := scan.Run(t.Context(), scan.Options{
		Prefixes: prefixes("127.90.7.0/29"), Ports: []int{port},
		Identify: func(_ context.Context, a device.Address) (device.Report, error) {
			i := a.Host[len(a.Host)-1] - '0'
			if k := asked[i].Add(1); i == 3 || i == 2 && k == 1 {
				return device.Report{}, errors.New("busy")
			}
			return device.Report{Address: a.Host}, nil
		},
		Found:    func(device.Report) {},
		Nameless: func(a string, _ error) { nameless = append(nameless, a) },
	})
	if n != 2 || err != nil || !slices.Equal(nameless, []string{"127.90.7.3"}) || asked[1].Load() != 1 || asked[2].Load() != 2 || asked[3].Load() != 2 {
		t.Errorf("%d found, %v, nameless %v, asked %d, %d and %d times", n, err, nameless, asked[1].Load(), asked[2].Load(), asked[3].Load())
	}
}

// Ports of the user's own are where the device is asked, too.
func TestExact(t *testing.T) {
	port := doors(t, "127.90.6.1")
	for _, exact := range []bool{false, true} {
		want := device.Address{Host: "127.90.6.1"}
		if exact {
			want.APIPort, want.WebPort = port, port
		}
		n, err := scan.Run(t.Context(), scan.Options{
			Prefixes: prefixes("127.90.6.1/32"), Ports: []int{1, port}, Exact: exact,
			Identify: func(_ context.Context, a device.Address) (device.Report, error) {
				if a != want {
					t.Errorf("exact %v: asked at %+v", exact, a)
				}
				return device.Report{}, nil
			},
			Found: func(device.Report) {},
		})
		if n != 1 || err != nil {
			t.Errorf("exact %v: %d, %v", exact, n, err)
		}
	}
}

// A scan that is called off ends at once and has told what it found.
func TestCalledOff(t *testing.T) {
	port := doors(t, "127.90.4.1")
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	n, err := scan.Run(ctx, scan.Options{
		Prefixes: prefixes("127.90.4.0/16"), Ports: []int{port}, Rate: 1000, Parallel: 4,
		Identify: func(_ context.Context, a device.Address) (device.Report, error) {
			asked.Add(1)
			return device.Report{Address: a.Host}, nil
		},
		Found: func(device.Report) {},
		Progress: func(done, _ int) {
			if done == 300 {
				cancel()
			}
		},
	})
	if !errors.Is(err, context.Canceled) || n != int(asked.Load()) {
		t.Errorf("%d of %d told, %v", n, asked.Load(), err)
	}
}

// No more connections are tried in a second than were allowed.
func TestRate(t *testing.T) {
	const rate = 400
	began := time.Now()
	if _, err := scan.Run(t.Context(), scan.Options{Prefixes: prefixes("127.90.5.0/25"), Ports: []int{1, 2}, Rate: rate, Found: func(device.Report) {}}); err != nil {
		t.Fatal(err)
	}
	// 252 connections, of which a burst of a twentieth of a second may go at once.
	if took, least := time.Since(began), time.Duration(float64(time.Second)*(252-rate/20)/rate); took < least*9/10 {
		t.Errorf("252 connections at %d a second took %v, less than %v", rate, took, least)
	}
}

func TestAddresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(12, 32).Draw(t, "bits")
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 255).Draw(t, "b")), byte(rapid.IntRange(0, 255).Draw(t, "c")), 9}), bits)
		want := 1 << (32 - bits)
		if bits < 31 {
			want -= 2
		}
		if n, err := scan.Addresses([]netip.Prefix{p}); n != want || err != nil {
			t.Fatalf("%v: %d, %v, want %d", p, n, err, want)
		}
	})
	for _, p := range []netip.Prefix{netip.MustParsePrefix("10.0.0.0/11"), netip.MustParsePrefix("::/64"), {}} {
		if _, err := scan.Addresses([]netip.Prefix{p}); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%v: %v", p, err)
		}
	}
	if _, err := scan.Addresses(prefixes("10.0.0.0/12", "10.16.0.0/24")); sluice.KindOf(err) != sluice.Invalid {
		t.Error("more than a /12 was taken")
	}
}
