package docker_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/docker"
	"sluice/device/gpu"
	"sluice/device/gpu/gputest"
)

// gpus makes an executor's GPUs of the host's, of which the driver's first is none
// of its units.
type gpus struct{ *gpu.Holds }

func driver(units []int) []int {
	out := make([]int, len(units))
	for i, u := range units {
		out[i] = u + 1
	}
	return out
}

func (g gpus) Env(ctx context.Context, units []int) ([]string, error) {
	return g.Holds.Env(ctx, driver(units))
}

func (g gpus) Begin(ctx context.Context, run string, units []int) error {
	return g.Holds.Begin(ctx, run, driver(units))
}

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

// gpuNode is where the nodes of the GPUs are: that of the driver's second is gpuNode1.
const gpuNode = "/dev/sluice-gpu"

// gpuHost is a host whose driver has three GPUs, of which CDI has the last by UUID.
// These tests are not parallel: their descriptions are where Podman looks.
func gpuHost(t *testing.T) (*podman, docker.Config, *gputest.Driver, []gputest.Fake) {
	t.Helper()
	p := service(t, "runc")
	fakes := []gputest.Fake{gputest.H100(0), gputest.H100(1), gputest.H100(2)}
	d := gputest.New(t, fakes...)
	cfg := config(p)
	cfg.GPUKind = fmt.Sprintf("sluice.test/gpu%d", os.Getpid())
	fakeCDI(t, "/var/run/cdi", cfg.GPUKind, gpuNode, "0", "1", fakes[2].UUID)
	return p, cfg, d, fakes
}

