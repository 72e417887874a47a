package sim_test

import (
	"context"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/device/modbus"
	"sluice/sim"
)

var t0 = time.Date(2023, 8, 17, 20, 0, 0, 0, time.UTC)

// stepped is a fleet whose time a test moves.
func stepped(t *testing.T, specs []sim.MinerSpec, opt sim.FleetOptions) (*sim.Fleet, *time.Time) {
	t.Helper()
	now := t0
	opt.Now = func() time.Time { return now }
	f, err := sim.NewFleet(specs, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, &now
}

func order(t *testing.T, f *sim.Fleet, i int, mode string) {
	t.Helper()
	if o, err := f.Direct(i).Set(context.Background(), mode, nil); o != sluice.Accepted || err != nil {
		t.Fatalf("Set(%q) = %q, %v", mode, o, err)
	}
}

// near allows for the noise.
func near(got, want float64) bool { return math.Abs(got-want) <= 0.0101*want+0.5 }

func TestRamps(t *testing.T) {
	all := specs(6)
	for i, c := range []struct {
		miner int
		order string
		after time.Duration
		share float64 // of the way from sleep (25 W) to full power
		hash  float64 // of full hashrate
	}{
		{0, sluice.ModeSleep, 0, 1, 1},
		{0, sluice.ModeSleep, 2500 * time.Millisecond, 0.5, 0.5},
		{0, sluice.ModeSleep, 5 * time.Second, 0, 0},
		{0, sluice.ModeMine, 0, 0, 0},
		{0, sluice.ModeMine, 5 * time.Second, 0.5, 0},
		{0, sluice.ModeMine, 10 * time.Second, 1, 0.2},
		{0, sluice.ModeMine, 30 * time.Second, 1, 1},
		{3, sluice.ModeSleep, 5 * time.Second, 0, 0},
		{3, sluice.ModeMine, 20 * time.Second, 0, 0}, // its program restarts
		{3, sluice.ModeMine, 3 * time.Minute, 1, 1},
	} {
		f, now := stepped(t, all, sim.FleetOptions{})
		if c.order == sluice.ModeMine {
			order(t, f, c.miner, sluice.ModeSleep)
			*now = now.Add(time.Hour)
		}
		order(t, f, c.miner, c.order)
		*now = now.Add(c.after)
		s := f.Spec(c.miner)
		full := s.Modes[len(s.Modes)-1]
		want := 25 + c.share*(float64(full.Power)-25)
		if got := f.PowerW(c.miner, *now); !near(got, want) {
			t.Errorf("case %d: %s after %v: %.0f W, want %.0f", i, c.order, c.after, got, want)
		}
		r, err := f.Direct(c.miner).Read(context.Background())
		if err != nil || !near(float64(r.HashRate), c.hash*float64(full.HashRate)) {
			t.Errorf("case %d: %s after %v: %.1f TH/s, want %.1f (%v)", i, c.order, c.after, r.HashRate, c.hash*float64(full.HashRate), err)
		}
	}
}

// TestPowerIsContinuous: whatever is ordered when, power never jumps and never
// leaves what the model can draw.
func TestPowerIsContinuous(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		i := rapid.IntRange(0, 5).Draw(rt, "miner")
		f, now := stepped(t, specs(6), sim.FleetOptions{})
		s := f.Spec(i)
		top := float64(s.Modes[len(s.Modes)-1].Power) * 1.0101
		for range rapid.IntRange(1, 12).Draw(rt, "orders") {
			*now = now.Add(time.Duration(rapid.IntRange(0, 200).Draw(rt, "s")) * time.Second)
			mode := rapid.SampledFrom(s.Modes).Draw(rt, "mode").Name
			before := f.PowerW(i, *now)
			if o, _ := f.Direct(i).Set(context.Background(), mode, nil); o != sluice.Accepted {
				rt.Fatalf("Set(%q) = %q", mode, o)
			}
			if after := f.PowerW(i, *now); math.Abs(after-before) > 0.5 {
				rt.Fatalf("ordering %q moved power at once from %.1f to %.1f W", mode, before, after)
			}
			for range 40 {
				*now = now.Add(5 * time.Second)
				if p := f.PowerW(i, *now); p < 24 || p > top {
					rt.Fatalf("%.1f W", p)
				}
			}
			if p := f.PowerW(i, *now); !near(p, float64(modeOf(s, mode).Power)) {
				rt.Fatalf("200 s after %q: %.1f W", mode, p)
			}
		}
	})
}

func modeOf(s sim.MinerSpec, name string) sluice.Mode {
	for _, m := range s.Modes {
		if m.Name == name {
			return m
		}
	}
	return sluice.Mode{}
}

