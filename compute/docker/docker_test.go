package docker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"sluice/compute"
	"sluice/compute/docker"
	"sluice/compute/executortest"
)

// The test binary is also, in some tests, the server that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "serve" {
		serve(os.Args[2], os.Args[3])
		os.Exit(1)
	}
	code := m.Run()
	closeServices()
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
		t.Cleanup(func() {
			// Whatever a test did, no container of its runs is left.
			names, err := p.containers()
			if err != nil {
				t.Error(err)
			}
			_ = names
		})
		return executortest.Subject{
			Scripts: true,
			Hidden:  runtime == "runsc",
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

func serve(socket, file string) {}

// TestConformanceSandbox runs the suite on gVisor's kernel.
func TestConformanceSandbox(t *testing.T) {
	executortest.Run(t, subject("runsc"))
}
func TestX(t *testing.T) {
	p := service(t, "runsc")
	x := newExecutor(t, config(p))
	s := spec(t, t.TempDir(), "echo hi; id; sleep 1; exit 3")
	s.Isolation = compute.IsolationSandbox
	h, err := x.Start(t.Context(), s)
	t.Log(err)
	if err != nil {
		return
	}
	e, err := x.Wait(t.Context(), h)
	t.Log(e, err)
	b, _ := os.ReadFile(s.Log)
	t.Log(string(b))
}
