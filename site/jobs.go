package site

import "sluice/compute"

// JobChanged tells the site that a job was submitted, has started or has ended.
// It may be called from anywhere and never waits.
func (s *Site) JobChanged(j compute.Job) {
	if j.State == compute.Queued || j.State.Ended() {
		s.jobsChanged.Store(true)
	}
	s.events.send(Event{Kind: "job", Data: j})
}
