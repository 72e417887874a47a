package executortest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/compute"
)

// runScripts is the part of the suite for executors whose runs are processes.
func runScripts(t *testing.T, subject func(t *testing.T) Subject) {
	for name, f := range map[string]func(*testing.T, Subject){
		"exit statuses":               exitStatuses,
		"output and place":            output,
		"SIGTERM in the grace":        termHandled,
		"SIGKILL after the grace":     killed,
		"the shell dies before them":  childOutlivesShell,
		"what escapes is killed":      escapees,
		"left in the background":      background,
		"one RunID, one run, counted": countedOnce,
		"setup runs once":             setupOnce,
		"setup that fails":            setupFails,
		"stop during setup":           stopInSetup,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, subject(t))
		})
	}
}

func exitStatuses(t *testing.T, s Subject) {
	x := s.New()
	for script, want := range map[string]compute.Exit{
		"exit 0":              {Code: 0},
		"exit 3":              {Code: 3},
		"false; true":         {Code: 0}, // the last command counts, as in any script
		"no-such-command-xyz": {Code: 127},
		"kill -KILL $$":       {Code: 137, Signal: "SIGKILL"},
		"kill -SEGV $$":       {Code: 139, Signal: "SIGSEGV"},
	} {
		e := wait(t, x, start(t, x, s.Spec(script, 0)))
		if e.Code != want.Code || e.Signal != want.Signal || e.Stopped || e.Lost {
			t.Errorf("%s: %+v", script, e)
		}
	}
}

func output(t *testing.T, s Subject) {
	spec := s.Spec(`echo out; echo err >&2; pwd; echo "ckpt=$SLUICE_CHECKPOINT_DIR"; cat`, 0)
	spec.Env = append(spec.Env, "SLUICE_CHECKPOINT_DIR="+spec.CheckpointDir)
	x := s.New()
	wait(t, x, start(t, x, spec))
	b, err := os.ReadFile(spec.Log)
	if err != nil {
		t.Fatal(err)
	}
	at := s.seen(spec)
	work, err := filepath.EvalSymlinks(at.WorkDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"out\n", "err\n", work + "\n", "ckpt=" + at.CheckpointDir + "\n"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in the log:\n%s", want, b)
		}
	}
}

// file returns the path of a file in the working folder of the run.
func (s Subject) file(spec compute.RunSpec, name string) string {
	return filepath.Join(s.seen(spec).WorkDir, name)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func appears(t *testing.T, path string) {
	t.Helper()
	until(t, path+" appears", func() bool { return read(t, path) != "" })
}

func termHandled(t *testing.T, s Subject) {
	spec := s.Spec(`trap 'echo saved > saved; exit 7' TERM; echo up > up; while :; do sleep 0.02; done`, 0)
	x := s.New()
	h := start(t, x, spec)
	appears(t, s.file(spec, "up"))
	stop(t, x, h, time.Minute)
	if e := wait(t, x, h); e.Code != 7 || !e.Stopped || e.Signal != "" {
		t.Fatalf("exit %+v", e)
	}
	if read(t, s.file(spec, "saved")) != "saved" {
		t.Fatal("it was not let finish")
	}
}

// alive says whether a process that a script has written down still runs.
func alive(t *testing.T, path string) bool {
	t.Helper()
	pid, err := strconv.Atoi(read(t, path))
	if err != nil {
		t.Fatal(err)
	}
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	// A zombie of a container without an init is no process that runs.
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(b), ") Z")
}

const deaf = `trap '' TERM; (trap '' TERM; sh -c 'echo $$ > child; exec sleep 1000') & echo $$ > shell; wait`

func killed(t *testing.T, s Subject) {
	spec := s.Spec(deaf, 0)
	x := s.New()
	h := start(t, x, spec)
	appears(t, s.file(spec, "child"))
	appears(t, s.file(spec, "shell"))
	const grace = 300 * time.Millisecond
	began := time.Now()
	stop(t, x, h, grace)
	if took := time.Since(began); took < grace {
		t.Errorf("killed after %v of a grace of %v", took, grace)
	}
	for _, f := range []string{"child", "shell"} {
		if alive(t, s.file(spec, f)) {
			t.Errorf("the %s lives", f)
		}
	}
	if e := wait(t, x, h); e.Code != 137 || e.Signal != "SIGKILL" || !e.Stopped {
		t.Fatalf("exit %+v", e)
	}
}

