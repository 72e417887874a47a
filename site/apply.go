package site

import (
	"context"
	"sort"
	"time"

	"sluice"
	"sluice/compute"
)

// raise is a wish for more load: units of a class that the plan wants in a mode
// of more power. It waits for headroom and ramp, so that load that is shed is
// gone before load that is started comes.
type raise struct {
	class    *class
	from, to string
	units    int
	decision int64
	move     int
	worth    float64 // USD per hour and kW, the best first
}

// start is a job that the plan wants to run and that waits for headroom.
type start struct {
	job      string
	node     *node
	power    sluice.Watts // more at the meter
	why      string
	decision int64
	move     int
}

// headroom is how much more load a node and all above it can take now: the
// limit less the guard, the load, and what is already on its way up. The caller
// holds s.mu.
func (s *Site) headroom(n *node, now time.Time, by sums) sluice.Watts {
	room := sluice.Watts(1 << 60)
	n.path(func(x *node) {
		if limit := s.limitAt(x, now); limit > 0 {
			load, _ := s.load(x, by, now)
			room = min(room, s.usable(limit)-max(load, by.load[x])-x.pending)
		}
	})
	return room
}

// usable is a limit less the guard that is kept free under it.
func (s *Site) usable(limit sluice.Watts) sluice.Watts {
	return limit - sluice.Watts(float64(limit)*s.o.Guard)
}

// rise recomputes what is on its way up below each node: wakes that are not
// proven, and jobs that have been started but are not seen yet in the load.
func (s *Site) rise(now time.Time) {
	for _, n := range s.nodes {
		n.pending = 0
	}
	for _, m := range s.miners {
		if m.phase != settled && m.act.pending > 0 {
			p, _ := m.power()
			left := s.atMeter(m.act.expect - max(p, m.act.before))
			if left > 0 {
				m.class.node.path(func(n *node) { n.pending += left })
			}
		}
	}
	keep := s.started[:0]
	for _, st := range s.started {
		// A meter that was read after the start shows the job; one reading more
		// is waited for, as hosts take a moment to draw what they will.
		if now.Sub(st.at) > 2*time.Minute || (st.seen > 3 && now.After(st.at)) {
			continue
		}
		st.node.path(func(n *node) { n.pending += st.power })
		keep = append(keep, st)
	}
	s.started = keep
}

// started is a job start that the meter may not show yet.
type started struct {
	node  *node
	power sluice.Watts
	at    time.Time
	seen  int // turns since
}

// admit starts jobs and wakes miners as far as headroom and ramp allow: jobs
// first, then what earns most. The caller holds s.mu.
func (s *Site) admit(ctx context.Context, now time.Time) {
	s.refillRamp(now)
	for _, st := range s.started {
		st.seen++
	}
	s.rise(now) // also where nothing is to come up: pins and what the meter shows beyond the readings ask for it
	if len(s.starts) == 0 && len(s.raises) == 0 {
		return
	}
	by := s.sum()
	s.admitJobs(ctx, now, by)
	sort.SliceStable(s.raises, func(i, j int) bool { return s.raises[i].worth > s.raises[j].worth })
	keep := s.raises[:0]
	for _, r := range s.raises {
		s.admitRaise(r, now, by)
		if r.units > 0 {
			keep = append(keep, r)
		}
	}
	s.raises = keep
}

// refillRamp lets the ramp's allowance grow with time, to a minute's worth.
func (s *Site) refillRamp(now time.Time) {
	if !s.rampAt.IsZero() {
		s.rampLeft += sluice.Watts(float64(s.o.Ramp) * max(0, now.Sub(s.rampAt).Minutes()))
	}
	s.rampLeft = min(s.rampLeft, s.o.Ramp)
	s.rampAt = now
}

// startsPerTurn bounds how many jobs one turn starts, so that none waits long.
const startsPerTurn = 64

