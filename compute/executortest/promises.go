package executortest

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/compute"
)

// runPromises is the part of the suite about what a task was promised: how it is
// interrupted, and who sees its secrets.
func runPromises(t *testing.T, subject func(t *testing.T) Subject) {
	for name, f := range map[string]func(*testing.T, Subject){
		"a signal of its own":       ownSignal,
		"a bad signal":              badSignal,
		"a hook":                    hook,
		"a hook that hangs":         hookHangs,
		"a grace of 0":              graceZero,
		"secrets":                   secrets,
		"exec":                      execs,
		"exec ends with its caller": execCancelled,
		"exec ends with the run":    execOutlived,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, subject(t))
		})
	}
}

func ownSignal(t *testing.T, s Subject) {
	for _, name := range []string{"USR1", "SIGUSR2"} {
		spec := s.Spec(`trap 'echo saved > saved; exit 9' `+strings.TrimPrefix(name, "SIG")+`; trap 'exit 1' TERM
echo up > up; while :; do sleep 0.02; done`, 0)
		spec.Interrupt.Signal = name
		x := s.New()
		h := start(t, x, spec)
		appears(t, s.file(spec, "up"))
		stop(t, x, h, time.Minute)
		if e := wait(t, x, h); e.Code != 9 || !e.Stopped || read(t, s.file(spec, "saved")) != "saved" {
			t.Errorf("%s: exit %+v", name, e)
		}
	}
}

func badSignal(t *testing.T, s Subject) {
	for _, name := range []string{"NONSENSE", "KILL", "9; true"} {
		spec := s.Spec(`true`, 0)
		spec.Interrupt.Signal = name
		if _, err := s.New().Start(t.Context(), spec); err == nil {
			t.Errorf("started with the signal %q", name)
		}
	}
}

// The hook runs in the job's folder with its environment and ends before SIGTERM
// comes.
func hook(t *testing.T, s Subject) {
	spec := s.Spec(`trap 'echo term >> order; exit 6' TERM; echo up > up; while :; do sleep 0.02; done`, 0)
	spec.Env = append(spec.Env, "SLUICE_CHECKPOINT_DIR="+spec.CheckpointDir)
	spec.Interrupt.Hook = `sleep 0.2; echo hook >> order; echo "$SLUICE_CHECKPOINT_DIR" > where; echo from the hook`
	x := s.New()
	h := start(t, x, spec)
	appears(t, s.file(spec, "up"))
	stop(t, x, h, time.Minute)
	if e := wait(t, x, h); e.Code != 6 || !e.Stopped {
		t.Errorf("exit %+v", e)
	}
	if got := strings.Fields(read(t, s.file(spec, "order"))); strings.Join(got, " ") != "hook term" {
		t.Errorf("order %v", got)
	}
	if got := read(t, s.file(spec, "where")); got != s.seen(spec).CheckpointDir {
		t.Errorf("the hook was told %q", got)
	}
	if log := read(t, spec.Log); !strings.Contains(log, "from the hook\n") {
		t.Errorf("its output is not in the log:\n%s", log)
	}
}

func hookHangs(t *testing.T, s Subject) {
	for grace := 500 * time.Millisecond; ; grace *= 2 { // a busy machine may take so long to begin the hook
		spec := s.Spec(``, 0)
		n := doze(spec)
		spec.Task.Run = `echo up > up; exec sleep 1000`
		spec.Interrupt.Hook = `echo in > hooked; exec sleep ` + n
		x := s.New()
		h := start(t, x, spec)
		appears(t, s.file(spec, "up"))
		stop(t, x, h, grace)
		if alive(t, n) {
			t.Error("the hook lives")
		}
		if e := wait(t, x, h); e.Code != 137 || e.Signal != "SIGKILL" || !e.Stopped {
			t.Fatalf("exit %+v", e)
		}
		switch hooked := read(t, s.file(spec, "hooked")); {
		case hooked == "in":
			return
		case grace > patience/4:
			t.Fatalf("the hook has not begun in a grace of %s: %q", grace, hooked)
		}
	}
}

// With a grace of 0 nothing is asked first.
func graceZero(t *testing.T, s Subject) {
	spec := s.Spec(`trap 'echo told > told' TERM; echo up > up; while :; do sleep 0.02; done`, 0)
	spec.Interrupt.Hook = `echo told > told`
	x := s.New()
	h := start(t, x, spec)
	appears(t, s.file(spec, "up"))
	stop(t, x, h, 0)
	if e := wait(t, x, h); e.Code != 137 || e.Signal != "SIGKILL" || !e.Stopped || read(t, s.file(spec, "told")) != "" {
		t.Fatalf("exit %+v, told %q", e, read(t, s.file(spec, "told")))
	}
}

// secretText has all that a shell, a file or an environment could get wrong.
const secretText = "'\"$HOME `id` \\ #\n second line;=\t"

