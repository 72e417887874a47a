package backtest_test

import (
	"math"
	"testing"
	"time"

	"sluice"
	"sluice/backtest"
	"sluice/feed"
	"sluice/history"
	"sluice/site"
)

// Where every price is below every strike and nothing binds, nobody can do better
// than never to stop: the bound is that, to rounding.
func TestBoundIsReached(t *testing.T) {
	for name, set := range map[string]func(*past, *backtest.Options){
		"as it is":         func(*past, *backtest.Options) {},
		"one bank":         func(_ *past, o *backtest.Options) { o.Banks = 1 },
		"fractional banks": func(_ *past, o *backtest.Options) { o.Banks, o.Count = 6, map[string]int{"old": 7, "new": 11} },
		"no overhead":      func(_ *past, o *backtest.Options) { o.Site.Overhead = 0 },
		"prices below 0": func(p *past, _ *backtest.Options) {
			for i := range p.price {
				p.price[i] -= 60
			}
		},
		"another currency": func(_ *past, o *backtest.Options) { o.USDPer = 1.1 },
	} {
		t.Run(name, func(t *testing.T) {
			p := market(1, 18, time.Hour)
			for i := range p.price {
				p.price[i] = math.Mod(math.Abs(p.price[i]), 60)
			}
			s, count := farm(0)
			s.Guard = 0
			var o backtest.Options
			set(p, &o)
			asked := o
			o = p.options(t, s, count, 16)
			o.Banks, o.USDPer = asked.Banks, asked.USDPer
			if asked.Count != nil {
				o.Count = asked.Count
			}
			if name == "no overhead" {
				o.Site.Overhead = 0
			}
			r := runAll(t, o, backtest.Always, backtest.Hindsight)
			got, bound := result(t, r, backtest.Always).ProfitUSD, result(t, r, backtest.Hindsight).ProfitUSD
			if within := rounding(p, &o); !near(got, bound, within) || got <= 0 {
				t.Errorf("never to stop earns %.6f, the bound is %.6f (%.6f may be rounding)", got, bound, within)
			}
		})
	}
}

// A spot job waits behind a firm one until the very step in which its client goes,
// and that is where a block ends: what it does then still counts in the bound.
func TestBoundOfAJobThatABlockCuts(t *testing.T) {
	block := backtest.BlockSpan(time.Hour)
	p := flatPast(int(block/day)+3, time.Hour, 20, 70)
	p.jobs = []arrival{{after: block - 14*time.Hour, gpus: 8, length: 6 * time.Hour, spot: true}, {after: block - 13*time.Hour, gpus: 8, length: 10 * time.Hour}}
	s, count := farm(0)
	s.Classes, s.Hosts[0].Hosts = nil, s.Hosts[0].Hosts[:1]
	o := p.options(t, s, count, int(block/day)+2)
	o.Terms = backtest.Terms{Slack: 1, Patience: 8 * time.Hour}
	r := runAll(t, o, backtest.LastPrice, backtest.Hindsight)
	got, bound := result(t, r, backtest.LastPrice), result(t, r, backtest.Hindsight).ProfitUSD
	if got.Preemptions != 1 || got.JobsLost != 1 || !near(got.GPUHours, 8*15, 1e-6) {
		t.Fatalf("the jobs did not take the course that the test is about: %+v", got)
	}
	if got.ProfitUSD > bound+rounding(p, &o) {
		t.Errorf("last-price earns %.4f, the bound is %.4f", got.ProfitUSD, bound)
	}
}

// What a reserve pays is the same to the site and to the bound: with holes, with
// steps shorter than those of the prices, with a stated rate, with both.
func TestBoundOfReserves(t *testing.T) {
	blank := math.NaN()
	series := func(step time.Duration, days int, f func(at time.Duration) float64) (time.Duration, []float64) {
		var v []float64
		for at := time.Duration(0); at < time.Duration(days)*day; at += step {
			v = append(v, f(at))
		}
		return step, v
	}
	for name, x := range map[string]struct {
		rate float64
		pays func() (time.Duration, []float64)
		want float64 // paid over 16 days, USD/MW·h on average
	}{
		"a rate alone": {12, nil, 12},
		"unknown until later": {12, func() (time.Duration, []float64) {
			return series(time.Hour, 18, func(at time.Duration) float64 {
				if at < 10*day {
					return blank
				}
				return 4
			})
		}, 8},
		"unknown, and no rate": {0, func() (time.Duration, []float64) {
			return series(time.Hour, 18, func(at time.Duration) float64 {
				if at < 10*day {
					return blank
				}
				return 4
			})
		}, 2},
		"a long hole": {12, func() (time.Duration, []float64) {
			return series(time.Hour, 18, func(at time.Duration) float64 {
				if at >= 6*day {
					return blank
				}
				return 4
			})
		}, (4*4 + 7*4 + 5*12) / 16.0},
		"half hours": {0, func() (time.Duration, []float64) {
			return series(30*time.Minute, 18, func(at time.Duration) float64 {
				if at%time.Hour == 0 {
					return 1
				}
				return 9
			})
		}, 9},
	} {
		t.Run(name, func(t *testing.T) {
			p := flatPast(18, time.Hour, 20, 70)
			s, count := farm(0)
			s.Hosts, s.Guard = nil, 0
			for i := range s.Classes {
				s.Classes[i].WakeTime = 0
			}
			s.Reserves = []site.ReserveSpec{{Name: "ready", Max: 50 * sluice.Kilowatt, USDPerMWh: x.rate}}
			o := p.options(t, s, count, 16)
			if x.pays != nil {
				step, v := x.pays()
				o.Series[feed.ReservePrice("ready")] = history.Spec{Path: put(t, t.TempDir(), "ready.csv", csv("ready", p.from, step, v)), Column: "ready"}
			}
			r := runAll(t, o, backtest.Sluice, backtest.Hindsight)
			got, bound := result(t, r, backtest.Sluice), result(t, r, backtest.Hindsight).ProfitUSD
			if got.ProfitUSD > bound+rounding(p, &o) {
				t.Errorf("sluice earns %.4f, of that %.4f with reserves; the bound is %.4f", got.ProfitUSD, got.ReserveUSD, bound)
			}
			// A plan in which nothing pays for readiness offers none: what is
			// missing is a step at each change of what is known.
			if want := 0.05 * 16 * 24 * x.want; !near(got.ReserveUSD, want, 0.05*24*x.want) {
				t.Errorf("reserves paid %.4f, want %.4f", got.ReserveUSD, want)
			}
			if bound > got.ProfitUSD+0.01*bound {
				t.Errorf("the bound %.4f is far from the %.4f earned where nothing is uncertain", bound, got.ProfitUSD)
			}
		})
	}
}
