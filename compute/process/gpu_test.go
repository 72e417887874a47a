package process_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/compute"
	"sluice/compute/process"
	"sluice/device/gpu"
	"sluice/device/gpu/gputest"
)

// gpus makes the executor's GPUs of the host's.
type gpus struct{ *gpu.Holds }

func (g gpus) End(ctx context.Context, run string, at time.Time) (compute.GPUUse, error) {
	u, err := g.Holds.End(ctx, run, at)
	return compute.GPUUse{Power: u.Power, EnergyWh: u.EnergyWh, Share: u.Share}, err
}

func (g gpus) Use(ctx context.Context, run string) (compute.GPUUse, error) {
	u, err := g.Holds.Use(ctx, run)
	return compute.GPUUse{Power: u.Power, EnergyWh: u.EnergyWh, Share: u.Share}, err
}

func (g gpus) Names(run string) (out []compute.GPUName) {
	for _, n := range g.Holds.Names(run) {
		out = append(out, compute.GPUName(n))
	}
	return out
}

func hostGPUs(t *testing.T, d *gputest.Driver, dir string) gpus {
	t.Helper()
	h, err := gpu.OpenHolds(d.Open(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return gpus{h}
}

// A run sees its GPUs and no others, is metered by their own readings, can be
// limited, and leaves them as they were.
func TestGPURun(t *testing.T) {
	a, b := gputest.H100(0), gputest.H100(1)
	a.Power, b.Power = 600_000, 600_000
	d := gputest.New(t, a, b)
	x := newExecutor(t, process.Config{GPUs: hostGPUs(t, d, t.TempDir())})
	dir := t.TempDir()
	s := spec(t, dir, `echo "$CUDA_VISIBLE_DEVICES" >seen; read -r _ <go; exit 3`)
	if err := syscall.Mkfifo(filepath.Join(s.WorkDir, "go"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.GPUs = []int{1}
	h := startRun(t, x, s)
	until(t, "it has seen its GPUs", func() bool { return text(filepath.Join(s.WorkDir, "seen")) != "" })
	if got := text(filepath.Join(s.WorkDir, "seen")); got != b.UUID {
		t.Errorf("it sees %q", got)
	}
	if share, err := x.Cap(t.Context(), h, 0.5); err != nil || share != 0.5 || d.Limit(1) != 350_000 || d.Limit(0) != 0 {
		t.Fatalf("cap: %g, %v, limits %d %d", share, err, d.Limit(0), d.Limit(1))
	}
	b.Energy += 7_200_000 // 2 Wh
	d.Set([]gputest.Fake{a, b})
	if u, err := x.Usage(t.Context(), h); err != nil || u.Power != 350 || u.EnergyWh != 2 || u.PowerShare != 0.5 || u.Seconds <= 0 {
		t.Errorf("%+v, %v", u, err)
	}
	// A job without GPUs on this host sees none.
	c := spec(t, dir, `echo "[$CUDA_VISIBLE_DEVICES][$NVIDIA_VISIBLE_DEVICES]"`)
	hc := startRun(t, x, c)
	if _, err := x.Wait(t.Context(), hc); err != nil || !strings.Contains(text(c.Log), "[][void]") {
		t.Errorf("%v: %s", err, text(c.Log))
	}
	if err := os.WriteFile(filepath.Join(s.WorkDir, "go"), []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := x.Wait(t.Context(), h)
	if err != nil || e.Code != 3 || e.Used.EnergyWh < 2 || d.Limit(1) != 700_000 {
		t.Errorf("%+v, %v, limit %d", e, err, d.Limit(1))
	}
	if u, err := x.Usage(t.Context(), h); err != nil || u.EnergyWh != e.Used.EnergyWh || u.Power != 0 || u.PowerShare != 0 {
		t.Errorf("after the end: %+v, %v", u, err)
	}
}

// serveGPUs is a server that starts a run on each GPU, halves their power, says so
// and waits to be killed.
func serveGPUs(file string) {
	var in gpuServer
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &in)
	}
	var h *gpu.Holds
	if err == nil {
		h, err = gpu.OpenHolds(gpu.Open(gpu.Options{Library: in.Library, Probe: in.Probe}), in.Keep)
	}
	for _, s := range in.Runs {
		var x *process.Executor
		if err == nil {
			x, err = process.New(process.Config{GPUs: gpus{h}})
		}
		var run compute.Handle
		if err == nil {
			run, err = x.Start(context.Background(), s)
		}
		if err == nil {
			_, err = x.Cap(context.Background(), run, 0.5)
		}
	}
	fmt.Println("started", err)
	select {}
}

type gpuServer struct {
	Library, Probe, Keep string
	Runs                 []compute.RunSpec
}

// A server that is killed leaves the limit of a run that goes on, and its successor
// lifts that of one which has ended meanwhile.
func TestGPURunAcrossServers(t *testing.T) {
	d := gputest.New(t, gputest.H100(0), gputest.H100(1))
	dir := t.TempDir()
	in := gpuServer{Library: d.Library, Probe: d.Probe, Keep: t.TempDir()}
	for i := range 2 {
		s := spec(t, dir, "exec sleep 600")
		s.GPUs = []int{i}
		in.Runs = append(in.Runs, s)
	}
	line := killed(t, "serve-gpus", in)
	// Whatever comes, nothing of it outlives the test.
	bare := newExecutor(t, process.Config{})
	handles := make([]compute.Handle, 2)
	for i, s := range in.Runs {
		handles[i] = compute.Handle(s.Dir)
		t.Cleanup(func() { _ = bare.Stop(context.Background(), handles[i], 0) })
	}
	if line != "started <nil>\n" || d.Limit(0) != 350_000 || d.Limit(1) != 350_000 {
		t.Fatalf("the server said %q, limits %d %d", line, d.Limit(0), d.Limit(1))
	}
	if err := bare.Stop(t.Context(), handles[0], 0); err != nil {
		t.Fatal(err)
	}
	second := newExecutor(t, process.Config{GPUs: hostGPUs(t, d, in.Keep)})
	if err := second.RecoverGPUs(); err != nil {
		t.Fatal(err)
	}
	if d.Limit(0) != 700_000 || d.Limit(1) != 350_000 {
		t.Errorf("limits %d %d", d.Limit(0), d.Limit(1))
	}
	if u, err := second.Usage(t.Context(), handles[1]); err != nil || u.PowerShare != 0.5 {
		t.Errorf("%+v, %v", u, err)
	}
	if err := second.Stop(t.Context(), handles[1], 0); err != nil || d.Limit(1) != 700_000 {
		t.Errorf("%v, limit %d", err, d.Limit(1))
	}
}

// What cannot be had is refused before anything runs.
func TestGPURefused(t *testing.T) {
	lost := gputest.H100(0)
	lost.Mode = "lost"
	d := gputest.New(t, lost)
	x := newExecutor(t, process.Config{GPUs: hostGPUs(t, d, t.TempDir())})
	s := spec(t, t.TempDir(), "touch ran")
	s.GPUs = []int{0}
	if _, err := x.Start(t.Context(), s); err == nil || !strings.Contains(err.Error(), "fallen off the bus") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(s.WorkDir, "ran")); err == nil {
		t.Error("it ran")
	}
	bare := newExecutor(t, process.Config{})
	s.Task.Resources = compute.Resources{Accelerator: "H100", GPUs: 1}
	if _, err := bare.Start(t.Context(), s); err == nil || !strings.Contains(err.Error(), "gpus: auto") {
		t.Errorf("without GPUs: %v", err)
	}
	if _, err := bare.Cap(t.Context(), "/x", 0.5); err == nil {
		t.Error("a host without GPUs was capped")
	}
}
