package site

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice"
	"sluice/compute"
)

// cutJobs ends at once jobs that are stopping within the notice they were promised,
// where a limit cannot be kept otherwise: the load is over it, the time in which it
// had to come down is over, and no miner below it is left that could go instead. Of
// several those that lose least for each kilowatt go first, and no more of them than
// the limit asks for. What that breaks is recorded on the job and credited to its
// tenant. The caller holds s.mu.
func (s *Site) cutJobs(ctx context.Context, now time.Time, n *node, load, limit sluice.Watts) {
	if s.inTime(n, now) || s.canShed(n, now) {
		return
	}
	type victim struct {
		job   compute.Job
		power sluice.Watts
	}
	var out []victim
	for _, j := range s.o.Compute.Active() {
		h := s.hostClassOf(j)
		if h == nil || j.State != compute.Stopping || !h.node.under(n) || !s.o.Control(h.spec.Name) || s.cuts[j.RunID] {
			continue
		}
		out = append(out, victim{j, s.jobPower(j, h)})
	}
	slices.SortStableFunc(out, func(a, b victim) int {
		x, y := lostWork(a.job)*float64(b.power), lostWork(b.job)*float64(a.power)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	over := load - limit
	for _, v := range out {
		if over <= 0 {
			return
		}
		why := fmt.Sprintf("%v over the limit of %s with nothing else left to shed", over, n.spec.Name)
		wctx, cancel := context.WithTimeout(s.life(ctx), storeWait)
		err := s.o.Compute.Cut(wctx, v.job.ID, why)
		cancel()
		if err != nil && sluice.KindOf(err) == sluice.Conflict {
			continue // it has ended
		}
		if s.cuts == nil || len(s.cuts) > 1000 {
			s.cuts = map[string]bool{}
		}
		s.cuts[v.job.RunID] = true
		over -= v.power
		s.alarm(now, sluice.Warning, "job-cut", v.job.ID,
			fmt.Sprintf("%s of %s was cut before its notice was over: %s", v.job.Name, v.job.Tenant, why),
			"what was lost since its last checkpoint is credited; a lower limit with more time lets jobs save their work")
	}
}

// inTime says whether the load below a node still has time to come down: until an
// order's own deadline, or for as long as a shed may take to be proven.
func (s *Site) inTime(n *node, now time.Time) bool {
	left := s.proof(shedProof)
	if now.Sub(s.overSince[n]) < left && s.orderOf(n) == nil {
		return true // no order has given a time: one reading over the limit cuts nobody
	}
	for _, c := range s.orders {
		if c.State != Active || c.node != n {
			continue
		}
		left := s.proof(shedProof)
		if c.WithinS > 0 {
			left = time.Duration(c.WithinS * float64(time.Second))
		}
		if now.Sub(c.From) < left {
			return true
		}
	}
	return false
}

// orderOf is the order in force on the node itself, if any.
func (s *Site) orderOf(n *node) *curtailment {
	for _, c := range s.orders {
		if c.State == Active && c.node == n {
			return c
		}
	}
	return nil
}

// canShed says whether a miner below the node draws more than it must and does what
// it is told, or is on its way down.
func (s *Site) canShed(n *node, now time.Time) bool {
	for _, m := range s.miners {
		if !m.class.node.under(n) || !s.mayAct(m.class) {
			continue
		}
		down := m.phase != settled && m.act.expect < m.act.before && !m.late(now)
		if down || m.available(now, s.o.MaxReadingAge) && m.modelled() != m.class.modes[0].Name {
			return true
		}
	}
	return false
}
