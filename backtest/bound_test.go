package backtest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/backtest"
	"sluice/site"
)

// wildPast is a past in which anything goes: spikes, nights of negative prices,
// holes, a hashprice that jumps.
func wildPast(t *rapid.T) *past {
	step := rapid.SampledFrom([]time.Duration{time.Hour, 20 * time.Minute}).Draw(t, "step")
	days := rapid.IntRange(2, 4).Draw(t, "days")
	if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
		days = int(backtest.BlockSpan(step)/day) + rapid.IntRange(2, 5).Draw(t, "days past a block")
	}
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	p := flatPast(days, step, 0, 0)
	base := rapid.Float64Range(-20, 90).Draw(t, "base price")
	noise := rapid.Float64Range(0, 60).Draw(t, "noise")
	rare := rapid.SampledFrom([]float64{0, 0.01, 0.1}).Draw(t, "spikes")
	holes := rapid.SampledFrom([]float64{0, 0, 0.05}).Draw(t, "holes")
	for i := range p.price {
		v := base + noise*r.NormFloat64()
		switch x := r.Float64(); {
		case x < rare:
			v += 9000 * r.Float64()
		case x < 2*rare:
			v -= 400 * r.Float64()
		}
		if r.Float64() < holes && i > 0 {
			v = math.NaN()
		}
		p.price[i] = v
	}
	level := rapid.Float64Range(2, 200).Draw(t, "hashprice")
	for i := range p.hash {
		if r.Float64() < 0.05 {
			level = math.Max(1, level*(0.7+0.6*r.Float64()))
		}
		p.hash[i] = level
	}
	if rapid.Bool().Draw(t, "day-ahead") {
		p.ahead = make([]float64, p.hours())
		for i := range p.ahead {
			p.ahead[i] = base + noise*r.NormFloat64()
		}
	}
	if rapid.Bool().Draw(t, "reserve prices") {
		p.pays = make([]float64, p.hours())
		for i := range p.pays {
			p.pays[i] = 100 * r.Float64() * r.Float64()
			if r.Float64() < 0.1 || i < 30 && holes > 0 {
				p.pays[i] = math.NaN()
			}
		}
		p.pays[len(p.pays)/2] = 5
	}
	if each := rapid.SampledFrom([]float64{0, 0, 1, 5}).Draw(t, "jobs a day"); each > 0 {
		p.work(r.Uint64(), days, each)
		for i := range p.jobs { // some come and end with a step, some after days
			switch r.IntN(4) {
			case 0:
				p.jobs[i].after = p.jobs[i].after.Truncate(p.step)
				p.jobs[i].length = p.jobs[i].length.Truncate(p.step) + p.step
			case 1:
				p.jobs[i].length *= 8
			}
		}
	}
	return p
}

// wildSite is any small site.
func wildSite(t *rapid.T) (site.Options, map[string]int) {
	s, count := farm(0)
	whole := 0.0
	for i := range s.Classes {
		c := &s.Classes[i]
		n := rapid.IntRange(0, 40).Draw(t, "count")
		if n > 2 && rapid.Bool().Draw(t, "one") {
			n = 1
		}
		count[c.Name] = n
		whole += float64(n) * float64(c.Modes[len(c.Modes)-1].Power)
		c.WakeTime = time.Duration(rapid.IntRange(0, 10).Draw(t, "wake")) * time.Minute
		c.MinOn = time.Duration(rapid.IntRange(0, 90).Draw(t, "least on")) * time.Minute
	}
	s.Hosts[0].RateUSD = rapid.Float64Range(0.02, 4).Draw(t, "rate")
	s.Hosts[0].SpotRateUSD = s.Hosts[0].RateUSD / 2
	whole += 20_000
	if rapid.Bool().Draw(t, "limited") {
		s.Nodes[0].Limit = sluice.Watts(30_000 + whole*rapid.Float64Range(0, 1.1).Draw(t, "limit"))
		if rapid.Bool().Draw(t, "hall limited") {
			s.Nodes[2].Limit = sluice.Watts(30_000 + whole*rapid.Float64Range(0, 0.5).Draw(t, "hall's limit"))
		}
	}
	s.Guard = rapid.SampledFrom([]float64{0, 0.01, 0.05}).Draw(t, "guard")
	s.Ramp = sluice.Watts(rapid.IntRange(4_000, 200_000).Draw(t, "ramp"))
	s.Overhead = rapid.SampledFrom([]float64{1, 1.04, 1.2}).Draw(t, "overhead")
	for range rapid.IntRange(0, 2).Draw(t, "reserves") {
		r := site.ReserveSpec{Name: []string{"ready", "slow"}[len(s.Reserves)]}
		if rapid.Bool().Draw(t, "most") {
			r.Max = sluice.Watts(rapid.IntRange(1000, 200_000).Draw(t, "max"))
		}
		if rapid.Bool().Draw(t, "stated") {
			r.USDPerMWh = rapid.Float64Range(0, 60).Draw(t, "stated price")
		}
		s.Reserves = append(s.Reserves, r)
	}
	return s, count
}

