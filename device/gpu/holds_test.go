package gpu_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/device/gpu"
	"sluice/device/gpu/gputest"
)

func holds(t *testing.T, d *gputest.Driver, dir string) *gpu.Holds {
	t.Helper()
	h, err := gpu.OpenHolds(d.Open(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func two(energy int64, power int64) []gputest.Fake {
	a, b := gputest.H100(0), gputest.H100(1)
	a.Energy, b.Energy, a.Power, b.Power = energy, energy, power, power
	return []gputest.Fake{a, b}
}

func TestHold(t *testing.T) {
	d := gputest.New(t, two(3_600_000, 500_000)...)
	h := holds(t, d, t.TempDir())
	env, err := h.Env(t.Context(), []int{1, 0})
	if err != nil || env[0] != "CUDA_VISIBLE_DEVICES="+gputest.H100(1).UUID+","+gputest.H100(0).UUID || !strings.HasPrefix(env[1], "NVIDIA_VISIBLE_DEVICES=GPU-") {
		t.Fatalf("%q, %v", env, err)
	}
	if env, err := h.Env(t.Context(), nil); err != nil || env[0] != "CUDA_VISIBLE_DEVICES=" || env[1] != "NVIDIA_VISIBLE_DEVICES=void" {
		t.Errorf("without GPUs: %q, %v", env, err)
	}
	if err := h.Begin(t.Context(), "/runs/a", []int{0, 1}); err != nil {
		t.Fatal(err)
	}
	if err := h.Begin(t.Context(), "/runs/a", []int{0, 1}); err != nil {
		t.Errorf("twice: %v", err)
	}
	if err := h.Begin(t.Context(), "/runs/b", []int{1}); err == nil || !strings.Contains(err.Error(), "held by a") {
		t.Errorf("two runs have one GPU: %v", err)
	}
	busy := two(3_600_000+2*3_600_000, 500_000) // 2 Wh each
	busy[0].Util, busy[1].Util = 100, 50
	d.Set(busy)
	u, err := h.Use(t.Context(), "/runs/a")
	if err != nil || u.Power != 1000 || math.Abs(u.EnergyWh-4) > 1e-9 || u.Share != 0 || u.Pace != 1980*0.75 || !u.Measured {
		t.Errorf("%+v, %v", u, err)
	}
	d.Set(two(3_600_000+3*3_600_000, 70_000))
	u, err = h.End(t.Context(), "/runs/a", time.Now().Add(time.Second))
	// No more than full power over the moments between, whatever the counter says.
	if err != nil || u.EnergyWh < 4 || u.EnergyWh > 4+2*700*3./3600 {
		t.Errorf("%+v, %v", u, err)
	}
	h.Forget("/runs/a")
	if err := h.Begin(t.Context(), "/runs/b", []int{1}); err != nil {
		t.Errorf("a free GPU: %v", err)
	}
}

func TestForeignProcessAndFault(t *testing.T) {
	d := gputest.New(t, two(1, 1)...)
	lost := two(1, 1)
	lost[0].Mode = "lost"
	d.Set(lost, gputest.Process{GPU: 1, PID: 1 << 22, MiB: 7})
	h := holds(t, d, t.TempDir())
	if err := h.Begin(t.Context(), "/runs/a", []int{0}); err == nil || !strings.Contains(err.Error(), "fallen off the bus") {
		t.Errorf("a lost GPU: %v", err)
	}
	if err := h.Begin(t.Context(), "/runs/a", []int{1}); err == nil || !strings.Contains(err.Error(), "process 4194304") {
		t.Errorf("a GPU on which somebody computes: %v", err)
	}
	if err := h.Begin(t.Context(), "/runs/a", []int{5}); err == nil || !strings.Contains(err.Error(), "no GPU 5") {
		t.Errorf("a GPU that is not there: %v", err)
	}
}

func TestCap(t *testing.T) {
	d := gputest.New(t, two(1, 650_000)...)
	h := holds(t, d, t.TempDir())
	if err := h.Begin(t.Context(), "/runs/a", []int{0, 1}); err != nil {
		t.Fatal(err)
	}
	got, err := h.Cap(t.Context(), "/runs/a", 0.6)
	if err != nil || got != 0.6 || d.Limit(0) != 420_000 || d.Limit(1) != 420_000 {
		t.Fatalf("%g, %v: %d %d", got, err, d.Limit(0), d.Limit(1))
	}
	if u, err := h.Use(t.Context(), "/runs/a"); err != nil || u.Share != 0.6 || u.Power != 840 {
		t.Errorf("%+v, %v", u, err)
	}
	// The hardware's own floor.
	if got, err := h.Cap(t.Context(), "/runs/a", 0.1); err != nil || math.Abs(got-2./7) > 1e-9 || d.Limit(0) != 200_000 {
		t.Errorf("below the floor: %g, %v", got, err)
	}
	for _, share := range []float64{0, -1, 1.1, math.NaN()} {
		if _, err := h.Cap(t.Context(), "/runs/a", share); err == nil {
			t.Errorf("a share of %g", share)
		}
	}
	if got, err := h.Cap(t.Context(), "/runs/a", 1); err != nil || got != 1 || d.Limit(0) != 700_000 || d.Limit(1) != 700_000 {
		t.Errorf("lifted: %g, %v", got, err)
	}
	if _, err := h.Cap(t.Context(), "/runs/b", 0.5); err == nil {
		t.Error("a run without GPUs was capped")
	}
}

// Where one GPU refuses, none stays limited.
func TestCapRefused(t *testing.T) {
	gpus := two(1, 650_000)
	d := gputest.New(t, gpus...)
	h := holds(t, d, t.TempDir())
	if err := h.Begin(t.Context(), "/runs/a", []int{0, 1}); err != nil {
		t.Fatal(err)
	}
	d.Refuse(gpus)
	if got, err := h.Cap(t.Context(), "/runs/a", 0.6); err == nil || got != 1 || !strings.Contains(err.Error(), "as root") {
		t.Errorf("%g, %v", got, err)
	}
	gpus[1].Mode = "blind"
	d.Set(gpus)
	if got, err := h.Cap(t.Context(), "/runs/a", 0.6); err == nil || got != 1 || d.Limit(0) == 420_000 {
		t.Errorf("%g, %v; limit of the first %d", got, err, d.Limit(0))
	}
	if u, err := h.Use(t.Context(), "/runs/a"); err != nil || u.Share != 0 {
		t.Errorf("%+v, %v", u, err)
	}
}

// A crash between any two steps loses no prior limit: the next process restores what
// belongs to runs that are over, and keeps what belongs to those that go on.
func TestLimitsAfterCrash(t *testing.T) {
	gpus := two(1, 650_000)
	d := gputest.New(t, gpus...)
	dir := t.TempDir()
	h := holds(t, d, dir)
	for i, run := range []string{"/runs/over", "/runs/on"} {
		if err := h.Begin(t.Context(), run, []int{i}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Cap(t.Context(), run, 0.5); err != nil {
			t.Fatal(err)
		}
	}
	// Nothing is closed or ended: that was the crash.
	again := holds(t, d, dir)
	if runs := again.Runs(); !slices.Equal(runs, []string{"/runs/on", "/runs/over"}) {
		t.Fatalf("runs %v", runs)
	}
	if _, err := again.End(t.Context(), "/runs/over", time.Now()); err != nil {
		t.Fatal(err)
	}
	if d.Limit(0) != 700_000 || d.Limit(1) != 350_000 {
		t.Errorf("limits %d %d", d.Limit(0), d.Limit(1))
	}
	if u, err := again.Use(t.Context(), "/runs/on"); err != nil || u.Share != 0.5 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := again.End(t.Context(), "/runs/on", time.Now()); err != nil || d.Limit(1) != 700_000 {
		t.Errorf("%v, limit %d", err, d.Limit(1))
	}
}

// A limit that could not be restored is not forgotten, and holds up the next run
// until it is.
func TestRestoreFails(t *testing.T) {
	gpus := two(1, 650_000)
	d := gputest.New(t, gpus...)
	dir := t.TempDir()
	h := holds(t, d, dir)
	if err := h.Begin(t.Context(), "/runs/a", []int{0}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Cap(t.Context(), "/runs/a", 0.5); err != nil {
		t.Fatal(err)
	}
	d.Refuse(gpus)
	if _, err := h.End(t.Context(), "/runs/a", time.Now()); err == nil {
		t.Error("a failed restore is silent")
	}
	h.Forget("/runs/a")
	if err := h.Begin(t.Context(), "/runs/b", []int{0}); err == nil {
		t.Error("the next run begins on a limited GPU")
	}
	d.Set(gpus)
	again := holds(t, d, dir)
	if err := again.Begin(t.Context(), "/runs/b", []int{0}); err != nil || d.Limit(0) != 700_000 {
		t.Errorf("%v, limit %d", err, d.Limit(0))
	}
}

// A run that ended while nobody was there does not pay for what its GPU drew since.
func TestEndLater(t *testing.T) {
	dir := t.TempDir()
	f := &counter{}
	h, err := gpu.OpenHolds(f, dir)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	f.now, f.mj, f.mw = start, 1, 500_000
	if err := h.Begin(t.Context(), "/runs/a", []int{0}); err != nil {
		t.Fatal(err)
	}
	// An hour at 500 W, then ten of idling at 70 W before anybody looks.
	f.mj += 500*3_600_000 + 10*70*3_600_000
	f.now, f.mw = start.Add(11*time.Hour), 70_000
	u, err := h.End(t.Context(), "/runs/a", start.Add(time.Hour))
	if err != nil || math.Abs(u.EnergyWh-500) > 1 {
		t.Errorf("%+v, %v", u, err)
	}
}

// counter is a driver with one GPU whose clock is the test's.
type counter struct {
	gpu.Driver
	now time.Time
	mj  uint64
	mw  gpu.Milliwatts
}

func (c *counter) Inventory(context.Context) ([]gpu.GPU, error) {
	return []gpu.GPU{{UUID: "GPU-1", DefaultLimit: 700_000, MinLimit: 200_000, Limit: 700_000}}, nil
}

func (c *counter) Read(context.Context, string) (gpu.Reading, error) {
	return gpu.Reading{At: c.now, HasPower: true, Power: c.mw, HasEnergy: true, EnergyMJ: c.mj}, nil
}
func (c *counter) Processes(context.Context, string) ([]gpu.Process, error) { return nil, nil }
