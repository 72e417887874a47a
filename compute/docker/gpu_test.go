package docker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/compute/docker"
)

// fakeCDI describes devices that are /dev/null under other names, where the
// engine looks for such descriptions.
func fakeCDI(t *testing.T, dir, kind string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Skip(err)
	}
	var devices []string
	for i := range 3 {
		// With a user namespace the runtime binds the host's own node.
		node := fmt.Sprintf("/dev/sluice-fake%d", i)
		if err := syscall.Mknod(node, syscall.S_IFCHR|0o666, 1<<8|3); err != nil && !os.IsExist(err) {
			t.Skip(err)
		}
		_ = os.Chmod(node, 0o666) //nolint:gosec // it is /dev/null
		t.Cleanup(func() { _ = os.Remove(node) })
		devices = append(devices, fmt.Sprintf(`{"name":"%d","containerEdits":{"deviceNodes":[{"path":"/dev/sluice-fake%d","type":"c","major":1,"minor":3}]}}`, i, i))
	}
	file := filepath.Join(dir, strings.ReplaceAll(kind, "/", "-")+".json")
	text := fmt.Sprintf(`{"cdiVersion":"0.3.0","kind":%q,"devices":[%s]}`, kind, strings.Join(devices, ","))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(file); _ = os.Remove(dir) }) // the folder only where it is empty
}

// meter is who holds the GPUs, on the far side of Holds: it notes what it is told.
type meter struct {
	mu    sync.Mutex
	calls []string
	share float64
}

func (m *meter) note(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, fmt.Sprintf(format, args...))
}

func (m *meter) Numbers(indexes []int) ([]int, error) {
	out := make([]int, len(indexes))
	for i, n := range indexes {
		out[i] = 2 - n // the driver counts the other way round
	}
	return out, nil
}

func (m *meter) Begin(_ context.Context, run string, indexes []int) error {
	m.note("begin %s %v", run, indexes)
	return nil
}

func (m *meter) End(_ context.Context, run string, _ time.Time) (docker.GPUUse, error) {
	m.note("end %s", run)
	return docker.GPUUse{EnergyWh: 1.5, Share: m.share}, nil
}
func (m *meter) Forget(run string) { m.note("forget %s", run) }
func (m *meter) Use(context.Context, string) (docker.GPUUse, error) {
	return docker.GPUUse{Power: 300, EnergyWh: 0.5}, nil
}

func (m *meter) Cap(_ context.Context, run string, share float64) (float64, error) {
	m.note("cap %s %g", run, share)
	m.share = share
	return share, nil
}
func (m *meter) Runs() []string { return []string{"/of/another"} }

// Whoever holds the GPUs is told before the job runs and after it has ended, says
// which they are, and what they drew is the run's.
func TestGPUsHeld(t *testing.T) {
	p := service(t, "runc")
	cfg, m := config(p), &meter{}
	cfg.GPUs, cfg.Holds = fmt.Sprintf("sluice.test/held%d", os.Getpid()), m
	fakeCDI(t, "/var/run/cdi", cfg.GPUs)
	x := newExecutor(t, cfg)
	if err := x.RecoverGPUs(); err != nil {
		t.Error(err)
	}
	s := spec(t, t.TempDir(), `for i in 0 1 2; do [ -c /dev/sluice-fake$i ] && echo "has $i"; done; echo up > up; while [ ! -e go ]; do sleep 0.02; done`)
	s.GPUs = []int{0}
	h := startRun(t, x, s)
	until(t, "up", func() bool { return text(s, "up") != "" })
	if u, err := x.Usage(t.Context(), h); err != nil || u.Power != 300 || u.EnergyWh != 0.5 {
		t.Errorf("usage %+v, %v", u, err)
	}
	if got, err := x.Cap(t.Context(), h, 0.5); err != nil || got != 0.5 {
		t.Errorf("capped to %v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(s.WorkDir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e := waitRun(t, x, h)
	if e.Code != 0 || e.Used.EnergyWh != 1.5 || e.Used.PowerShare != 0.5 || !strings.Contains(logOf(s), "\nhas 2\n[sluice]") {
		t.Errorf("exit %+v\n%s", e, logOf(s))
	}
	run := "docker:" + s.Dir
	want := []string{"begin " + run + " [0]", "cap " + run + " 0.5", "end " + run, "forget " + run}
	if got := strings.Join(m.calls, ", "); got != strings.Join(want, ", ") {
		t.Errorf("it was told %s", got)
	}
}

func TestGPUs(t *testing.T) {
	p := service(t, "runc")
	cfg := config(p)
	cfg.GPUs = fmt.Sprintf("sluice.test/fake%d", os.Getpid())
	script := `for i in 0 1 2; do [ -c /dev/sluice-fake$i ] && echo "has $i"; done; echo x > /dev/sluice-fake2 && echo written`
	// Podman 4.3 looks in two folders that nobody can tell it otherwise.
	fakeCDI(t, "/var/run/cdi", cfg.GPUs)
	s := spec(t, t.TempDir(), script)
	s.GPUs = []int{0, 2}
	if log, e := result(t, newExecutor(t, cfg), s); e.Code != 0 || !strings.Contains(log, "\nhas 0\nhas 2\nwritten\n") {
		t.Errorf("exit %+v\n%s", e, log)
	}
	// One that nobody describes.
	s = spec(t, t.TempDir(), script)
	s.GPUs = []int{3}
	_, err := newExecutor(t, cfg).Start(t.Context(), s)
	wantKind(t, err, sluice.Invalid, "has the device "+cfg.GPUs+"=3")
	// One that the engine gives, but not all of it: it is not let run.
	part := cfg
	part.CDIDirs = []string{t.TempDir()}
	described := fmt.Sprintf(`kind: %s
devices: [{name: "1", containerEdits: {deviceNodes: [{path: /dev/sluice-fake1}, {path: /dev/sluice-fake9}]}}]`, cfg.GPUs)
	if err := os.WriteFile(filepath.Join(part.CDIDirs[0], "x.yaml"), []byte(described), 0o600); err != nil {
		t.Fatal(err)
	}
	s = spec(t, t.TempDir(), "echo ran > ran")
	s.GPUs = []int{1}
	_, err = newExecutor(t, part).Start(t.Context(), s)
	wantKind(t, err, sluice.Unavailable, "did not give the container /dev/sluice-fake9")
	if text(s, "ran") != "" {
		t.Error("it ran")
	}
	// One that is described where the engine does not look.
	cfg.GPUs += "x"
	cfg.CDIDirs = []string{t.TempDir()}
	fakeCDI(t, cfg.CDIDirs[0], cfg.GPUs)
	s = spec(t, t.TempDir(), "echo ran > ran")
	s.GPUs = []int{1}
	if _, err = newExecutor(t, cfg).Start(t.Context(), s); err == nil || text(s, "ran") != "" {
		t.Errorf("error %v, ran %q", err, text(s, "ran"))
	}
}
