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
	for _, n := range s.o.Compute.Tend(wctx, now) {
		if n.Kind != "spending" {
			continue
		}
		turn := n.Spending.Turn
		s.setAlarm(turn == compute.SpendWarn, now, sluice.Warning, "spending", n.About, n.Text, "sluice tenant set raises the limit")
		s.setAlarm(turn == compute.SpendStop, now, sluice.Warning, "spending-limit", n.About, n.Text, "sluice tenant set raises the limit")
		s.events.send(Event{Kind: "spending", Data: *n.Spending})
	}
}
