package compute

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"sluice"
)

// launch starts the runs whose start is durable. Runs of an Async executor are
// started here and now, others each in a goroutine of the Service's own.
func (s *Service) launch(ctx context.Context, start []*entry) {
	instant := false
	for _, e := range start {
		s.mu.Lock()
		rec := e.Record
		s.mu.Unlock()
		x := s.cfg.Executors[rec.Executor]
		if a, ok := x.(Async); ok {
			instant = true
			h, err := a.Start(ctx, s.spec(rec))
			s.started(e, rec.Job.RunID, h, err)
			if err == nil {
				s.watch(a, e, rec.Job.RunID, h)
			}
			continue
		}
		s.spawn(func() {
			if x == nil {
				s.started(e, rec.Job.RunID, "", fmt.Errorf("no executor %q", rec.Executor))
				return
			}
			h, err := x.Start(s.ctx, s.spec(rec))
			if s.ctx.Err() != nil {
				return // the next Recover finds it
			}
			s.started(e, rec.Job.RunID, h, err)
			if err == nil {
				_ = s.Sync(s.ctx)
				s.await(x, e, rec.Job.RunID, h)
			}
		})
	}
	if instant {
		_ = s.Sync(ctx) // a failure stays in s.failed; the runs go on
	}
}

// spawn runs f in a goroutine that Close waits for, and not at all after Close.
func (s *Service) spawn(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	s.tasks.Add(1)
	go func() { defer s.tasks.Done(); f() }()
}

// started notes that a run has started, or failed to. A job that was asked to
// stop meanwhile is stopped now.
func (s *Service) started(e *entry, run string, h Handle, err error) {
	if err != nil {
		s.ended(e, run, Exit{Code: -1, At: s.cfg.Now(), Why: err.Error()}, true)
		return
	}
	s.mu.Lock()
	if e.Job.RunID != run {
		s.mu.Unlock()
		return
	}
	e.Handle = h
	stop := e.Job.State == Stopping
	if e.Job.State == Starting {
		e.Job.State = Running
	}
	s.touch(e)
	s.mu.Unlock()
	if stop {
		s.stop(e)
	}
}

func (s *Service) watch(a Async, e *entry, run string, h Handle) {
	err := a.Watch(h, func(x Exit) { s.ended(e, run, x, false) })
	if err != nil {
		s.ended(e, run, Exit{Code: -1, Lost: true, At: s.cfg.Now(), Why: err.Error()}, false)
	}
}

func (s *Service) await(x Executor, e *entry, run string, h Handle) {
	exit, err := x.Wait(s.ctx, h)
	if s.ctx.Err() != nil {
		return // Close: the run goes on without us
	}
	if err != nil {
		exit = Exit{Code: -1, Lost: true, At: s.cfg.Now(), Why: err.Error()}
	}
	s.ended(e, run, exit, false)
}

// stop asks the executor to end the run, once. Without a handle yet, started
// does it later.
func (s *Service) stop(e *entry) {
	s.mu.Lock()
	x, h := s.cfg.Executors[e.Executor], e.Handle
	if e.stopping || h == "" || x == nil {
		s.mu.Unlock()
		return
	}
	e.stopping = true
	id := e.Job.ID
	s.mu.Unlock()
	if a, ok := x.(Async); ok {
		if err := a.Signal(h, s.cfg.Grace); err != nil {
			s.note(e, fmt.Sprintf("stopping %s: %v", id, err))
		}
		return
	}
	s.spawn(func() {
		// The end itself is told by Wait. A stop that fails is tried again: the
		// power that it frees is counted on.
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			err := x.Stop(s.ctx, h, s.cfg.Grace)
			if err == nil || s.ctx.Err() != nil {
				return
			}
			s.note(e, fmt.Sprintf("stopping %s: %v", id, err))
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	})
}

// note puts a line for a person on a job that is otherwise unchanged.
func (s *Service) note(e *entry, why string) {
	_ = s.change(s.ctx, func() func() {
		e.Job.Why = why
		s.touch(e)
		return nil
	})
}

