package compute_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/process"
	"sluice/sim/hosts"
	"sluice/store"
)

// The test binary is also the keeper of the runs and, in one test, the server
// that is killed.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "exec-shim" {
		os.Exit(process.Shim(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		fmt.Fprintln(os.Stderr, serve(os.Args[2]))
		os.Exit(1)
	}
	if len(os.Args) == 2 && os.Args[1] == "job" {
		if err := countingJob(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var epoch = time.Date(2023, 8, 14, 0, 0, 0, 0, time.UTC)

// errDisk is what a world's store says while it is told to fail.
var errDisk = errors.New("the disk is full")

// world is a service over a real database, virtual hosts in stepped time and
// this machine. Restart makes a new service over the same data, as after a kill.
type world struct {
	t       testing.TB
	dir     string
	db      *store.DB
	virt    *hosts.Executor
	proc    *process.Executor
	svc     *compute.Service
	hosts   []compute.Host
	closed  bool
	vault   compute.Vault
	tenants tenants // nil: everybody is trusted
	limits  compute.HostLimits

	mu      sync.Mutex
	now     time.Time
	fail    bool
	stall   chan struct{} // not nil: storing waits until it is closed
	stalled chan struct{} // gets a token at each store that waits
	changes []compute.Job
	seen    chan struct{} // gets a token at each change, if there is room
}

func newWorld(t testing.TB, hs ...compute.Host) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), now: epoch, hosts: hs, seen: make(chan struct{}, 1)}
	var err error
	if w.db, err = store.Open(context.Background(), w.dir, store.Options{}); err != nil {
		t.Fatal(err)
	}
	w.restart()
	t.Cleanup(w.close)
	return w
}

// close ends everything. It may be called early.
func (w *world) close() {
	if w.closed {
		return
	}
	w.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w.setFail(false)
	for _, j := range w.svc.Jobs() {
		_, _ = w.svc.Cancel(ctx, w.Now(), j.ID)
	}
	if err := w.svc.Shutdown(ctx); err != nil {
		w.t.Errorf("shut down: %v", err)
	}
	if err := w.db.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *world) Now() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now }

// restart begins a new service as a new process would: everything in memory is
// gone, the executors too.
func (w *world) restart() {
	w.t.Helper()
	if w.svc != nil {
		w.svc.Close()
	}
	w.virt = hosts.NewStepped(w.Now)
	var err error
	if w.proc, err = process.New(process.Config{}); err != nil {
		w.t.Fatal(err)
	}
	var who compute.Tenants
	if w.tenants != nil {
		who = w.tenants
	}
	w.svc = compute.New(compute.Config{
		Tenants: who, Vault: w.vault, Placements: w.db.Placements(), HostLimits: w.limits,
		Hosts:     w.hosts,
		Executors: map[string]compute.Executor{"virtual": w.virt, "process": w.proc},
		Store:     w, Dir: w.dir, Now: w.Now, Grace: 20 * time.Second, Path: os.Getenv("PATH"),
		OnChange: func(j compute.Job) {
			w.mu.Lock()
			w.changes = append(w.changes, j)
			w.mu.Unlock()
			select {
			case w.seen <- struct{}{}:
			default:
			}
		},
	})
	if err := w.svc.Recover(context.Background(), w.Now()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) setFail(on bool) { w.mu.Lock(); defer w.mu.Unlock(); w.fail = on }

// hang lets the store hang until the function that it returns is called.
func (w *world) hang() (on func()) {
	c := make(chan struct{})
	w.mu.Lock()
	w.stall, w.stalled = c, make(chan struct{}, 100)
	w.mu.Unlock()
	return sync.OnceFunc(func() {
		w.mu.Lock()
		w.stall = nil
		w.mu.Unlock()
		close(c)
	})
}

// PutJobs and LoadJobs are the store's, which can be told to fail.
func (w *world) PutJobs(ctx context.Context, recs []compute.Record) error {
	w.mu.Lock()
	stall := w.stall
	w.mu.Unlock()
	if stall != nil {
		w.stalled <- struct{}{}
		<-stall
	}
	w.mu.Lock()
	fail := w.fail
	w.mu.Unlock()
	if fail {
		return errDisk
	}
	return w.db.Jobs().PutJobs(ctx, recs)
}

func (w *world) LoadJobs(ctx context.Context) ([]compute.Record, error) {
	return w.db.Jobs().LoadJobs(ctx)
}

// pass lets site time go by for the virtual hosts.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	w.now = w.now.Add(d)
	now := w.now
	w.mu.Unlock()
	w.virt.Advance(now)
}

func (w *world) submit(r compute.SubmitRequest) compute.Job {
	w.t.Helper()
	j, err := w.svc.Submit(context.Background(), w.Now(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

func (w *world) start(id string) {
	w.t.Helper()
	if err := w.svc.Start(context.Background(), w.Now(), id, "test"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) job(id string) compute.Job {
	w.t.Helper()
	j, err := w.svc.Job(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// reach waits until the job is in the state.
func (w *world) reach(id string, s compute.State) compute.Job {
	w.t.Helper()
	var j compute.Job
	w.until(fmt.Sprintf("job %s is %s", id, s), func() bool { j = w.job(id); return j.State == s })
	return j
}

func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	late := time.NewTimer(90 * time.Second)
	defer late.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late.C:
			w.t.Fatalf("never: %s; jobs: %+v", what, w.svc.Jobs())
		case <-w.seen:
		case <-tick.C:
		}
	}
}

// appears waits for a file in the job's working folder and returns its text.
func (w *world) appears(id, name string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, "jobs", id, "work", name)
	var b []byte
	w.until(name+" appears", func() bool { b, _ = os.ReadFile(path); return len(b) > 0 })
	return string(b)
}

// tenants is a compute.Tenants that nothing was posted to.
type tenants map[string]compute.Tenant

func (t tenants) Tenant(name string) (compute.Tenant, bool) { x, ok := t[name]; return x, ok }
func (t tenants) Spent(string) sluice.Money                 { return 0 }

func gpuHost(name string) compute.Host {
	return compute.Host{Name: name, Class: "a100", Executor: "virtual", Units: 8, GPUModel: "A100", IdleW: 900, UnitW: 400}
}

var thisMachine = compute.Host{Name: "this", Class: "cpu", Executor: "process", Units: 4, CPUs: 4, MemoryGB: 8, IdleW: 60, UnitW: 20, Real: true}

func gpus(n int, seconds float64) compute.SubmitRequest {
	return compute.SubmitRequest{Tenant: "acme", RateUSDHour: 1.234567, ExpectSeconds: seconds, Task: &compute.Task{
		Name: "train", NumNodes: 1, Run: "x", Resources: compute.Resources{Accelerator: "A100", GPUs: n},
	}}
}

func script(run string) compute.SubmitRequest {
	return compute.SubmitRequest{Tenant: "acme", RateUSDHour: 0.04, Task: &compute.Task{NumNodes: 1, Run: run}}
}

func wantKind(t testing.TB, err error, k sluice.Kind) {
	t.Helper()
	if err == nil || sluice.KindOf(err) != k {
		t.Errorf("error %v of kind %v, want kind %v", err, sluice.KindOf(err), k)
	}
}
