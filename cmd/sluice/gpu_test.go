package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/process"
	"sluice/device/gpu/gputest"
)

// The test binary is also the keeper of real runs.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "exec-shim" {
		os.Exit(process.Shim(os.Args[2]))
	}
	code := m.Run()
	gputest.Clean()
	os.Exit(code)
}

// fakeGPUs gives this machine GPUs.
func fakeGPUs(t *testing.T, gpus ...gputest.Fake) *gputest.Driver {
	t.Helper()
	d := gputest.New(t, gpus...)
	t.Setenv(nvmlEnv, d.Library)
	gpuProbe = d.Probe
	t.Cleanup(func() { gpuProbe = "" })
	return d
}

// sluiceOut runs a command and returns what it prints.
func sluiceOut(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := rootCmd()
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestGPUList(t *testing.T) {
	busy, lost := gputest.H100(0), gputest.H100(1)
	busy.Power, busy.Util, busy.UsedMiB, busy.Energy = 640_000, 97, 1000, 7_200_000
	d := fakeGPUs(t, busy, lost)
	lost.Mode = "lost"
	d.Set([]gputest.Fake{busy, lost}, gputest.Process{GPU: 0, PID: 4711, MiB: 900})
	out, err := sluiceOut(t, "gpu", "list", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var l gpuList
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		t.Fatal(err)
	}
	g := l.GPUs[0]
	if l.Driver != "550.0.fake" || len(l.GPUs) != 2 || g.Model != "H100" || g.PowerW == nil || *g.PowerW != 640 || *g.EnergyWh != 2 || g.MaxLimitW != 700 || len(g.Processes) != 1 || g.Fault != nil {
		t.Errorf("%+v", l)
	}
	if f := l.GPUs[1].Fault; f == nil || !f.Drain || l.GPUs[1].PowerW != nil {
		t.Errorf("%+v", l.GPUs[1])
	}
	if out, err = sluiceOut(t, "gpu", "list"); err != nil || !strings.Contains(out, "640 W") || !strings.Contains(out, "GPU 1: it has fallen off the bus (reboot") {
		t.Errorf("%v\n%s", err, out)
	}
	t.Setenv(nvmlEnv, filepath.Join(t.TempDir(), "none.so"))
	if _, err := sluiceOut(t, "gpu", "list"); err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), "no NVIDIA GPU") {
		t.Errorf("without a driver: %v", err)
	}
}

// gpuSite writes a site whose host is this machine with its GPUs.
func gpuSite(t *testing.T, price float64, mining string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "site.yaml")
	text := fmt.Sprintf(`site: {name: test, mode: control}
nodes: [{name: site, limit: 100kW}]
hosts:
  - name: here
    node: site
    gpus: auto
    usd_per_slot_hour: 3
%s
feeds:
  - {name: p, type: constant, values: {real_time_usd_per_mwh: %g, hashprice_usd_per_ph_day: 50}}
telemetry: {enabled: no}
`, mining, price)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestGPUIdle(t *testing.T) {
	fakeGPUs(t, gputest.H100(0), gputest.H100(1))
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"Software":"lolMiner 1.88","Algorithms":[{"Algorithm":"X","Performance_Factor":1000000,"Total_Performance":60}]}`)
	}))
	defer api.Close()
	file := gpuSite(t, 68, fmt.Sprintf(`    idle_mining:
      driver: lolminer
      url: %s
      command: [lolMiner]
      algorithm: kawpow
      hashrate_mhs: 100
      power: 380W
      usd_per_mh_day: 0.005
      as_of: %s
