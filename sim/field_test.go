package sim_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/antminer"
	"sluice/device/dialect"
	"sluice/device/luxos"
	"sluice/sim"
)

// field makes a miner of each model, and its driver as a site has it.
func field(t *testing.T, opt sim.FleetOptions) (*sim.Fleet, []device.Miner) {
	t.Helper()
	var all []sim.MinerSpec
	for i, m := range sim.FieldModels() {
		all = append(all, sim.MinerSpec{
			Name: fmt.Sprintf("m%d", i), Model: m.Name, Dialect: m.Dialect, Node: "site", Modes: m.Modes, Default: m.Default, Seed: uint64(i),
		})
	}
	f := start(t, all, opt)
	set, err := dialect.Load("")
	if err != nil {
		t.Fatal(err)
	}
	var out []device.Miner
	for i := range all {
		a := f.Address(i)
		switch all[i].Dialect {
		case sim.LuxOS:
			out = append(out, luxos.New(a))
		case sim.Antminer:
			out = append(out, antminer.New(a))
		default:
			d, err := set.New(all[i].Dialect, a)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, d)
		}
	}
	return f, out
}

func setTo(t *testing.T, m device.Miner, mode string, p device.Prior) {
	t.Helper()
	o, err := m.Set(within(t, 10*time.Second), mode, p)
	if f, ok := m.(device.Finisher); ok {
		f.Finish(within(t, 10*time.Second))
	}
	if o != sluice.Accepted || err != nil {
		t.Fatalf("Set(%q) = %q, %v", mode, o, err)
	}
}

// TestField goes through all operating points of each model with the driver that a
// site has for it.
func TestField(t *testing.T) {
	f, drivers := field(t, sim.FleetOptions{Instant: true})
	for i, m := range drivers {
		spec := f.Spec(i)
		t.Run(spec.Dialect+" "+spec.Model, func(t *testing.T) {
			check := func(mode string) {
				t.Helper()
				r, err := m.Read(within(t, 10*time.Second))
				if err != nil {
					t.Fatal(err)
				}
				want := modeOf(spec, mode)
				if r.Mode != mode || !r.HasHashRate || off(float64(r.HashRate), float64(want.HashRate)) || (r.HasPower && off(float64(r.Power), float64(want.Power))) {
					t.Errorf("reads %+v, want %+v", r, want)
				}
				if f.Mode(i) != mode {
					t.Errorf("it is in %q, and should be in %q", f.Mode(i), mode)
				}
			}
			check(spec.Default)
			prior, err := m.Prior(within(t, 10*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			for _, mode := range spec.Modes {
				setTo(t, m, mode.Name, prior)
				check(mode.Name)
			}
			setTo(t, m, sluice.ModeSleep, prior)
			check(sluice.ModeSleep)
			setTo(t, m, sluice.ModeMine, prior)
			check(spec.Default)
		})
	}
}

// off says that a figure is not that of the machine, its noise allowed for.
func off(got, want float64) bool { return got < want*0.98-1 || got > want*1.02+1 }

// TestFieldIsFound: a scan tells each of them for what it is.
func TestFieldIsFound(t *testing.T) {
	n := sim.Network{Prefix: netip.MustParsePrefix("127.73.0.0/24"), APIPort: freePort(t), WebPort: freePort(t), V3Port: freePort(t)}
	f, _ := field(t, sim.FleetOptions{Instant: true, Network: &n})
	set, err := dialect.Load("")
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.Len() {
		spec, a := f.Spec(i), f.Address(i)
		d, r, err := set.Identify(within(t, 20*time.Second), a)
		if err != nil {
			t.Errorf("%s: %v", spec.Dialect, err)
			continue
		}
		full := modeOf(spec, spec.Default)
		if d.Name() != spec.Dialect || r.Vendor+" "+r.Model != spec.Model && r.Model != spec.Model {
			t.Errorf("%s %s is found as %s %s %s", spec.Dialect, spec.Model, d.Name(), r.Vendor, r.Model)
		}
		if r.HashrateTHs == nil || off(*r.HashrateTHs, float64(full.HashRate)) || (r.PowerW != nil && off(*r.PowerW, float64(full.Power))) {
			t.Errorf("%s: hashrate %v, power %v", spec.Dialect, r.HashrateTHs, r.PowerW)
		}
		if !r.Capabilities.Sleep || r.Mode != spec.Default || r.ChipTempC == nil || (r.UptimeS == nil && spec.Dialect != sim.Antminer) {
			t.Errorf("%s: %+v", spec.Dialect, r)
		}
	}
}

// TestFieldFaults: each fault is what it says in every dialect.
func TestFieldFaults(t *testing.T) {
	f, drivers := field(t, sim.FleetOptions{Instant: true})
	for i, m := range drivers {
		t.Run(f.Spec(i).Dialect, func(t *testing.T) {
			f.SetFault(i, sim.Truncated)
			if r, err := m.Read(within(t, 5*time.Second)); err == nil || sluice.KindOf(err) != sluice.Unavailable {
				t.Errorf("truncated: %+v, %v", r, err)
			}
			f.SetFault(i, sim.Silent)
			if r, err := m.Read(within(t, 100*time.Millisecond)); err == nil {
				t.Errorf("silent: %+v", r)
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
			setTo(t, m, sluice.ModeSleep, nil)
			if r, err := m.Read(within(t, 5*time.Second)); err != nil || r.Mode != sluice.ModeSleep {
				t.Errorf("behaves: %+v, %v", r, err)
			}
		})
	}
}
