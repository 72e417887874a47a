package backtest_test

import (
	"testing"
	"time"

	"sluice"
	"sluice/backtest"
	"sluice/site"
)

// week is a run of less than a week, of which every step is told: the highest
// price stands in its middle.
func week(t *testing.T, p *past, s site.Options, count map[string]int, days int, policies ...string) (*past, *backtest.Report) {
	t.Helper()
	p.price[len(p.price)-int(time.Duration(days)*day/p.step)/2] = 20_000
	r := runAll(t, p.options(t, s, count, days), policies...)
	for _, name := range policies {
		if n := len(r.Spike[name]); n != int(time.Duration(days)*day/p.step) {
			t.Fatalf("%d steps of %s are told", n, name)
		}
	}
	return p, r
}

// strike is the price above which a mode earns nothing, USD/MWh.
func strike(m sluice.Mode, hash float64) float64 {
	return float64(m.HashRate) / 1000 * hash / 24 * (1 - fee) / (float64(m.Power) / 1e6 * overhead)
}

// last-price runs in exactly the steps after one whose price was below the strike.
func TestLastPriceFollowsThePriceBefore(t *testing.T) {
	s, count := farm(0)
	s.Classes, s.Hosts, s.Ramp = s.Classes[:1], nil, sluice.Megawatt
	p := market(21, 9, 20*time.Minute)
	for i := range p.hash {
		p.hash[i] = 40
	}
	p, r := week(t, p, s, count, 6, backtest.LastPrice)
	at := strike(s.Classes[0].Modes[1], 40)
	full := float64(count["old"]) * 3250e-6 * overhead
	least := float64(count["old"]) * 20e-6 * overhead
	skip, on := len(p.price)-len(r.Spike[backtest.LastPrice]), 0
	for i, x := range r.Spike[backtest.LastPrice] {
		if i > 0 && near(p.price[skip+i-1], at, 0.02*at) {
			continue // good enough either way
		}
		want := least
		if i == 0 || p.price[skip+i-1] < at {
			want = full
			on++
		}
		if !near(x.MiningMW, want, 1e-4) || x.Price != p.price[skip+i] {
			t.Errorf("at %s, after a price of %v, miners draw %v MW, want %v", x.At, p.price[skip+i-1], x.MiningMW, want)
		}
	}
	if n := len(r.Spike[backtest.LastPrice]); on < n/4 || on > n*9/10 {
		t.Errorf("it ran in %d of %d steps: the test says little", on, n)
	}
}

// always and static move nothing for a price, pause no job and sell no reserve;
// static keeps the power of all hosts free for them. All keep the limits, with the
// guard that the site has.
func TestPoliciesDoWhatTheySay(t *testing.T) {
	const limit = 170 * sluice.Kilowatt
	s, count := farm(limit)
	s.Reserves = []site.ReserveSpec{{Name: "ready", USDPerMWh: 8}}
	p := market(5, 12, time.Hour)
	p.work(9, 6, 8)
	policies := []string{backtest.Always, backtest.Static, backtest.LastPrice, backtest.Sluice}
	_, r := week(t, p, s, count, 6, policies...)
	for _, name := range policies {
		x := result(t, r, name)
		for _, p := range r.Spike[name] {
			if mw := p.MiningMW + p.AIMW; mw > 1e-6*float64(limit)*0.99+1e-5 {
				t.Errorf("%s draws %v MW at %s under a limit of %v", name, mw, p.At, limit)
			}
		}
		if name != backtest.Sluice && x.ReserveUSD != 0 || name == backtest.Sluice && x.ReserveUSD <= 0 {
			t.Errorf("%s earns %v USD with reserves", name, x.ReserveUSD)
		}
		if x.GPUHours <= 0 || x.JobsDone <= 0 {
			t.Errorf("%s ran no jobs: %+v", name, x)
		}
	}
	hosts := 18_000 * overhead * 1e-6 // with all of their units busy
	hosts += 2_000 * overhead * 1e-6
	free := 1e-6*float64(limit)*0.99 - hosts
	for i, x := range r.Spike[backtest.Static] {
		if first := r.Spike[backtest.Static][0].MiningMW; i > 0 && x.MiningMW != first || x.MiningMW > free+1e-6 || x.MiningMW < free-0.004 {
			t.Errorf("static's miners draw %v MW at %s; at first %v, and %v is free of hosts", x.MiningMW, x.At, first, free)
		}
	}
	for _, name := range []string{backtest.Always, backtest.Static} {
		if x := result(t, r, name); x.Preemptions != 0 {
			t.Errorf("%s paused jobs %d times", name, x.Preemptions)
		}
	}
	if x := result(t, r, backtest.Static); x.Switches > float64(count["old"]+count["new"]) {
		t.Errorf("static moved %v machines", x.Switches)
	}
	// What is left over is less than the largest machine draws, and what jobs leave
	// that end within an hour.
	if used := result(t, r, backtest.Always).EnergyMWh / (6 * 24) / (1e-6 * float64(limit) * 0.99); used < 0.95 {
		t.Errorf("always uses %v of the limit", used)
	}
}

// A job whose client has waited too long is lost; one that ends after its deadline
// is late; none is counted twice.
func TestJobsThatWait(t *testing.T) {
	s, count := farm(0)
	s.Classes, s.Hosts[0].Hosts = nil, s.Hosts[0].Hosts[:1]
	p := flatPast(4, time.Hour, 20, 70)
	p.jobs = []arrival{
		{after: 0, gpus: 8, length: 20 * time.Hour},
		{after: 30 * time.Minute, gpus: 8, length: 10 * time.Hour}, // starts after 20 h, due after 20: late
		{after: time.Hour, gpus: 8, length: 8 * time.Hour},         // never starts: lost
		{after: 40 * time.Hour, gpus: 2, length: time.Hour},        // in time
		{after: 60 * time.Hour, gpus: 8, length: 100 * time.Hour},  // open at the end, and not due
	}
	o := p.options(t, s, count, 3)
	o.Terms = backtest.Terms{Slack: 2, Patience: 26 * time.Hour}
	got := result(t, runAll(t, o, backtest.Always), backtest.Always)
	if got.JobsDone != 3 || got.JobsLate != 1 || got.JobsLost != 1 || !near(got.GPUHours, 8*(20+10+12)+2, 1e-6) {
		t.Errorf("%+v", got)
	}
	if want := 2.5 * got.GPUHours; !near(got.AIUSD, want, 1e-3) {
		t.Errorf("AI earned %v, want %v", got.AIUSD, want)
	}
}
