package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice"
	"sluice/sim"
	"sluice/site"
)

// fieldSite starts virtual machines of all firmwares over real sockets, and a site made
// of them, thirty times as fast as the wall.
func fieldSite(t *testing.T, count int, fault func(int) sim.Fault) (*sim.Fleet, *running) {
	t.Helper()
	const speed = 30
	dir := t.TempDir()
	clock := sluice.NewClock(time.Now(), speed)
	models := sim.FieldModels()
	var specs []sim.MinerSpec
	for i := range count {
		m := models[i*len(models)/count]
		specs = append(specs, sim.MinerSpec{
			Name: fmt.Sprintf("m-%05d", i+1), Model: m.Name, Dialect: m.Dialect, Node: "site", Modes: m.Modes,
			Default: m.Default, Seed: uint64(i + 1), Fault: fault(i),
		})
	}
	fleet, err := sim.StartFleet(specs, sim.FleetOptions{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fleet.Close() })
	meter, err := sim.StartMeter("127.0.0.1:0", func() float64 { return float64(fleet.NodePower("site", clock.Now())) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = meter.Close() })
	var b bytes.Buffer
	if err := writeSimConfig(&b, simFlags{}, models, specs, fleet, meter.Address()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "site.yaml")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := realParts(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	p.clock, p.tick, p.poll = clock, 250*time.Millisecond, 2*time.Second
	p.options.MaxReadingAge = max(2*time.Minute, clock.Site(10*time.Second))
	db := openDB(t, filepath.Join(dir, "data"))
	t.Cleanup(func() { db.Close() })
	r, err := begin(t.Context(), p, db, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.records.watch(prometheus.NewRegistry())
	t.Cleanup(r.records.close)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.loops(ctx) }()
	t.Cleanup(func() { cancel(); <-done; r.jobs.Close() })
	return fleet, r
}

// Of a hundred machines two never answer, two answer after 20 s, two say yes and do
// nothing, one cuts its replies short, one restarts all the time. An order is met from
// the others in its time, every liar is found and named and nobody else, and the loop
// turns on.
func TestFaultRun(t *testing.T) {
	t.Parallel()
	fleet, r := fieldSite(t, 300, faultOf)
	// All that can be read is: the faulty ones are known to be so, and left out.
	within(t, time.Minute, func() error {
		st := r.site.Status()
		if st.Plan == nil || st.Machines["mining"] < 270 || st.Machines["silent"] < 6 {
			return fmt.Errorf("plan %v, machines %v", st.Plan != nil, st.Machines)
		}
		return nil
	})
	// Half of the load: the others make up for those that fail.
	order := func(kw float64) {
		t.Helper()
		o := site.CurtailmentOrder{Limit: sluice.Watts(kw * 1000), Until: r.parts.clock.Now().Add(3 * time.Hour), By: "test"}
		if _, err := r.site.Curtail(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	before := r.site.Status().LoadKW
	given := time.Now()
	order(before / 2)
	within(t, 2*time.Minute, func() error {
		for _, c := range r.site.Status().Curtailments {
			if c.MetAt != nil {
				t.Logf("%.0f kW of %.0f met after %.1f s of site time, %v of the wall's", c.LimitKW, before, *c.MetAfterS, time.Since(given).Round(time.Millisecond))
				return nil
			}
		}
		return fmt.Errorf("%.0f kW of %.0f are drawn, and the order is not met", r.site.Status().LoadKW, before)
	})
	// So low that every machine that can be reached is told to sleep.
	order(40)
	healthy, liars := 0, map[string]bool{}
	for i := range fleet.Len() {
		switch s := fleet.Spec(i); s.Fault {
		case sim.NoFault:
			healthy++
		case sim.Ignores:
			liars[s.Name] = true
		}
	}
	within(t, 2*time.Minute, func() error {
		asleep := 0
		for i := range fleet.Len() {
			if fleet.Spec(i).Fault == sim.NoFault && fleet.Mode(i) == sluice.ModeSleep {
				asleep++
			}
		}
		if asleep != healthy {
			return fmt.Errorf("%d of %d healthy machines sleep", asleep, healthy)
		}
		return nil
	})
	turns := r.site.Status().Now
	within(t, time.Minute, func() error {
		named := map[string]bool{}
		for _, a := range r.site.Status().Alarms {
			if a.Name == "command-ignored" {
				named[a.Subject] = true
			}
		}
		for m := range liars {
			if !named[m] {
				return fmt.Errorf("%d of %d liars are named, not %s", len(named), len(liars), m)
			}
		}
		for m := range named {
			if i := slices.IndexFunc(r.parts.options.Miners, func(s site.MinerSpec) bool { return s.Name == m }); fleet.Spec(i).Fault == sim.NoFault {
				return fmt.Errorf("%s does what it is told and is named a liar", m)
			}
		}
		return nil
	})
	if now := r.site.Status().Now; !now.After(turns) {
		t.Errorf("the loop stands still at %v", now)
	}
}

// A fleet of all firmwares goes to sleep when it is told to and comes back as it was.
func TestMixedFleet(t *testing.T) {
	t.Parallel()
	fleet, r := fieldSite(t, 4*len(sim.FieldModels()), func(int) sim.Fault { return sim.NoFault })
	all := func(what string, is func(mode, def string) bool) func() error {
		return func() error {
			left := map[string]int{}
			for i := range fleet.Len() {
				if s := fleet.Spec(i); !is(fleet.Mode(i), s.Default) {
					left[s.Dialect+" in "+fleet.Mode(i)]++
				}
			}
			if len(left) > 0 {
				return fmt.Errorf("not all %s: %v", what, left)
			}
			return nil
		}
	}
	settled := func(state string) func() error {
		return func() error {
			if st := r.site.Status(); st.Plan == nil || st.Machines[state] != fleet.Len() {
				return fmt.Errorf("%v, not all %s", st.Machines, state)
			}
			return nil
		}
	}
	within(t, 2*time.Minute, settled("mining"))
	c, err := r.site.Curtail(t.Context(), site.CurtailmentOrder{Limit: 2 * sluice.Kilowatt, For: 3 * time.Hour, By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	within(t, 2*time.Minute, all("asleep", func(mode, _ string) bool { return mode == sluice.ModeSleep }))
	within(t, 2*time.Minute, settled("sleeping"))
	if _, err := r.site.CancelCurtailment(t.Context(), c.ID, "test"); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, all("as they were", func(mode, def string) bool { return mode == def }))
	within(t, time.Minute, settled("mining"))
	if as := r.site.Status().Alarms; len(as) > 0 {
		t.Errorf("alarms: %+v", as)
	}
}

// within waits for something to hold.
func within(t *testing.T, d time.Duration, check func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(d)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(err)
		}
	}
}