`, api.URL, time.Now().UTC().Format(time.DateOnly)))
	out, err := sluiceOut(t, "gpu", "idle", "--config", file, "--price", "68", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var l idleList
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		t.Fatal(err)
	}
	if v := l.Verdicts[1]; len(l.Verdicts) != 2 || v.Mine || !v.Known || v.AddsW != 310 || !v.Measured || v.UUID != gputest.H100(1).UUID || l.Miner == nil || l.Miner.MHs != 60 {
		t.Errorf("%+v", l)
	}
	out, err = sluiceOut(t, "gpu", "idle", "--config", file, "--price", "68")
	if err != nil || !strings.Contains(out, "GPU 0: mining earns 0.020 USD/h; 0.31 kW at 68 $/MWh costs 0.021: it does not pay") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err = sluiceOut(t, "gpu", "idle", "--config", file, "--price", "20"); err != nil || !strings.Contains(out, "it pays") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := sluiceOut(t, "gpu", "idle", "--config", gpuSite(t, 68, ""), "--price", "68"); err == nil || exitCode(err) != 2 {
		t.Errorf("a site without: %v", err)
	}
}

// The whole way: GPUs that idle mine since that pays; a job comes, the miner is gone
// before it runs, it sees its GPU alone, and it is metered by the GPU's own counter.
func TestGPUSite(t *testing.T) {
	a, b := gputest.H100(0), gputest.H100(1)
	d := fakeGPUs(t, a, b)
	pid := filepath.Join(t.TempDir(), "pid")
	file := gpuSite(t, 20, fmt.Sprintf(`    idle_mining:
      driver: lolminer
      url: http://127.0.0.1:1
      command: [sh, -c, "echo $$ $CUDA_VISIBLE_DEVICES >%s; exec sleep 600"]
      algorithm: kawpow
      hashrate_mhs: 100
      power: 380W
      usd_per_mh_day: 0.05
      as_of: %s
      min_on: 0s
      min_off: 0s
`, pid, time.Now().UTC().Format(time.DateOnly)))
	cfg, err := loadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := realParts(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	if len(p.hosts) != 1 || p.hosts[0].Units != 2 || p.hosts[0].GPUModel != "H100" || p.hosts[0].UnitW != 700 {
		t.Fatalf("%+v", p.hosts)
	}
	p.tick = 100 * time.Millisecond
	db := openDB(t, t.TempDir())
	t.Cleanup(func() { db.Close() })
	r, err := begin(t.Context(), p, db, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.loops(ctx) }()
	stop := func() { cancel(); <-done; r.jobs.Close() }
	t.Cleanup(stop)
	within(t, time.Minute, func() error {
		if text, _ := os.ReadFile(pid); !strings.Contains(string(text), b.UUID) {
			return fmt.Errorf("nothing mines: %q", text)
		}
		return nil
	})
	script := fmt.Sprintf(`read -r miner _ <%s
