package site

import (
	"context"
	"fmt"
	"math"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/elastic"
	"sluice/dispatch"
)

// holdFor is how long a limit of power is taken to be needed where no order says.
const holdFor = time.Hour

// capInstead looks whether limiting the power of jobs that allow it loses less than
// stopping those that the reflex would stop, does it, and says which of these go on.
// It never frees less. Limits are by class of hosts: what they free lies below the
// same node. The caller holds s.mu.
func (s *Site) capInstead(ctx context.Context, d *Decision, pic *picture, p *dispatch.Plan, goesOn map[string]bool, order *curtailment, now time.Time) map[string]bool {
	spared := map[string]bool{}
	hold := holdFor
	if order != nil {
		hold = max(s.o.Step, order.Until.Sub(now))
	}
	room := s.roomLeft(pic, p, goesOn)
	for _, h := range s.hosts {
		if !s.o.Control(h.spec.Name) {
			continue
		}
		var need sluice.Watts
		var jobs []elastic.Job
		by := map[string]compute.Job{}
		elastics := false
		for _, dj := range pic.in.Jobs {
			j := pic.jobs[dj.Name]
			if !dj.Running || j.Class != h.spec.Name {
				continue
			}
			stop := !goesOn[dj.Name]
			e := s.o.Compute.Elastic(j, stop)
			if !stop && !e.CapOK {
				continue
			}
			if stop {
				need += s.jobPower(j, h)
			}
			e.Full, e.Power = s.atMeter(e.Full), 0
			elastics = elastics || e.CapOK
			by[j.ID] = j
			jobs = append(jobs, e)
		}
		// Stopping a whole job frees more than the limit asks for.
		spare := sluice.Watts(math.MaxInt64)
		h.node.path(func(n *node) {
			if w, ok := room[n]; ok {
				spare = min(spare, w)
			}
		})
		if need -= max(0, spare); need <= 0 || !elastics {
			continue
		}
		r := elastic.Choose(need, hold, jobs)
		if r.Short > 0 {
			continue
		}
		stops := map[string]bool{}
		for _, c := range r.Caps {
			stops[c.ID] = c.Stop
		}
		freed, done := sluice.Watts(0), true
		for _, c := range r.Caps {
			if c.Stop {
				freed += c.Freed
				continue
			}
			if !s.cap(ctx, d, by[c.ID], c, fmt.Sprintf("limit of %s: %.4g $ less lost in %s than by stopping", s.tightest(h.node, now), lossOfStops(jobs, hold)-r.LossUSD, hold), now) {
				done = false
				break
			}
			freed += c.Freed
		}
		if !done || freed < need {
			continue // what could not be limited is stopped, as the reflex said
		}
		for _, j := range jobs {
			if j.StopOK && !stops[j.ID] {
				spared[j.ID] = true
			}
		}
		h.node.path(func(n *node) {
			if _, ok := room[n]; ok {
				room[n] = 0 // it is taken
			}
		})
	}
	return spared
}

// roomLeft is what the reflex's plan leaves free under the limits of this instant.
func (s *Site) roomLeft(pic *picture, p *dispatch.Plan, goesOn map[string]bool) map[*node]sluice.Watts {
	load := map[*node]float64{} // kW
	add := func(name string, kw float64) {
		s.nodeBy[name].path(func(x *node) { load[x] += kw })
	}
	at := map[string]string{}
	for _, c := range pic.in.Classes {
		at[c.Name] = c.Node
		power := map[string]float64{}
		for _, m := range c.Modes {
			power[m.Name] = m.PowerKW
			add(c.Node, float64(c.Initial[m.Name])*m.PowerKW)
		}
		for _, m := range p.Moves {
			if m.T == 0 && m.Class == c.Name {
				add(c.Node, float64(m.Units)*(power[m.To]-power[m.From]))
			}
		}
	}
	for _, j := range pic.in.Jobs {
		if j.Running && goesOn[j.Name] {
			add(at[j.Class], float64(j.Units)*j.PowerKW)
		}
	}
	out := map[*node]sluice.Watts{}
	for i := range pic.in.Nodes {
		if n := &pic.in.Nodes[i]; n.LimitKW != nil && !math.IsInf(n.LimitKW.At(0), 1) {
			x := s.nodeBy[n.Name]
			out[x] = sluice.WattsOfKW(n.LimitKW.At(0) - load[x])
		}
	}
	return out
}

