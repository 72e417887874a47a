// Package executortest holds the conformance suite that every compute.Executor
// passes.
package executortest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"sluice/compute"
)

// Subject is an executor under test, in a world of its own.
type Subject struct {
	// New returns a new instance over the same world, as after a restart. The
	// instances before it may still exist.
	New func() compute.Executor
	// Spec returns a run with a new RunID that lasts d by itself and then exits
	// with 0. With Scripts, script is run instead unless it is empty.
	Spec func(script string, d time.Duration) compute.RunSpec
	// Pass lets d of the executor's own time go by.
	Pass func(d time.Duration)
	// Gone returns a handle of a run that left nothing; nil where there is no
	// such thing, because a handle says it all.
	Gone func() compute.Handle
	// Scripts: runs are processes, with exit statuses, signals and children.
	Scripts bool
	// Seen says where a run sees its folders and where they are looked into while
	// it runs; nil: where its specification says.
	Seen func(spec compute.RunSpec) compute.RunSpec
	// Hidden: the processes of a run are not to be seen among this machine's, as
	// in a sandbox with a kernel of its own.
	Hidden bool
	// Inspect returns all that whoever may ask is told of a run; nil where there is
	// nobody to ask.
	Inspect func(h compute.Handle) string
}

func (s Subject) seen(spec compute.RunSpec) compute.RunSpec {
	if s.Seen == nil {
		return spec
	}
	return s.Seen(spec)
}

// Run runs the suite. Each test gets a Subject of its own.
func Run(t *testing.T, subject func(t *testing.T) Subject) {
	for name, f := range map[string]func(*testing.T, Subject){
		"ends by itself":         endsByItself,
		"stop":                   stops,
		"stop after the end":     stopAfterEnd,
		"one RunID, one run":     startsOnce,
		"start after the end":    startAfterEnd,
		"attach":                 attach,
		"attach after the end":   attachAfterEnd,
		"stop by another":        stopByAnother,
		"usage":                  usage,
		"many at once":           many,
		"obeys its context":      contexts,
		"a bad handle":           badHandle,
		"watch (async ones)":     watches,
		"a run without a record": gone,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, subject(t))
		})
	}
	if s := subject(t); s.Scripts {
		runScripts(t, subject)
		runPromises(t, subject)
	}
}

// patience is how long anything here may take on a slow machine.
const patience = 60 * time.Second

func start(t *testing.T, x compute.Executor, spec compute.RunSpec) compute.Handle {
	t.Helper()
	h, err := x.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	// Nothing of a test outlives it.
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := x.Stop(ctx, h, 0); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return h
}

func wait(t *testing.T, x compute.Executor, h compute.Handle) compute.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e, err := x.Wait(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func stop(t *testing.T, x compute.Executor, h compute.Handle, grace time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := x.Stop(ctx, h, grace); err != nil {
		t.Fatal(err)
	}
}

// until polls a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

const short, long = 50 * time.Millisecond, time.Hour

func endsByItself(t *testing.T, s Subject) {
	x := s.New()
	h := start(t, x, s.Spec("", short))
	s.Pass(short)
	e := wait(t, x, h)
	if e.Code != 0 || e.Signal != "" || e.Lost || e.Stopped || e.At.IsZero() {
		t.Fatalf("exit %+v", e)
	}
	if e.Used.Seconds < short.Seconds() {
		t.Fatalf("used %v s of a run of %v", e.Used.Seconds, short)
	}
	if again := wait(t, x, h); again != e {
		t.Fatalf("a second Wait says %+v, the first %+v", again, e)
	}
}

func stops(t *testing.T, s Subject) {
	x := s.New()
	h := start(t, x, s.Spec("", long))
	s.Pass(time.Millisecond)
	stop(t, x, h, time.Minute)
	e := wait(t, x, h)
	if !e.Stopped || e.Lost || e.Code != 143 || e.Signal != "SIGTERM" {
		t.Fatalf("exit %+v", e)
	}
	stop(t, x, h, time.Minute) // idempotent
	if again := wait(t, x, h); again != e {
		t.Fatalf("a second Stop changed the exit from %+v to %+v", e, again)
	}
}

func stopAfterEnd(t *testing.T, s Subject) {
	x := s.New()
	h := start(t, x, s.Spec("", short))
	s.Pass(short)
	e := wait(t, x, h)
	stop(t, x, h, time.Minute)
	if again := wait(t, x, h); again != e || again.Stopped {
		t.Fatalf("Stop after the end: %+v, before %+v", again, e)
	}
}

func startsOnce(t *testing.T, s Subject) {
	spec := s.Spec("", long)
	first := s.New()
	h := start(t, first, spec)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			// A second Sluice that does not know the handle asks again only
			// where runs are processes; virtual ones are in one process.
			x := first
			if s.Scripts {
				x = s.New()
			}
			got, err := x.Start(t.Context(), spec)
			if err != nil || got != h {
				t.Errorf("again: %q, %v, want %q", got, err, h)
			}
		})
	}
	wg.Wait()
	stop(t, first, h, time.Minute)
}

