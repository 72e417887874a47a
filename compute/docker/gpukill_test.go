package docker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/compute"
	"sluice/compute/docker"
	"sluice/device/gpu"
)

// gpuServer is what the other process is told.
type gpuServer struct {
	Config               docker.Config
	Library, Probe, Keep string
	Runs                 []compute.RunSpec
}

// serveGPUs is a server that starts the runs, halves their power, says so and waits
// for the end of the first.
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
	var x *docker.Executor
	if err == nil {
		in.Config.GPUs = gpus{h}
		x, err = docker.New(in.Config)
	}
	var runs []compute.Handle
	for _, s := range in.Runs {
		var run compute.Handle
		if err == nil {
			run, err = x.Start(context.Background(), s)
		}
		if err == nil {
			_, err = x.Cap(context.Background(), run, 0.5)
		}
		runs = append(runs, run)
	}
	fmt.Println("started", err)
	if err == nil {
		_, _ = x.Wait(context.Background(), runs[0])
	}
	select {}
}

// A server that is killed leaves the GPUs and the limit of a run that goes on, and its
// successor ends the hold of one that has ended meanwhile.
func TestGPURunAcrossServers(t *testing.T) {
	p, cfg, d, fakes := gpuHost(t)
	in := gpuServer{Config: cfg, Library: d.Library, Probe: d.Probe, Keep: t.TempDir()}
	for i := range 2 {
		s := spec(t, t.TempDir(), `echo up > up; while [ ! -e go ]; do sleep 0.02; done`)
		s.GPUs = []int{i}
		in.Runs = append(in.Runs, s)
	}
	lines, kill := otherThat(t, "serve-gpus", in)
	if line, _ := lines.ReadString('\n'); line != "started <nil>\n" || d.Limit(1) != 350_000 || d.Limit(2) != 350_000 {
		t.Fatalf("the server said %q, limits %d %d", line, d.Limit(1), d.Limit(2))
	}
	kill()
	over, on := in.Runs[0], in.Runs[1]
	if err := os.WriteFile(filepath.Join(over.WorkDir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "it has ended", func() bool { return strings.Contains(p.inspect(t, over.Dir), `"Status":"exited"`) })
	keep := hostGPUs(t, d, in.Keep)
	cfg.GPUs = keep
	x := newExecutor(t, cfg)
	if err := x.RecoverGPUs(t.Context()); err != nil {
		t.Fatal(err)
	}
	if runs := keep.Runs(); d.Limit(1) != 700_000 || d.Limit(2) != 350_000 || len(runs) != 1 || runs[0] != on.Dir {
		t.Errorf("limits %d %d, held by %v", d.Limit(1), d.Limit(2), runs)
	}
	if e := waitRun(t, x, startRun(t, x, over)); e.Code != 0 || e.Lost {
		t.Errorf("exit %+v", e)
	}
	fakes[2].Energy += 3_600_000
	d.Set(fakes)
	h := startRun(t, x, on) // its handle was never stored
	if u, err := x.Usage(t.Context(), h); err != nil || u.PowerShare != 0.5 || u.EnergyWh != 1 {
		t.Errorf("%+v, %v", u, err)
	}
	if err := x.Stop(t.Context(), h, 0); err != nil || d.Limit(2) != 700_000 || len(keep.Runs()) > 0 {
		t.Errorf("%v, limit %d, held by %v", err, d.Limit(2), keep.Runs())
	}
}

// However far a server came before it was killed, the next one gives the run its GPUs
// once, and takes them back.
func TestGPUServerKilledInBetween(t *testing.T) {
	p, cfg, d, fakes := gpuHost(t)
	for _, c := range []struct {
		method, path string
		after, held  bool
	}{
		{http.MethodPost, "/libpod/containers/create", false, false},
		{http.MethodPost, "/libpod/containers/create", true, false}, // made, never started
		{http.MethodPost, "/start", false, true},                    // it may be about to start
		{http.MethodPost, "/start", true, true},                     // it runs
		{http.MethodDelete, "", false, false},                       // it has ended
	} {
		t.Run(fmt.Sprint(c.method, c.path, c.after), func(t *testing.T) {
			in := gpuServer{Config: cfg, Library: d.Library, Probe: d.Probe, Keep: t.TempDir()}
			s := spec(t, t.TempDir(), `echo x >> count; [ -c `+gpuNode+`2 ] || exit 5; while [ ! -e go ]; do sleep 0.02; done; exit 4`)
			s.GPUs = []int{1}
			in.Runs = []compute.RunSpec{s}
			end := func() { _ = os.WriteFile(filepath.Join(s.WorkDir, "go"), nil, 0o600) }
			if c.method == http.MethodDelete {
				end()
			}
			var caught chan struct{}
			in.Config.Socket, caught = gate(t, p, c.method, c.path, c.after)
			_, kill := otherThat(t, "serve-gpus", in)
			<-caught
			kill()
			// What it draws while nobody has started it is nobody's.
			fakes[2].Energy += 36_000_000
			d.Set(fakes)
			keep := hostGPUs(t, d, in.Keep)
			if runs := keep.Runs(); len(runs) != 1 || runs[0] != s.Dir {
				t.Errorf("begun for %v", runs)
			}
			cfg := cfg
			cfg.GPUs = keep
			x := newExecutor(t, cfg)
			if err := x.RecoverGPUs(t.Context()); err != nil {
				t.Fatal(err)
			}
			if runs := keep.Runs(); (len(runs) == 1) != c.held {
				t.Errorf("held by %v", runs)
			}
			h := startRun(t, x, s)
			if c.method == http.MethodPost {
				// That which ran meanwhile has used it.
				u, err := x.Usage(t.Context(), h)
				if used := c.path == "/start" && c.after; err != nil || len(keep.Names(s.Dir)) != 1 || (u.EnergyWh >= 10) != used || !used && u.EnergyWh >= 1 {
					t.Errorf("it runs with %v and has used %+v, %v", keep.Names(s.Dir), u, err)
				}
			}
			end()
			e := waitRun(t, x, h)
			if e.Code != 4 || text(s, "count") != "x" || len(keep.Runs()) > 0 {
				t.Errorf("exit %+v, count %q, held by %v", e, text(s, "count"), keep.Runs())
			}
			if l := d.Limit(2); l != 0 && l != 700_000 {
				t.Errorf("limit %d", l)
			}
		})
	}
}