// admitJobs starts the jobs that there is power for, in one transaction.
func (s *Site) admitJobs(ctx context.Context, now time.Time, by sums) {
	var chosen []*start
	var orders []compute.Order
	keep := s.starts[:0]
	for _, st := range s.starts {
		if len(chosen) == startsPerTurn || st.power > s.headroom(st.node, now, by) {
			keep = append(keep, st)
			continue
		}
		chosen = append(chosen, st)
		orders = append(orders, compute.Order{ID: st.job, Action: compute.ActStart, Why: st.why})
		st.node.path(func(n *node) { n.pending += st.power })
	}
	s.starts = keep
	if len(orders) == 0 {
		return
	}
	wctx, cancel := context.WithTimeout(s.life(ctx), storeWait)
	defer cancel()
	for i, err := range s.o.Compute.Apply(wctx, now, orders) {
		st := chosen[i]
		if err == nil {
			s.clearAlarm(now, "job-start", st.job)
			s.started = append(s.started, &started{node: st.node, power: st.power, at: now})
			s.placed(st)
			continue
		}
		st.node.path(func(n *node) { n.pending -= st.power })
		// No host has room for its gang, or it is no longer queued: the next
		// plan sees it as it then is.
		if k := sluice.KindOf(err); k != sluice.Conflict && k != sluice.NotFound {
			s.alarm(now, sluice.Warning, "job-start", st.job, err.Error(), "it stays in the queue and is tried again")
		}
	}
}

// placed notes in the decision on which host a job was started.
func (s *Site) placed(st *start) {
	d := s.openDecisions[st.decision]
	if d == nil || st.move >= len(d.JobMoves) {
		return
	}
	if j, err := s.o.Compute.Job(st.job); err == nil {
		d.JobMoves[st.move].Host = j.Host
		s.dirtyDecision[d.ID] = true
	}
}

func (s *Site) admitRaise(r *raise, now time.Time, by sums) {
	to, ok := r.class.mode(r.to)
	from, ok2 := r.class.mode(r.from)
	if !ok || !ok2 {
		r.units = 0
		return
	}
	each := s.atMeter(to.Power - from.Power)
	room := min(s.headroom(r.class.node, now, by), s.rampLeft)
	if each <= 0 || room < each {
		return
	}
	for _, m := range s.pick(r.class, r.from, now, true) {
		if r.units == 0 || room < each {
			return
		}
		s.issue(m, r.to, now, r.decision, r.move, nil)
		r.units--
		room -= each
		s.rampLeft -= each
		r.class.node.path(func(n *node) { n.pending += each })
	}
	r.units = 0 // nobody is left to raise
}

// pick lists the machines of a class that stand in a mode and may be moved, in
// the order in which they should go: those that are proven and have stood
// longest first.
func (s *Site) pick(c *class, mode string, now time.Time, up bool) []*miner {
	var out []*miner
	for _, m := range c.miners {
		if m.modelled() == mode && m.available(now, s.o.MaxReadingAge) && (m.phase == settled || !up) {
			out = append(out, m)
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if (a.phase == settled) != (b.phase == settled) {
			return a.phase == settled
		}
		return a.since.Before(b.since)
	})
	return out
}

// shed moves units of a class down, at once. It returns how many were found.
func (s *Site) shed(c *class, from, to string, units int, now time.Time, decision int64, move int, order *curtailment) int {
	n := 0
	for _, m := range s.pick(c, from, now, false) {
		if n == units {
			break
		}
		s.issue(m, to, now, decision, move, order)
		n++
	}
	return n
}

// busyUnits counts GPUs in use. The caller holds s.mu.
func (s *Site) busyUnits() int {
	use := s.o.Compute.HostUse()
	n := 0
	for _, h := range s.hosts {
		for _, host := range h.spec.Hosts {
			if host.GPUModel != "" {
				n += use[host.Name].UnitsBusy
			}
		}
	}
	return n
}

// hostClassOf finds the host class of a job.
func (s *Site) hostClassOf(j compute.Job) *hostClass {
	for _, h := range s.hosts {
		if h.spec.Name == j.Class {
			return h
		}
	}
	return nil
}