// TestNoise: at most 1 %, smooth, the same for the same seed and time, not the
// same for two machines.
func TestNoise(t *testing.T) {
	f, _ := stepped(t, specs(12), sim.FleetOptions{})
	g, _ := stepped(t, specs(12), sim.FleetOptions{})
	full, lowest, highest := 2794.0, math.Inf(1), 0.0
	last := f.PowerW(0, t0)
	for s := range 86400 / 2 {
		at := t0.Add(time.Duration(s) * 2 * time.Second)
		p := f.PowerW(0, at)
		if p != g.PowerW(0, at) {
			t.Fatal("two fleets of the same seed differ")
		}
		if math.Abs(p-full) > 0.01*full+1e-6 || math.Abs(p-last) > 0.002*full {
			t.Fatalf("%v: %.1f W after %.1f", at, p, last)
		}
		last, lowest, highest = p, min(lowest, p), max(highest, p)
	}
	if highest-lowest < 0.01*full {
		t.Errorf("between %.1f and %.1f W: hardly any noise", lowest, highest)
	}
	if f.PowerW(0, t0) == f.PowerW(6, t0) {
		t.Error("two machines of a model draw the same")
	}
}

func TestNodePower(t *testing.T) {
	f, now := stepped(t, specs(20), sim.FleetOptions{})
	for _, node := range []string{"feeder-0", "feeder-1", "none"} {
		sum := 0.0
		for i := range f.Len() {
			if f.Spec(i).Node == node {
				sum += f.PowerW(i, *now)
			}
		}
		if got := f.NodePower(node, *now); math.Abs(float64(got)-sum) > 1 {
			t.Errorf("%s: %v, want %.1f W", node, got, sum)
		}
	}
}

// TestStateSurvives: a fleet that is started again over the state file, without
// having been closed, finds the same modes.
func TestStateSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "miners")
	f, _ := stepped(t, specs(12), sim.FleetOptions{StatePath: path})
	modes := map[int]string{0: sluice.ModeSleep, 1: "407MHz", 3: sluice.ModeSleep, 6: "290MHz"}
	for i, mode := range modes {
		order(t, f, i, mode)
	}
	order(t, f, 6, sluice.ModeSleep) // asleep, and 290MHz when it wakes
	modes[6] = sluice.ModeSleep
	g, now := stepped(t, specs(14), sim.FleetOptions{StatePath: path})
	for i := range g.Len() {
		want := g.Spec(i).Default
		if m, ok := modes[i]; ok {
			want = m
		}
		if got := g.Mode(i); got != want {
			t.Errorf("miner %d is in %q, want %q", i, got, want)
		}
	}
	order(t, g, 6, sluice.ModeMine)
	*now = now.Add(time.Hour)
	if got := g.Mode(6); got != "290MHz" {
		t.Errorf("miner 6 woke to %q", got)
	}
	if err := os.WriteFile(path, []byte{0xff, 0x7f, 0}, 0o600); err != nil { // a spoilt file
		t.Fatal(err)
	}
	h, _ := stepped(t, specs(4), sim.FleetOptions{StatePath: path})
	for i := range h.Len() {
		if got := h.Mode(i); got != h.Spec(i).Default {
			t.Errorf("miner %d of a spoilt file is in %q", i, got)
		}
	}
}

func TestBadSpecs(t *testing.T) {
	good := specs(1)[0]
	for name, spoil := range map[string]func(*sim.MinerSpec){
		"no sleep":        func(s *sim.MinerSpec) { s.Modes = s.Modes[1:] },
		"unknown default": func(s *sim.MinerSpec) { s.Default = "x" },
		"sleeps for ever": func(s *sim.MinerSpec) { s.Default = sluice.ModeSleep },
		"dialect":         func(s *sim.MinerSpec) { s.Dialect = "x" },
	} {
		s := good
		spoil(&s)
		if _, err := sim.StartFleet([]sim.MinerSpec{s}, sim.FleetOptions{}); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := sim.StartFleet(specs(1), sim.FleetOptions{StatePath: t.TempDir()}); err == nil {
		t.Error("a folder serves as state file")
	}
}

// TestFleetOf4000 is the demo's fleet: it starts in under a second and costs
// under 120 MB with its listeners idle (docs/performance.md has the benchmark's
// figures).
func TestFleetOf4000(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	f, err := sim.StartFleet(specs(4000), sim.FleetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	took := time.Since(start)
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse) / 1e6
	t.Logf("4000 miners: %v, %.1f MB", took, used)
	if used > 120 {
		t.Errorf("4000 idle miners take %.0f MB", used)
	}
	if took > 5*time.Second { // five times the aim, for a busy machine
		t.Errorf("they took %v to start", took)
	}
	for _, i := range []int{0, 3, 3999} {
		if r, err := driver(f, i).Read(context.Background()); err != nil || r.HashRate <= 0 {
			t.Errorf("miner %d: %+v, %v", i, r, err)
		}
	}
}

func TestMeterShowsTheFleet(t *testing.T) {
	f, now := stepped(t, specs(40), sim.FleetOptions{})
	node := func(name string) func() float64 {
		return func() float64 { return float64(f.NodePower(name, *now)) }
	}
	s, err := sim.StartMeters("127.0.0.1:0", []func() float64{node("feeder-0"), node("feeder-1")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, name := range []string{"feeder-0", "feeder-1"} {
		a := f.Address(0)
		host, port, _ := net.SplitHostPort(s.Address())
		a.Host = host
		a.APIPort, _ = net.LookupPort("tcp", port)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		r, err := modbus.New(a, uint8(i+1), 0).Read(ctx)
		cancel()
		if want := f.NodePower(name, *now); err != nil || r.Power != want || want < 40_000 {
			t.Errorf("%s: %v, %v; want %v", name, r.Power, err, want)
		}
	}
}
