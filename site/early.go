package site

import (
	"math"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/feed"
)

// startAtOnce starts work that has come since the newest plan and waits for the next
// one, where that is surely right: it pays more than its power costs and than that
// power is worth to anybody else by the newest plan, and there is room for it now,
// under every limit. Its client waits for a person's moment instead of the time that
// plans keep between them; the next plan has the last word. The caller holds s.mu.
func (s *Site) startAtOnce(now time.Time) {
	if s.o.Bare || s.replan != "job" || s.worth == nil || len(s.starts) > 0 || s.orderOver(s.root()) != nil {
		return
	}
	usd := s.o.Feeds.At(feed.RealTimePrice, now).Value
	by := s.sum()
	var d *Decision
	room := map[*node]sluice.Watts{}
	full := map[string]bool{} // classes whose next job has no room: those behind it wait their turn
	free := map[*hostClass]int{}
	for _, j := range s.o.Compute.Open() {
		h := s.hostClassOf(j)
		if j.State != compute.Queued || j.Held != "" || h == nil || full[j.Class] || !s.o.Control(h.spec.Name) {
			continue
		}
		if s.early[j.ID] { // it was to start and did not, or was stopped since: the plan decides
			full[j.Class] = true
			continue
		}
		strike := s.jobStrike(j, h)
		power := s.atMeter(h.unitW) * sluice.Watts(j.Units)
		if power > 0 && strike <= math.Max(usd, s.worth[h.node.spec.Name]) {
			continue
		}
		if _, ok := room[h.node]; !ok {
			room[h.node] = s.headroom(h.node, now, by)
		}
		if _, ok := free[h]; !ok {
			free[h] = s.freeUnits(h)
		}
		if power > room[h.node] || j.Units > free[h] || len(s.starts) == startsPerTurn {
			full[j.Class] = true
			continue
		}
		free[h] -= j.Units
		for n := range room {
			room[n] -= power // nodes may share a limit above them
		}
		if d == nil {
			d = s.decision(s.picture(now, 1, by), nil, "job", now)
		}
		if s.early == nil {
			s.early = map[string]bool{}
		}
		s.early[j.ID] = true
		why := jobReason(strike, "strike %s > price %s $/MWh, and there is room", usd)
		d.JobMoves = append(d.JobMoves, JobMove{Job: j.ID, Name: j.Name, Action: "start", Units: j.Units, Reason: why})
		s.starts = append(s.starts, &start{job: j.ID, node: h.node, power: power, why: why, decision: d.ID, move: len(d.JobMoves) - 1})
	}
	if d != nil {
		s.record(d)
	}
}

// freeUnits is how many units of a class no job holds, on hosts that take jobs.
func (s *Site) freeUnits(h *hostClass) int {
	use := s.o.Compute.HostUse()
	n := 0
	for _, host := range h.spec.Hosts {
		if u := use[host.Name]; u.Silent == "" && u.Fault == "" {
			n += max(0, host.Units-u.UnitsBusy)
		}
	}
	return n
}
