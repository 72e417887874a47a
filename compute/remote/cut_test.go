package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/agent"
	"sluice/compute/remote"
)

// lines makes the script that writes numbered lines until it is told to end.
func lines(n int, pause string) string {
	return fmt.Sprintf(`i=0; while [ $i -lt %d ]; do i=$((i+1)); echo "line $i"; %s; done`, n, pause)
}

// checkLines finds what is missing or doubled in a log.
func checkLines(t testing.TB, log string, n int) {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	next := 1
	for _, l := range strings.Split(string(b), "\n") {
		var i int
		if _, err := fmt.Sscanf(l, "line %d", &i); err != nil {
			continue
		}
		if i != next {
			t.Fatalf("line %d where %d is due:\n%.2000s", i, next, b)
		}
		next++
	}
	if next != n+1 {
		t.Fatalf("%d lines of %d:\n%.2000s", next-1, n, b)
	}
}

func begin(t testing.TB, x *remote.Executor, s compute.RunSpec) compute.Handle {
	t.Helper()
	h, err := x.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = x.Stop(ctx, h, 0)
	})
	return h
}

func await(t testing.TB, x *remote.Executor, h compute.Handle) compute.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := x.Wait(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Over cuts at many instants the output arrives once, in order; the run's end that
// happens during one is told after it.
func TestCutsLoseNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "h1")
	p := newProxy(t, w.hub.Address()[len("tls://"):])
	w.join("h1", w.token("h1"), func(c *agent.Config) { c.Link.URL = p.url() })
	x := w.executor(remote.Config{})
	s := w.spec("h1", lines(400, "sleep 0.005")+"; echo out > out.txt; echo ck > $SLUICE_CHECKPOINT_DIR/ck")
	h := begin(t, x, s)
	for range 4 {
		w.until("some output comes", func() bool { info, err := os.Stat(s.Log); return err == nil && info.Size() > 100 })
		p.cut()
		w.until("the host is silent", func() bool { ok, _ := w.hub.Reach("h1"); return !ok })
		p.heal()
		w.until("the host answers", func() bool { ok, _ := w.hub.Reach("h1"); return ok })
	}
	if e := await(t, x, h); e.Code != 0 || e.Lost || e.Stopped || e.Why != "" {
		t.Fatalf("exit %+v", e)
	}
	checkLines(t, s.Log, 400)
	for f, want := range map[string]string{filepath.Join(s.WorkDir, "out.txt"): "out\n", filepath.Join(s.CheckpointDir, "ck"): "ck\n"} {
		if b, err := os.ReadFile(f); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", f, b, err)
		}
	}
}

// During a cut a start fails at once and is safe to try elsewhere; the silence is
// noticed in under 5 s.
func TestStartDuringACut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "h1")
	p := newProxy(t, w.hub.Address()[len("tls://"):])
	w.join("h1", w.token("h1"), func(c *agent.Config) { c.Link.URL = p.url() })
	x := w.executor(remote.Config{})
	p.cut()
	looks := 0 // each is a time that this process got: a machine that stands still for a while takes none
	w.until("the host is silent", func() bool { looks++; ok, _ := w.hub.Reach("h1"); return !ok })
	if took := time.Duration(looks) * pace; took > 5*time.Second {
		t.Errorf("noticed after %v", took)
	}
	s := w.spec("h1", "true")
	if _, err := x.Start(t.Context(), s); sluice.KindOf(err) != sluice.Unavailable {
		t.Fatalf("started: %v", err)
	}
	p.heal()
	w.until("the host answers", func() bool { ok, _ := w.hub.Reach("h1"); return ok })
	if e := await(t, x, begin(t, x, s)); e.Code != 0 {
		t.Fatalf("exit %+v", e)
	}
}

// A site that is closed and opened again finds its run, its output and its end.
func TestSiteRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "h1")
	w.join("h1", w.token("h1"))
	x := w.executor(remote.Config{})
	s := w.spec("h1", lines(300, "sleep 0.01"))
	h := begin(t, x, s)
	w.until("some output comes", func() bool { info, err := os.Stat(s.Log); return err == nil && info.Size() > 100 })
	x.Close()
	w.hub.Close()
	w.open()
	y := w.executor(remote.Config{})
	if err := y.Attach(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if e := await(t, y, h); e.Code != 0 || e.Lost || e.Used.Seconds < 3 {
		t.Fatalf("exit %+v", e)
	}
	checkLines(t, s.Log, 300)
}

