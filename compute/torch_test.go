package compute_test

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

	"sluice/compute"
	"sluice/compute/jobfile"
)

// A real PyTorch job that is preempted three times ends with the weights of one that
// never was, to 1e-6, and loses less than one checkpoint interval each time: none, as it
// saves when it is told to end.
func TestTorchPreempted(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import torch").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3-torch is not installed")
		}
		t.Skip("python3-torch is not installed")
	}
	t.Parallel()
	w := newWorld(t, thisMachine)
	const every = 10
	submit := func(pause string) compute.Job {
		b, err := os.ReadFile("../examples/torch/job.yaml")
		if err != nil {
			t.Fatal(err)
		}
		task, err := jobfile.Parse(b, jobfile.Options{File: "job.yaml", Env: map[string]string{
			"EPOCHS": "10", "PAUSE": pause, "SAVE_EVERY": strconv.Itoa(every),
		}})
		if err != nil {
			t.Fatal(err)
		}
		task.Run = strings.Replace(task.Run, "python3", "/usr/bin/python3", 1)
		work := t.TempDir()
		for _, f := range []string{"torch/train.py", "digits/digits.csv.gz"} {
			b, err := os.ReadFile(filepath.Join("../examples", f))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(work, filepath.Base(f)), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return w.submit(compute.SubmitRequest{Tenant: "acme", RateUSDHour: 0.04, Task: task, WorkdirPath: work})
	}
	whole, cut := submit("0"), submit("0.03")
	w.start(whole.ID)
	w.start(cut.ID)
	lost := 0
	// It has many more steps than that: this process may get its turn some seconds late.
	for i, at := range []int{7, 33, 58} {
		w.until(fmt.Sprintf("step %d", at), func() bool { return strings.Contains(w.log(cut.ID), fmt.Sprintf("\nstep %d ", at)) })
		if err := w.svc.Preempt(t.Context(), w.Now(), cut.ID, "test"); err != nil {
			t.Fatal(err)
		}
		w.until("it is preempted", func() bool { j := w.job(cut.ID); return j.State == compute.Queued && j.Preemptions == i+1 })
		done := last(t, w.log(cut.ID), `(?m)^step (\d+) `)
		w.start(cut.ID)
		w.until("it goes on", func() bool { return strings.Count(w.log(cut.ID), "begins at step") == i+2 })
		from := last(t, w.log(cut.ID), `(?m)^begins at step (\d+)$`)
		if done < at || done-from >= every || from > done {
			t.Errorf("preempted after step %d, it goes on at %d", done, from)
		}
		lost += done - from
	}
	w.reach(whole.ID, compute.Succeeded)
	j := w.reach(cut.ID, compute.Succeeded)
	if j.Runs != 4 || j.Preemptions != 3 {
		t.Errorf("%d runs, %d preemptions", j.Runs, j.Preemptions)
	}
	a, b := weights(t, w.appears(whole.ID, "weights.txt")), weights(t, w.appears(cut.ID, "weights.txt"))
	if len(a) != len(b) || len(a) < 10_000 {
		t.Fatalf("%d and %d weights", len(a), len(b))
	}
	most := 0.0
	for i := range a {
		most = max(most, math.Abs(a[i]-b[i]))
	}
	if most > 1e-6 {
		t.Errorf("the weights differ by up to %g", most)
	}
	t.Logf("%d weights differ by at most %g, %d steps were done twice", len(a), most, lost)
}

// last is the number of a pattern's last match.
func last(t *testing.T, text, pattern string) int {
	t.Helper()
	all := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		t.Fatalf("no %s in %s", pattern, text)
	}
	n, err := strconv.Atoi(all[len(all)-1][1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func weights(t *testing.T, text string) (out []float64) {
	t.Helper()
	for f := range strings.FieldsSeq(text) {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}
