package compute

import (
	"context"
	"errors"
	"testing"
	"time"
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

// A job that was sold as interruptible stays so where it moves to.
func TestMovedStaysInterruptible(t *testing.T) {
	e := queue(t, idle(t, nil))
	e.choose(Choice{Class: "b", UnitsPerNode: 1})
	if !e.Job.Interruptible {
		t.Error("it has become firm")
	}
}