// Work comes home: a checkpoint while the run goes on, files on request, and all of
// it at a stop; the next host gets it, and only what has changed is sent.
func TestWorkTravels(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "h1", "h2")
	for i, h := range []string{"h1", "h2"} {
		w.join(h, w.token(h), func(c *agent.Config) { c.Link.LocalAddress = fmt.Sprintf("127.0.0.%d", i+2) })
	}
	x := w.executor(remote.Config{})
	s := w.spec("h1", `cat in.txt; echo 1 > $SLUICE_CHECKPOINT_DIR/step; echo part > part.txt; rm in.txt
trap 'echo 2 > $SLUICE_CHECKPOINT_DIR/step; exit 5' TERM; while :; do sleep 0.05; done`)
	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000) // several messages long
	for name, b := range map[string][]byte{"in.txt": []byte("input\n"), "sub/big.bin": big} {
		f := filepath.Join(s.WorkDir, name)
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("sub/big.bin", filepath.Join(s.WorkDir, "link")); err != nil {
		t.Fatal(err)
	}
	h := begin(t, x, s)
	step := func() string {
		b, _ := os.ReadFile(filepath.Join(s.CheckpointDir, "step"))
		return strings.TrimSpace(string(b))
	}
	w.until("the checkpoint comes home by itself", func() bool { return step() == "1" })
	if err := x.Fetch(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(s.WorkDir, "part.txt")); err != nil || string(b) != "part\n" {
		t.Fatalf("fetched %q, %v", b, err)
	}
	if err := x.Stop(t.Context(), h, time.Minute); err != nil {
		t.Fatal(err)
	}
	if e := await(t, x, h); e.Code != 5 || !e.Stopped || step() != "2" {
		t.Fatalf("exit %+v, step %q", e, step())
	}
	if _, err := os.Lstat(filepath.Join(s.WorkDir, "in.txt")); !os.IsNotExist(err) {
		t.Fatalf("what the run removed is there: %v", err)
	}
	next := w.spec("h2", `cat $SLUICE_CHECKPOINT_DIR/step part.txt; cmp sub/big.bin link && stat -c %a sub/big.bin`)
	next.JobID, next.RunID = s.JobID, s.JobID+"-r2"
	next.WorkDir, next.CheckpointDir, next.Log = s.WorkDir, s.CheckpointDir, s.Log
	next.Env = s.Env
	if e := await(t, x, begin(t, x, next)); e.Code != 0 {
		b, _ := os.ReadFile(s.Log)
		t.Fatalf("exit %+v\n%s", e, b)
	}
	b, _ := os.ReadFile(s.Log)
	if !strings.Contains(string(b), "input\n") || !strings.Contains(string(b), "2\npart\n640\n") {
		t.Fatalf("the log:\n%s", b)
	}
	if err := x.Wipe(t.Context(), "h2", s.JobID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "hosts", "h2", "jobs", s.JobID)); !os.IsNotExist(err) {
		t.Fatalf("the job's data are there after the wipe: %v", err)
	}
}

// A node of a gang ends soon when its host hears nothing; the site says so only
// when that is certain, and an operator's word does it at once.
func TestLeases(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "h1")
	p := newProxy(t, w.hub.Address()[len("tls://"):])
	w.join("h1", w.token("h1"), func(c *agent.Config) { c.Link.URL = p.url() })
	x := w.executor(remote.Config{GangLease: 5 * time.Second})
	gang := w.spec("h1", `trap 'echo told > told; exit 0' TERM; echo up > up; while :; do sleep 0.05; done`)
	gang.Nodes, gang.Interrupt.Notice = 2, time.Second
	lone := w.spec("h1", `echo up > up; exec sleep 1000`)
	hg, hl := begin(t, x, gang), begin(t, x, lone)
	at := func(s compute.RunSpec, f string) string { return filepath.Join(w.local(s, "work", s.WorkDir), f) }
	exists := func(f string) bool { _, err := os.Stat(f); return err == nil }
	w.until("both are up", func() bool { return exists(at(gang, "up")) && exists(at(lone, "up")) })
	p.cut()
	w.until("the gang's node is told to stop", func() bool { return exists(at(gang, "told")) })
	// A slow machine may know of the node by its lease already.
	if n := x.Lost("h1", "test"); n != 1 && n != 2 {
		t.Fatalf("%d runs lost, want 2", n)
	}
	if e := await(t, x, hg); !e.Lost {
		t.Fatalf("exit %+v", e)
	}
	if e := await(t, x, hl); !e.Lost || !strings.Contains(e.Why, "declared lost by test") {
		t.Fatalf("exit %+v", e)
	}
	p.heal()
	// The word was wrong: what returns is stopped, for the job may run elsewhere.
	w.until("what returns is stopped", func() bool {
		for _, h := range w.hub.Hosts() {
			if h.State == "ready" && h.Runs == 0 {
				return true
			}
		}
		return false
	})
}