// ended moves a job on when a run of it has ended.
func (s *Service) ended(e *entry, run string, x Exit, neverRan bool) {
	_ = s.change(context.WithoutCancel(s.ctx), func() func() { // a failure stays in s.failed
		if e.Job.RunID != run || e.Job.State == Queued || e.Job.State.Ended() {
			return nil
		}
		s.settleRun(e, x)
		why := e.Job.Why
		switch {
		case e.Job.State == Stopping && e.After == Cancelled:
			s.finish(e, Cancelled, "cancelled", x)
		case e.Job.State == Stopping:
			e.Job.Preemptions++
			e.Retries = 0
			s.requeue(e, "preempted: "+why)
		case neverRan:
			s.retry(e, Failed, "could not start: "+x.Why, true, x)
		case x.Lost:
			resume := e.Job.Virtual || e.Job.Interruptible || !newest(e.checkpointDir(s)).IsZero()
			s.retry(e, Lost, "its process is gone and left no exit status"+suffix(x.Why), resume, x)
		case x.Stopped:
			// Somebody stopped it, but not by our order: the machine going down.
			e.Job.Preemptions++
			s.requeue(e, "stopped from outside"+suffix(x.Why))
		case x.Code == 0:
			s.finish(e, Succeeded, "", x)
		default:
			text := fmt.Sprintf("exit status %d", x.Code)
			if x.Signal != "" {
				text = "ended by " + x.Signal
			}
			s.finish(e, Failed, text+suffix(x.Why), x)
		}
		return nil
	})
}

// settleRun adds what the ended run has used. What a lost run used is not
// known: the client is charged no more of it than was posted. Callers hold mu.
func (s *Service) settleRun(e *entry, x Exit) {
	if t := newest(e.checkpointDir(s)); !e.Job.Virtual && t.After(e.checkpoint) {
		now := s.cfg.Now().UTC()
		e.checkpoint, e.Job.CheckpointAt = t, &now
	} else if e.Job.Virtual && e.Job.State == Stopping {
		at := x.At.UTC()
		e.Job.CheckpointAt = &at
	}
	e.UsedMS = max(e.UsedMS+unitMS(x.Used.Seconds, e.Job.Units), e.BilledMS)
	e.Job.RunSeconds += x.Used.Seconds
	e.live = Usage{}
}

func suffix(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// retry queues a job again, or ends it when that makes no sense.
func (s *Service) retry(e *entry, end State, why string, again bool, x Exit) {
	e.Retries++
	if again && e.Retries <= maxRetries {
		s.requeue(e, why)
		return
	}
	s.finish(e, end, why, x)
}

func (s *Service) requeue(e *entry, why string) {
	e.Job.State, e.Job.Why, e.After = Queued, why, ""
	e.Job.Host, e.Job.RunID, e.Job.StartedAt, e.Job.PowerW = "", "", nil, 0
	e.Handle, e.Executor = "", ""
	s.touch(e)
}

func (s *Service) finish(e *entry, state State, why string, x Exit) {
	at := s.cfg.Now().UTC()
	if e.Job.Virtual && !x.At.IsZero() {
		at = x.At.UTC()
	}
	e.Job.State, e.Job.Why, e.After, e.Job.PowerW = state, why, "", 0
	e.Job.EndedAt = &at
	if !x.Lost && state != Cancelled {
		code := x.Code
		e.Job.ExitCode = &code
	}
	s.touch(e)
}

func unitMS(seconds float64, units int) int64 { return int64(math.Round(seconds*1000)) * int64(units) }

// errUnknownExecutor is why a run cannot be attached.
var errUnknownExecutor = errors.New("the configuration has no such executor any more")

// spec is what the executor needs to know of the run.
func (s *Service) spec(r Record) RunSpec {
	j := r.Job
	spec := RunSpec{
		RunID: j.RunID, JobID: j.ID, Host: j.Host, Task: r.Task, Units: j.Units,
		Remaining: time.Duration((j.ExpectSeconds - j.RunSeconds) * float64(time.Second)),
	}
	if j.Virtual {
		return spec
	}
	dir := s.jobDir(j.ID)
	spec.Dir = filepath.Join(dir, "runs", j.RunID)
	spec.WorkDir = filepath.Join(dir, "work")
	spec.CheckpointDir = filepath.Join(dir, "checkpoint")
	spec.Log = filepath.Join(dir, "log")
	spec.SetupDone = filepath.Join(dir, "setup.done")
	spec.Env = s.environ(r, spec)
	spec.CPULimit = r.Task.Resources.CPUs
	if h := s.hosts[j.Host]; spec.CPULimit == 0 && h.GPUModel == "" {
		spec.CPULimit = float64(j.Units) // a unit is a CPU slot there
	}
	spec.MemoryLimit = int64(r.Task.Resources.MemoryGB * float64(1<<30))
	return spec
}

func (e *entry) checkpointDir(s *Service) string {
	return filepath.Join(s.jobDir(e.Job.ID), "checkpoint")
}

// power of the units that a job holds on the host.
func (h Host) power(units int) sluice.Watts { return h.UnitW * sluice.Watts(units) }
