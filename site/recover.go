package site

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
)

// recover takes up what an earlier process has left: prior modes, setpoints,
// pins, orders, alarms and the interval that was running. Jobs are recovered by
// the compute service, before.
func (s *Site) recover(ctx context.Context, now time.Time) error {
	saved, err := s.o.Store.LoadSite(ctx)
	if err != nil {
		return fmt.Errorf("taking up the site where it was left: %w", err)
	}
	for name, r := range saved.Machines {
		m := s.minerBy[name]
		if m == nil {
			continue // no longer part of the site
		}
		m.prior, m.asleep, m.since = r.Prior, r.Asleep, r.Since
		m.cut = r.Cut && m.spec.Outlet != nil
		if _, ok := m.class.mode(r.Want); ok {
			m.want = r.Want
		}
		m.recovered = true
	}
	s.recall(saved.Lessons)
	for _, p := range saved.Pins {
		s.pins[p.Machine] = p
		if m := s.minerBy[p.Machine]; m != nil {
			m.pin = &p
		} else if _, _, ok := s.host(p.Machine); ok {
			if err := s.o.Compute.Block(p.Machine, compute.BlockedByHand, "locked by "+p.By+": "+p.Why); err != nil {
				return err
			}
		}
	}
	for i, c := range saved.Curtailments {
		n := s.nodeBy[c.Node]
		if n == nil {
			continue
		}
		s.orders = append(s.orders, &curtailment{Curtailment: c, node: n, limit: sluice.WattsOfKW(c.LimitKW), wall: time.Now(), seq: i})
	}
	if err := s.recoverOrders(ctx, now); err != nil {
		return err
	}
	for _, a := range saved.OpenAlarms {
		s.alarms.open[a.Name+"\x00"+a.Subject] = &a
	}
	s.alarms.next = saved.LastAlarm + 1
	for _, a := range saved.OpenAlarms {
		if !s.has(a, now) {
			s.clearAlarm(now, a.Name, a.Subject)
		}
	}
	s.lastDecision = saved.LastDecision
	s.acc = saved.Progress
	s.gap(now)
	done, err := s.o.Store.Settlements(ctx, now.Add(-correctFor), now.Add(24*time.Hour))
	if err != nil {
		return err
	}
	s.settled = done
	for _, r := range done {
		s.today.add(r)
	}
	return nil
}

// has says whether what an alarm is about is still part of the site: nothing else
// would end the alarm of a machine that was sold.
func (s *Site) has(a Alarm, now time.Time) bool {
	if strings.HasPrefix(a.Subject, sensorSubject) {
		return s.hasSensor(a.Subject)
	}
	switch a.Name {
	case "machine-silent", "machine-came-back", "command-ignored", "command-refused":
		return s.minerBy[a.Subject] != nil
	case "outlet-off":
		m := s.minerBy[a.Subject]
		return m != nil && m.cut
	case "curve-off":
		c, mode, _ := strings.Cut(a.Subject, "/")
		if k := s.classBy[c]; k != nil {
			_, ok := k.mode(mode)
			return ok
		}
		return false
	case "job-start", "job-preempt":
		j, err := s.o.Compute.Job(a.Subject)
		return err == nil && !j.State.Ended()
	case "over-limit":
		return s.nodeBy[a.Subject] != nil
	case "meter-silent", residualDrift:
		n := s.nodeBy[a.Subject]
		return n != nil && n.spec.Meter != nil
	case "feed-stale":
		for _, f := range s.o.Feeds.Status(now) {
			if feedName(f) == a.Subject {
				return true
			}
		}
		return false
	}
	return true
}
