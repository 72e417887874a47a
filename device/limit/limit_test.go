package limit_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
	"sluice/device/limit"
	"sluice/device/redfish"
)

// rig is a Keeper of one host behind a controller at a real socket, with a clock of
// its own.
type rig struct {
	t   *testing.T
	dir string
	bmc *devicetest.BMC
	log strings.Builder
	k   *limit.Keeper

	mu      sync.Mutex
	now     time.Time
	want    sluice.Watts
	ignored []string
}

func newRig(t *testing.T, load, own float64) *rig {
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "limits"), bmc: devicetest.StartBMC(t, load, own), now: time.Unix(1e9, 0)}
	r.restart()
	return r
}

// restart is a new process over the same data.
func (r *rig) restart() {
	r.t.Helper()
	h, err := redfish.New(redfish.Options{Address: r.bmc.Address, Plain: true, Session: true})
	if err != nil {
		r.t.Fatal(err)
	}
	r.k = limit.Open(limit.Options{
		Dir: r.dir, Hosts: map[string]device.PowerLimiter{"gpu-1": h}, Log: slog.New(slog.NewTextHandler(&r.log, nil)),
		Now: func() time.Time { r.mu.Lock(); defer r.mu.Unlock(); return r.now },
		Power: func(string) (sluice.Watts, bool) {
			x, err := h.Read(r.t.Context())
			return x.Power, err == nil
		},
	})
}

func (r *rig) limit(w sluice.Watts) (sluice.Watts, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Second)
	defer cancel()
	return r.k.Limit(ctx, "gpu-1", w)
}

// keep is a turn of watching, d later.
func (r *rig) keep(d time.Duration) {
	r.mu.Lock()
	r.now = r.now.Add(d)
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Second)
	defer cancel()
	r.k.Keep(ctx, func(string) sluice.Watts { return r.want }, func(_, why string) { r.ignored = append(r.ignored, why) })
}

func (r *rig) has(want float64, held bool) {
	r.t.Helper()
	if got := r.bmc.Limit(); got != want || r.k.Held("gpu-1") != held {
		r.t.Fatalf("the controller has %v, held %v; want %v, %v\n%s", got, r.k.Held("gpu-1"), want, held, r.log.String())
	}
}

// A limit is set, shown, changed and taken back, and what was there before is there
// again: none, or the operator's own.
func TestLimitAndLift(t *testing.T) {
	for _, own := range []float64{0, 5000} {
		r := newRig(t, 6000, own)
		r.keep(time.Minute)
		if len(r.bmc.Sets()) != 0 {
			t.Error("a host of which nothing is wanted is touched")
		}
		for _, w := range []sluice.Watts{4000, 3000, 3500} {
			if got, err := r.limit(w); err != nil || got != w {
				t.Fatalf("%v, %v", got, err)
			}
			r.has(float64(w), true)
		}
		r.want = 3500
		r.keep(time.Minute)
		if n := len(r.bmc.Sets()); n != 3 {
			t.Errorf("%d times set", n)
		}
		if err := r.k.Lift(t.Context(), "gpu-1"); err != nil {
			t.Fatal(err)
		}
		r.has(own, false)
		if f, _ := filepath.Glob(filepath.Join(r.dir, "*")); len(f) != 0 {
			t.Errorf("%v is left", f)
		}
	}
}

// The operator's own limit is never raised: one that is lower does it and stays theirs.
func TestNeverAboveTheOperators(t *testing.T) {
	r := newRig(t, 6000, 3000)
	if got, err := r.limit(4000); err != nil || got != 3000 {
		t.Fatalf("%v, %v", got, err)
	}
	r.want = 3000
	r.keep(time.Minute)
	r.has(3000, false)
	if len(r.bmc.Sets()) != 0 {
		t.Errorf("it was set: %v", r.bmc.Sets())
	}
	// A lower one that comes meanwhile is kept, and so is it afterwards.
	r = newRig(t, 6000, 5000)
	if _, err := r.limit(4000); err != nil {
		t.Fatal(err)
	}
	r.want = 4000
	r.bmc.SetLimit(2500)
	r.keep(time.Minute)
	r.has(2500, false)
	// A higher one becomes what is put back.
	if _, err := r.limit(2000); err != nil {
		t.Fatal(err)
	}
	r.bmc.SetLimit(4500)
	r.want = 2000
	r.keep(time.Minute)
	r.has(2000, true)
	r.want = 0
	r.keep(time.Minute)
	r.has(4500, false)
	// One that is set while ours is not wanted any more is left as it is.
	if _, err := r.limit(2000); err != nil {
		t.Fatal(err)
	}
	r.bmc.SetLimit(2200)
	r.keep(time.Minute)
	r.has(2200, false)
}

// A crash between any two steps loses no prior limit: also one while the controller
// has an earlier limit of ours, or one that nobody knows whether it took.
func TestRestoredAfterACrash(t *testing.T) {
	for name, crash := range map[string]func(r *rig){
		"in force":  func(r *rig) {},
		"unknown":   func(r *rig) { r.bmc.Do(func(b *devicetest.BMC) { b.Silent = true }); _, _ = r.limit(3000) },
		"ignored":   func(r *rig) { r.bmc.Do(func(b *devicetest.BMC) { b.Ignores = true }); _, _ = r.limit(3000) },
		"refused":   func(r *rig) { r.bmc.Do(func(b *devicetest.BMC) { b.Refuses = true }); _, _ = r.limit(3000) },
		"lost":      func(r *rig) { r.bmc.Do(func(b *devicetest.BMC) { b.Loses = true }); _, _ = r.limit(3000) },
		"forgotten": func(r *rig) { r.bmc.Reboot() },
	} {
		r := newRig(t, 6000, 5000)
		if _, err := r.limit(4000); err != nil {
			t.Fatal(err)
		}
		crash(r)
		r.restart()
		r.bmc.Do(func(b *devicetest.BMC) { b.Silent, b.Ignores, b.Refuses, b.Loses = false, false, false, false })
		r.keep(time.Second)
		t.Log(name)
		r.has(5000, false)
		if why := r.k.Fault("gpu-1"); why != "" {
			t.Errorf("%s: %s", name, why)
		}
	}
}

