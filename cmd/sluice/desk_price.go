package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"sluice"
	"sluice/compute"
	"sluice/compute/jobfile"
	"sluice/server"
)

// parse reads a job file for this site.
func (d jobDesk) parse(s server.Submission) (*compute.Task, error) {
	place := &jobfile.Site{Name: d.r.parts.options.Name}
	for _, h := range d.r.parts.hosts {
		if h.Region != "" && !slices.Contains(place.Regions, h.Region) {
			place.Regions = append(place.Regions, h.Region)
		}
		if h.GPUModel != "" && !slices.Contains(place.GPUs, h.GPUModel) {
			place.GPUs = append(place.GPUs, h.GPUModel)
		}
	}
	task, err := jobfile.Parse([]byte(s.Task), jobfile.Options{File: cmp.Or(s.File, "task.yaml"), Env: s.Env, Secrets: s.Secrets, Site: place})
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
func (d jobDesk) Check(_ context.Context, s server.Submission) (server.JobCheck, error) {
	task, err := d.parse(s)
	if err != nil {
		return server.JobCheck{}, err
	}
	return d.price(task, s), nil
}

func (d jobDesk) price(task *compute.Task, s server.Submission) server.JobCheck {
	c := server.CheckOf(task, s.Expect)
	c.Priced = true
	for i := range c.Choices {
		ch := &c.Choices[i]
		ch.Class, ch.Why = d.class(task, ch.Resources)
		ch.Fits = ch.Why == ""
		if ch.Class == "" {
			continue
		}
		ch.Units = unitsOf(ch.Resources)
		r := d.r.parts.rates[ch.Class]
		usd := r.firm
		if ch.Resources.UseSpot {
			usd = r.spot
		}
		c.Price(i, usd*float64(ch.Units))
		if most := ch.Resources.MaxUSDPerHour; ch.Fits && most > 0 && ch.USDPerHour > most {
			ch.Fits, ch.Why = false, fmt.Sprintf("it costs %s $/h, and max_hourly_cost is %s", figure(ch.USDPerHour, 2), figure(most, 2))
		}
	}
	return c
}

// unitsOf is what a node of the job holds of its host: GPUs, or CPU slots.
func unitsOf(r compute.Resources) int { return cmp.Or(r.GPUs, max(1, int(math.Ceil(r.CPUs)))) }

// choose takes the alternative that the job shall have: the first that fits where
// they are ordered, else the cheapest. The others that fit stay choices behind it.
func (d jobDesk) choose(task *compute.Task, s server.Submission) (server.JobChoice, error) {
	c := d.price(task, s)
	fits := slices.DeleteFunc(slices.Clone(c.Choices), func(ch server.JobChoice) bool { return !ch.Fits })
	if len(fits) == 0 {
		var why []string
		for _, ch := range c.Choices {
			text := ch.Why
			if len(c.Choices) > 1 {
				text = needsOf(ch.Resources) + ": " + text
			}
			why = append(why, text)
		}
		return server.JobChoice{}, sluice.Errorf(sluice.Invalid, d.mend(task), "%s", strings.Join(why, "; "))
	}
	if !task.Ordered {
		slices.SortStableFunc(fits, func(a, b server.JobChoice) int { return cmp.Compare(a.USDPerHour, b.USDPerHour) })
	}
	task.Resources, task.Choices = fits[0].Resources, nil
	if len(fits) > 1 {
		for _, ch := range fits {
			task.Choices = append(task.Choices, ch.Resources)
		}
	}
	return fits[0], nil
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

// class finds the class of real hosts that has what each node needs, or says why
// there is none. A class of virtual hosts is named, for its price, but fits not.
func (d jobDesk) class(t *compute.Task, r compute.Resources) (class, why string) {
	one := *t
	one.Resources = r
	fit := map[string]int{} // real hosts of a class that could run a node
	why = "no real host of this site has " + cmp.Or(r.Accelerator, "a free CPU")
	if len(d.r.parts.hosts) == 0 {
		why = "this site has no host that runs jobs"
	}
	for _, h := range d.r.parts.hosts {
		if (h.GPUModel != "") != (r.GPUs > 0) || r.GPUs > 0 && !strings.EqualFold(h.GPUModel, r.Accelerator) {
			continue
		}
		class = cmp.Or(class, h.Class)
		lacks := lacks(&one, h)
		switch {
		case !h.Real:
		case lacks != "":
			why = h.Name + " " + lacks
		default:
			if fit[h.Class]++; fit[h.Class] >= t.NumNodes {
				return h.Class, ""
			}
			why = fmt.Sprintf("it needs %d hosts at once, of which the site has %d", t.NumNodes, fit[h.Class])
		}
	}
	return class, why
}

// lacks says what a host has not that a node of the task needs, "" if nothing.
func lacks(t *compute.Task, h compute.Host) string {
	r, units := t.Resources, unitsOf(t.Resources)
	has := append([]compute.Isolation{}, h.Isolations...)
	if len(has) == 0 {
		has = append(has, compute.IsolationNone)
	}
	best := has[0]
	for _, i := range has {
		if i.AtLeast(best) {
			best = i
		}
	}
	switch {
	case units > h.Units:
		return fmt.Sprintf("has %d units of the %d", h.Units, units)
	case h.CPUs > 0 && r.CPUs > float64(h.CPUs):
		return fmt.Sprintf("has %d CPUs of the %g", h.CPUs, r.CPUs)
	case h.MemoryGB > 0 && r.MemoryGB > h.MemoryGB:
		return fmt.Sprintf("has %.4g GB of the %.4g", h.MemoryGB, r.MemoryGB)
	case h.DiskGB > 0 && r.DiskGB > h.DiskGB:
		return fmt.Sprintf("has %.4g GB of disk of the %.4g", h.DiskGB, r.DiskGB)
	case r.Region != "" && r.Region != h.Region:
		return "is not in " + r.Region
	case !best.AtLeast(r.Isolation):
		return "gives no isolation " + string(r.Isolation)
	case t.NeedsContainer() != "" && !best.AtLeast(compute.IsolationContainer):
		return "runs no containers, which " + t.NeedsContainer() + " needs"
	}
	for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
		if h.Labels[k] != r.Labels[k] {
			return "has no label " + k + ": " + r.Labels[k]
		}
	}
	return ""
}