if kill -0 "$miner" 2>/dev/null && ! grep -q ') Z' /proc/$miner/stat; then echo "the miner lives"; fi
echo "it sees [$CUDA_VISIBLE_DEVICES]"; exec sleep 600`, pid)
	j, err := r.jobs.Submit(t.Context(), p.clock.Now(), compute.SubmitRequest{
		Task: &compute.Task{Name: "train", NumNodes: 1, Run: script, Resources: compute.Resources{Accelerator: "H100", GPUs: 1}}, RateUSDHour: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	within(t, time.Minute, func() error {
		log.Reset()
		if err := r.jobs.Logs(t.Context(), j.ID, 0, false, &log); err != nil || !strings.Contains(log.String(), "it sees") {
			x, _ := r.jobs.Job(j.ID)
			return fmt.Errorf("%v: %s, %s %s", err, log.String(), x.State, x.Why)
		}
		return nil
	})
	if strings.Contains(log.String(), "the miner lives") || !strings.Contains(log.String(), "it sees ["+a.UUID+"]") && !strings.Contains(log.String(), "it sees ["+b.UUID+"]") {
		t.Errorf("the job says %s", log.String())
	}
	// The other GPU mines again, alone.
	within(t, time.Minute, func() error {
		text, _ := os.ReadFile(pid)
		if strings.Count(string(text), "GPU-") != 1 {
			return fmt.Errorf("it mines on %q", text)
		}
		return nil
	})
	a.Energy, b.Energy = a.Energy+3_600_000, b.Energy+3_600_000
	d.Set([]gputest.Fake{a, b})
	x := p.executors["process"]
	within(t, time.Minute, func() error {
		entries, err := filepath.Glob(filepath.Join(db.Dir(), "jobs", j.ID, "runs", "*"))
		if err != nil || len(entries) == 0 {
			return fmt.Errorf("no run: %v", err)
		}
		u, err := x.Usage(t.Context(), compute.Handle(entries[0]))
		if err != nil || u.EnergyWh < 1 || u.Power != 70 {
			return errors.Join(err, fmt.Errorf("%+v", u))
		}
		return nil
	})
	if _, err := r.jobs.Cancel(t.Context(), p.clock.Now(), j.ID); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, func() error {
		if x, err := r.jobs.Job(j.ID); err != nil || !x.State.Ended() {
			return fmt.Errorf("%+v, %v", x, err)
		}
		return nil
	})
	stop()
	text, _ := os.ReadFile(pid)
	var miner int
	fmt.Sscan(string(text), &miner)
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", miner)); err == nil && !strings.Contains(string(stat), ") Z") {
		t.Errorf("the miner %d outlives the site", miner)
	}
}

// The executors of processes and of containers share the GPUs of the host: its units
// are the driver's for both, no two runs have the same, and each finds its own again.
func TestGPUsOfBothExecutors(t *testing.T) {
	small, a, b := gputest.H100(1), gputest.H100(0), gputest.H100(2)
	small.Product = "NVIDIA A100-SXM4-80GB"
	d := fakeGPUs(t, a, small, b)
	cfg, err := loadConfig(gpuSite(t, 20, "    containers: {socket: /nowhere/podman.sock}\n"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := realParts(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	dir := t.TempDir()
	for _, f := range p.prepare {
		if err := f(dir, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	// Both ask the same GPUs of the host: these know no such run.
	for _, x := range []string{"process", "docker"} {
		_, err := p.executors[x].(compute.Capper).Cap(t.Context(), "/no/run", 0.5)
		if sluice.KindOf(err) != sluice.NotFound {
			t.Errorf("%s: %v", x, err)
		}
	}
	views := func() (processes, containers runGPUs) {
		g, err := findGPUs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.nvml.Close)
		if err := g.open(dir); err != nil {
			t.Fatal(err)
		}
		return runGPUs{hostGPUs: g}, runGPUs{hostGPUs: g, of: inContainers}
	}
	processes, containers := views()
	if err := containers.Begin(t.Context(), "/jobs/c", []int{1}); err != nil {
		t.Fatal(err)
	}
	if n := containers.Names("/jobs/c"); len(n) != 1 || n[0] != (compute.GPUName{Index: 2, UUID: b.UUID}) {
		t.Errorf("it holds %v", n)
	}
	if err := processes.Begin(t.Context(), "/jobs/p", []int{1}); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("a GPU of two runs: %v", err)
	}
	if err := processes.Begin(t.Context(), "/jobs/p", []int{0}); err != nil {
		t.Fatal(err)
	}
	if _, err := containers.Cap(t.Context(), "/jobs/c", 0.5); err != nil || d.Limit(2) != 350_000 || d.Limit(0) != 0 {
		t.Errorf("%v, limits %d %d", err, d.Limit(0), d.Limit(2))
	}
	processes, containers = views() // another server
	if p, c := processes.Runs(), containers.Runs(); len(p) != 1 || p[0] != "/jobs/p" || len(c) != 1 || c[0] != "/jobs/c" {
		t.Errorf("runs %v and %v", p, c)
	}
	if _, err := containers.End(t.Context(), "/jobs/c", time.Now()); err != nil || d.Limit(2) != 700_000 {
		t.Errorf("%v, limit %d", err, d.Limit(2))
	}
	containers.Forget("/jobs/c")
	if free := containers.freeUnits(); len(containers.Runs()) != 0 || len(free) != 1 || free[0] != 2 {
		t.Errorf("runs %v, free %v", containers.Runs(), free)
	}
}
