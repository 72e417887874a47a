package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"sluice/compute"
	"sluice/compute/jobfile"
	"sluice/feed"
	"sluice/server"
)

// parse reads a job file for this site; where it is only looked at, what has to be
// given beside it may be missing.
func (d jobDesk) parse(s server.Submission, check bool) (*compute.Task, error) {
	place := &jobfile.Site{Name: d.r.parts.options.Name}
	for _, h := range d.r.parts.hosts {
		if h.Region != "" && !slices.Contains(place.Regions, h.Region) {
			place.Regions = append(place.Regions, h.Region)
		}
		if h.GPUModel != "" && !slices.Contains(place.GPUs, h.GPUModel) {
			place.GPUs = append(place.GPUs, h.GPUModel)
		}
	}
	task, err := jobfile.Parse([]byte(s.Task), jobfile.Options{File: cmp.Or(s.File, "task.yaml"), Env: s.Env, Secrets: s.Secrets, Site: place, Check: check})
	if err != nil {
		return nil, err
	}
	if s.Name != "" {
		task.Name = s.Name
	}
	if s.Limit > 0 {
		task.TimeLimit = s.Limit
	}
	return task, nil
}

// Check resolves a job file and prices each of its choices.
func (d jobDesk) Check(ctx context.Context, s server.Submission) (server.JobCheck, error) {
	owner, err := tenantOf(ctx, s)
	if err != nil {
		return server.JobCheck{}, err
	}
	task, err := d.parse(s, true)
	if err != nil {
		return server.JobCheck{}, err
	}
	c := d.price(task, s, owner).JobCheck
	if err := d.r.jobs.Admits(d.request(task, s, owner)); err != nil {
		for i := range c.Choices {
			c.Choices[i].Fits, c.Choices[i].Why = false, err.Error()
		}
	}
	price := math.Inf(-1)
	if f := d.r.parts.options.Feeds; f != nil {
		price = f.At(feed.RealTimePrice, d.r.parts.clock.Now()).Value
	}
	c.Warnings = append(c.Warnings, foreseen(c, s, d.r.parts.rateOf, price)...)
	return c, nil
}

// foreseen says what a client would rather know before it hands the job in: that it
// cannot be done in time, and that it would wait now for cheaper power.
func foreseen(c server.JobCheck, s server.Submission, rateOf func(class string, interruptible bool) (usd, strike float64), priceUSDPerMWh float64) []string {
	var out []string
	if s.Due > 0 && s.Expect > s.Due {
		out = append(out, fmt.Sprintf("it is due in %s and takes %s: it will be late", span(s.Due), span(s.Expect)))
	}
	waits, fits := 0, 0
	highest := 0.0
	for _, ch := range c.Choices {
		if !ch.Fits {
			continue
		}
		fits++
		if _, strike := rateOf(ch.Class, ch.Resources.UseSpot); ch.Resources.UseSpot && strike > 0 && strike < priceUSDPerMWh {
			waits++
			highest = max(highest, strike)
		}
	}
	if fits > 0 && waits == fits {
		out = append(out, fmt.Sprintf("it would wait for cheaper power now: it pays up to %s $/MWh, the price is %s", figure(highest, 1), figure(priceUSDPerMWh, 1)))
	}
	return out
}

// priced is what a job file asks for, with what each choice costs here.
type priced struct{ server.JobCheck }

func (d jobDesk) price(task *compute.Task, s server.Submission, owner string) priced {
	c := server.CheckOf(task, s.Expect)
	c.Priced = true
	for i, f := range d.r.jobs.Fits(d.request(task, s, owner)) {
		ch := &c.Choices[i]
		ch.Units = unitsOf(ch.Resources)
		if f.Err != nil {
			ch.Why = f.Err.Error()
			if f.Choices = d.virtually(task, s, owner, ch.Resources); len(f.Choices) == 0 {
				continue
			}
		}
		best := f.Choices[0]
		ch.Class, ch.Units, ch.Fits = best.Class, best.UnitsPerNode, f.Err == nil
		c.Price(i, best.RateUSDHour*float64(best.UnitsPerNode))
		if most := ch.Resources.MaxUSDPerHour; ch.Fits && most > 0 && ch.USDPerHour > most {
			ch.Fits, ch.Why = false, fmt.Sprintf("it costs %s $/h, and max_hourly_cost is %s", figure(ch.USDPerHour, 2), figure(most, 2))
		}
	}
	return priced{c}
}

// virtually is where an alternative could run if virtual hosts were real ones: for
// its price.
func (d jobDesk) virtually(task *compute.Task, s server.Submission, owner string, r compute.Resources) []compute.Choice {
	t := *task
	t.Resources, t.Choices = r, nil
	req := d.request(&t, s, owner)
	req.Real = false
	if f := d.r.jobs.Fits(req); len(f) == 1 && f[0].Err == nil {
		return f[0].Choices
	}
	return nil
}

// unitsOf is what a node of the job holds of its host: GPUs, or CPU slots.
func unitsOf(r compute.Resources) int { return cmp.Or(r.GPUs, max(1, int(math.Ceil(r.CPUs)))) }

// fits returns the choices that can run here, and why where none can.
func (p priced) fits() ([]server.JobChoice, error) {
	var out []server.JobChoice
	var why []string
	for _, ch := range p.Choices {
		if ch.Fits {
			out = append(out, ch)
			continue
		}
		text := ch.Why
		if len(p.Choices) > 1 {
			text = needsOf(ch.Resources) + ": " + text
		}
		why = append(why, text)
	}
	if len(out) == 0 {
		return nil, errors.New(strings.Join(why, "; "))
	}
	return out, nil
}

// mend says how a task that fits nowhere could.
func (d jobDesk) mend(t *compute.Task) string {
	gpus, virtual, anyReal := false, false, false
	for _, h := range d.r.parts.hosts {
		gpus = gpus || h.Real && h.GPUModel != ""
		anyReal = anyReal || h.Real
		virtual = virtual || !h.Real
	}
	hint := "sluice job check shows what each choice lacks"
	switch {
	case !anyReal && !virtual:
		return "add one under hosts: in sluice.yaml"
	case t.Resources.GPUs > 0 && !gpus:
		hint = "take resources.accelerators out of the task to run it on this machine's CPUs"
		if virtual {
			hint = "the demo's GPU hosts are virtual and run no real process; " + hint
		}
	}
	return hint
}
