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
	if e.Job.State != Running || !e.Task.Resources.PowerCapOK || e.Task.Resources.GPUs == 0 {
		return false
	}
	for i := range e.Nodes {
		if _, ok := s.cfg.Executors[e.Nodes[i].Executor].(Capper); !ok || e.Nodes[i].Exit != nil {
			return false
		}
	}
	return len(e.Nodes) > 0
}

// Cap limits the GPUs of a running job to a share of their full power, 1 for no
// limit, and returns the share in force, which the hardware may bound. What the job
// does not accept is refused. The limit is durable with the job, and ends with its
// run. Errors: NotFound; Conflict where it cannot be limited.
func (s *Service) Cap(ctx context.Context, id string, share float64) (float64, error) {
	type node struct {
		x Capper
		h Handle
	}
	var todo []node
	s.mu.Lock()
	e := s.jobs[id]
	if e == nil {
		s.mu.Unlock()
		return 0, notFound(id)
	}
	least := minShare(e.Task.Resources)
	ok := s.canCap(e)
	run, before := e.Job.RunID, cmp.Or(e.Job.PowerShare, 1)
	for i := range e.Nodes {
		if x, is := s.cfg.Executors[e.Nodes[i].Executor].(Capper); is {
			todo = append(todo, node{x, e.Nodes[i].Handle})
		}
	}
	s.mu.Unlock()
	switch {
	case !ok:
		return 0, sluice.Errorf(sluice.Conflict, "", "job %s cannot be limited in its power", id)
	case !(share >= least-1e-9 && share <= 1):
		return 0, sluice.Errorf(sluice.Conflict, "", "job %s accepts %.0f %% of full power at least, not %.0f %%", id, 100*least, 100*share)
	}
	got := 0.0
	for i, n := range todo {
		g, err := n.x.Cap(ctx, n.h, share)
		if err != nil {
			// All nodes or none: those before it get back what they had.
			for _, done := range todo[:i] {
				_, _ = done.x.Cap(context.WithoutCancel(ctx), done.h, before)
			}
			return 0, fmt.Errorf("limit the power of job %s: %w", id, err)
		}
		got = max(got, g) // the fastest node draws most; the gang goes as fast as its slowest
	}
	s.mu.Lock()
	if e.Job.RunID == run && len(e.Nodes) > 0 {
		if e.Job.PowerShare = got; got >= 1 {
			e.Job.PowerShare = 0
		}
		e.Job.PowerW = 0
		for _, n := range e.Nodes {
			e.Job.PowerW += sluice.Watts(got * float64(s.hosts[n.Host].power(n.Units)))
		}
		s.touch(e)
	}
	s.mu.Unlock()
	return got, s.Sync(ctx)
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
