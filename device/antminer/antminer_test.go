package antminer_test

import (
	"encoding/json"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/antminer"
	"sluice/device/devicetest"
	"sluice/sim"
)

// TestConformance runs the suite against each kind of virtual stock firmware.
func TestConformance(t *testing.T) {
	for seed, name := range []string{"modern", "older", "modern again", "older, silent in sleep"} {
		t.Run(name, func(t *testing.T) {
			devicetest.Run(t, func(t *testing.T) devicetest.Device {
				f, d := open(t, uint64(seed))
				d.Pools = func() string { return pools(t, f) }
				return d
			})
		})
	}
}

func pools(t *testing.T, f *sim.Fleet) string {
	var c struct{ Pools []map[string]string }
	if err := json.Unmarshal(f.Configuration(0), &c); err != nil {
		t.Errorf("the machine's configuration: %v", err)
	}
	b, _ := json.Marshal(c.Pools)
	return string(b)
}

func open(t *testing.T, seed uint64) (*sim.Fleet, devicetest.Device) {
	t.Helper()
	m := sim.Models()[3]
	f, err := sim.StartFleet([]sim.MinerSpec{{
		Name: "m", Model: m.Name, Dialect: sim.Antminer, Modes: m.Modes, Default: m.Default, Seed: seed,
	}}, sim.FleetOptions{Instant: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	a := f.Address(0)
	w := devicetest.NewWire(t, a.API(0))
	again := func() device.Miner { return antminer.New(w.Address(a)) }
	return f, devicetest.Device{
		Miner: again(), Again: again, Wire: w,
		Power:       func() sluice.Watts { return sluice.Watts(f.PowerW(0, time.Now())) },
		Refuse:      func() { f.SetFault(0, sim.Refuses) },
		Ignore:      func() { f.SetFault(0, sim.Ignores) },
		ForgetPools: func() { f.SetFault(0, sim.ForgetsPools) },
		Behave:      func() { f.SetFault(0, sim.NoFault) },
	}
}