func startAfterEnd(t *testing.T, s Subject) {
	x := s.New()
	spec := s.Spec("", short)
	h := start(t, x, spec)
	s.Pass(short)
	e := wait(t, x, h)
	again, err := x.Start(t.Context(), spec)
	if err != nil || again != h {
		t.Fatalf("%q, %v, want %q", again, err, h)
	}
	if got := wait(t, x, again); got != e {
		t.Fatalf("exit %+v of a run that was started again, %+v before", got, e)
	}
}

func attach(t *testing.T, s Subject) {
	h := start(t, s.New(), s.Spec("", 20*short))
	x := s.New()
	if err := x.Attach(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	s.Pass(20 * short)
	if e := wait(t, x, h); e.Code != 0 || e.Lost || e.Stopped || e.Used.Seconds < (20*short).Seconds() {
		t.Fatalf("exit %+v", e)
	}
}

func attachAfterEnd(t *testing.T, s Subject) {
	x := s.New()
	h := start(t, x, s.Spec("", short))
	s.Pass(short)
	e := wait(t, x, h)
	y := s.New()
	if err := y.Attach(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, y, h); got != e {
		t.Fatalf("another says %+v, the first %+v", got, e)
	}
}

func stopByAnother(t *testing.T, s Subject) {
	x := s.New()
	h := start(t, x, s.Spec("", long))
	y := s.New()
	if err := y.Attach(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	stop(t, y, h, time.Minute)
	if e := wait(t, y, h); !e.Stopped || e.Lost {
		t.Fatalf("exit %+v", e)
	}
}

func usage(t *testing.T, s Subject) {
	x := s.New()
	h := start(t, x, s.Spec("", long))
	read := func() float64 {
		u, err := x.Usage(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		return u.Seconds
	}
	a := read()
	s.Pass(100 * time.Millisecond)
	b := read()
	if b < a+0.1 {
		t.Fatalf("%v s, and %v s after 0.1 s more", a, b)
	}
	stop(t, x, h, time.Minute)
	if e := wait(t, x, h); e.Used.Seconds < b || read() != e.Used.Seconds {
		t.Fatalf("%v s at the end, then %v, %v before it", e.Used.Seconds, read(), b)
	}
}

func many(t *testing.T, s Subject) {
	x := s.New()
	handles := map[compute.Handle]bool{}
	for range 12 {
		handles[start(t, x, s.Spec("", short))] = true
	}
	if len(handles) != 12 {
		t.Fatalf("%d handles of 12 runs", len(handles))
	}
	s.Pass(short)
	for h := range handles {
		if e := wait(t, x, h); e.Code != 0 || e.Lost {
			t.Errorf("exit %+v", e)
		}
	}
}

func contexts(t *testing.T, s Subject) {
	x := s.New()
	h := start(t, x, s.Spec("", long))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Wait(ctx, h); err == nil {
		t.Error("Wait went on without its context")
	}
	if _, err := x.Start(ctx, s.Spec("", long)); err == nil {
		t.Error("Start went on without its context")
	}
}

func badHandle(t *testing.T, s Subject) {
	x := s.New()
	for _, h := range []compute.Handle{"", "nonsense", "{}"} {
		if err := x.Attach(t.Context(), h); err == nil {
			t.Errorf("attached to %q", h)
		}
		if err := x.Stop(t.Context(), h, 0); err == nil {
			t.Errorf("stopped %q", h)
		}
	}
}

func watches(t *testing.T, s Subject) {
	x, ok := s.New().(compute.Async)
	if !ok {
		return // Wait is all there is
	}
	var mu sync.Mutex
	told := map[string]int{}
	tell := func(name string) func(compute.Exit) {
		return func(e compute.Exit) {
			mu.Lock()
			defer mu.Unlock()
			told[fmt.Sprint(name, " ", e.Stopped)]++
		}
	}
	heard := func(what string) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return told[what] > 0 }
	}
	a, b := start(t, x, s.Spec("", short)), start(t, x, s.Spec("", long))
	for h, name := range map[compute.Handle]string{a: "a", b: "b"} {
		if err := x.Watch(h, tell(name)); err != nil {
			t.Fatal(err)
		}
	}
	s.Pass(short)
	until(t, "the end of a is told", heard("a false"))
	if err := x.Signal(b, time.Minute); err != nil {
		t.Fatal(err)
	}
	until(t, "the end of b is told", heard("b true"))
	if err := x.Watch(a, tell("late")); err != nil {
		t.Fatal(err)
	}
	until(t, "an end before the Watch is told", heard("late false"))
	mu.Lock()
	defer mu.Unlock()
	for k, n := range told {
		if n != 1 {
			t.Errorf("%s told %d times", k, n)
		}
	}
}

func gone(t *testing.T, s Subject) {
	if s.Gone == nil {
		return
	}
	x := s.New()
	h := s.Gone()
	if err := x.Attach(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if e := wait(t, x, h); !e.Lost {
		t.Fatalf("exit %+v, want lost", e)
	}
}
