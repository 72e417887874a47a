package compute

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice"
)

// kept is a Store in memory.
type kept struct{}

func (kept) LoadJobs(context.Context) ([]Record, error)              { return nil, nil }
func (kept) PutJobs(context.Context, []Record) error                 { return nil }
func (kept) Placements(context.Context, string) ([]Placement, error) { return nil, nil }

// noPlacements cannot store, and does something before it says so.
type noPlacements struct {
	kept
	before func()
}

func (n *noPlacements) PutPlacement(context.Context, ...Placement) error {
	n.before()
	return errors.New("the disk is full")
}

func idle(t *testing.T, p PlacementStore) *Service {
	t.Helper()
	s := New(Config{
		Dir: t.TempDir(), Store: kept{}, Placements: p,
		Hosts: []Host{{Name: "h", Class: "a", GPUModel: "A", Units: 8, Executor: "none", UnitW: 400}},
	})
	if err := s.Recover(context.Background(), time.Now()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func queue(t *testing.T, s *Service) *entry {
	t.Helper()
	j, err := s.Submit(context.Background(), time.Now(), SubmitRequest{Tenant: "x", Virtual: true, Interruptible: true, Task: &Task{
		NumNodes: 1, Run: "x", Resources: Resources{Accelerator: "A", GPUs: 2},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s.jobs[j.ID]
}

// A start whose placement cannot be stored never was; a cancellation that came
// meanwhile stands, and the next start keeps no decision of this one.
func TestStartWithoutItsPlacement(t *testing.T) {
	p := &noPlacements{before: func() {}}
	s := idle(t, p)
	a, b := queue(t, s), queue(t, s)
	b.ready = true // of an earlier run
	p.before = func() {
		if _, err := s.Cancel(context.Background(), time.Now(), a.Job.ID); err != nil {
			t.Error(err)
		}
	}
	for _, err := range s.Apply(context.Background(), time.Now(), []Order{{a.Job.ID, ActStart, ""}, {b.Job.ID, ActStart, ""}}) {
		if err == nil {
			t.Error("it started")
		}
	}
	if a.Job.State != Cancelled || b.Job.State != Queued || b.Job.Runs != 0 || b.Job.BeganAt != nil || len(s.active) != 0 {
		t.Errorf("%+v\n%+v", a.Job, b.Job)
	}
	if b.ready || len(s.placements) != 0 {
		t.Errorf("left behind: ready %v, placements %+v", b.ready, s.placements)
	}
}

// A lost run that had told of a checkpoint before a restart goes on from it, and the
// energy that was posted of it stays used.
func TestLostAfterARestart(t *testing.T) {
	s := idle(t, nil)
	e := queue(t, s)
	at := time.Now()
	e.Job.Virtual, e.Job.Interruptible, e.Job.CheckpointAt = false, false, &at
	e.Job.State, e.PostedMilliWh = Running, 5_000
	e.setNodes([]place{{host: s.cfg.Hosts[0], executor: "none", units: 2}}, "r1")
	s.touch(e)
	s.ended(e, "r1", Exit{Code: -1, Lost: true, At: at}, false)
	if e.Job.State != Queued || e.Job.EnergyWh != 5 {
		t.Errorf("%+v", e.Job)
	}
}

// stops notes the notice that it is told to give.
type stops struct {
	Executor
	got chan time.Duration
}

func (x stops) Stop(_ context.Context, _ Handle, grace time.Duration) error {
	x.got <- grace
	return nil
}

// A node that comes up after its run was cut gets no notice either.
func TestCutReachesLateNodes(t *testing.T) {
	s := idle(t, nil)
	x := stops{got: make(chan time.Duration, 2)}
	s.cfg.Executors = map[string]Executor{"none": x}
	e := queue(t, s)
	e.Job.State = Running
	h := s.cfg.Hosts[0]
	e.setNodes([]place{{host: h, executor: "none", units: 1}, {host: h, executor: "none", units: 1}}, "r1")
	e.Nodes[0].Handle = "a"
	s.touch(e)
	if err := s.Preempt(context.Background(), time.Now(), e.Job.ID, "limit"); err != nil {
		t.Fatal(err)
	}
	if got := <-x.got; got != DefaultGrace {
		t.Errorf("notice %v", got)
	}
	if err := s.Cut(context.Background(), e.Job.ID, "limit"); err != nil {
		t.Fatal(err)
	}
	if got := <-x.got; got != 0 {
		t.Errorf("cut after %v", got)
	}
	s.started(e, e.Nodes[1].RunID, "b", nil)
	if got := <-x.got; got != 0 {
		t.Errorf("the late node is cut after %v", got)
	}
	// What is told of a stop when the run is over does not reach the next one.
	e.Nodes = nil
	why := e.Job.Why
	if s.note(e, "a", "stopping it: nothing there") || e.Job.Why != why {
		t.Errorf("noted: %s", e.Job.Why)
	}
	s.mu.Lock()
	s.finish(e, Cancelled, "", Exit{})
	s.mu.Unlock()
}

// loaded is a Store with a job.
type loaded struct {
	kept
	r Record
}

func (l loaded) LoadJobs(context.Context) ([]Record, error) { return []Record{l.r}, nil }

// obedient does nothing for a caller who has gone.
type obedient struct{ Executor }

func (obedient) Attach(ctx context.Context, _ Handle) error           { return ctx.Err() }
func (obedient) Start(ctx context.Context, _ RunSpec) (Handle, error) { return "h", ctx.Err() }
func (obedient) Watch(Handle, func(Exit)) error                       { return nil }
func (obedient) Signal(Handle, time.Duration) error                   { return nil }
func (obedient) Usage(context.Context, Handle) (Usage, error)         { return Usage{}, nil }

// A start of the server that is broken off, or a configuration that has lost an
// executor, does not make a run that goes on a lost one that may run again.
func TestNoSecondRunOfWhatNobodySaw(t *testing.T) {
	h := Host{Name: "h", Class: "a", Units: 8, Real: true}
	r := Record{
		Job:   Job{ID: "j-000001", State: Running, Runs: 1, RunID: "r1", Interruptible: true, Host: "h", Class: "a", Units: 1},
		Task:  &Task{NumNodes: 1, Run: "x"},
		Nodes: []NodeRun{{RunID: "r1", Host: "h", Executor: "x", Units: 1, Handle: "h"}},
	}
	s := New(Config{Dir: t.TempDir(), Store: loaded{r: r}, Hosts: []Host{h}, Executors: map[string]Executor{"x": obedient{}}})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Recover(ctx, time.Now()); err == nil {
		t.Error("it says that it has recovered")
	}
	if j, err := s.Job("j-000001"); err != nil || j.State != Running {
		t.Errorf("broken off: %s, %v", j.State, err)
	}
	s.Close()
	s = New(Config{Dir: t.TempDir(), Store: loaded{r: r}, Hosts: []Host{h}})
	if err := s.Recover(context.Background(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if j, err := s.Job("j-000001"); err != nil || j.State != Lost {
		t.Errorf("without its executor: %s, %v", j.State, err)
	}
	s.Close()
}

// A start that is durable happens, also when the one who asked has not the time.
func TestDurableStartHappens(t *testing.T) {
	s := idle(t, nil)
	s.cfg.Executors = map[string]Executor{"none": obedient{}}
	e := queue(t, s)
	s.mu.Lock()
	e.Job.State = Starting
	e.setNodes([]place{{host: s.cfg.Hosts[0], executor: "none", units: 2}}, "r1")
	s.touch(e)
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.launch(ctx, []*entry{e})
	if e.Job.State != Running {
		t.Errorf("%+v", e.Job)
	}
}

// deaf is an executor, and the books of a tenant, that do not answer.
type deaf struct {
	Executor
	until chan struct{}
}

func (x deaf) Usage(context.Context, Handle) (Usage, error) { <-x.until; return Usage{}, nil }
func (x deaf) Spent(string) sluice.Money                    { <-x.until; return 0 }
func (x deaf) Tenant(name string) (Tenant, bool) {
	return Tenant{Name: name, Trusted: true, SpendLimit: sluice.USD}, true
}

// A run whose host hangs and books that hang hold up no turn, and the others are
// still asked.
func TestHangingHostHoldsUpNobody(t *testing.T) {
	s := idle(t, nil)
	x, y := deaf{until: make(chan struct{})}, deaf{until: make(chan struct{})}
	s.cfg.Executors = map[string]Executor{"none": x, "other": y}
	for _, name := range []string{"none", "none", "other"} {
		e := queue(t, s)
		e.Job.Virtual, e.Job.State = false, Running
		e.setNodes([]place{{host: s.cfg.Hosts[0], executor: name, units: 1}}, e.Job.ID)
		e.Nodes[0].Handle = "h"
		s.touch(e)
	}
	s.cfg.Tenants = x
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 5 {
			s.Tend(context.Background(), time.Now())
			s.Open()
		}
	}()
	select {
	case <-done:
	case <-time.After(90 * time.Second):
		t.Error("the turn waits for the host")
	}
	close(x.until)
	close(y.until)
	<-done
	s.mu.Lock()
	for _, e := range s.active {
		s.finish(e, Cancelled, "", Exit{})
	}
	s.mu.Unlock()
}

// What a turn asks of the queue grows with the queue and not with its square, also
// where jobs wait for each other and their tenant has a spending limit.
func TestQueueIsNoSquare(t *testing.T) {
	fill := func(n int) func() {
		s := idle(t, nil)
		s.cfg.Tenants = tenantOf(Tenant{Name: "x", Trusted: true, SpendLimit: sluice.USD})
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := 1; i <= n; i++ {
			e := &entry{number: i, Record: Record{Job: Job{ID: jobID(i), Name: "n", Tenant: "x", State: Queued, Units: 1, Class: "a"}, Task: &Task{}}}
			switch i % 4 {
			case 0:
				e.Task.After = []Dependency{{Kind: "singleton"}}
			case 1:
				e.Job.Array, e.Job.ArrayIndex, e.Job.State = jobID(1), &i, Succeeded
				e.UsedMS = 1
			case 2:
				at := i - 1
				e.Job.Array, e.Job.ArrayIndex = jobID(2), &at
				e.Task.After = []Dependency{{Kind: "aftercorr", Jobs: []string{jobID(1)}}}
			case 3:
				e.Task.After = []Dependency{{Kind: "afterok", Jobs: []string{jobID(1)}}}
			}
			s.add(e)
			s.touch(e)
		}
		return func() { s.Open(); s.Tend(context.Background(), time.Now()) }
	}
	// The processor's time: a busy machine makes the longer one wait more often.
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	best := func(f func()) time.Duration {
		least := time.Hour
		for range 5 {
			began := used()
			f()
			least = min(least, used()-began)
		}
		return least
	}
	few, many := best(fill(1_000)), best(fill(16_000))
	if many > 80*few && many > time.Second { // linear is 16, the square 256
		t.Errorf("1,000 jobs take %v, 16,000 take %v", few, many)
	}
	t.Log(few, many)
}

type tenantOf Tenant

func (t tenantOf) Tenant(string) (Tenant, bool) { return Tenant(t), true }
func (t tenantOf) Spent(string) sluice.Money    { return 0 }

// counts is a Store that counts.
type counts struct {
	kept
	n *atomic.Int32
}

func (c counts) PutJobs(context.Context, []Record) error { c.n.Add(1); return nil }

// A run that calls its control socket without end holds neither the disk nor the
// server's connections.
func TestControlSocketIsBounded(t *testing.T) {
	s := idle(t, nil)
	var n atomic.Int32
	s.cfg.Store = counts{n: &n}
	e := queue(t, s)
	s.mu.Lock()
	e.Job.State = Running
	e.setNodes([]place{{host: s.cfg.Hosts[0], units: 1}}, "r1")
	s.touch(e)
	s.mu.Unlock()
	n.Store(0)
	began := time.Now()
	for range 500 {
		s.ToldCheckpoint(e.Job.ID, "r1")
	}
	if most := int32(2 + time.Since(began)/tellEvery); n.Load() < 1 || n.Load() > most {
		t.Errorf("500 checkpoints told were stored %d times", n.Load())
	}
	s.mu.Lock()
	s.finish(e, Cancelled, "", Exit{})
	s.mu.Unlock()

	path := filepath.Join(t.TempDir(), "s")
	busy, in := make(chan struct{}), make(chan struct{}, 100)
	srv, err := ListenControl(path, Told{Checkpoint: func() { in <- struct{}{}; <-busy }, Ready: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 3 * maxCalls {
		all.Go(func() {
			c, err := net.Dial("unix", path)
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, "POST /checkpoint HTTP/1.0\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
		})
	}
	for range maxCalls {
		<-in
	}
	select {
	case <-in:
		t.Error("one call too many is answered at once")
	case <-time.After(200 * time.Millisecond):
	}
	close(busy)
	all.Wait()
	if len(in) != 2*maxCalls {
		t.Errorf("%d of the others were answered", len(in))
	}
	_ = srv.Close()
}

// A job that was sold as interruptible stays so where it moves to.
func TestMovedStaysInterruptible(t *testing.T) {
	e := queue(t, idle(t, nil))
	e.choose(Choice{Class: "b", UnitsPerNode: 1})
	if !e.Job.Interruptible {
		t.Error("it has become firm")
	}
}
