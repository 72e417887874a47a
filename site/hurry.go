package site

import (
	"math"
	"slices"
	"time"

	"sluice/device"
	"sluice/dispatch"
)

// slowUSD is what a kW counts that would be gone too late for an order: more than
// any that is in time.
const slowUSD = 1e6

// hurry makes the reflex prefer, for an order with a deadline, the ways down on
// which nearly all machines of a class are in time: what restarts the miner for
// minutes is used where nothing else is left. It says whether any way is too slow.
// The caller holds s.mu.
func (s *Site) hurry(pic *picture, c *curtailment, now time.Time) bool {
	if c == nil || c.WithinS <= 0 {
		return false
	}
	left := c.From.Add(time.Duration(c.WithinS*float64(time.Second))).Sub(now) - s.delay()
	if now.After(c.From) && left <= 0 {
		return false // it is too late for all alike
	}
	any := false
	for i := range pic.in.Classes {
		k := s.classBy[pic.in.Classes[i].Name]
		if k == nil || !k.node.under(c.node) {
			continue
		}
		d := &pic.in.Classes[i]
		firmwares := s.firmwaresOf(k)
		for _, from := range d.Modes {
			for _, to := range d.Modes {
				if to.PowerKW >= from.PowerKW {
					continue
				}
				worst := 0.0
				for _, fw := range firmwares {
					worst = math.Max(worst, s.nearlyAll(fw, s.soonEnough(fw, laneOf(from.Name, to.Name, false), left.Seconds())))
				}
				if worst > left.Seconds() {
					any = true
					dearer(d, from.Name, to.Name, slowUSD*(from.PowerKW-to.PowerKW))
				}
			}
		}
	}
	for i := range pic.in.Jobs {
		d := &pic.in.Jobs[i]
		j := pic.jobs[d.Name]
		h := s.hostClassOf(j)
		// A job whose notice is longer would have to be cut, and credited.
		if d.Running && h != nil && h.node.under(c.node) && j.NoticeSeconds > left.Seconds() {
			d.PreemptUSD += j.RateUSDHour * float64(j.Units) * max(j.UnsavedSeconds, 60) / 3600
		}
	}
	return any
}

// soonEnough is the lane by which something gets there within so many seconds: the one
// itself, or where nearly all machines of the firmware take longer to sleep, the sleep
// that hurries. The caller holds s.mu.
func (s *Site) soonEnough(firmware string, l lane, seconds float64) lane {
	if s.nearlyAll(firmware, l) <= seconds {
		return l
	}
	return s.hurried(firmware, l)
}

// hurried is the sleep that hurries for a sleep, where the firmware has it and it is
// sooner. The caller holds s.mu.
func (s *Site) hurried(firmware string, l lane) lane {
	quick := lane{device.LaneHurry, false}
	if _, can := s.learned.lanes[firmware][quick.name]; can && l.name == device.LaneSleep && s.nearlyAll(firmware, quick) < s.nearlyAll(firmware, l) {
		return quick
	}
	return l
}

// mustHurry says whether the machine's sleep has to be one that hurries for the order
// to be met in its time. The caller holds s.mu.
func (s *Site) mustHurry(m *miner, order *curtailment, now time.Time) bool {
	if order == nil || order.WithinS <= 0 {
		return false
	}
	if _, can := m.spec.Device.(device.Hurrier); !can {
		return false
	}
	left := order.From.Add(time.Duration(order.WithinS * float64(time.Second))).Sub(now)
	return s.soonEnough(s.firmwareOf(m), lane{device.LaneSleep, false}, left.Seconds()).name == device.LaneHurry
}

// mindDeadline makes an order with a deadline give up counting on the machine while
// there is time to take what it owes from others: at half of the time, or later for
// firmware that is known to need more, at three quarters at most. The caller holds s.mu.
func (s *Site) mindDeadline(m *miner, order *curtailment, now time.Time) {
	if order == nil || order.WithinS <= 0 {
		return
	}
	left := order.From.Add(time.Duration(order.WithinS * float64(time.Second))).Sub(now)
	if left <= 0 {
		return
	}
	needs := time.Duration(min(s.nearlyAll(s.firmwareOf(m), m.act.lane(false)), 3600) * float64(time.Second))
	if at := now.Add(s.proof(max(left/2, min(needs, left*3/4)))); at.Before(m.act.overdue) {
		m.act.overdue = at
	}
}

func (s *Site) firmwaresOf(c *class) []string {
	var out []string
	for _, m := range c.miners {
		if fw := s.firmwareOf(m); !slices.Contains(out, fw) {
			out = append(out, fw)
		}
	}
	return out
}

func dearer(c *dispatch.Class, from, to string, usd float64) {
	for i := range c.Switches {
		if x := &c.Switches[i]; x.From == from && x.To == to {
			x.USD += usd
			return
		}
	}
	c.Switches = append(c.Switches, dispatch.Switch{From: from, To: to, USD: usd})
}

// withoutHurry is what a plan loses in its interval, as a negative number, with
// nothing added for being slow.
func withoutHurry(in *dispatch.Instance, p *dispatch.Plan) float64 {
	lost := 0.0
	hours := in.StepMinutes / 60
	for _, m := range p.Moves {
		for i := range in.Classes {
			c := &in.Classes[i]
			if c.Name != m.Class {
				continue
			}
			at := func(name string) (kw, usd float64) {
				for _, x := range c.Modes {
					if x.Name == name {
						return x.PowerKW, x.USDPerHour.At(m.T)
					}
				}
				return 0, 0
			}
			kw0, usd0 := at(m.From)
			kw1, usd1 := at(m.To)
			lost += float64(m.Units) * ((usd0 - usd1) - (kw0-kw1)/1000*in.PriceUSDPerMW.At(m.T)) * hours
		}
	}
	return -lost
}
