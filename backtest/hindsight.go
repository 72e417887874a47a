package backtest

import (
	"context"
	"fmt"
	"math"
	"time"

	"sluice"
	"sluice/dispatch"
	"sluice/history"
)

// hindsight bounds what any policy could have earned. The range is cut into
// blocks; of each the optimiser proves a bound on every plan that keeps the limits,
// with prices, hashprice and arrivals known, and the bounds are added up. That is a
// bound on the whole, since a block leaves out what ties it to others and what only
// costs:
//
//   - each block begins in whatever state is best: switching, wake times and
//     dwells are free;
//   - nothing is kept free under the limits, and no ramp holds;
//   - a job may be paused and go on at any time, without a restart, until its
//     client is gone; it counts whole steps;
//   - a job that two or more blocks could run stands in each of them, at a rate
//     that is lower by π, and π times its whole work is added once. Whatever a
//     policy does with it, it cannot do more than its work, so that the sum holds
//     for any π ≥ 0; here π is what a step of it is worth at the mean price.
//
// A policy that moves machines within a step is the mean of policies that do so at
// its start, and the bound, being that of a relaxation, holds for means too.
//
// A bound has no parts: of hindsight only the profit is known. The units and jobs
// that answer the prices by which it is proven break the limits now and then; what
// the bound is above what they earn is the limits' own worth at these prices, and
// no plan need exist that has both.
func hindsight(ctx context.Context, o *Options) (*tally, []history.Finding, error) {
	m, err := openMarket(o, o.From)
	if err != nil {
		return nil, nil, err
	}
	defer m.close()
	t := newTally(o, Hindsight, m.step)
	t.Note = boundNote
	var s *stream
	if o.Jobs != nil && len(o.Site.Hosts) > 0 {
		if s, err = openStream(o, m.step); err != nil {
			return nil, nil, err
		}
	}
	total := int(o.To.Sub(o.From) / m.step)
	steps := int(blockSpan(m.step) / m.step)
	var open []work
	for from := 0; from < total; from += steps {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		b := &block{o: o, step: m.step, from: m.at(), n: min(steps, total-from)}
		for range b.n {
			x, err := m.advance()
			if err != nil {
				return nil, nil, err
			}
			b.moments = append(b.moments, x)
		}
		if open, err = b.take(s, open); err != nil {
			return nil, nil, err
		}
		if err := b.solve(t); err != nil {
			return nil, nil, fmt.Errorf("the bound from %s on: %w", b.from.Format(time.RFC3339), err)
		}
		if o.Progress != nil {
			o.Progress(Hindsight, from+b.n, total)
		}
	}
	found := m.findings()
	if s != nil {
		found = append(found, s.in.Findings()...)
	}
	t.days, t.spike = nil, nil
	return t, found, nil
}

// blockSpan is how long a block is: some hundred steps.
func blockSpan(step time.Duration) time.Duration {
	if step >= 30*time.Minute {
		return 28 * 24 * time.Hour
	}
	return 7 * 24 * time.Hour
}

// work is a job that a block may run.
type work struct {
	at, gone time.Time
	length   time.Duration
	units    int
	class    int // of Site.Hosts
	rate     float64
	name     string
	price    float64 // π, USD per unit and hour; set where a later block may run it too
}

// block is a part of the range with all that is known of it afterwards.
type block struct {
	o       *Options
	step    time.Duration
	from    time.Time
	n       int
	moments []moment
	jobs    []work
	once    float64 // Σ π·work of the jobs that are first seen here
}

func (b *block) end() time.Time { return b.from.Add(time.Duration(b.n) * b.step) }

// take collects the jobs of the block: those that earlier blocks left open, and
// those that come. It returns those that later blocks may run.
func (b *block) take(s *stream, open []work) ([]work, error) {
	b.jobs = open
	for s != nil && !s.done {
		if s.next == nil {
			j, err := s.in.Next()
			if err != nil {
				if s.done = true; !isEnd(err) {
					return nil, err
				}
				break
			}
			s.next = &j
		}
		if !s.next.At.Before(b.end()) {
			break
		}
		j := *s.next
		s.next = nil
		if j.Duration.Hours() < b.o.Terms.MinHours {
			continue
		}
		c := s.class(j.GPUs)
		if c < 0 {
			continue
		}
		h := b.o.Site.Hosts[c]
		w := work{at: j.At, length: b.o.Terms.length(j), units: j.GPUs, class: c, rate: h.RateUSD, name: fmt.Sprintf("j%d", s.given)}
		s.given++
		if j.Interruptible {
			w.rate = h.SpotRateUSD
		}
		w.gone = b.o.Terms.gone(w.at, w.length)
		if later(w, b.end()) && b.end().Before(b.o.To) {
			w.price = math.Max(0, w.rate-unitPower(b.o)[h.Name]/1000*b.meanPrice())
			b.once += w.price * float64(w.units) * float64(b.intervals(w)) * b.step.Hours()
		}
		b.jobs = append(b.jobs, w)
	}
	var rest []work
	for _, w := range b.jobs {
		if later(w, b.end()) {
			rest = append(rest, w)
		}
	}
	return rest, nil
}