// lossOfStops is what it would cost to stop all that may be.
func lossOfStops(jobs []elastic.Job, hold time.Duration) float64 {
	sum := 0.0
	for _, j := range jobs {
		if j.StopOK {
			sum += j.USDPerHour*hold.Hours() + j.StopUSD
		}
	}
	return sum
}

// cap limits one job and notes it in the decision. It says whether the limit is in
// force as it was asked for.
func (s *Site) cap(ctx context.Context, d *Decision, j compute.Job, c elastic.Cap, why string, now time.Time) bool {
	cctx, cancel := context.WithTimeout(s.life(ctx), capWait)
	got, err := s.o.Compute.Cap(cctx, j.ID, c.Share)
	cancel()
	if err != nil || got > c.Share+0.02 {
		text := fmt.Sprintf("its power could not be limited to %.0f %%", 100*c.Share)
		if c.Share >= 1 {
			text = "the limit of its power could not be lifted"
		}
		if err != nil {
			text += ": " + err.Error()
		} else {
			text += fmt.Sprintf(": %.0f %% are in force", 100*got)
		}
		s.alarm(now, sluice.Warning, "job-cap", j.ID, text, "jobs are stopped instead where a limit needs it")
		return false
	}
	s.clearAlarm(now, "job-cap", j.ID)
	d.JobMoves = append(d.JobMoves, JobMove{
		Job: j.ID, Name: j.Name, Action: "cap", Host: j.Host, Units: j.Units,
		Reason: fmt.Sprintf("to %.0f %% of full power, %.0f %% of its speed; %s", 100*got, 100*c.Progress, why),
	})
	return true
}

// capWait is the wall time for which a turn waits for a driver to limit GPUs.
const capWait = 2 * time.Second

// liftCaps gives limited jobs their power back where there is room for it, what gains
// most first. The caller holds s.mu.
func (s *Site) liftCaps(ctx context.Context, now time.Time) {
	limited := map[*hostClass][]compute.Job{}
	for _, j := range s.o.Compute.Active() {
		if h := s.hostClassOf(j); j.PowerShare > 0 && j.State == compute.Running && h != nil && s.o.Control(h.spec.Name) {
			limited[h] = append(limited[h], j)
		}
	}
	if len(limited) == 0 || len(s.starts) > 0 {
		return
	}
	by := s.sum()
	var d *Decision
	for _, h := range s.hosts {
		if len(limited[h]) == 0 {
			continue
		}
		// A tenth of the room stays: a lift that has to be taken back at once helps nobody.
		room := s.headroom(h.node, now, by)
		room -= room / 10
		var jobs []elastic.Job
		ids := map[string]compute.Job{}
		for _, j := range limited[h] {
			e := s.o.Compute.Elastic(j, false)
			e.Full = s.atMeter(e.Full)
			jobs, ids[j.ID] = append(jobs, e), j
		}
		for _, c := range elastic.Lift(room, holdFor, jobs).Caps {
			if c.Share < 1 && c.Share-ids[c.ID].PowerShare < 0.05 {
				continue // not worth a decision
			}
			if d == nil {
				d = s.decision(s.picture(now, 1, by), nil, "limit", now)
			}
			if s.cap(ctx, d, ids[c.ID], c, "there is room for it again", now) {
				h.node.path(func(n *node) { n.pending += -c.Freed })
			}
		}
	}
	if d != nil && len(d.JobMoves) > 0 {
		s.record(d)
	}
}

// judgeLimits raises an alarm for each host whose controller does not limit its power
// as it says, or has not given back what was there before. The caller holds s.mu.
func (s *Site) judgeLimits(now time.Time) {
	if s.o.Bare {
		return
	}
	use := s.o.Compute.HostUse()
	for _, h := range s.hosts {
		for _, host := range h.spec.Hosts {
			why := use[host.Name].LimitFault
			s.setAlarm(why != "", now, sluice.Warning, "host-limit", host.Name, why, "look at the host's controller: jobs there are stopped instead where a limit needs it")
		}
	}
}