// A shell without a trap dies of SIGTERM at once; the program that it waited for
// has the whole grace to save its work.
func childOutlivesShell(t *testing.T, s Subject) {
	spec := s.Spec(`sh -c 'trap "sleep 0.3; echo saved > saved; exit 0" TERM; echo up > up; while :; do sleep 0.02; done'; true`, 0)
	x := s.New()
	h := start(t, x, spec)
	appears(t, s.file(spec, "up"))
	stop(t, x, h, time.Minute)
	if read(t, s.file(spec, "saved")) != "saved" {
		t.Fatal("the program was not let finish")
	}
}

func escapees(t *testing.T, s Subject) {
	spec := s.Spec(`setsid sh -c 'trap "" TERM HUP; (setsid sh -c "echo \$\$ > daemon; exec env -i sleep 1000" &)' & sleep 1000`, 0)
	x := s.New()
	h := start(t, x, spec)
	appears(t, s.file(spec, "daemon"))
	stop(t, x, h, 200*time.Millisecond)
	if alive(t, s.file(spec, "daemon")) {
		t.Fatal("a process in a session and an environment of its own lives")
	}
}

func background(t *testing.T, s Subject) {
	spec := s.Spec(`setsid sh -c 'echo $$ > daemon; exec sleep 1000' & while [ ! -s daemon ]; do sleep 0.01; done; exit 4`, 0)
	x := s.New()
	e := wait(t, x, start(t, x, spec))
	if e.Code != 4 || alive(t, s.file(spec, "daemon")) {
		t.Fatalf("exit %+v, daemon alive: %v", e, alive(t, s.file(spec, "daemon")))
	}
}

func countedOnce(t *testing.T, s Subject) {
	spec := s.Spec(`echo x >> count; sleep 0.2`, 0)
	var wg sync.WaitGroup
	handles := make([]compute.Handle, 6)
	for i := range handles {
		wg.Go(func() {
			h, err := s.New().Start(t.Context(), spec)
			if err != nil {
				t.Errorf("start: %v", err)
			}
			handles[i] = h
		})
	}
	wg.Wait()
	x := s.New()
	for _, h := range handles {
		if e := wait(t, x, h); e.Code != 0 || e.Lost {
			t.Errorf("exit %+v", e)
		}
	}
	if _, err := x.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s.file(spec, "count")); got != "x" {
		t.Fatalf("it ran %d times", strings.Count(got, "x"))
	}
}

func setupOnce(t *testing.T, s Subject) {
	x := s.New()
	a := s.Spec(`echo run >> order`, 0)
	a.Task.Setup = `echo setup >> order`
	b := s.Spec(`echo again >> order`, 0)
	b.Task.Setup, b.JobID, b.WorkDir, b.SetupDone = a.Task.Setup, a.JobID, a.WorkDir, a.SetupDone // the same job
	for _, spec := range []compute.RunSpec{a, b} {
		if e := wait(t, x, start(t, x, spec)); e.Code != 0 {
			t.Fatalf("exit %+v", e)
		}
	}
	if got := strings.Fields(read(t, s.file(a, "order"))); fmt.Sprint(got) != "[setup run again]" {
		t.Fatalf("order %v", got)
	}
}

func setupFails(t *testing.T, s Subject) {
	x := s.New()
	spec := s.Spec(`echo ran > ran`, 0)
	spec.Task.Setup = `exit 5`
	e := wait(t, x, start(t, x, spec))
	if e.Code != 5 || !strings.Contains(e.Why, "setup") || read(t, s.file(spec, "ran")) != "" {
		t.Fatalf("exit %+v", e)
	}
}

func stopInSetup(t *testing.T, s Subject) {
	x := s.New()
	spec := s.Spec(`echo ran > ran`, 0)
	spec.Task.Setup = `trap 'exit 0' TERM; echo up > up; while :; do sleep 0.02; done`
	h := start(t, x, spec)
	appears(t, s.file(spec, "up"))
	stop(t, x, h, time.Minute)
	if e := wait(t, x, h); !e.Stopped || read(t, s.file(spec, "ran")) != "" {
		t.Fatalf("exit %+v", e)
	}
}
