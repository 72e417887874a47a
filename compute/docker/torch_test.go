package docker_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/compute"
)

// A real PyTorch job in containers, each cut by a stop with its notice, ends with
// the weights of one that ran in one piece, to 1e-6, and takes up its work where it
// saved it. The image has no Python: this machine's is bound into it.
func TestTorch(t *testing.T) {
	p := service(t, "runc")
	if err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import torch").Run(); err != nil {
		without(t, "python3-torch is not installed")
	}
	t.Parallel()
	x := newExecutor(t, config(p))
	job := func(pause string) func(run int) compute.RunSpec {
		dir := t.TempDir()
		first := spec(t, dir, "exec python3 train.py")
		for _, f := range []string{"torch/train.py", "digits/digits.csv.gz"} {
			b, err := os.ReadFile(filepath.Join("../../examples", f))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(first.WorkDir, filepath.Base(f)), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		first.Task.Envs = map[string]string{"PATH": "/usr/bin:/bin"}
		first.Env = append(first.Env[1:], "PATH=/usr/bin:/bin", "SLUICE_CHECKPOINT_DIR="+first.CheckpointDir,
			"EPOCHS=10", "PAUSE="+pause, "SAVE_EVERY=10", "OMP_NUM_THREADS=1")
		first.MemoryLimit = 2 << 30
		hostPrograms(&first)
		first.Mounts = append(first.Mounts, compute.RunMount{Source: "/etc/alternatives", Target: "/etc/alternatives", ReadOnly: true})
		return func(run int) compute.RunSpec {
			s := first
			s.RunID = fmt.Sprintf("%s-r%d", s.JobID, run)
			s.Dir = filepath.Join(filepath.Dir(first.Dir), s.RunID)
			return s
		}
	}
	whole, cut := job("0"), job("0.03")
	if log, e := result(t, x, whole(1)); e.Code != 0 {
		t.Fatalf("exit %+v\n%s", e, log)
	}
	// It has many more steps than that: this process may get its turn some seconds late.
	for i, at := range []int{7, 33, 58} {
		s := cut(i + 1)
		h := startRun(t, x, s)
		until(t, fmt.Sprintf("step %d", at), func() bool { return strings.Contains(logOf(s), fmt.Sprintf("\nstep %d ", at)) })
		if err := x.Stop(t.Context(), h, time.Minute); err != nil {
			t.Fatal(err)
		}
		if e := waitRun(t, x, h); !e.Stopped || e.Signal == "SIGKILL" {
			t.Errorf("exit %+v", e)
		}
	}
	log, e := result(t, x, cut(4))
	if e.Code != 0 {
		t.Fatalf("exit %+v\n%s", e, log)
	}
	steps := regexp.MustCompile(`(?m)^(?:begins at )?step (\d+)`).FindAllStringSubmatch(log, -1)
	if n := strings.Count(log, "begins at step"); n != 4 || len(steps) < 60 {
		t.Errorf("it began %d times, and has %d steps", n, len(steps))
	}
	a, b := weights(t, whole(1)), weights(t, cut(4))
	if len(a) != len(b) || len(a) < 10_000 {
		t.Fatalf("%d and %d weights", len(a), len(b))
	}
	for i := range a {
		if math.Abs(a[i]-b[i]) > 1e-6 {
			t.Fatalf("weight %d is %v, and %v in one piece", i, b[i], a[i])
		}
	}
}

func weights(t *testing.T, s compute.RunSpec) []float64 {
	t.Helper()
	var out []float64
	for f := range strings.FieldsSeq(text(s, "weights.txt")) {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}