// A run gets the GPUs that it holds and no others, is metered by their own readings,
// can be limited, keeps others off, and leaves them as they were.
func TestGPURun(t *testing.T) {
	_, cfg, d, fakes := gpuHost(t)
	keep := hostGPUs(t, d, t.TempDir())
	cfg.GPUs = keep
	x := newExecutor(t, cfg)
	dir := t.TempDir()
	s := spec(t, dir, `for i in 0 1 2; do [ -c `+gpuNode+`$i ] && echo "has $i"; done
echo "sees $CUDA_VISIBLE_DEVICES, $NVIDIA_VISIBLE_DEVICES"; echo up > up; while [ ! -e go ]; do sleep 0.02; done; exit 3`)
	s.GPUs = []int{1, 0}
	h := startRun(t, x, s)
	until(t, "up", func() bool { return text(s, "up") != "" })
	until(t, "its log", func() bool { return strings.Contains(logOf(s), "sees") })
	if !strings.Contains(logOf(s), "\nhas 1\nhas 2\nsees "+fakes[2].UUID+","+fakes[1].UUID+", void\n") {
		t.Errorf("it says %s", logOf(s))
	}
	if share, err := x.Cap(t.Context(), h, 0.5); err != nil || share != 0.5 || d.Limit(0) != 0 || d.Limit(1) != 350_000 || d.Limit(2) != 350_000 {
		t.Fatalf("cap: %g, %v, limits %d %d %d", share, err, d.Limit(0), d.Limit(1), d.Limit(2))
	}
	for i := range fakes {
		fakes[i].Power, fakes[i].Energy = 600_000, fakes[i].Energy+7_200_000 // 2 Wh
	}
	d.Set(fakes)
	if u, err := x.Usage(t.Context(), h); err != nil || u.Power != 700 || u.EnergyWh != 4 || u.PowerShare != 0.5 || u.Seconds <= 0 {
		t.Errorf("%+v, %v", u, err)
	}
	// Nobody else gets one of them, and a run without GPUs sees none.
	o := spec(t, dir, "echo ran > ran")
	o.GPUs = []int{0}
	if _, err := x.Start(t.Context(), o); sluice.KindOf(err) != sluice.Conflict || text(o, "ran") != "" {
		t.Errorf("a second run of a GPU: %v", err)
	}
	o = spec(t, dir, `echo "[$CUDA_VISIBLE_DEVICES][$NVIDIA_VISIBLE_DEVICES]"; ls /dev`)
	if log, e := result(t, x, o); e.Code != 0 || !strings.Contains(log, "[][void]") || strings.Contains(log, filepath.Base(gpuNode)) {
		t.Errorf("without GPUs: %+v\n%s", e, log)
	}
	if err := os.WriteFile(filepath.Join(s.WorkDir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e := waitRun(t, x, h)
	if e.Code != 3 || e.Used.EnergyWh < 4 || d.Limit(1) != 700_000 || d.Limit(2) != 700_000 || len(keep.Runs()) > 0 {
		t.Errorf("%+v, limits %d %d, held by %v", e, d.Limit(1), d.Limit(2), keep.Runs())
	}
	if u, err := x.Usage(t.Context(), h); err != nil || u.EnergyWh != e.Used.EnergyWh || u.Power != 0 || u.PowerShare != 0 {
		t.Errorf("after the end: %+v, %v", u, err)
	}
	if _, err := newExecutor(t, config(service(t, "runc"))).Cap(t.Context(), h, 0.5); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("a host without GPUs was capped: %v", err)
	}
}

// A start that fails leaves nothing held.
func TestGPUStartFails(t *testing.T) {
	p, cfg, d, fakes := gpuHost(t)
	keep := hostGPUs(t, d, t.TempDir())
	cfg.GPUs = keep
	start := func(cfg docker.Config, says string) {
		t.Helper()
		s := spec(t, t.TempDir(), "echo ran > ran")
		s.GPUs = []int{0}
		_, err := newExecutor(t, cfg).Start(t.Context(), s)
		if err == nil || !strings.Contains(err.Error(), says) || text(s, "ran") != "" {
			t.Errorf("error %v, want %q", err, says)
		}
		if left := p.inspect(t, s.Dir); len(keep.Runs()) > 0 || left != "" {
			t.Errorf("held by %v, container %.100s", keep.Runs(), left)
		}
	}
	other := cfg
	other.GPUKind += "x"
	start(other, "has the device "+other.GPUKind+"="+fakes[1].UUID+" or "+other.GPUKind+"=1")
	other = cfg
	other.Image = "localhost/sluice-test/none:1"
	start(other, "none:1")
	other = cfg
	other.CDIDirs = []string{t.TempDir()}
	part := fmt.Sprintf(`kind: %s
devices: [{name: "1", containerEdits: {deviceNodes: [{path: %s1}, {path: /dev/sluice-none}]}}]`, cfg.GPUKind, gpuNode)
	if err := os.WriteFile(filepath.Join(other.CDIDirs[0], "x.yaml"), []byte(part), 0o600); err != nil {
		t.Fatal(err)
	}
	start(other, "did not give the container /dev/sluice-none")
	fakes[1].Mode = "lost"
	d.Set(fakes)
	start(cfg, "fallen off the bus")
}

// A start fails while the engine does not let go of what runs: its GPUs stay held
// until that is ended.
func TestGPUStartFailsWithEngine(t *testing.T) {
	p, cfg, d, _ := gpuHost(t)
	keep := hostGPUs(t, d, t.TempDir())
	cfg.GPUs = keep
	var broken atomic.Bool
	cfg.Socket = faulty(t, p, &broken)
	s := spec(t, t.TempDir(), "echo up > up; exec sleep 600")
	s.GPUs = []int{0}
	x := newExecutor(t, cfg)
	if _, err := x.Start(t.Context(), s); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Fatalf("error %v", err)
	}
	until(t, "up", func() bool { return text(s, "up") != "" })
	if runs := keep.Runs(); len(runs) != 1 || runs[0] != s.Dir {
		t.Errorf("held by %v", runs)
	}
	broken.Store(false)
	until(t, "it is ended", func() bool { return len(keep.Runs()) == 0 })
	if left := p.inspect(t, s.Dir); left != "" {
		t.Errorf("left: %.200s", left)
	}
}

// faulty is a way to an engine that, once it has started a container, neither tells
// of it nor removes it.
func faulty(t *testing.T, p *podman, broken *atomic.Bool) string {
	t.Helper()
	return way(t, p, func(w http.ResponseWriter, r *http.Request, through http.Handler) {
		if broken.Load() && (r.Method == http.MethodDelete || strings.Contains(r.URL.Path, "/containers/") && strings.HasSuffix(r.URL.Path, "/json")) {
			http.Error(w, `{"message":"out of order"}`, http.StatusInternalServerError)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/start") {
			broken.Store(true)
		}
		through.ServeHTTP(w, r)
	}, func(*http.Response) {})
}
