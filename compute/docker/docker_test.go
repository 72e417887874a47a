package docker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/docker"
	"sluice/compute/executortest"
	"sluice/device/gpu/gputest"
)

// The test binary is also, in some tests, the server that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3])
		os.Exit(1)
	}
	if len(os.Args) == 4 && os.Args[1] == "serve-gpus" {
		serveGPUs(os.Args[2])
		os.Exit(1)
	}
	if len(os.Args) == 4 && os.Args[1] == "agent" {
		os.Exit(agentProcess(os.Args[2]))
	}
	if len(os.Args) == 4 && os.Args[1] == "guard" {
		os.Exit(guardProcess(os.Args[2], os.Args[3]))
	}
	if len(os.Args) == 4 && os.Args[1] == "outside" {
		if err := outside(); err != nil {
			fmt.Fprintln(os.Stderr, "outside:", err)
		}
		os.Exit(1)
	}
	code := m.Run()
	gputest.Clean()
	if left := closeServices(); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "left behind:", left)
		code = 1
	}
	os.Exit(code)
}

func newExecutor(t testing.TB, cfg docker.Config) *docker.Executor {
	t.Helper()
	x, err := docker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// config is how most tests run things.
func config(p *podman) docker.Config {
	return docker.Config{Socket: p.socket, Image: busybox, SecretDir: "/dev/shm/sluice-test-" + filepath.Base(p.dir)}
}

func startRun(t testing.TB, x *docker.Executor, s compute.RunSpec) compute.Handle {
	t.Helper()
	h, err := x.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Stop(context.Background(), h, 0); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return h
}

func waitRun(t testing.TB, x *docker.Executor, h compute.Handle) compute.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	e, err := x.Wait(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := time.NewTimer(3 * time.Minute)
	defer late.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late.C:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// text returns what is in a file of the run's working folder.
func text(s compute.RunSpec, name string) string {
	b, _ := os.ReadFile(filepath.Join(s.WorkDir, name))
	return strings.TrimSpace(string(b))
}

func logOf(s compute.RunSpec) string {
	b, _ := os.ReadFile(s.Log)
	return string(b)
}

// result runs a script to its end and returns what it wrote.
func result(t testing.TB, x *docker.Executor, s compute.RunSpec) (string, compute.Exit) {
	t.Helper()
	e := waitRun(t, x, startRun(t, x, s))
	return logOf(s), e
}

func wantKind(t testing.TB, err error, kind sluice.Kind, says string) {
	t.Helper()
	if err == nil || sluice.KindOf(err) != kind || !strings.Contains(err.Error(), says) {
		t.Errorf("error %v, want one of kind %d that says %q", err, kind, says)
	}
}

var serial atomic.Int64

// spec returns a run of a job of its own below dir.
func spec(t testing.TB, dir, script string) compute.RunSpec {
	t.Helper()
	id := fmt.Sprintf("j-%06d", serial.Add(1))
	job := filepath.Join(dir, id)
	s := compute.RunSpec{
		RunID: id + "-r1", JobID: id, Host: "this", Units: 1, Task: &compute.Task{Run: script},
		Dir: filepath.Join(job, "runs", id+"-r1"), WorkDir: filepath.Join(job, "work"),
		CheckpointDir: filepath.Join(job, "checkpoint"), Log: filepath.Join(job, "log"),
		SetupDone: filepath.Join(job, "setup.done"), Isolation: compute.IsolationContainer,
		Env: []string{"PATH=/host/bin:/usr/bin:/bin", "HOME=" + filepath.Join(job, "work"), "LANG=C.UTF-8"},
	}
	for _, d := range []string{s.WorkDir, s.CheckpointDir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func subject(runtime string) func(t *testing.T) executortest.Subject {
	return func(t *testing.T) executortest.Subject {
		p := service(t, runtime)
		cfg := config(p)
		dir := t.TempDir()
		return executortest.Subject{
			Scripts: true,
			Hidden:  runtime == "runsc",
			Inspect: func(h compute.Handle) string { return p.inspect(t, string(h)) },
			New:     func() compute.Executor { return newExecutor(t, cfg) },
			Spec: func(script string, d time.Duration) compute.RunSpec {
				if script == "" {
					script = fmt.Sprintf("exec sleep %f", d.Seconds())
				}
				s := spec(t, dir, script)
				if runtime == "runsc" {
					s.Isolation = compute.IsolationSandbox
				}
				return s
			},
			Pass: func(d time.Duration) { <-time.After(d) },
			Gone: func() compute.Handle { return compute.Handle(filepath.Join(dir, "no", "such", "run")) },
		}
	}
}

func TestConformance(t *testing.T) {
	executortest.Run(t, subject("runc"))
}

// TestConformanceSandbox runs the suite on gVisor's kernel.
func TestConformanceSandbox(t *testing.T) {
	executortest.Run(t, subject("runsc"))
}
