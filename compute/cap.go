package compute

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"sluice"
	"sluice/compute/elastic"
)

// CanCap says whether a job may be limited in its power now: its task allows it and
// the executors of all its nodes can.
func (s *Service) CanCap(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.jobs[id]
	return e != nil && s.canCap(e)
}

func (s *Service) canCap(e *entry) bool {
	if e.Job.State != Running || !e.Task.Resources.PowerCapOK {
		return false
	}
	for i := range e.Nodes {
		_, ok := s.capper(e, i)
		if e.Nodes[i].Exit != nil || !ok && !s.canLimitHost(e, e.Nodes[i].Host) {
			return false
		}
	}
	return len(e.Nodes) > 0
}

// capper is the executor of a node, where it can limit the GPUs of its run.
func (s *Service) capper(e *entry, i int) (Capper, bool) {
	x, ok := s.cfg.Executors[e.Nodes[i].Executor].(Capper)
	return x, ok && e.Task.Resources.GPUs > 0
}

// Cap limits a running job to a share of the full power of its units, 1 for no limit,
// and returns the share in force, which the hardware may bound: by its GPUs, and where
// these cannot be limited by the controllers of its hosts. What the job does not accept
// is refused. The limit is durable with the job, and ends with its run. Errors:
// NotFound; Conflict where it cannot be limited.
func (s *Service) Cap(ctx context.Context, id string, share float64) (float64, error) {
	s.mu.Lock()
	e := s.jobs[id]
	if e == nil {
		s.mu.Unlock()
		return 0, notFound(id)
	}
	least := minShare(e.Task.Resources)
	ok := s.canCap(e)
	run, before := e.Job.RunID, cmp.Or(e.Job.PowerShare, 1)
	nodes := len(e.Nodes)
	s.mu.Unlock()
	switch {
	case !ok:
		return 0, sluice.Errorf(sluice.Conflict, "", "job %s cannot be limited in its power", id)
	case !(share >= least-1e-9 && share <= 1):
		return 0, sluice.Errorf(sluice.Conflict, "", "job %s accepts %.0f %% of full power at least, not %.0f %%", id, 100*least, 100*share)
	}
	got := 0.0
	for i := range nodes {
		g, err := s.capNode(ctx, e, run, i, share)
		if err != nil {
			// All nodes or none: those before it get back what they had.
			for done := range i {
				_, _ = s.capNode(context.WithoutCancel(ctx), e, run, done, before)
			}
			return 0, fmt.Errorf("limit the power of job %s: %w", id, err)
		}
		got = max(got, g) // the fastest node draws most; the gang goes as fast as its slowest
	}
	s.mu.Lock()
	if e.Job.RunID == run && len(e.Nodes) > 0 {
		s.setShare(e, got)
	}
	s.mu.Unlock()
	return got, s.Sync(ctx)
}

// setShare notes the share that a job is limited to. The caller holds mu.
func (s *Service) setShare(e *entry, share float64) {
	if e.Job.PowerShare = share; share >= 1 {
		e.Job.PowerShare = 0
	}
	e.Job.PowerW = 0
	for _, n := range e.Nodes {
		e.Job.PowerW += sluice.Watts(share * float64(s.hosts[n.Host].power(n.Units)))
	}
	s.touch(e)
}

// capNode limits one node of a run: by its GPUs, which touches nobody else's, else by
// its host's controller.
func (s *Service) capNode(ctx context.Context, e *entry, run string, i int, share float64) (float64, error) {
	s.mu.Lock()
	if e.Job.RunID != run || i >= len(e.Nodes) {
		s.mu.Unlock()
		return 0, sluice.Errorf(sluice.Conflict, "", "the run has ended")
	}
	x, is := s.capper(e, i)
	n := e.Nodes[i]
	byHost := n.HostLimitW > 0
	can := byHost || s.canLimitHost(e, n.Host)
	s.mu.Unlock()
	if is && !byHost {
		got, err := x.Cap(ctx, n.Handle, share)
		if err == nil || !can {
			return got, err
		}
	}
	return s.limitHost(ctx, e, run, n.Host, share)
}

// minShare is the lowest share of full power that a task accepts.
func minShare(r Resources) float64 {
	if r.MinPowerShare > 0 {
		return r.MinPowerShare
	}
	return 0.5
}

// Elastic is a running job as the choice of whom to limit sees it. stop says whether
// it may be stopped instead.
func (s *Service) Elastic(j Job, stop bool) elastic.Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := elastic.Job{
		ID: j.ID, Share: j.PowerShare, StopOK: stop, USDPerHour: j.RateUSDHour * float64(j.Units),
		StopUSD: j.LossSeconds / 3600 * j.RateUSDHour * float64(j.Units),
	}
	e := s.jobs[j.ID]
	if e == nil {
		return out
	}
	for i := range e.Nodes {
		out.Full += s.hosts[e.Nodes[i].Host].power(e.Nodes[i].Units)
	}
	out.CapOK, out.MinPowerShare = s.canCap(e), minShare(e.Task.Resources)
	out.Curve = e.Lessons.Speed.Curve()
	if j.Deadline != nil && j.ExpectSeconds > 0 {
		if left := j.Deadline.Sub(s.cfg.Now()).Seconds(); left > 0 {
			out.MinProgress = min(1, (j.ExpectSeconds-j.RunSeconds)/left)
		}
	}
	return out
}

// toldProgress notes how much work a run has done so far, in units of its own: from
// two of them follows how fast it goes at the power that it has.
func (s *Service) toldProgress(e *entry, run string, done float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.nodeOf(run) < 0 {
		return
	}
	now, share := time.Now(), e.Job.PowerShare
	if share == 0 {
		share = 1
	}
	last := e.progress
	same, d := last.run == run && last.share == share && done >= last.done, now.Sub(last.at).Seconds()
	if same && d <= 0.05 {
		return // too soon to tell: a job may tell of each of its steps
	}
	e.progress = progress{run: run, at: now, done: done, share: share}
	if same && done > last.done {
		e.Lessons.Speed.Add(elastic.Sample{At: now.UTC(), Share: share, Rate: (done - last.done) / d, Source: elastic.Told})
		s.dirty[e.Job.ID] = true // stored with the next change
	}
}

// progress is what a run has told of its work.
type progress struct {
	run         string
	at          time.Time
	done, share float64
}
