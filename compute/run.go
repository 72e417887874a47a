package compute

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"sluice"
)

// launch starts the nodes whose start is durable and that have no handle yet.
// Those of an Async executor are started here and now, others each in a
// goroutine of the Service's own.
func (s *Service) launch(ctx context.Context, start []*entry) {
	instant := false
	durable := context.WithoutCancel(ctx) // what was decided happens, also when the caller is late
	for _, e := range start {
		s.mu.Lock()
		rec := e.Record
		nodes := append([]NodeRun(nil), e.Nodes...)
		rec.Nodes = nodes // the job's own go on changing
		s.mu.Unlock()
		prepared := sync.OnceValue(func() error { return s.prepareNodes(rec) })
		for rank, n := range nodes {
			if n.Handle != "" || n.Exit != nil {
				continue
			}
			x := s.cfg.Executors[n.Executor]
			if a, ok := x.(Async); ok {
				instant = true
				spec, err := s.spec(durable, rec, rank)
				var h Handle
				if err == nil {
					h, err = a.Start(durable, spec)
				}
				s.started(e, n.RunID, h, err)
				if err == nil {
					s.watch(a, e, n.RunID, h)
				}
				continue
			}
			s.spawn(func() { s.launchOne(x, e, rec, rank, prepared) })
		}
	}
	if instant {
		_ = s.Sync(ctx) // a failure stays in s.failed; the runs go on
	}
}

