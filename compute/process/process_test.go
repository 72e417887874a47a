package process_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"sluice/compute"
	"sluice/compute/executortest"
	"sluice/compute/process"
	"sluice/device/gpu/gputest"
)

// The test binary is also the keeper of the runs and, in one test, the server.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "exec-shim" {
		os.Exit(process.Shim(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		serve(os.Args[2])
		os.Exit(1)
	}
	if len(os.Args) == 3 && os.Args[1] == "serve-gpus" {
		serveGPUs(os.Args[2])
		os.Exit(1)
	}
	if len(os.Args) == 3 && os.Args[1] == "eat" {
		eat(os.Args[2])
		os.Exit(0)
	}
	code := m.Run()
	gputest.Clean()
	os.Exit(code)
}

func newExecutor(t *testing.T, cfg process.Config) *process.Executor {
	t.Helper()
	x, err := process.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

var serial atomic.Int64

// spec returns a run of a job of its own below dir.
func spec(t *testing.T, dir, script string) compute.RunSpec {
	t.Helper()
	id := fmt.Sprintf("j-%06d", serial.Add(1))
	job := filepath.Join(dir, id)
	s := compute.RunSpec{
		RunID: id + "-r1", JobID: id, Host: "this", Units: 1, Task: &compute.Task{Run: script},
		Dir: filepath.Join(job, "runs", id+"-r1"), WorkDir: filepath.Join(job, "work"),
		CheckpointDir: filepath.Join(job, "checkpoint"), Log: filepath.Join(job, "log"),
		SetupDone: filepath.Join(job, "setup.done"),
		Env:       []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(job, "work"), "LANG=C.UTF-8"},
	}
	for _, d := range []string{s.WorkDir, s.CheckpointDir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func subject(cfg process.Config) func(t *testing.T) executortest.Subject {
	return func(t *testing.T) executortest.Subject {
		dir := t.TempDir()
		return executortest.Subject{
			Scripts: true,
			New:     func() compute.Executor { return newExecutor(t, cfg) },
			Spec: func(script string, d time.Duration) compute.RunSpec {
				if script == "" {
					script = fmt.Sprintf("exec sleep %f", d.Seconds())
				}
				return spec(t, dir, script)
			},
			Pass: func(d time.Duration) { <-time.After(d) },
			Gone: func() compute.Handle { return compute.Handle(filepath.Join(dir, "no", "such", "run")) },
		}
	}
}

func TestConformance(t *testing.T) {
	executortest.Run(t, subject(process.Config{}))
}

// Without cgroups nothing changes but the limits.
func TestConformanceWithoutCgroups(t *testing.T) {
	executortest.Run(t, subject(process.Config{NoCgroup: true}))
}

// A version 2 hierarchy beside version 1 has no controllers, so nothing is
// limited there, but everything is found and killed through it. Where the
// machine has version 2 alone, the first test has been that.
func TestConformanceUnified(t *testing.T) {
	const root = "/sys/fs/cgroup/unified"
	cfg := process.Config{CgroupRoot: root}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
		cfg = process.Config{}
	}
	executortest.Run(t, subject(cfg))
}
