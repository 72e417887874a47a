package executortest

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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

// doze returns a number that only this run sleeps for. Processes are found by it:
// their own pids mean nothing to us where they are in a namespace.
func doze(spec compute.RunSpec) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(spec.WorkDir + spec.RunID))
	return strconv.Itoa(100_000_000 + int(h.Sum32()%800_000_000))
}

// alive says whether a process of this machine sleeps for n.
func alive(t *testing.T, n string) bool {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(files) == 0 {
		t.Fatalf("no processes to be seen: %v", err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.HasSuffix(string(b), "\x00"+n+"\x00") {
			return true
		}
	}
	return false
}

// sleeping waits until it is, so that a test which looks for nothing cannot pass
// because it looks in the wrong place.
func sleeping(t *testing.T, s Subject, n string) {
	t.Helper()
	if !s.Hidden {
		until(t, "it sleeps for "+n, func() bool { return alive(t, n) })
	}
}

func killed(t *testing.T, s Subject) {
	spec := s.Spec("", 0)
	n := doze(spec)
	spec.Task.Run = `trap '' TERM; (trap '' TERM; sh -c 'echo up > child; exec sleep ` + n + `') & echo up > shell; wait`
	x := s.New()
	h := start(t, x, spec)
	appears(t, s.file(spec, "child"))
	appears(t, s.file(spec, "shell"))
	sleeping(t, s, n)
	const grace = 300 * time.Millisecond
	began := time.Now()
	stop(t, x, h, grace)
	if took := time.Since(began); took < grace {
		t.Errorf("killed after %v of a grace of %v", took, grace)
	}
	if alive(t, n) {
		t.Error("the child lives")
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
	spec := s.Spec("", 0)
	n := doze(spec)
	spec.Task.Run = `setsid sh -c 'trap "" TERM HUP; (setsid sh -c "echo up > daemon; exec env -i sleep ` + n + `" &)' & sleep 1000`
	x := s.New()
	h := start(t, x, spec)
	appears(t, s.file(spec, "daemon"))
	sleeping(t, s, n)
	stop(t, x, h, 200*time.Millisecond)
	if alive(t, n) {
		t.Fatal("a process in a session and an environment of its own lives")
	}
}

func background(t *testing.T, s Subject) {
	spec := s.Spec("", 0)
	n := doze(spec)
	spec.Task.Run = `setsid sh -c 'echo up > daemon; exec sleep ` + n + `' & while [ ! -e go ]; do sleep 0.01; done; exit 4`
	x := s.New()
	h := start(t, x, spec)
	appears(t, s.file(spec, "daemon"))
	sleeping(t, s, n)
	if err := os.WriteFile(s.file(spec, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, x, h); e.Code != 4 || alive(t, n) {
		t.Fatalf("exit %+v, daemon alive: %v", e, alive(t, n))
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
