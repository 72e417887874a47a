package backtest_test

import (
	"math"
	"testing"
	"time"

	"sluice"
	"sluice/backtest"
)

// ledgerOf is what an hour-by-hour sum by hand makes of a site without limits on
// which nothing ever stands still.
type ledgerOf struct{ miningUSD, miningMWh, energyUSD, energyMWh, aiUSD, gpuHours float64 }

func byHand(p *past, o backtest.Options) ledgerOf {
	var l ledgerOf
	minersMW, phs := 0.0, 0.0
	for _, c := range o.Site.Classes {
		full := c.Modes[len(c.Modes)-1]
		minersMW += float64(o.Count[c.Name]) * float64(full.Power) / 1e6 * o.Site.Overhead
		phs += float64(o.Count[c.Name]) * float64(full.HashRate) / 1000
	}
	idleMW, units := 0.0, 0
	for _, h := range o.Site.Hosts {
		for _, x := range h.Hosts {
			idleMW += float64(x.IdleW) / 1e6 * o.Site.Overhead
			units += x.Units
		}
	}
	h := p.step.Hours()
	skip := int(o.From.Sub(p.from) / p.step)
	for i := skip; i < len(p.price); i++ {
		at := time.Duration(i) * p.step
		begin, end := at-o.From.Sub(p.from), at+p.step-o.From.Sub(p.from)
		unitHours := 0.0
		for _, j := range p.jobs {
			// It is seen at the first step that begins after it came, and then runs
			// to its end.
			start := (j.after + p.step - 1) / p.step * p.step
			ran := (min(end, start+j.length) - max(begin, start)).Hours() * float64(j.gpus)
			if ran <= 0 {
				continue
			}
			rate := o.Site.Hosts[0].RateUSD
			if j.spot {
				rate = o.Site.Hosts[0].SpotRateUSD
			}
			unitHours += ran
			l.aiUSD += ran * rate
		}
		l.gpuHours += unitHours
		unitMW := 0.0
		if len(o.Site.Hosts) > 0 {
			unitMW = float64(o.Site.Hosts[0].Hosts[0].UnitW) / 1e6 * o.Site.Overhead
		}
		mwh := (minersMW+idleMW)*h + unitMW*unitHours
		l.miningMWh += minersMW * h
		l.energyMWh += mwh
		l.energyUSD += mwh * p.price[i]
		hash := p.hash[int((at-time.Hour)/time.Hour)] // the last hour that has ended
		l.miningUSD += phs * hash / 24 * h * (1 - o.Site.PoolFee)
	}
	return l
}

// What always earns on a site without limits can be worked out by hand, to the
// rounding of each step's postings.
func TestBooksByHand(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, 15 * time.Minute} {
		t.Run(step.String(), func(t *testing.T) {
			p := market(3, 12, step)
			for i := range 20 { // all fit at once, or one after another
				p.jobs = append(p.jobs, arrival{after: time.Duration(i) * 7 * time.Hour, gpus: 1 + i%4, length: time.Duration(50+97*i%900) * time.Minute, spot: i%3 == 0})
			}
			s, count := farm(0)
			o := p.options(t, s, count, 7)
			r := runAll(t, o, backtest.Always)
			got, want := result(t, r, backtest.Always), byHand(p, o)
			steps := float64(7*day) / float64(step)
			cents := steps * 20e-6
			for _, x := range []struct {
				name      string
				got, want float64
				within    float64
			}{
				{"mining, USD", got.MiningUSD, want.miningUSD, cents},
				{"energy, USD", got.EnergyUSD, want.energyUSD, steps * 4e-6 * 100}, // watt-hours are whole
				{"energy, MWh", got.EnergyMWh, want.energyMWh, steps * 4e-6},
				{"AI, USD", got.AIUSD, want.aiUSD, cents},
				{"GPU-hours", got.GPUHours, want.gpuHours, 1e-6},
				{"hours mined", got.HoursMined, 7 * 24, 1e-4},
				{"reserves", got.ReserveUSD, 0, 0},
				{"switches", got.Switches, 0, 0},
				{"profit", got.ProfitUSD, got.MiningUSD + got.AIUSD + got.ReserveUSD - got.EnergyUSD, 1e-6},
			} {
				if !near(x.got, x.want, x.within) {
					t.Errorf("%s: %v, by hand %v", x.name, x.got, x.want)
				}
			}
			if got.JobsDone != len(p.jobs) || got.JobsLate+got.JobsLost+got.Preemptions != 0 {
				t.Errorf("jobs: %+v", got)
			}
			profit, mwh := 0.0, 0.0
			for _, d := range r.Days[backtest.Always] {
				profit += d.ProfitUSD
				mwh += d.MiningMWh + d.AIMWh
			}
			if len(r.Days[backtest.Always]) != 7 || !near(profit, got.ProfitUSD, 1e-6) || !near(mwh, got.EnergyMWh, steps*4e-6) {
				t.Errorf("%d days sum to %v USD and %v MWh", len(r.Days[backtest.Always]), profit, mwh)
			}
		})
	}
}

// A wake draws power before it hashes: what was lost to wakes is missing from the
// revenue, and nothing else.
func TestWakesCost(t *testing.T) {
	p := flatPast(3, time.Hour, 20, 70)
	for i := range p.price {
		if i%4 == 0 {
			p.price[i] = 300
		}
	}
	s, count := farm(0)
	s.Hosts, s.Ramp = nil, 10*sluice.Megawatt
	o := p.options(t, s, count, 2)
	got := result(t, runAll(t, o, backtest.LastPrice), backtest.LastPrice)
	// Of each four hours the one after a price of 300 stands still.
	perHour := 0.0
	lost := 0.0
	for _, c := range s.Classes {
		full := c.Modes[len(c.Modes)-1]
		usd := float64(count[c.Name]) * float64(full.HashRate) / 1000 * 70 / 24 * (1 - fee)
		perHour += usd
		lost += usd * c.WakeTime.Hours()
	}
	want := 36*perHour - 12*lost
	if !near(got.MiningUSD, want, 0.02) {
		t.Errorf("mining earned %.3f USD, by hand %.3f", got.MiningUSD, want)
	}
	if want := float64(24 * (count["old"] + count["new"])); math.Abs(got.Switches-want) > 1e-9 {
		t.Errorf("%v switches, want %v", got.Switches, want)
	}
}