// Secrets are in the environment of setup, the script and the hook, and nowhere
// else that anybody could look.
func secrets(t *testing.T, s Subject) {
	spec := s.Spec(`printf %s "$TOKEN" > run-got; echo up > up; trap 'exit 0' TERM; while :; do sleep 0.02; done`, 0)
	spec.Task.Setup = `printf %s "$TOKEN" > setup-got`
	spec.Interrupt.Hook = `printf %s "$TOKEN" > hook-got`
	token := "hunter2-" + doze(spec)
	spec.Secrets = []string{"TOKEN=" + token + secretText, "EMPTY="}
	x := s.New()
	h := start(t, x, spec)
	appears(t, s.file(spec, "up"))
	seek := func() {
		t.Helper()
		at := s.seen(spec)
		for _, dir := range []string{spec.Dir, filepath.Dir(spec.Log), at.Dir, "/dev/shm", os.TempDir()} {
			if found := search(dir, token, spec.WorkDir, at.WorkDir); found != "" {
				t.Errorf("a secret is in %s", found)
			}
		}
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(token)) {
				t.Errorf("a secret is in %s: %s", f, b)
			}
		}
		if s.Inspect != nil && strings.Contains(s.Inspect(h), token) {
			t.Error("a secret is in what can be inspected")
		}
	}
	if s.Inspect != nil && !strings.Contains(s.Inspect(h), spec.WorkDir) {
		t.Error("what can be inspected does not show the run: the look for secrets there proves nothing")
	}
	seek()
	stop(t, x, h, time.Minute)
	wait(t, x, h)
	seek()
	for _, f := range []string{"setup-got", "run-got", "hook-got"} {
		b, err := os.ReadFile(s.file(spec, f))
		if err != nil || string(b) != token+secretText {
			t.Errorf("%s: %q, %v", f, b, err)
		}
	}
}

// search returns a regular file below dir that holds the text.
func search(dir, text string, skip ...string) (found string) {
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // gone meanwhile
		}
		if slices.Contains(skip, p) || d.IsDir() && p != dir && dir == os.TempDir() {
			return fs.SkipDir
		}
		if info, err := d.Info(); err == nil && d.Type().IsRegular() && info.Size() < 1<<20 {
			if b, err := os.ReadFile(p); err == nil && bytes.Contains(b, []byte(text)) {
				found = p
			}
		}
		return nil
	})
	return found
}

func execer(t *testing.T, x compute.Executor) compute.Execer {
	t.Helper()
	e, ok := x.(compute.Execer)
	if !ok {
		t.Skip("it cannot run commands beside a run")
	}
	return e
}

func execs(t *testing.T, s Subject) {
	spec := s.Spec(`echo up > up; trap 'exit 0' TERM; while :; do sleep 0.02; done`, 0)
	spec.Env = append(spec.Env, "MARK=set")
	spec.Secrets = []string{"TOKEN=" + secretText}
	x := s.New()
	y := execer(t, s.New()) // after a restart, say
	h := start(t, x, spec)
	appears(t, s.file(spec, "up"))
	for _, c := range []struct {
		argv     []string
		in, out  string
		wantCode int
	}{
		{[]string{"sh", "-c", `echo "$MARK $0 $1"; pwd; echo err >&2; exit 3`, "a b", "c'd"}, "", "set a b c'd\n" + s.seen(spec).WorkDir + "\nerr\n", 3},
		{[]string{"sh", "-c", `printf %s "$TOKEN"`}, "", secretText, 0},
		{[]string{"cat"}, strings.Repeat("line\n", 20_000), strings.Repeat("line\n", 20_000), 0},
		{[]string{"sh", "-c", `kill -KILL $$`}, "", "", 137},
		{[]string{"no-such-command-xyz"}, "", "", 127},
	} {
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		code, err := y.Exec(ctx, h, c.argv, strings.NewReader(c.in), &out)
		cancel()
		if err != nil || code != c.wantCode || c.wantCode != 127 && out.String() != c.out {
			t.Errorf("%v: %d, %v, %.200q", c.argv, code, err, out.String())
		}
	}
	stop(t, x, h, time.Minute)
	if _, err := y.Exec(t.Context(), h, []string{"true"}, nil, &bytes.Buffer{}); err == nil {
		t.Error("exec in a run that has ended")
	}
}

func execCancelled(t *testing.T, s Subject) {
	spec := s.Spec(`echo up > up; trap 'exit 0' TERM; while :; do sleep 0.02; done`, 0)
	x := s.New()
	y := execer(t, x)
	h := start(t, x, spec)
	n := doze(spec)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := y.Exec(ctx, h, []string{"sh", "-c", "echo in > in; exec sleep " + n}, nil, &bytes.Buffer{})
		ended <- err
	}()
	appears(t, s.file(spec, "in"))
	sleeping(t, s, n)
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(patience):
		t.Fatal("it goes on without its context")
	}
	until(t, "the command has ended", func() bool { return !alive(t, n) })
	stop(t, x, h, time.Minute)
	if e := wait(t, x, h); e.Code != 0 {
		t.Errorf("the run: %+v", e)
	}
}

func execOutlived(t *testing.T, s Subject) {
	spec := s.Spec(`while [ ! -e go ]; do sleep 0.01; done`, 0)
	x := s.New()
	y := execer(t, x)
	h := start(t, x, spec)
	n := doze(spec)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = y.Exec(t.Context(), h, []string{"sh", "-c", "trap '' TERM; echo in > in; exec sleep " + n}, nil, &bytes.Buffer{})
	}()
	appears(t, s.file(spec, "in"))
	sleeping(t, s, n)
	if err := os.WriteFile(s.file(spec, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, x, h); e.Code != 0 || e.Lost {
		t.Errorf("the run: %+v", e)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("exec goes on without the run")
	}
	until(t, "the command has ended", func() bool { return !alive(t, n) })
}
