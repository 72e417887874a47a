package backtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sluice/compute"
	"sluice/history"
)

// stream hands recorded jobs in as they arrive.
type stream struct {
	in     *history.Jobs
	o      *Options
	next   *history.Job
	done   bool
	share  []float64 // of each class of hosts, by its units: how many jobs it is short of
	wait   []waiting
	mostOf []int // units of the largest host of each class
	given  int
}

// waiting is a job whose client waits: until start for its start, until end for
// its end.
type waiting struct {
	id         string
	started    bool
	start, end time.Time
}

func openStream(o *Options, _ time.Duration) (*stream, error) {
	spec := *o.Jobs
	spec.From, spec.To = o.From, o.To
	s := &stream{o: o, share: make([]float64, len(o.Site.Hosts))}
	most := 0
	for _, h := range o.Site.Hosts {
		units := 0
		for _, x := range h.Hosts {
			units = max(units, x.Units)
		}
		s.mostOf = append(s.mostOf, units)
		most = max(most, units)
	}
	if spec.MaxGPUs == 0 || spec.MaxGPUs > most {
		spec.MaxGPUs = most
	}
	var err error
	s.in, err = history.OpenJobs(spec)
	return s, err
}

// arrive submits the jobs that came by t, and lets clients go whose patience has
// ended.
func (s *stream) arrive(ctx context.Context, jobs *compute.Service, t time.Time) error {
	for !s.done {
		if s.next == nil {
			j, err := s.in.Next()
			if err != nil {
				if s.done = true; !isEnd(err) {
					return err
				}
				break
			}
			s.next = &j
		}
		if s.next.Duration.Hours() < s.o.Terms.MinHours {
			s.next = nil
			continue
		}
		if s.next.At.After(t) {
			break
		}
		if err := s.submit(ctx, jobs, *s.next); err != nil {
			return err
		}
		s.next = nil
	}
	keep := s.wait[:0]
	for _, w := range s.wait {
		if !w.started && !t.After(w.start) || w.started && !t.After(w.end) {
			keep = append(keep, w)
			continue
		}
		j, err := jobs.Job(w.id)
		if err != nil || j.State.Ended() {
			continue // done
		}
		if w.started = j.Runs > 0; w.started && !t.After(w.end) {
			keep = append(keep, w)
			continue
		}
		if _, err := jobs.Cancel(ctx, t, w.id); err != nil {
			return err
		}
	}
	s.wait = keep
	return nil
}

// class chooses the hosts of a job: those that can hold it, in turns by their
// units.
func (s *stream) class(gpus int) int {
	best, whole := -1, 0.0
	for i, h := range s.o.Site.Hosts {
		if s.mostOf[i] < gpus {
			continue
		}
		units := 0.0
		for _, x := range h.Hosts {
			units += float64(x.Units)
		}
		s.share[i] += units
		whole += units
		if best < 0 || s.share[i] > s.share[best] {
			best = i
		}
	}
	if best >= 0 {
		s.share[best] -= whole
	}
	return best
}

func (s *stream) submit(ctx context.Context, jobs *compute.Service, j history.Job) error {
	c := s.class(j.GPUs)
	if c < 0 {
		return nil
	}
	h := s.o.Site.Hosts[c]
	rate := h.RateUSD
	if j.Interruptible {
		rate = h.SpotRateUSD
	}
	d := s.o.Terms.length(j)
	r := compute.SubmitRequest{
		Task:   &compute.Task{Name: "job", NumNodes: 1, Run: "-", Resources: compute.Resources{Accelerator: h.Model, GPUs: j.GPUs, UseSpot: j.Interruptible}},
		Tenant: j.User, Virtual: true, Class: h.Name, Units: j.GPUs, RateUSDHour: rate, ExpectSeconds: d.Seconds(), Interruptible: j.Interruptible,
	}
	due := s.o.Terms.due(j.At, d)
	r.Deadline = &due
	got, err := jobs.Submit(ctx, j.At, r)
	if err != nil {
		return fmt.Errorf("the job of line %d: %w", j.Line, err)
	}
	s.wait = append(s.wait, waiting{id: got.ID, start: j.At.Add(s.o.Terms.Patience), end: s.o.Terms.gone(j.At, d)})
	return nil
}

// late says whether the job has missed its deadline by now.
func late(j compute.Job, now time.Time) bool {
	if j.Deadline == nil {
		return false
	}
	end := now
	if j.EndedAt != nil {
		end = *j.EndedAt
	}
	return end.After(*j.Deadline)
}

// lost says whether the job's client has left.
func lost(j compute.Job) bool {
	return j.State == compute.Cancelled || j.State == compute.Lost || j.State == compute.Failed
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) }