// later says whether the job may still run in the step that begins at t: its client
// goes in the first turn after the time.
func later(w work, t time.Time) bool { return !w.gone.Before(t) }

func (b *block) intervals(w work) int { return int((w.length + b.step - 1) / b.step) }

func (b *block) meanPrice() float64 {
	sum := 0.0
	for _, x := range b.moments {
		sum += x.price
	}
	return sum / float64(len(b.moments))
}

// instance is the block as the optimiser sees it.
func (b *block) instance() *dispatch.Instance {
	o := b.o
	in := &dispatch.Instance{Start: b.from.UTC().Format(time.RFC3339), StepMinutes: b.step.Minutes(), Intervals: b.n}
	series := func(f func(x *moment) float64) dispatch.Series {
		v := make([]float64, b.n)
		for t := range v {
			v[t] = f(&b.moments[t])
		}
		return dispatch.Values(v)
	}
	in.PriceUSDPerMW = series(func(x *moment) float64 { return x.price })
	for _, n := range o.Site.Nodes {
		d := dispatch.Node{Name: n.Name, Parent: n.Parent}
		if n.Limit > 0 {
			s := dispatch.Const(n.Limit.KW())
			d.LimitKW = &s
		}
		in.Nodes = append(in.Nodes, d)
	}
	for i, r := range o.Site.Reserves {
		d := dispatch.Reserve{Name: r.Name, USDPerMWh: series(func(x *moment) float64 { return x.reserve[i] })}
		if r.Max > 0 {
			s := dispatch.Const(r.Max.KW())
			d.MaxKW = &s
		}
		in.Reserves = append(in.Reserves, d)
	}
	atMeter := func(w sluice.Watts) float64 { return float64(w) * o.Site.Overhead / 1000 }
	free := 0.0
	for _, c := range o.Site.Classes {
		n := o.Count[c.Name]
		if n == 0 {
			continue
		}
		c, _ := o.banked(c) // of which policies, too, have whole ones
		d := dispatch.Class{Name: c.Name, Node: c.Node, Count: n, Initial: map[string]int{sluice.ModeSleep: n}}
		least := c.Modes[0].Power
		for _, m := range c.Modes {
			least = min(least, m.Power)
		}
		for _, m := range c.Modes {
			hour := sluice.MiningRevenue(m.HashRate/sluice.HashRate(c.Stands), 1_000_000, o.Site.PoolFee, 1_000_000*time.Hour).USD() / 1e6 // of one hour at 1 $/PH/day
			dm := dispatch.Mode{Name: m.Name, PowerKW: atMeter(m.Power) / c.Stands, MinIntervals: 1, EarlyUSD: &free}
			dm.USDPerHour = series(func(x *moment) float64 { return hour * x.hash })
			if len(o.Site.Reserves) > 0 {
				dm.ShedKW = atMeter(m.Power-least) / c.Stands
			}
			d.Modes = append(d.Modes, dm)
		}
		in.Classes = append(in.Classes, d)
	}
	power := unitPower(o)
	for _, h := range o.Site.Hosts {
		var idle sluice.Watts
		units := 0
		for _, x := range h.Hosts {
			idle += x.IdleW
			units += x.Units
		}
		if units == 0 {
			continue
		}
		in.Classes = append(in.Classes, dispatch.Class{
			Name: h.Name, Node: h.Node, Count: units, Initial: map[string]int{sluice.ModeIdle: units},
			Modes: []dispatch.Mode{{Name: sluice.ModeIdle, PowerKW: atMeter(idle) / float64(units), USDPerHour: dispatch.Const(0)}},
		})
	}
	for _, w := range b.jobs {
		h := o.Site.Hosts[w.class].Name
		first := 0
		if w.at.After(b.from) {
			first = int(w.at.Sub(b.from) / b.step)
		}
		in.Jobs = append(in.Jobs, dispatch.Job{
			Name: w.name, Class: h, Units: w.units, Intervals: b.intervals(w), Earliest: first,
			USDPerUnitHour: math.Max(0, w.rate-w.price), PowerKW: power[h],
		})
	}
	return in
}

// solve adds the block's bound.
func (b *block) solve(t *tally) error {
	in := b.instance()
	until := make([]int, len(b.jobs))
	for i, w := range b.jobs {
		until[i] = min(b.n, int((w.gone.Sub(b.from)+b.step-1)/b.step)+1) // it is let go at the first turn after
	}
	p, err := dispatch.Bound(in, dispatch.BoundOptions{FreeStart: true, Until: until})
	if err != nil {
		return err
	}
	t.ProfitUSD += p.USD + b.once
	return nil
}
