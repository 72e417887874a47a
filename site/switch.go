package site

import (
	"math"

	"sluice"
	"sluice/device"
	"sluice/dispatch"
)

// switches are what a change of mode costs a machine of the class. A wake costs its
// time. A change between two modes of mining costs a quarter of it, as a new profile
// settles faster than a wake; where all firmwares of the class do it without starting
// anew, it costs no more than the time in which half of the machines have done it, and
// a tenth of the wear. The caller holds s.mu.
func (s *Site) switches(c *class) []dispatch.Switch {
	stands := max(c.spec.Stands, 1)
	n := len(c.modes)
	out := make([]dispatch.Switch, 0, (n-1)*(n-1))
	var firmwares []string
	if n > 2 {
		firmwares = s.firmwaresOf(c)
	}
	for i := 1; i < n; i++ {
		to := c.modes[i]
		out = append(out, dispatch.Switch{From: sluice.ModeSleep, To: to.Name, USD: wakeUSD * stands, LostMinutes: c.spec.WakeTime.Minutes()})
		for j := 1; j < n; j++ {
			if i == j {
				continue
			}
			from := c.modes[j]
			x := dispatch.Switch{From: from.Name, To: to.Name, USD: wakeUSD / 4 * stands, LostMinutes: c.spec.WakeTime.Minutes() / 4}
			if seconds, ok := s.goesOn(firmwares, changeOf(c, from, to)); ok {
				x.USD, x.LostMinutes = x.USD/10, min(x.LostMinutes, seconds/60)
			}
			out = append(out, x)
		}
	}
	return out
}

// changeOf is the lane of a change between two modes of mining. To lift a throttle is
// no change of profile.
func changeOf(c *class, from, to sluice.Mode) lane {
	up := to.Power > from.Power
	if device.ParseTarget(from.Name).Lane == device.LaneThrottle && to.Name == c.full().Name {
		return lane{device.LaneThrottle, up}
	}
	return laneOf(from.Name, to.Name, up)
}

// goesOn says in how many seconds half of the machines have done what a lane does,
// where all the firmwares are known to go on hashing meanwhile.
func (s *Site) goesOn(firmwares []string, l lane) (seconds float64, ok bool) {
	for _, fw := range firmwares {
		x, known := s.learned.lanes[fw][l.name]
		if !known || x.Restarts {
			return 0, false
		}
		seconds = math.Max(seconds, s.half(fw, l))
	}
	return seconds, len(firmwares) > 0
}

// half is the time within which half of a firmware's acts on a lane are done. The caller
// holds s.mu.
func (s *Site) half(firmware string, l lane) float64 {
	t := s.learned.firmware[firmware][l]
	if t == nil {
		return s.dialect(firmware, l)
	}
	if t.p50 == 0 {
		t.p50 = max(quantile(s.general(firmware, l), 0.5), 1e-9)
	}
	return t.p50
}
