package backtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"sluice/compute"
	"sluice/feed"
	"sluice/history"
	"sluice/sim/hosts"
	"sluice/site"
)

// world is a site in history: the controller, and what stands in for the machines,
// the hosts and the feeds.
type world struct {
	o      *Options
	market *market
	site   *site.Site
	jobs   *compute.Service
	exec   *hosts.Executor
	banks  []*bank
	stream *stream
	now    time.Time
	tally  *tally
}

// run drives the controller over the range, with a policy in the optimiser's
// place.
func run(ctx context.Context, o *Options, policy string) (*tally, []history.Finding, error) {
	m, err := openMarket(o, o.From)
	if err != nil {
		return nil, nil, err
	}
	defer m.close()
	w := &world{o: o, market: m, now: o.From}
	w.tally = newTally(o, policy, m.step)
	fan, err := expectations(ctx, o, policy, m.step)
	if err != nil {
		return nil, nil, err
	}
	defer fan.stop()
	if err := w.build(ctx, policy, fan); err != nil {
		return nil, nil, err
	}
	defer w.jobs.Close()
	total := int(o.To.Sub(o.From) / m.step)
	for n := 0; w.now.Before(o.To); n++ {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		x, err := m.advance()
		if err != nil {
			return nil, nil, err
		}
		w.tally.begin(x)
		if err := w.turn(ctx, w.now); err != nil {
			return nil, nil, err
		}
		if err := w.rest(ctx, x.at.Add(m.step)); err != nil {
			return nil, nil, err
		}
		w.now = x.at.Add(m.step)
		if n%96 == 0 {
			w.forget()
			if o.Progress != nil {
				o.Progress(policy, n, total)
			}
		}
	}
	// The last step is settled by the turn after it, which plans for nobody.
	if _, err := m.advance(); err != nil && m.rt.Err() != nil {
		return nil, nil, err
	}
	if err := w.turn(ctx, w.now); err != nil {
		return nil, nil, err
	}
	if fan.stop(); fan.err != nil && !errors.Is(fan.err, context.Canceled) {
		return nil, nil, fmt.Errorf("forecast: %w", fan.err)
	}
	w.end()
	if o.Progress != nil {
		o.Progress(policy, total, total)
	}
	found := m.findings()
	if w.stream != nil {
		found = append(found, w.stream.in.Findings()...)
	}
	return w.tally, found, nil
}

// build makes the controller and its surroundings.
func (w *world) build(ctx context.Context, policy string, fan *fan) error {
	o := w.o
	clock := func() time.Time { return w.now }
	so := o.Site
	so.Classes, so.Miners = nil, nil
	for _, c := range o.Site.Classes {
		spec, miners, banks := banks(o, c, clock)
		so.Classes = append(so.Classes, spec)
		so.Miners = append(so.Miners, miners...)
		w.banks = append(w.banks, banks...)
	}
	w.exec = hosts.NewStepped(clock)
	var all []compute.Host
	for _, h := range so.Hosts {
		all = append(all, h.Hosts...)
	}
	w.jobs = compute.New(compute.Config{
		Hosts: all, Executors: map[string]compute.Executor{"virtual": w.exec}, Store: queue{}, Now: clock,
		OnChange: func(j compute.Job) {
			if w.site != nil {
				w.site.JobChanged(j)
			}
		},
	})
	if err := w.jobs.Recover(ctx, w.now); err != nil {
		return err
	}
	so.Step = w.market.step
	so.Horizon = horizon(so.Horizon, so.Step)
	so.MaxReadingAge = 2 * so.Step
	so.Mode, so.Control = site.ModeControl, nil
	so.Sync, so.Bare, so.Now = true, true, clock
	so.Solve, so.Expect = planner(policy, o), fan.expect()
	so.Compute = w.jobs
	so.Store = &books{settled: w.tally.settle}
	// A price is in force until the next is published: a step later, as the newest
	// that is known.
	so.Feeds = feed.NewBook([]feed.Spec{{Name: "history", Source: w.market, Refresh: so.Step, MaxAge: longestHole}})
	var err error
	if o.Jobs != nil && len(all) > 0 {
		if w.stream, err = openStream(o, w.market.step); err != nil {
			return err
		}
	}
	w.site, err = site.New(ctx, so, w.now)
	return err
}

// horizon is that of the site, but at least twelve steps: with steps of an hour the
// few that make three hours would not see an evening's prices.
func horizon(site, step time.Duration) time.Duration {
	return max(site.Truncate(step), 12*step)
}

// turn lets what has happened by t reach the site, and the site act.
func (w *world) turn(ctx context.Context, t time.Time) error {
	w.now = t
	w.exec.Advance(t)
	if w.stream != nil {
		if err := w.stream.arrive(ctx, w.jobs, t); err != nil {
			return err
		}
	}
	if err := w.site.Step(ctx, t); err != nil {
		return fmt.Errorf("the turn of %s: %w", t.Format(time.RFC3339), err)
	}
	return nil
}

// rest takes the turns within a step that the ramp asks for: one each minute while
// something waits to come up.
func (w *world) rest(ctx context.Context, end time.Time) error {
	for w.site.Waits() {
		t := w.now.Add(time.Minute)
		if !t.Before(end) {
			return nil
		}
		before := w.standing()
		w.now = t
		w.exec.Advance(t)
		if err := w.site.Step(ctx, t); err != nil {
			return fmt.Errorf("the turn of %s: %w", t.Format(time.RFC3339), err)
		}
		if w.standing() == before && w.site.Waits() {
			// It waits for room, not for the ramp: nothing changes until something ends.
			return nil
		}
	}
	return nil
}

// standing is what machines have done so far: it changes when one is moved.
func (w *world) standing() float64 {
	n := 0.0
	for _, b := range w.banks {
		n += b.switched
	}
	for _, c := range w.jobs.Counts() {
		n += math.Sqrt(float64(c)) // of jobs by state: the sum alone stays
	}
	return n
}

// forget counts the jobs that have ended, and drops them.
func (w *world) forget() {
	for _, j := range w.jobs.Forget() {
		w.tally.job(j, w.now)
	}
}

// end counts what is still open.
func (w *world) end() {
	w.forget()
	for _, j := range w.jobs.Jobs() {
		w.tally.job(j, w.now)
	}
	for _, b := range w.banks {
		w.tally.Switches += b.switched
	}
}
