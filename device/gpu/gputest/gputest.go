// Package gputest stands in for a host's GPUs in tests: a library with NVML's own
// names and ABI, compiled with gcc and loaded as the driver's would be, that says
// what the test wants it to.
package gputest

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/device/gpu"
)

//go:embed fake/nvml.c
var source []byte

// Fake is one GPU of the stand-in. Powers are in milliwatts, memory in MiB, energy in
// millijoules; Mode is ok (or empty), lost, hang, or blind (it has neither sensors nor
// a limit).
type Fake struct {
	UUID, Product, Bus  string
	Memory              int64
	Min, Max, Default   int64
	Power, Energy       int64
	Temp, Util, UsedMiB int
	Mode                string
}

// H100 is one that idles.
func H100(i int) Fake {
	return Fake{
		UUID: fmt.Sprintf("GPU-00000000-0000-0000-0000-%012d", i), Product: "NVIDIA H100 80GB HBM3", Bus: fmt.Sprintf("00000000:%02X:00.0", 16+i),
		Memory: 81559, Min: 200_000, Max: 700_000, Default: 700_000, Power: 70_000, Energy: 1_000_000, Temp: 31,
	}
}

// Process is one that has memory of a GPU.
type Process struct{ GPU, PID, MiB int }

// Driver is a stand-in for the driver of one host.
type Driver struct {
	Library string // to load
	Probe   string // program to load it with

	t *testing.T
}

var built struct {
	sync.Once
	dir string
	err error
}

// build compiles the probe and the library once for the test's process.
func build() (string, error) {
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "gputest-*"); built.err != nil {
			return
		}
		c := filepath.Join(built.dir, "fake_nvml.c")
		if built.err = os.WriteFile(c, source, 0o600); built.err != nil {
			return
		}
		for _, cmd := range []*exec.Cmd{
			exec.CommandContext(context.Background(), "gcc", "-O1", "-Wall", "-fPIC", "-shared", "-o", filepath.Join(built.dir, "libnvidia-ml.so.1"), c, "-ldl"),
			exec.CommandContext(context.Background(), "go", "build", "-o", filepath.Join(built.dir, "gpuprobe"), "sluice/cmd/gpuprobe"),
		} {
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				built.err = fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
				return
			}
		}
	})
	return built.dir, built.err
}

// Clean removes what was built; call it from TestMain.
func Clean() {
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
}

// New returns a driver with these GPUs. It skips the test where gcc is missing, but where
// all of it has to stand.
func New(t *testing.T, gpus ...Fake) *Driver {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("gcc is missing")
	}
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	so, err := os.ReadFile(filepath.Join(dir, "libnvidia-ml.so.1"))
	if err != nil {
		t.Fatal(err)
	}
	d := &Driver{Library: filepath.Join(t.TempDir(), "libnvidia-ml.so.1"), Probe: filepath.Join(dir, "gpuprobe"), t: t}
	if err := os.WriteFile(d.Library, so, 0o600); err != nil {
		t.Fatal(err)
	}
	d.Set(gpus)
	return d
}

// Set changes what the GPUs are and do.
func (d *Driver) Set(gpus []Fake, procs ...Process) { d.set(gpus, procs, "") }

// Refuse is Set on a machine where nobody may change limits.
func (d *Driver) Refuse(gpus []Fake) { d.set(gpus, nil, "limits refused\n") }

func (d *Driver) set(gpus []Fake, procs []Process, more string) {
	d.t.Helper()
	var b strings.Builder
	for _, g := range gpus {
		if g.Mode == "" {
			g.Mode = "ok"
		}
		fmt.Fprintf(&b, "gpu %s|%s|%d|%s|%d|%d|%d|%d|%d|%d|%d|%d|%s\n", g.UUID, g.Product, g.Memory, g.Bus, g.Min, g.Max, g.Default,
			g.Power, g.Energy, g.Temp, g.Util, g.UsedMiB, g.Mode)
	}
	for _, p := range procs {
		fmt.Fprintf(&b, "proc %d|%d|%d\n", p.GPU, p.PID, p.MiB)
	}
	d.write("state", b.String()+more)
}

// Xid makes a GPU report an error.
func (d *Driver) Xid(i, xid int) { d.write(fmt.Sprintf("xid.%d", i), fmt.Sprintln(xid)) }

// Limit returns the limit that was set of a GPU, in mW; 0 where none was.
func (d *Driver) Limit(i int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("%s.limit.%d", d.Library, i))
	if err != nil {
		return 0
	}
	var v int64
	_, _ = fmt.Sscan(string(b), &v)
	return v
}

// write replaces a file at once: the library may be reading it.
func (d *Driver) write(name, text string) {
	d.t.Helper()
	path := d.Library + "." + name
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		d.t.Fatal(err)
	}
}

// Open reaches the GPUs of the driver.
func (d *Driver) Open() *gpu.NVML {
	n := gpu.Open(gpu.Options{Library: d.Library, Probe: d.Probe, Timeout: 3 * time.Second})
	d.t.Cleanup(n.Close)
	return n
}