func (s *Service) launchOne(x Executor, e *entry, rec Record, rank int, prepared func() error) {
	run := rec.Nodes[rank].RunID
	if x == nil {
		s.started(e, run, "", fmt.Errorf("no executor %q", rec.Nodes[rank].Executor))
		return
	}
	var spec RunSpec
	err := prepared()
	if err == nil {
		spec, err = s.spec(s.ctx, rec, rank)
	}
	var h Handle
	if err == nil {
		s.listen(e, run, spec.Control)
		h, err = x.Start(s.ctx, spec)
	}
	if s.ctx.Err() != nil {
		return // the next Recover finds it
	}
	s.started(e, run, h, err)
	if err == nil {
		_ = s.Sync(s.ctx)
		s.await(x, e, run, h)
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

// started notes that a node has started, or failed to. The job runs when all of
// its nodes do; one that was asked to stop meanwhile is stopped now.
func (s *Service) started(e *entry, run string, h Handle, err error) {
	if err != nil {
		s.ended(e, run, Exit{Code: -1, At: s.cfg.Now(), Why: err.Error()}, true)
		return
	}
	s.mu.Lock()
	rank := e.nodeOf(run)
	if rank < 0 {
		s.mu.Unlock()
		return
	}
	e.Nodes[rank].Handle = h
	stop := e.Job.State == Stopping
	if e.Job.State == Starting && e.allStarted() {
		e.Job.State = Running
		e.runningAt = time.Now()
	}
	s.touch(e)
	s.mu.Unlock()
	if stop {
		s.stop(e)
	}
}

func (e *entry) allStarted() bool {
	for i := range e.Nodes {
		if e.Nodes[i].Handle == "" {
			return false
		}
	}
	return true
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

// ended notes the end of a node. The last one moves the job on; one that ends
// badly before takes the others with it.
func (s *Service) ended(e *entry, run string, x Exit, neverRan bool) {
	wind := false
	s.lookForCheckpoint(e, true)
	_ = s.change(context.WithoutCancel(s.ctx), func() func() { // a failure stays in s.failed
		rank := e.nodeOf(run)
		if rank < 0 || e.Nodes[rank].Exit != nil || e.Job.State == Queued || e.Job.State.Ended() {
			return nil
		}
		x.NeverRan = neverRan
		e.Nodes[rank].Exit = &x
		s.settleNode(e, rank, x)
		s.deafen(run)
		bad := neverRan || x.Lost || x.Stopped || x.Code != 0
		if bad && e.Cause == nil && e.Job.State != Stopping {
			e.Cause = &rank
		}
		switch {
		case e.allEnded():
			s.conclude(e, x)
		case bad && e.Job.State != Stopping:
			wind = true
			e.Job.State, e.After = Stopping, windDown
			e.Job.Why = fmt.Sprintf("node %d on %s has ended: the others stop too", rank, e.Nodes[rank].Host)
			s.touch(e)
		default:
			s.touch(e)
		}
		return nil
	})
	if wind {
		s.stop(e)
	}
	s.slim(e.Job.ID)
}

// conclude moves a job on when nothing of its run is left. x is the end of its
// last node. Callers hold mu.
func (s *Service) conclude(e *entry, x Exit) {
	e.Job.RunSeconds += e.liveSeconds()
	why := e.Job.Why
	if e.Cause != nil {
		x = *e.Nodes[*e.Cause].Exit
		if len(e.Nodes) > 1 {
			x.Why = fmt.Sprintf("node %d on %s%s", *e.Cause, e.Nodes[*e.Cause].Host, suffix(x.Why))
		}
	}
	ordered := e.Job.State == Stopping && e.After != windDown
	switch {
	case ordered && e.After == Cancelled:
		s.finish(e, Cancelled, "while it ran", x)
	case ordered && e.After == Failed:
		s.finish(e, Failed, why, x)
	case ordered && e.Task.NoRequeue && (x.Stopped || x.Code != 0):
		s.finish(e, Cancelled, "preempted, and its task says no-requeue: "+why, x)
	case ordered:
		e.Job.Preemptions++
		e.Retries = 0
		s.learnStop(e)
		s.requeue(e, "preempted: "+why)
	case x.NeverRan:
		s.retry(e, Failed, "could not start: "+x.Why, true, x)
	case x.Lost:
		// What may run still must not run twice.
		resume := !x.unseen && (e.Job.Virtual || e.Job.Interruptible || !e.saved.IsZero() || e.Job.CheckpointAt != nil) // told before a restart
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
		text += suffix(x.Why)
		switch r := e.Task.Resources; {
		case slices.Contains(r.RestartExitCodes, x.Code):
			s.requeue(e, text+": its task restarts it after that")
		case e.Restarts < r.MaxRestarts:
			e.Restarts++
			s.requeue(e, fmt.Sprintf("%s: restart %d of %d", text, e.Restarts, r.MaxRestarts))
		default:
			s.finish(e, Failed, text, x)
		}
	}
}

// settleNode adds what an ended node has used. What a lost one used is not
// known: the client is charged no more of it than was posted. Callers hold mu.
func (s *Service) settleNode(e *entry, rank int, x Exit) {
	if e.Job.Virtual && e.Job.State == Stopping {
		at := x.At.UTC()
		e.Job.CheckpointAt = &at
	}
	n := e.Nodes[rank]
	s.addEnergy(e, rank, x.Used)
	e.Job.CPUSeconds += x.Used.CPUSec
	if rank == 0 {
		e.Job.SlowedSeconds += x.Used.Slowed
	}
	e.UsedMS += unitMS(x.Used.Seconds, n.Units)
	if e.allEnded() {
		e.UsedMS = max(e.UsedMS, e.BilledMS)
		e.Job.EnergyWh = max(e.Job.EnergyWh, float64(e.PostedMilliWh)/1000)
	}
	e.live[rank] = Usage{}
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
	e.Job.RunID, e.Job.StartedAt, e.Job.PowerShare = "", nil, 0
	e.clearNodes()
	s.touch(e)
}

func (s *Service) finish(e *entry, state State, why string, x Exit) {
	at := s.cfg.Now().UTC()
	if e.Job.Virtual && !x.At.IsZero() {
		at = x.At.UTC()
	}
	host, hosts := e.Job.Host, e.Job.Hosts
	e.clearNodes()
	e.Job.Host, e.Job.Hosts = host, hosts
	e.Job.State, e.Job.Why, e.After, e.Job.PowerShare = state, why, "", 0
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

// spec is what the executor needs to know of a node.
func (s *Service) spec(ctx context.Context, r Record, rank int) (RunSpec, error) {
	j, n := r.Job, r.Nodes[rank]
	spec := RunSpec{
		RunID: n.RunID, JobID: j.ID, Host: n.Host, Task: r.Task, Units: n.Units, Rank: rank, Nodes: len(r.Nodes),
		Remaining: time.Duration((j.ExpectSeconds - (j.RunSeconds - j.SlowedSeconds)) * float64(time.Second)), Interrupt: r.Task.Interrupt,
	}
	if s.hosts[n.Host].GPUModel != "" {
		spec.GPUs = n.GPUs // else they are slots, which have no index of the host's
	}
	if j.Virtual {
		return spec, nil
	}
	dir := s.jobDir(j.ID)
	work, done := "work", "setup.done"
	if rank > 0 {
		// Each node has a working folder of its own, as on hosts of their own.
		work, done = workOf(rank), "setup.done-"+strconv.Itoa(rank)
	}
	spec.Dir = filepath.Join(dir, "runs", n.RunID)
	spec.WorkDir = filepath.Join(dir, work)
	spec.CheckpointDir = filepath.Join(dir, "checkpoint")
	spec.Log = filepath.Join(dir, "log")
	spec.SetupDone = filepath.Join(dir, done)
	h := s.hosts[n.Host]
	spec.Isolation = j.Isolation
	spec.Egress, spec.EgressAllow = s.egress(j)
	spec.Gang = gangPlace(r.Nodes, rank)
	spec.Image = r.Task.Resources.Image
	var err error
	if spec.Mounts, err = s.mounts(r, spec.WorkDir); err != nil {
		return spec, err
	}
	spec.Control = s.controlPath(n.RunID)
	spec.Env = s.environ(r, spec)
	spec.CPULimit = r.Task.Resources.CPUs
	if h.GPUModel == "" {
		spec.GPUs = nil // a unit is a CPU slot there
		if spec.CPULimit == 0 {
			spec.CPULimit = float64(n.Units)
		}
	}
	spec.MemoryLimit = int64(r.Task.Resources.MemoryGB * float64(1<<30))
	spec.DiskLimit = int64(r.Task.Resources.DiskGB * float64(1<<30))
	spec.PidsLimit = maxPids
	s.mu.Lock()
	h.DiskGB = s.diskOf(h)
	s.mu.Unlock()
	spec.inShare(h)
	if spec.Isolation == IsolationNone || spec.Isolation == "" {
		if err := link(spec); err != nil {
			return spec, err
		}
	}
	if len(r.Task.SecretNames) > 0 {
		if s.cfg.Vault == nil {
			return spec, sluice.Errorf(sluice.Conflict, "", "job %s: this site keeps no secrets any more", j.ID)
		}
		secrets, err := s.cfg.Vault.Open(ctx, j.ID)
		if err != nil {
			return spec, fmt.Errorf("open the secrets of job %s: %w", j.ID, err)
		}
		for _, name := range r.Task.SecretNames {
			v, ok := secrets[name]
			if !ok {
				return spec, sluice.Errorf(sluice.Conflict, "submit it again with its secrets", "job %s: the secret %s has been erased", j.ID, name)
			}
			spec.Secrets = append(spec.Secrets, name+"="+v)
		}
	}
	return spec, nil
}

// maxPids is how many processes and threads a run may have: enough for data
// loaders and a compiler, too few for a bomb to hurt the host.
const maxPids = 16_384
