package site

import (
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/dispatch"
)

// A throttle that takes effect in a second is not charged as a restart: by its dialect's
// figure at first, by what was learned later, and only where every firmware of the class
// is known to go on hashing.
func TestSwitchesCostWhatTheyTake(t *testing.T) {
	s := &Site{}
	s.learned.init()
	c := &class{spec: ClassSpec{Name: "m60s", WakeTime: 4 * time.Minute}, modes: []sluice.Mode{
		{Name: sluice.ModeSleep, Power: 25}, {Name: "70%", Power: 2409}, {Name: "low", Power: 2700}, {Name: "normal", Power: 3441},
	}}
	a, b := &miner{spec: MinerSpec{Driver: "a"}, class: c}, &miner{spec: MinerSpec{Driver: "b"}, class: c}
	c.miners = []*miner{a, b}
	cost := func(from, to string) dispatch.Switch {
		t.Helper()
		var found []dispatch.Switch
		for _, x := range s.switches(c) {
			if x.From == from && x.To == to {
				found = append(found, x)
			}
		}
		if len(found) != 1 {
			t.Fatalf("%d switches from %s to %s", len(found), from, to)
		}
		return found[0]
	}
	charged := func(from, to string, minutes, usd float64) {
		t.Helper()
		x := cost(from, to)
		if d, e := x.LostMinutes-minutes, x.USD-usd; d*d > 1e-6 || e*e > 1e-12 {
			t.Errorf("%s to %s costs %g minutes and %g USD, want %g and %g", from, to, x.LostMinutes, x.USD, minutes, usd)
		}
	}
	// Nothing is known: as a new profile.
	charged("normal", "70%", 1, wakeUSD/4)
	charged("sleep", "normal", 4, wakeUSD)
	lanes := map[string]device.Lane{device.LaneThrottle: {Seconds: 2}, device.LaneProfile: {Seconds: 420, Restarts: true}}
	s.learned.lanes["a"] = lanes
	charged("normal", "70%", 1, wakeUSD/4) // of the other firmware nothing is known yet
	s.learned.lanes["b"] = lanes
	charged("normal", "70%", 2./60, wakeUSD/40)
	charged("70%", "normal", 2./60, wakeUSD/40) // lifting it is no change of profile
	charged("70%", "low", 1, wakeUSD/4)         // this is
	charged("normal", "low", 1, wakeUSD/4)
	charged("sleep", "70%", 4, wakeUSD)
	// The slower of the two counts, as it was measured.
	x := &times{}
	for i := range 40 {
		x.add(12, int32(i), firmwareSamples)
	}
	s.learned.firmware["b"] = map[lane]*times{{device.LaneThrottle, false}: x}
	charged("normal", "70%", 12./60, wakeUSD/40)
	// What most never do costs no less than what is not known.
	for i := range 200 {
		x.add(never, int32(100+i), firmwareSamples)
	}
	charged("normal", "70%", 1, wakeUSD/40)
}

// What an order has taken down between two modes of mining, on firmware that goes on hashing meanwhile, no dwell keeps
// there once it is done: the plan may share it better among the machines. All else is held.
func TestRetunedIsNotHeld(t *testing.T) {
	began := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	s := &Site{o: Options{Step: 5 * time.Minute}}
	s.learned.init()
	c := &class{modes: []sluice.Mode{{Name: sluice.ModeSleep, Power: 25}, {Name: "290MHz", Power: 1188}, {Name: "default", Power: 2794}}}
	m := &miner{spec: MinerSpec{Driver: "a"}, class: c}
	c.miners = []*miner{m}
	order := &curtailment{}
	order.From = began
	for name, x := range map[string]struct {
		change         func()
		restarts, free bool
	}{
		"as the order came":     {func() {}, false, true},
		"it restarts":           {func() {}, true, false},
		"under way":             {func() { m.phase = verifying }, false, false},
		"given up":              {func() { m.want = "default" }, false, false},
		"at the edge later":     {func() { m.act.first = began.Add(6 * time.Minute) }, false, false},
		"by a price":            {func() { m.act.order = nil }, false, false},
		"up":                    {func() { m.act.from, m.act.to, m.want = "290MHz", "default", "default" }, false, false},
		"to sleep":              {func() { m.act.to, m.want = sluice.ModeSleep, sluice.ModeSleep }, false, false},
		"of an earlier process": {func() { m.act = act{} }, false, false},
	} {
		s.learned.lanes["a"] = map[string]device.Lane{device.LaneProfile: {Seconds: 60, Restarts: x.restarts}, device.LaneSleep: {Seconds: 5}}
		m.act = act{from: "default", to: "290MHz", order: order, first: began.Add(time.Second)}
		m.want, m.phase = "290MHz", settled
		if x.change(); s.retuned(m) != x.free {
			t.Errorf("%s: free is %v", name, !x.free)
		}
	}
}