// A controller that is silent, refuses or says yes and does nothing costs its own time,
// and no limit is claimed of it.
func TestFaults(t *testing.T) {
	for name, f := range map[string]struct {
		set  func(b *devicetest.BMC)
		kind sluice.Kind
	}{
		"silent":  {func(b *devicetest.BMC) { b.Silent = true }, sluice.Unavailable},
		"ignores": {func(b *devicetest.BMC) { b.Ignores = true }, sluice.Conflict},
		"refuses": {func(b *devicetest.BMC) { b.Refuses = true }, sluice.Conflict},
	} {
		r := newRig(t, 6000, 0)
		r.bmc.Do(f.set)
		began := time.Now()
		got, err := r.limit(4000)
		if err == nil || sluice.KindOf(err) != f.kind || got != 0 || time.Since(began) > 4*time.Second {
			t.Errorf("%s: %v, %v after %v", name, got, err, time.Since(began))
		}

	}
}

// A controller that reboots and forgets is told again.
func TestForgotten(t *testing.T) {
	r := newRig(t, 6000, 5000)
	if _, err := r.limit(4000); err != nil {
		t.Fatal(err)
	}
	r.want = 4000
	r.bmc.Reboot()
	r.keep(time.Second)
	r.has(0, true) // it is not asked at each turn
	r.keep(time.Minute)
	r.has(4000, true)
	if !strings.Contains(r.log.String(), "forgotten") {
		t.Errorf("nobody is told: %s", r.log.String())
	}
	r.want = 0
	r.keep(time.Second)
	r.has(5000, false)
}

// A host that draws more than its limit is named, once, and left alone for a while;
// one that takes some seconds to come down is not.
func TestCheats(t *testing.T) {
	r := newRig(t, 6000, 0)
	r.bmc.Do(func(b *devicetest.BMC) { b.Cheats = true })
	if _, err := r.limit(4000); err != nil {
		t.Fatal(err)
	}
	r.want = 4000
	for range 5 {
		r.keep(5 * time.Second)
	}
	r.bmc.Do(func(b *devicetest.BMC) { b.Cheats = false })
	for range 20 {
		r.keep(5 * time.Second)
	}
	if len(r.ignored) != 0 {
		t.Fatalf("a slow one is named: %v", r.ignored)
	}
	r.bmc.Do(func(b *devicetest.BMC) { b.Cheats = true })
	for range 8 {
		r.keep(5 * time.Second)
	}
	if len(r.ignored) != 1 || !strings.Contains(r.ignored[0], "6000 W") || r.k.Can("gpu-1") || r.k.Fault("gpu-1") == "" {
		t.Fatalf("%q", r.ignored)
	}
	if _, err := r.limit(4000); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("%v", err)
	}
	r.want = 0
	r.keep(time.Second)
	r.has(0, false)
	r.keep(31 * time.Minute)
	if !r.k.Can("gpu-1") {
		t.Errorf("never again: %s", r.k.Fault("gpu-1"))
	}
}

// What cannot be put back is said, and is tried again until it is.
func TestStuck(t *testing.T) {
	r := newRig(t, 6000, 0)
	if _, err := r.limit(4000); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(b *devicetest.BMC){
		"silent":  func(b *devicetest.BMC) { b.Silent = true },
		"ignores": func(b *devicetest.BMC) { b.Ignores = true },
		"refuses": func(b *devicetest.BMC) { b.Refuses = true },
	} {
		r.bmc.Do(f)
		r.keep(time.Minute)
		r.bmc.Do(func(b *devicetest.BMC) { b.Silent, b.Ignores, b.Refuses = false, false, false })
		if why := r.k.Fault("gpu-1"); !strings.Contains(why, "put back") || r.k.Can("gpu-1") || !r.k.Held("gpu-1") {
			t.Errorf("%s: %q", name, why)
		}
	}
	r.keep(time.Second)
	r.has(0, false)
	if !r.k.Can("gpu-1") {
		t.Error(r.k.Fault("gpu-1"))
	}
}

// Notes that cannot be read, or whose host is gone, are told and stop nobody.
func TestStrangeNotes(t *testing.T) {
	r := newRig(t, 6000, 0)
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a.json": "{", "gone.json": `{"host":"gone","prior_w":700,"prior_set":true,"set_w":500}`} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.restart()
	if l := r.log.String(); !strings.Contains(l, "a.json") || !strings.Contains(l, "host=gone") || !strings.Contains(l, "700 W") {
		t.Error(l)
	}
	if got, err := r.limit(4000); err != nil || got != 4000 {
		t.Fatalf("%v, %v", got, err)
	}
	names, _ := filepath.Glob(filepath.Join(r.dir, "*.json"))
	if !slices.Contains(names, filepath.Join(r.dir, "gone.json")) {
		t.Errorf("the note of a host that is gone was removed: %v", names)
	}
}