// rounding is what whole watts, watt-hours and micro-dollars may be worth: each
// class and the hosts draw up to a watt less than they do, and a watt-hour and some
// micro-dollars of each step are rounded.
func rounding(p *past, o *backtest.Options) float64 {
	usd := 0.0
	price := 0.0
	for i, v := range p.price {
		if !math.IsNaN(v) {
			price = math.Abs(v)
		} else if p.ahead != nil { // what stands in for it
			price = math.Max(price, 10_000)
		}
		if !p.from.Add(time.Duration(i) * p.step).Before(o.From) {
			usd += price/1e6*(p.step.Hours()*float64(len(o.Site.Classes)+1)+2) + 20e-6
		}
	}
	return usd
}

// Nothing that a policy does earns more than hindsight's bound: not with spikes,
// negative prices, limits, reserves, jobs that go on over several blocks, banks of
// one machine or of many.
func TestHindsightIsABound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := wildPast(rt)
		s, count := wildSite(rt)
		o := p.options(t, s, count, int(p.span()/day)-1)
		o.Banks = rapid.SampledFrom([]int{1, 2, 7, 40}).Draw(rt, "banks")
		o.Terms = backtest.Terms{
			MinHours: rapid.SampledFrom([]float64{0, 1}).Draw(rt, "shortest"), MaxHours: rapid.SampledFrom([]float64{0, 30}).Draw(rt, "longest"),
			Slack: rapid.Float64Range(1, 4).Draw(rt, "slack"), Patience: time.Duration(rapid.IntRange(1, 30).Draw(rt, "patience")) * time.Hour,
		}
		o.USDPer = rapid.SampledFrom([]float64{1, 0.9}).Draw(rt, "USD per unit of money")
		r, err := backtest.Run(context.Background(), o, backtest.Policies())
		if err != nil {
			rt.Fatal(err)
		}
		bound := result(t, r, backtest.Hindsight).ProfitUSD
		slack := rounding(p, &o) + 1e-9*math.Abs(bound)
		for _, x := range r.Policies {
			if x.ProfitUSD > bound+slack {
				rt.Errorf("%s earns %.6f USD, %.6f more than the bound (%.6f may be rounding)", x.Name, x.ProfitUSD, x.ProfitUSD-bound, slack)
			}
		}
	})
}

// A bound is not a run: what it has no figure for is null, and it says why.
func TestBoundHasNoParts(t *testing.T) {
	s, count := farm(0)
	s.Hosts = nil
	r := runAll(t, market(3, 6, time.Hour).options(t, s, count, 3), backtest.Hindsight, backtest.LastPrice)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var told struct {
		Policies []map[string]any `json:"policies"`
	}
	if err := json.Unmarshal(b, &told); err != nil {
		t.Fatal(err)
	}
	bound, run := told.Policies[0], told.Policies[1]
	for name := range run {
		switch v, there := bound[name]; name {
		case "name", "profit_usd", "capture", "wall_seconds":
			if v == nil {
				t.Errorf("the bound has no %s", name)
			}
		default:
			if v != nil || !there || run[name] == nil {
				t.Errorf("%s is %v of a bound (there: %v), %v of a run", name, v, there, run[name])
			}
		}
	}
	note, _ := bound["note"].(string)
	var plain bytes.Buffer
	if err := r.WriteText(&plain); err != nil || note == "" || !strings.Contains(plain.String(), note) || run["note"] != nil {
		t.Errorf("the note %q of a bound, %v of a run, in %s, %v", note, run["note"], plain.String(), err)
	}
}
