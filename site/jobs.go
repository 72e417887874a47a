package site

import (
	"context"
	"time"

	"sluice"
	"sluice/compute"
)

// JobChanged tells the site that a job was submitted, has started or has ended.
// It may be called from anywhere and never waits.
func (s *Site) JobChanged(j compute.Job) {
	if j.State == compute.Queued || j.State.Ended() {
		s.jobsChanged.Store(true)
	}
	s.events.send(Event{Kind: "job", Data: j})
}

// tendJobs does what time brings about for jobs, and tells of it. The caller holds
// s.mu.
func (s *Site) tendJobs(ctx context.Context, now time.Time) {
	wctx, cancel := context.WithTimeout(s.life(ctx), storeWait)
	defer cancel()
	spending := map[string]string{}
	for _, n := range s.o.Compute.Tend(wctx, now) {
		switch n.Kind {
		case "spending-80":
			spending[n.About] = n.Text
			s.alarm(now, sluice.Warning, "spending", n.About, n.Text, "sluice tenant set raises the limit")
		case "spending-100":
			spending[n.About] = n.Text
			s.alarm(now, sluice.Warning, "spending-limit", n.About, n.Text, "sluice tenant set raises the limit")
		}
	}
	for t := range s.spending {
		if spending[t] == "" && !s.o.Compute.OverLimit(t) {
			s.clearAlarm(now, "spending", t)
			s.clearAlarm(now, "spending-limit", t)
			delete(s.spending, t)
		}
	}
	for t := range spending {
		if s.spending == nil {
			s.spending = map[string]bool{}
		}
		s.spending[t] = true
	}
}
