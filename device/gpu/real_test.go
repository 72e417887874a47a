package gpu_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"sluice/device/gpu"
)

// The tests of this file are for a machine that has GPUs: scripts/test-gpu runs them.
// They change nothing there, unless SLUICE_TEST_GPU_SET=1 lets them change a power
// limit, which they put back.
func realGPUs(t *testing.T) (*gpu.NVML, []gpu.GPU) {
	t.Helper()
	if os.Getenv("SLUICE_TEST_GPU") == "" {
		t.Skip("SLUICE_TEST_GPU is not set: this is for a machine with GPUs")
	}
	n := gpu.Open(gpu.Options{})
	t.Cleanup(n.Close)
	begin := time.Now()
	gpus, err := n.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("driver %+v, %d GPUs, found in %s", n.Driver(), len(gpus), time.Since(begin).Round(time.Millisecond))
	if len(gpus) == 0 {
		t.Fatal("the driver shows no GPU")
	}
	return n, gpus
}

func TestRealInventory(t *testing.T) {
	_, gpus := realGPUs(t)
	for _, g := range gpus {
		t.Logf("%+v", g)
		if g.Fault != nil {
			t.Errorf("GPU %d: %+v", g.Index, g.Fault)
		}
		if g.UUID == "" || g.Model == "" || g.Model == "GPU" || g.MemoryMiB <= 0 || g.PCI == "" {
			t.Errorf("it tells too little: %+v", g)
		}
		if g.MaxLimit > 0 && !(g.MinLimit <= g.Limit && g.Limit <= g.MaxLimit && g.EnforcedLimit > 0) {
			t.Errorf("limits that make no sense: %+v", g)
		}
	}
}

// load keeps a GPU busy for a while where PyTorch is there, and says whether it is.
func load(ctx context.Context, t *testing.T) (busy bool) {
	const script = `import time, torch
x = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
torch.cuda.synchronize(); print("up", flush=True)
end = time.time() + 12
while time.time() < end:
    for _ in range(20): y = x @ x
    torch.cuda.synchronize()`
	cmd := exec.CommandContext(ctx, "python3", "-c", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Logf("no load: %v", err)
		return false
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	up := make(chan bool, 1)
	go func() {
		b := make([]byte, 2)
		n, _ := out.Read(b)
		up <- n == 2 && string(b) == "up"
	}()
	select {
	case ok := <-up:
		if !ok {
			t.Log("no load: python3 has no torch that finds a GPU")
		}
		return ok
	case <-time.After(20 * time.Second):
		t.Log("no load: PyTorch is not up after 20 s")
		return false
	}
}

// Readings make sense, and the energy counter agrees with the power over time.
func TestRealReadings(t *testing.T) {
	n, gpus := realGPUs(t)
	g := gpus[0]
	idle, err := n.Read(t.Context(), g.UUID)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("before: %+v", idle)
	if !idle.HasPower || idle.Power <= 0 {
		t.Fatal("no power reading")
	}
	busy := load(t.Context(), t)
	var took []time.Duration
	var joules float64
	first, err := n.Read(t.Context(), g.UUID)
	if err != nil {
		t.Fatal(err)
	}
	last := first
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 80 {
		<-tick.C
		begin := time.Now()
		r, err := n.Read(t.Context(), g.UUID)
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begin))
		joules += float64(r.Power+last.Power) / 2000 * r.At.Sub(last.At).Seconds()
		last = r
	}
	slices.Sort(took)
	t.Logf("after %s: %+v", last.At.Sub(first.At).Round(time.Millisecond), last)
	t.Logf("a reading takes %s at the median, %s at most (of %d)", took[len(took)/2].Round(time.Microsecond), took[len(took)-1].Round(time.Microsecond), len(took))
	procs, err := n.Processes(t.Context(), g.UUID)
	t.Logf("processes: %+v, %v", procs, err)
	if busy {
		if last.UtilPct < 50 || last.Power < 2*idle.Power {
			t.Errorf("under load: %d %%, %s, %s before", last.UtilPct, last.Power.Watts(), idle.Power.Watts())
		}
		if err == nil && len(procs) == 0 {
			t.Log("the driver does not show the process: ours is another namespace of processes")
		}
	}
	if !last.HasEnergy {
		t.Log("it has no energy counter")
		return
	}
	counted := float64(last.EnergyMJ-first.EnergyMJ) / 1000
	t.Logf("energy: %.0f J by its counter, %.0f J by its power, load %v", counted, joules, busy)
	if last.EnergyMJ <= first.EnergyMJ {
		t.Error("the energy counter stands still")
	}
	if counted < 0.7*joules || counted > 1.3*joules {
		t.Error("the energy counter and the power disagree by more than 30 %")
	}
}

func TestRealEvents(t *testing.T) {
	n, _ := realGPUs(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := n.Watch(ctx, func(e gpu.Event) { t.Logf("an error came: %+v", e) })
	var no *gpu.Error
	switch {
	case errors.As(err, &no):
		t.Logf("NOT SUPPORTED here: %v", err)
		if no.Code != gpu.CodeNotSupported && no.Code != gpu.CodeNoPermission {
			t.Error(err)
		}
	case errors.Is(err, context.DeadlineExceeded):
		t.Log("Xid errors are watched")
	default:
		t.Error(err)
	}
}

func TestRealSetLimit(t *testing.T) {
	if os.Getenv("SLUICE_TEST_GPU_SET") == "" {
		t.Skip("SLUICE_TEST_GPU_SET is not set: no limit is changed")
	}
	n, gpus := realGPUs(t)
	g := gpus[0]
	t.Cleanup(func() {
		if got, err := n.SetLimit(context.Background(), g.UUID, g.Limit); err != nil || got != g.Limit {
			t.Logf("put back: %d, %v", got, err)
		}
	})
	want := max(g.MinLimit, g.DefaultLimit*8/10)
	got, err := n.SetLimit(t.Context(), g.UUID, want)
	var no *gpu.Error
	if errors.As(err, &no) && (no.Code == gpu.CodeNoPermission || no.Code == gpu.CodeNotSupported) {
		t.Skipf("NOT PERMITTED here: %v", err)
	}
	if err != nil || got != want {
		t.Errorf("%d, %v, wanted %d", got, err, want)
	}
}
