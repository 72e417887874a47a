package dialect_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/device"
	"sluice/device/dialect"
)

// braiinsMachine is one that takes 60 s up and 45 s down, as its owner has set it.
func braiinsMachine(t *testing.T) (*machine, *dialect.Driver) {
	t.Helper()
	m, again := braiinsAgain(t)
	return m, again()
}

// braiinsAgain makes further drivers of it, as further processes have them.
func braiinsAgain(t *testing.T) (*machine, func() *dialect.Driver) {
	t.Helper()
	m := newMachine()
	m.ramp = []int{60, 45}
	i := slices.IndexFunc(firmwares, func(f firmware) bool { return f.name == "braiins" })
	a, _ := firmwares[i].serve(t, m)
	return m, func() *dialect.Driver {
		d, err := load(t).New("braiins", a)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

func (m *machine) puts() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, c := range m.commands {
		if !strings.HasSuffix(c, "login") {
			out = append(out, strings.TrimPrefix(c, "PUT /api/v1/"))
		}
	}
	m.commands = nil
	return strings.Join(out, " ")
}

func (m *machine) ramps(up, down int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Equal(m.ramp, []int{up, down}) {
		return fmt.Errorf("it goes up in and down in %v s, not %d and %d", m.ramp, up, down)
	}
	return nil
}

func hurried(t *testing.T, d *dialect.Driver, p device.Prior) {
	t.Helper()
	if o, err := d.Hurry(t.Context(), p); o != sluice.Accepted || err != nil {
		t.Fatalf("%v, %v", o, err)
	}
}

// A pause that hurries goes down in the shortest time that the miner takes, and what
// the owner has set is put back with the wake, also by another process, and with a
// power target instead of the wake. It is not changed twice, nor for any other sleep.
func TestQuickRamping(t *testing.T) {
	for _, back := range []string{sluice.ModeMine, "2800W"} {
		m, again := braiinsAgain(t)
		d := again()
		rep, err := d.Report(t.Context())
		if err != nil || rep.Capabilities.Lanes[device.LaneHurry].Seconds == 0 {
			t.Fatalf("%+v, %v; %v", rep.Capabilities, err, m.commands)
		}
		p := prior(t, d)
		must(t, d, sluice.ModeSleep, p)
		if err := m.ramps(60, 45); err != nil || m.paused != 45 {
			t.Errorf("a sleep that need not hurry: %v, %d", err, m.paused)
		}
		must(t, d, sluice.ModeMine, p)
		m.puts()
		hurried(t, d, p)
		if got := m.puts(); got != "performance/quick-ramping actions/pause" || m.paused != 1 {
			t.Errorf("%s, paused in %d s", got, m.paused)
		}
		hurried(t, d, p)
		if got := m.puts(); strings.Contains(got, "ramping") {
			t.Errorf("again: %s", got)
		}
		d = again() // a new process, whose prior comes from the store
		must(t, d, back, p)
		if err := m.ramps(60, 45); err != nil {
			t.Errorf("%s: %v", back, err)
		}
		if got := m.puts(); !strings.HasPrefix(got, "performance/quick-ramping ") || !strings.HasSuffix(got, "actions/resume") {
			t.Errorf("%s: %s", back, got)
		}
		must(t, d, back, p)
		if got := m.puts(); got != "" {
			t.Errorf("%s again: %s", back, got)
		}
	}
}

// What the owner sets meanwhile stays; where the pause is refused the setting is back at
// once; and where the prior does not know it, or the miner does not tell it, or is at
// its shortest anyway, nothing is changed.
func TestQuickRampingOfOthers(t *testing.T) {
	m, d := braiinsMachine(t)
	p := prior(t, d)
	hurried(t, d, p)
	m.ramp = []int{30, 20}
	must(t, d, sluice.ModeMine, p)
	if err := m.ramps(30, 20); err != nil {
		t.Error(err)
	}
	m, d = braiinsMachine(t)
	hurried(t, d, device.Prior(`{"power_w":3400}`))
	if err := m.ramps(60, 45); err != nil || !m.asleep {
		t.Error(err)
	}
	for _, ramp := range [][]int{nil, {60, 1}} {
		m, d = braiinsMachine(t)
		m.ramp = ramp
		p = prior(t, d)
		if strings.Contains(string(p), "hurry") {
			t.Errorf("prior %s", p)
		}
		hurried(t, d, p)
		must(t, d, sluice.ModeMine, p)
		if got := m.puts(); got != "actions/pause actions/resume" {
			t.Errorf("%v: %s", ramp, got)
		}
	}
	// The pause is refused: it mines on as it was set.
	m, d = braiinsMachine(t)
	p = prior(t, d)
	m.refusePause = true
	if o, err := d.Hurry(t.Context(), p); o != sluice.Refused || err == nil {
		t.Errorf("%v, %v", o, err)
	}
	if err := m.ramps(60, 45); err != nil || m.asleep {
		t.Error(err)
	}
	// The setting is refused: it sleeps all the same.
	m, d = braiinsMachine(t)
	p = prior(t, d)
	m.refuseRamp = true
	hurried(t, d, p)
	if !m.asleep || m.paused != 45 {
		t.Errorf("asleep %t, in %d s", m.asleep, m.paused)
	}
}

// Firmware without the setting is put to sleep as ever.
func TestHurryWithoutRamping(t *testing.T) {
	for _, f := range firmwares {
		m := newMachine()
		a, _ := f.serve(t, m)
		d, err := load(t).New(f.name, a)
		if err != nil {
			t.Fatal(err)
		}
		hurried(t, d, prior(t, d))
		if !m.asleep {
			t.Errorf("%s is awake", f.name)
		}
	}
}
