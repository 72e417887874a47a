package sim_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/cgminer"
	"sluice/device/devicetest"
	"sluice/sim"
)

func start(t *testing.T, specs []sim.MinerSpec, opt sim.FleetOptions) *sim.Fleet {
	t.Helper()
	f, err := sim.StartFleet(specs, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func within(t *testing.T, d time.Duration) context.Context {
	c, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return c
}

// TestModelsAreSourced: every operating point stands in the list of figures.
func TestModelsAreSourced(t *testing.T) {
	if len(sim.Models()) < 4 {
		t.Errorf("%d models", len(sim.Models()))
	}
	for _, m := range sim.FieldModels() {
		last := sluice.Mode{}
		for i, p := range m.Modes {
			if (i == 0) != (p.Name == sluice.ModeSleep) || (i > 1 && (p.Power <= last.Power || p.HashRate <= last.HashRate)) {
				t.Errorf("%s: %+v after %+v", m.Name, p, last)
			}
			last = p
		}
		if m.Source == "" || modeOf(sim.MinerSpec{Modes: m.Modes}, m.Default).Power == 0 {
			t.Errorf("%s: default %q, source %q", m.Name, m.Default, m.Source)
		}
	}
	rows, err := csv.NewReader(bytes.NewReader(devicetest.Shared(t, "devices/asic_models.csv")["asic_models.csv"])).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, r := range rows[1:] {
		h, _ := strconv.ParseFloat(r[3], 64)
		known[r[0]+" "+r[2]+" "+strconv.FormatFloat(h, 'f', -1, 64)] = true
	}
	for _, m := range sim.FieldModels() {
		full := modeOf(sim.MinerSpec{Modes: m.Modes}, m.Default)
		for _, p := range m.Modes[1:] {
			if percent, is := strings.CutSuffix(p.Name, "%"); is { // a share of the default
				x, _ := strconv.ParseFloat(percent, 64)
				if d, e := float64(p.Power)-x/100*float64(full.Power), float64(p.HashRate-full.HashRate*sluice.HashRate(x)/100); d*d > 0.3 || e*e > 0.01 {
					t.Errorf("%s at %s: %v, %v", m.Name, p.Name, p.Power, p.HashRate)
				}
				continue
			}
			if key := m.Name + " " + strconv.Itoa(int(p.Power)) + " " + strconv.FormatFloat(float64(p.HashRate), 'f', -1, 64); !known[key] {
				t.Errorf("no figure %q", key)
			}
		}
	}
}

// TestSiteTime: delays of the virtual machines pass in site time.
func TestSiteTime(t *testing.T) {
	all := specs(6)
	all[0].Fault = sim.SlowReply
	all[3].Seed = 6 // answers a new configuration after 21 s
	const speed = 200
	f := start(t, all, sim.FleetOptions{Clock: sluice.NewClock(t0, speed)})
	begin := time.Now()
	if _, err := driver(f, 0).Read(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 20*time.Second/speed {
		t.Errorf("a reply of 20 s took %v at speed %d", took, speed)
	}
	begin = time.Now()
	if o, err := driver(f, 3).Set(within(t, 30*time.Second), sluice.ModeSleep, nil); o != sluice.Accepted {
		t.Fatal(o, err)
	}
	if took := time.Since(begin); took < 21*time.Second/speed {
		t.Errorf("an answer of 21 s took %v at speed %d", took, speed)
	}
}

func TestFaults(t *testing.T) {
	for _, i := range []int{0, 3} { // one of each dialect
		f := start(t, specs(6), sim.FleetOptions{Instant: true})
		m := driver(f, i)
		f.SetFault(i, sim.Truncated)
		if r, err := m.Read(within(t, 5*time.Second)); err == nil || sluice.KindOf(err) != sluice.Unavailable {
			t.Errorf("truncated: %+v, %v", r, err)
		}
		f.SetFault(i, sim.Silent)
		if r, err := m.Read(within(t, 100*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) && err == nil {
			t.Errorf("silent: %+v, %v", r, err)
		}
		f.SetFault(i, sim.Ignores)
		if o, err := m.Set(within(t, 5*time.Second), sluice.ModeSleep, nil); o != sluice.Accepted || f.Mode(i) == sluice.ModeSleep {
			t.Errorf("ignores: %q, %v, mode %q", o, err, f.Mode(i))
		}
		f.SetFault(i, sim.Refuses)
		if o, err := m.Set(within(t, 5*time.Second), sluice.ModeSleep, nil); o != sluice.Refused || f.Mode(i) == sluice.ModeSleep {
			t.Errorf("refuses: %q, %v, mode %q", o, err, f.Mode(i))
		}
		f.SetFault(i, sim.NoFault)
		if o, err := m.Set(within(t, 5*time.Second), sluice.ModeSleep, nil); o != sluice.Accepted || f.Mode(i) != sluice.ModeSleep {
			t.Errorf("behaves: %q, %v, mode %q", o, err, f.Mode(i))
		}
	}
}

// TestDirectAgrees: a miner without sockets reads as the same miner with them.
func TestDirectAgrees(t *testing.T) {
	now := t0
	f := start(t, specs(24), sim.FleetOptions{Now: func() time.Time { return now }, Instant: true})
	for i := range f.Len() {
		direct, wire := f.Direct(i), driver(f, i)
		same := func() {
			t.Helper()
			a, err1 := direct.Read(within(t, 5*time.Second))
			b, err2 := wire.Read(within(t, 5*time.Second))
			if err1 != nil || err2 != nil || a.Mode != b.Mode || a.Power != b.Power || a.HasPower != b.HasPower ||
				a.PowerSource != b.PowerSource || float64(a.HashRate-b.HashRate) > 0.01 || float64(b.HashRate-a.HashRate) > 0.01 {
				t.Errorf("miner %d: directly %+v, %v\nby wire %+v, %v", i, a, err1, b, err2)
			}
		}
		same()
		p, err := direct.Prior(within(t, 5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		order(t, f, i, sluice.ModeSleep)
		same()
		if o, err := direct.Set(within(t, 5*time.Second), sluice.ModeMine, p); o != sluice.Accepted || f.Mode(i) != f.Spec(i).Default {
			t.Errorf("miner %d woke to %q: %q, %v", i, f.Mode(i), o, err)
		}
		same()
		_, a := direct.(device.Profiler)
		if _, b := wire.(device.Profiler); a != b {
			t.Errorf("miner %d is a Profiler directly: %v, by wire: %v", i, a, b)
		}
	}
}

// TestDirectFaults: the same misbehaviour without sockets.
func TestDirectFaults(t *testing.T) {
	f, _ := stepped(t, specs(1), sim.FleetOptions{Instant: true})
	m := f.Direct(0)
	for fault, want := range map[sim.Fault]sluice.Outcome{
		sim.Refuses: sluice.Refused, sim.Ignores: sluice.Accepted, sim.Truncated: sluice.Unknown, sim.Silent: sluice.Unknown,
	} {
		f.SetFault(0, fault)
		o, err := m.Set(within(t, 50*time.Millisecond), sluice.ModeSleep, nil)
		if o != want || (err == nil) != (o == sluice.Accepted) || f.Mode(0) == sluice.ModeSleep {
			t.Errorf("fault %d: %q, %v, mode %q", fault, o, err, f.Mode(0))
		}
	}
}

// TestStateSurvivesByWire: what a driver ordered is found by the next fleet.
func TestStateSurvivesByWire(t *testing.T) {
	path := filepath.Join(t.TempDir(), "miners")
	f := start(t, specs(6), sim.FleetOptions{Instant: true, StatePath: path})
	for i := range f.Len() {
		if o, err := driver(f, i).Set(within(t, 5*time.Second), sluice.ModeSleep, nil); o != sluice.Accepted {
			t.Fatal(o, err)
		}
	}
	g := start(t, specs(6), sim.FleetOptions{Instant: true, StatePath: path}) // f was not closed
	for i := range g.Len() {
		if r, err := driver(g, i).Read(within(t, 5*time.Second)); err != nil || r.Mode != sluice.ModeSleep {
			t.Errorf("miner %d: %+v, %v", i, r, err)
		}
	}
}

// TestStrangers: what is no driver gets a miner's answer, not a panic.
func TestStrangers(t *testing.T) {
	f := start(t, specs(6), sim.FleetOptions{Instant: true})
	for _, i := range []int{0, 3} {
		a := f.Address(i)
		for _, path := range []string{"/", "/cgi-bin/get_miner_conf.cgi", "/cgi-bin/set_miner_conf.cgi"} {
			req, err := http.NewRequestWithContext(within(t, 5*time.Second), http.MethodPost, "http://"+a.Web(0)+path, strings.NewReader("{"))
			if err != nil {
				t.Fatal(err)
			}
			req.Close = true
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode/100 != 4 {
				t.Errorf("POST %s: %s", path, resp.Status)
			}
		}
		for _, req := range []cgminer.Request{{Command: "nonsense"}, {Command: "curtail", Parameter: "x,sleep"}, {Command: ""}, {Command: "+"}} {
			_, err := cgminer.Client{Addr: a.API(0)}.Call(within(t, 5*time.Second), req)
			var no *device.RefusedError
			if req.Command != "+" && !errors.As(err, &no) {
				t.Errorf("%+v: %v", req, err)
			}
		}
		if f.Mode(i) == sluice.ModeSleep {
			t.Errorf("a stranger put miner %d to sleep", i)
		}
	}
}
