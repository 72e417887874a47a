package backtest_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/backtest"
	"sluice/site"
)

// leakDays is how long the range of these tests is: short enough that the week
// around the highest price holds every step of it.
const leakDays = 4

// settled is all that is told of what a policy did in the range, by day and step.
func settled(r *backtest.Report, policy string, until time.Time) (days []backtest.Day, steps []backtest.Point) {
	for _, d := range r.Days[policy] {
		if !d.Date.Add(day).After(until) {
			days = append(days, d)
		}
	}
	for _, p := range r.Spike[policy] {
		if !p.At.Add(time.Duration(r.StepS * float64(time.Second))).After(until) {
			steps = append(steps, p)
		}
	}
	return days, steps
}

// stepOf is the step of a policy that begins at t.
func stepOf(r *backtest.Report, policy string, t time.Time) backtest.Point {
	i := slices.IndexFunc(r.Spike[policy], func(p backtest.Point) bool { return p.At.Equal(t) })
	if i < 0 {
		return backtest.Point{}
	}
	return r.Spike[policy][i]
}

// rewrite makes another future: everything that is not known at the instant t, so
// long after the past's beginning.
func (p *past) rewrite(t, begin time.Duration, seed uint64) *past {
	r := rand.New(rand.NewPCG(seed, 23))
	q := *p
	q.price, q.ahead, q.hash, q.pays = slices.Clone(p.price), slices.Clone(p.ahead), slices.Clone(p.hash), slices.Clone(p.pays)
	for i := range q.price {
		if time.Duration(i)*p.step >= t {
			q.price[i] = 700*r.Float64() - 100
		}
	}
	published := (t + 6*time.Hour).Truncate(day) + day // of day-ahead prices and reserves, from 18:00 of the day before
	for i := range q.ahead {
		at := time.Duration(i) * time.Hour
		if at >= published {
			q.ahead[i], q.pays[i] = 700*r.Float64()-100, 80*r.Float64()
		}
		if at >= t {
			q.hash[i] = 10 + 20*r.Float64() // far below what it was
		}
	}
	q.jobs = nil
	for _, j := range p.jobs {
		if j.after < t-begin {
			q.jobs = append(q.jobs, j)
		}
	}
	for range 12 {
		q.jobs = append(q.jobs, arrival{after: t - begin + 1 + time.Duration(r.Int64N(int64(3*day))), gpus: 1 + r.IntN(8), length: time.Duration(r.Int64N(int64(day))) + time.Minute, spot: r.IntN(2) == 0})
	}
	return &q
}

// The future cannot leak: with all of it rewritten, whatever was settled before is
// the same, bit for bit, under every policy.
func TestNoLeak(t *testing.T) {
	const days = 16 // that before the range is what the forecast learns from
	s, count := farm(170 * sluice.Kilowatt)
	s.Reserves = []site.ReserveSpec{{Name: "ready", Max: 60 * sluice.Kilowatt}}
	policies := []string{backtest.Always, backtest.Static, backtest.LastPrice, backtest.Sluice}
	p := market(11, days, time.Hour)
	begin := (days - leakDays) * day
	p.price[int((begin+2*day)/p.step)] = 3000 // in the middle, so that each step is told
	p.work(4, leakDays, 6)
	was := runAll(t, p.options(t, s, count, leakDays), policies...)
	for _, cut := range []time.Duration{2*day + 17*time.Hour, 3 * day} {
		q := p.rewrite(begin+cut, begin, uint64(cut))
		is := runAll(t, q.options(t, s, count, leakDays), policies...)
		until := was.From.Add(cut)
		for _, name := range policies {
			d0, s0 := settled(was, name, until)
			d1, s1 := settled(is, name, until)
			if len(d0) != int(cut/day) || len(s0) < int((cut-12*time.Hour)/p.step) {
				t.Fatalf("%s tells %d days and %d steps before %s", name, len(d0), len(s0), until)
			}
			if !slices.Equal(d0, d1) || !slices.Equal(s0, s1) {
				t.Errorf("%s: what was settled before %s has changed with what came after", name, until)
			}
			// What draws power in the step that begins then was decided before its
			// price was known.
			a, b := stepOf(was, name, until), stepOf(is, name, until)
			if a.Price == b.Price || a.MiningMW != b.MiningMW || a.AIMW != b.AIMW || a.ReadyMW != b.ReadyMW {
				t.Errorf("%s: at %s it knew the price of the step: %+v, %+v", name, until, a, b)
			}
			if got, other := result(t, is, name).ProfitUSD, result(t, was, name).ProfitUSD; got == other {
				t.Errorf("%s earns the same in another future", name)
			}
		}
	}
}

// The same input gives the same output, but for the time that it took.
func TestSameAgain(t *testing.T) {
	p := market(8, 10, time.Hour)
	p.work(2, 3, 6)
	s, count := farm(160 * sluice.Kilowatt)
	s.Reserves = []site.ReserveSpec{{Name: "ready"}}
	o := p.options(t, s, count, 3)
	text := func() string {
		r := runAll(t, o)
		for i := range r.Policies {
			if r.Policies[i].Seconds <= 0 {
				t.Errorf("%s took no time", r.Policies[i].Name)
			}
			r.Policies[i].Seconds = 0
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if a, b := text(), text(); a != b {
		t.Errorf("two runs differ:\n%s\n%s", a, b)
	}
}
