package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/config"
	"sluice/device"
	"sluice/sim"
)

// What measures a whole host counts instead of its nameplate, while it answers.
func TestHostMeter(t *testing.T) {
	var watts atomic.Int64
	watts.Store(1500)
	server, err := sim.StartMeter("127.0.0.1:0", func() float64 { return float64(watts.Load()) })
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	text := fmt.Sprintf(`site: {name: x, mode: control}
nodes:
  - {name: grid, limit: 1MW}
devices:
  - {name: plug, driver: modbus, address: "%s", map: eastron-sdm630}
hosts:
  - {name: here, node: grid, driver: local, slots: 2, idle_power: 60W, slot_power: 12W, meter: plug}
feeds:
  - {name: fixed, type: constant, values: {real_time_usd_per_mwh: 30}}
`, server.Address())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := realParts(c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if p.hostPower == nil || len(p.alongside) == 0 {
		t.Fatal("the host has no meter")
	}
	f, err := newFacility(c)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	m := &hostMeters{power: map[string]sluice.Watts{}, at: map[string]time.Time{}, says: map[string]string{}}
	meter, err := f.meter(config.Meter{Node: "here", Device: "plug"})
	if err != nil {
		t.Fatal(err)
	}
	m.meters = map[string]device.Meter{"here": meter}
	if _, ok := m.Power("here"); ok {
		t.Error("a power before the first reading")
	}
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	m.read(context.Background(), time.Now, logger)
	if w, ok := m.Power("here"); !ok || math.Abs(float64(w)-1500) > 1 {
		t.Fatalf("%v, %v; %s", w, ok, log.String())
	}
	s := compute.New(compute.Config{Hosts: p.hosts, HostPower: m.Power})
	if u := s.HostUse()["here"]; !u.Measured || math.Abs(float64(u.PowerW)-1500) > 1 || u.JobsW != 0 {
		t.Errorf("%+v", u)
	}
	_ = server.Close()
	m.read(context.Background(), time.Now, logger)
	if n := strings.Count(log.String(), "meter of a host"); n != 1 {
		t.Errorf("told %d times: %s", n, log.String())
	}
	m.at["here"] = time.Now().Add(-time.Minute)
	if _, ok := m.Power("here"); ok {
		t.Error("an old reading counts")
	}
	if u := s.HostUse()["here"]; u.Measured || u.PowerW != 60 {
		t.Errorf("%+v", u)
	}
	for _, bad := range []string{"meter: nothing", "meter: plug/3"} {
		if _, err := config.Parse([]byte(strings.Replace(text, "meter: plug", bad, 1)), "x.yaml"); err == nil || !strings.Contains(err.Error(), "hosts[0].meter") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
