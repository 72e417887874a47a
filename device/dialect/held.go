package dialect

import (
	"strconv"

	"sluice"
	"sluice/device"
)

// held is what this driver set last and the firmware has no word for. It is told
// as the device's mode only as long as the figures agree: nothing is believed
// because it was asked for.
type held struct {
	limit   sluice.Watts // 0 for none
	percent int          // 0 for none
	full    float64      // W before the throttle; after a sleep, the limit
	since   float64      // uptime when it was set, s: an earlier one is a restart, which ends a throttle
}

// slack is how far above a throttle's share of full power a device may be, in per
// cent of full power: such throttles are approximate.
const slack = 10

// hold notes a target that the device has accepted, with what it told before.
func (d *Driver) hold(t device.Target, e env) {
	m := &d.d.Report
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.held
	d.held = held{}
	switch {
	case t.Lane == device.LanePower:
		d.held.limit = t.Power
	case t.Lane == device.LaneThrottle && t.Percent < 100 && len(m.Throttle) == 0:
		d.held = held{percent: t.Percent, full: or(m.Power.number(e, power, 0)), since: or(m.Uptime.number(e, seconds, 0))}
		switch {
		case was.percent > 0:
			d.held.full = was.full
		case anyHolds(m.Sleeping, e): // what it drew asleep says nothing, and its uptime begins anew
			d.held.full, d.held.since = or(m.PowerLimit.number(e, power, 0)), 0
		}
	}
}

// mode is the dialect's, or what is held.
func (d *Driver) mode(e env) string {
	mode := d.d.mode(e)
	d.mu.Lock()
	h := d.held
	d.mu.Unlock()
	m := &d.d.Report
	switch {
	case mode == sluice.ModeSleep:
	case h.limit > 0:
		// Firmware that tells no limit is believed where it has no profiles either.
		p := m.PowerLimit.number(e, power, 0)
		if (p == nil && mode == sluice.ModeMine) || (p != nil && near(*p, float64(h.limit))) {
			return strconv.Itoa(int(h.limit)) + "W"
		}
	case h.percent > 0:
		p, up := m.Power.number(e, power, 0), m.Uptime.number(e, seconds, 0)
		if p != nil && *p*100 <= h.full*float64(h.percent+slack) && (up == nil || *up >= h.since) {
			return percentMode(h.percent)
		}
	}
	return mode
}
