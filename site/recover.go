package site

import (
	"context"
	"fmt"
	"time"

	"sluice"
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
		if _, ok := m.class.mode(r.Want); ok {
			m.want = r.Want
		}
		m.recovered = true
	}
	for _, p := range saved.Pins {
		s.pins[p.Machine] = p
		if m := s.minerBy[p.Machine]; m != nil {
			m.pin = &p
		} else if _, _, ok := s.host(p.Machine); ok {
			if err := s.o.Compute.Block(p.Machine, "locked by "+p.By+": "+p.Why); err != nil {
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
