package luxos_test

import (
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
	"sluice/device/luxos"
	"sluice/sim"
)

// TestConformance runs the suite against each kind of virtual LuxOS machine:
// those that change profiles in their sleep and those that do not.
func TestConformance(t *testing.T) {
	for seed, name := range []string{"profile set asleep", "profile set awake"} {
		t.Run(name, func(t *testing.T) {
			devicetest.Run(t, func(t *testing.T) devicetest.Device { return open(t, uint64(seed)) })
		})
	}
}

func open(t *testing.T, seed uint64) devicetest.Device {
	t.Helper()
	m := sim.Models()[0]
	f, err := sim.StartFleet([]sim.MinerSpec{{
		Name: "m", Model: m.Name, Dialect: sim.LuxOS, Modes: m.Modes, Default: m.Default, Seed: seed,
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
	again := func() device.Miner { return luxos.New(w.Address(a)) }
	return devicetest.Device{
		Miner: again(), Again: again, Wire: w, Profile: "290MHz",
		Power:  func() sluice.Watts { return sluice.Watts(f.PowerW(0, time.Now())) },
		Refuse: func() { f.SetFault(0, sim.Refuses) },
		Ignore: func() { f.SetFault(0, sim.Ignores) },
		Behave: func() { f.SetFault(0, sim.NoFault) },
	}
}
