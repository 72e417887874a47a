package site

import (
	"fmt"
	"math"
	"time"

	"sluice"
)

// PowerBalance is where the power into a metered node goes: meter = mining + AI +
// cooling and losses + residual.
type PowerBalance struct {
	Node            string  `json:"node"`
	MeterKW         float64 `json:"meter_kw"`
	MiningKW        float64 `json:"mining_kw"`         // at the miners' plugs, by their readings
	AIKW            float64 `json:"ai_kw"`             // at the hosts' plugs
	CoolingLossesKW float64 `json:"cooling_losses_kw"` // what the site's overhead says that these two cost on top
	ResidualKW      float64 `json:"residual_kw"`       // what nobody accounts for; negative where the readings say more than the meter
	SmoothedKW      float64 `json:"smoothed_residual_kw"`
}

// BalanceOptions say when a residual is worth an alarm.
type BalanceOptions struct {
	Share float64       // of the meter's reading, default 0.05
	For   time.Duration // so long it must be beyond it, default 5m of site time
}

// The residual is smoothed over this time, and alarms are not raised over less
// than driftFloor: the readings of a few machines are no better than that.
const (
	driftTau   = time.Minute
	driftFloor = sluice.Kilowatt
	driftBack  = 0.8 // of the share: below it the alarm ends
)

func (b BalanceOptions) filled() BalanceOptions {
	if b.Share <= 0 {
		b.Share = 0.05
	}
	if b.For <= 0 {
		b.For = 5 * time.Minute
	}
	return b
}

// drift follows the residual of one node.
type drift struct {
	smooth float64 // W
	at     time.Time
	since  time.Time // from when on it has been beyond its share; zero: it is not
}

// follow takes in a residual.
func (d *drift) follow(residual sluice.Watts, now time.Time) {
	if d.at.IsZero() || now.Before(d.at) {
		d.smooth = float64(residual)
	} else {
		d.smooth += (float64(residual) - d.smooth) * (1 - math.Exp(-float64(now.Sub(d.at))/float64(driftTau)))
	}
	d.at = now
}

// judge says whether the alarm stands, given that it did or not.
func (d *drift) judge(meter sluice.Watts, o BalanceOptions, now time.Time, stood bool) bool {
	most := max(o.Share*math.Abs(float64(meter)), float64(driftFloor))
	if stood {
		return math.Abs(d.smooth) > driftBack*most
	}
	if math.Abs(d.smooth) <= most {
		d.since = time.Time{}
		return false
	}
	if d.since.IsZero() {
		d.since = now
	}
	return now.Sub(d.since) >= o.For
}

// balances draws up the balance of each node whose meter is fresh, and raises or
// ends the alarm of its residual. The caller holds s.mu.
func (s *Site) balances(now time.Time) []PowerBalance {
	out := []PowerBalance{}
	var draws map[*node]*draw
	for _, n := range s.nodes {
		if n.spec.Meter == nil {
			continue
		}
		if n.meterAt.IsZero() || now.Sub(n.meterAt) > s.o.MaxReadingAge {
			n.drift = drift{}
			// The meter's silence is an alarm of its own; after a restart it has its time.
			if now.Sub(later(n.meterAt, s.began)) > s.o.MaxReadingAge {
				s.clearAlarm(now, residualDrift, n.spec.Name)
			}
			continue
		}
		if draws == nil {
			draws = s.draws()
		}
		d := draws[n]
		plugs := d.mining + d.ai
		losses := s.atMeter(plugs) - plugs
		residual := n.meter - plugs - losses
		// While machines are under way their readings and the meter's are not of
		// the same moment.
		quiet := s.shedding(n)+n.pending <= n.meter/200+driftFloor
		if quiet || n.drift.at.IsZero() {
			n.drift.follow(residual, now)
		}
		o := s.o.Balance.filled()
		stood := s.alarms.open[residualDrift+"\x00"+n.spec.Name] != nil
		s.setAlarm(n.drift.judge(n.meter, o, now, stood), now, sluice.Warning, residualDrift, n.spec.Name,
			fmt.Sprintf("%.1f kW of the meter's %.1f kW are nobody's for %s and more (mining %.1f, AI %.1f, cooling and losses %.1f)",
				n.drift.smooth/1000, n.meter.KW(), o.For, d.mining.KW(), d.ai.KW(), losses.KW()),
			"look for load that is not in the configuration, for a meter or transformers that are off, or set site.overhead to what cooling takes now")
		out = append(out, PowerBalance{
			Node: n.spec.Name, MeterKW: n.meter.KW(), MiningKW: d.mining.KW(), AIKW: d.ai.KW(), CoolingLossesKW: losses.KW(),
			ResidualKW: residual.KW(), SmoothedKW: n.drift.smooth / 1000,
		})
	}
	return out
}

const residualDrift = "residual-drift"

// draw is what the machines below a node draw at their plugs.
type draw struct{ mining, ai sluice.Watts }

func (s *Site) draws() map[*node]*draw {
	out := make(map[*node]*draw, len(s.nodes))
	for _, n := range s.nodes {
		out[n] = &draw{}
	}
	for _, c := range s.classes {
		var w sluice.Watts
		for _, m := range c.miners {
			p, _ := m.power()
			w += p
		}
		c.node.path(func(n *node) { out[n].mining += w })
	}
	use := s.o.Compute.HostUse()
	for _, h := range s.hosts {
		var w sluice.Watts
		for _, host := range h.spec.Hosts {
			w += use[host.Name].PowerW
		}
		h.node.path(func(n *node) { out[n].ai += w })
	}
	return out
}
