package remote_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"sluice/compute"
	"sluice/compute/agent"
	"sluice/compute/executortest"
	"sluice/compute/process"
	"sluice/compute/remote"
	"sluice/fabric"
	"sluice/store"
)

// The test binary is also the keeper of runs, an agent, a guard and a site.
func TestMain(m *testing.M) {
	if len(os.Args) >= 3 {
		switch os.Args[1] {
		case "exec-shim":
			os.Exit(process.Shim(os.Args[2]))
		case "agent":
			os.Exit(agentProcess(os.Args[2]))
		case "crowd":
			os.Exit(crowdProcess(os.Args[2]))
		case "guard":
			os.Exit(guardProcess(os.Args[2]))
		case "site":
			os.Exit(siteProcess(os.Args[2]))
		}
	}
	os.Exit(m.Run())
}

// world is a site with a hub over real TLS and a real database, and its hosts.
type world struct {
	t   testing.TB
	dir string
	db  *store.DB
	hub *fabric.Hub
	cfg fabric.Config
}

func logger(t testing.TB) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(writer{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type writer struct{ t testing.TB }

func (w writer) Write(b []byte) (int, error) { fmt.Fprintf(os.Stderr, "%s", b); return len(b), nil }

func newWorld(t testing.TB, hosts ...string) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, dir: dir}
	var err error
	if w.db, err = store.Open(t.Context(), filepath.Join(dir, "site"), store.Options{Site: "test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	w.cfg = fabric.Config{
		Dir: filepath.Join(dir, "site", "fabric"), Listen: "127.0.0.1:0", Hosts: hosts,
		Tokens: w.db.Fabric(), Journal: w.db.Fabric(), Log: logger(t),
	}
	w.open()
	t.Cleanup(func() { w.hub.Close() })
	return w
}

// open starts the hub, on the same port after a restart.
func (w *world) open() {
	w.t.Helper()
	var err error
	if w.hub, err = fabric.NewHub(w.t.Context(), w.cfg); err != nil {
		w.t.Fatal(err)
	}
	w.cfg.Listen = w.hub.Address()[len("tls://"):]
}

func (w *world) token(host string) fabric.JoinToken {
	w.t.Helper()
	tok, err := w.hub.Token(context.Background(), host, time.Now().Add(time.Hour), "test")
	if err != nil {
		w.t.Fatal(err)
	}
	return tok
}

func newProcess(t testing.TB) compute.Executor {
	t.Helper()
	x, err := process.New(process.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// join runs an agent in this process until stop is called.
func (w *world) join(host string, tok fabric.JoinToken, change ...func(*agent.Config)) (stop func()) {
	w.t.Helper()
	dir := filepath.Join(w.dir, "hosts", host)
	c := agent.Config{
		Dir:       dir,
		Link:      fabric.LinkConfig{URL: w.hub.Address(), Token: tok},
		Executors: []agent.Executor{{Name: "process", Run: newProcess(w.t), Isolations: []compute.Isolation{compute.IsolationNone}}},
		Facts:     agent.HostFacts(host, "test", w.dir), Sources: []agent.Source{agent.NewHost(w.dir)}, Log: logger(w.t),
	}
	for _, f := range change {
		f(&c)
	}
	a, err := agent.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("agent of %s: %v", host, err)
		}
	}
	w.t.Cleanup(stop)
	w.until("host "+host+" answers", func() bool { ok, _ := w.hub.Reach(host); return ok })
	return stop
}

// pace is how often until looks.
const pace = 3 * time.Millisecond

func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	late := time.After(60 * time.Second)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late:
			w.t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

func (w *world) executor(cfg remote.Config) *remote.Executor {
	cfg.Log = logger(w.t)
	x := remote.New(w.hub, cfg)
	w.t.Cleanup(x.Close)
	return x
}

var serial atomic.Int64

// spec is a run of a job of its own, with its folders on the site's side.
func (w *world) spec(host, script string) compute.RunSpec {
	w.t.Helper()
	id := fmt.Sprintf("j-%06d", serial.Add(1))
	job := filepath.Join(w.dir, "site", "jobs", id)
	s := compute.RunSpec{
		RunID: id + "-r1", JobID: id, Host: host, Units: 1, Nodes: 1, Task: &compute.Task{Run: script},
		Dir: filepath.Join(job, "runs", id+"-r1"), WorkDir: filepath.Join(job, "work"),
		CheckpointDir: filepath.Join(job, "checkpoint"), Log: filepath.Join(job, "log"),
		SetupDone: filepath.Join(job, "setup.done"),
		Env: []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(job, "work"), "LANG=C.UTF-8",
			"SLUICE_CHECKPOINT_DIR=" + filepath.Join(job, "checkpoint"),
		},
	}
	for _, d := range []string{s.WorkDir, s.CheckpointDir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	return s
}

// local says where the run sees a folder of the site's.
func (w *world) local(s compute.RunSpec, kind, path string) string {
	return filepath.Join(w.dir, "hosts", s.Host, "jobs", s.JobID, fabric.FolderName(kind, path))
}

func TestConformance(t *testing.T) {
	executortest.Run(t, func(t *testing.T) executortest.Subject {
		w := newWorld(t, "h1")
		w.join("h1", w.token("h1"))
		var last atomic.Pointer[remote.Executor]
		return executortest.Subject{
			Scripts: true,
			New: func() compute.Executor {
				x := w.executor(remote.Config{})
				last.Store(x)
				return x
			},
			Spec: func(script string, d time.Duration) compute.RunSpec {
				if script == "" {
					script = fmt.Sprintf("exec sleep %f", d.Seconds())
				}
				return w.spec("h1", script)
			},
			Pass: func(d time.Duration) { <-time.After(d) },
			Gone: func() compute.Handle {
				return compute.Handle(fmt.Sprintf(`{"host":"h1","run":"j-1-r9","job":"j-1","epoch":%q,"lease":%d,"dir":%q,"log":%q}`,
					w.hub.Epoch("h1"), time.Hour, filepath.Join(w.dir, "no"), filepath.Join(w.dir, "no", "log")))
			},
			Seen: func(s compute.RunSpec) compute.RunSpec {
				s.Dir = filepath.Join(w.dir, "hosts", s.Host) // all that the agent keeps
				s.WorkDir, s.CheckpointDir = w.local(s, "work", s.WorkDir), w.local(s, "checkpoint", s.CheckpointDir)
				return s
			},
		}
	})
}
