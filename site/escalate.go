package site

import (
	"context"
	"fmt"
	"time"

	"sluice"
)

// escalates says whether a machine that has not proven its sleep is to be cut off
// at its outlet: by its class's policy, while a limit still needs it. A wake never
// is. The caller holds s.mu.
func (s *Site) escalates(m *miner) bool {
	after := m.class.spec.OutletAfter
	return after > 0 && m.spec.Outlet != nil && !m.act.outlet && !m.cut && m.pin == nil &&
		m.act.to == sluice.ModeSleep && m.act.tries >= min(after, tries) && m.act.limit &&
		(m.act.order == nil || m.act.order.State == Active) && s.mayAct(m.class)
}

// cutOff makes switching off its outlet the machine's act. The switch goes out at
// the end of the turn, after it is stored that Sluice did it. The caller holds
// s.mu.
func (s *Site) cutOff(m *miner, now time.Time) {
	s.responded(m, now, false)
	s.alarm(now, sluice.Critical, "outlet-off", m.spec.Name,
		fmt.Sprintf("did not go to sleep after %d commands while a limit needs it: its outlet is switched off", m.act.tries),
		"Sluice switches it on again when the machine may run; look at why it does not obey")
	m.act.outlet, m.cut = true, true
	m.act.tries = 0
	m.asleep = true
	m.act.deadline = now.Add(s.proof(outletProof))
	s.unsaved[m.spec.Name] = m.row()
	s.again(m, now)
}

// outletProof is the time within which an outlet must say that it is off.
const outletProof = 20 * time.Second

// look reads a machine; one without power by its outlet. The caller does not hold
// s.mu.
func (s *Site) look(ctx context.Context, m *miner) (sluice.Reading, error) {
	s.mu.Lock()
	cut, asked := m.cut, m.phase != settled
	s.mu.Unlock()
	if !cut {
		return m.spec.Device.Read(ctx)
	}
	on, known, err := m.spec.Outlet.State(ctx)
	switch {
	case err != nil:
		return sluice.Reading{}, fmt.Errorf("asking the outlet of %s: %w", m.spec.Name, err)
	case !known:
		return sluice.Reading{}, sluice.Errorf(sluice.Unavailable, "look at the PDU", "the outlet of %s does not say whether it is on", m.spec.Name)
	case !on:
		r := sluice.Reading{Mode: sluice.ModeSleep, HasPower: true, PowerSource: sluice.SourcePDU}
		if w, err := m.spec.Outlet.Read(ctx); err == nil && w.HasPower {
			r.Power = w.Power
		}
		return r, nil
	}
	if !asked {
		s.mu.Lock()
		if m.cut && m.phase == settled { // it never went off, or somebody has switched it on
			m.cut = false
			s.unsaved[m.spec.Name] = m.row()
			s.clearAlarm(s.stamp(), "outlet-off", m.spec.Name)
		}
		s.mu.Unlock()
	}
	return m.spec.Device.Read(ctx)
}
