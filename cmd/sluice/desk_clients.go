package main

import (
	"cmp"
	"context"
	"io"
	"slices"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/server"
)

// own answers nil for a job that the caller may see, and for all others the same
// as for one that does not exist. The server has looked already; this is the
// second look, so that one mistake there opens nothing.
func (d jobDesk) own(ctx context.Context, id string) error {
	j, err := d.r.jobs.Job(id)
	if err != nil {
		return err
	}
	if !server.CallerOf(ctx).Sees(j.Tenant) {
		return sluice.Errorf(sluice.NotFound, "sluice job list shows the jobs", "no job %q", id)
	}
	return nil
}

// tenantOf says whose a submission is: the token's, and where the operator calls,
// whoever it names.
func tenantOf(ctx context.Context, s server.Submission) (string, error) {
	c := server.CallerOf(ctx)
	switch {
	case c.Tenant != "":
		return c.Tenant, nil
	case c.Operator:
		return cmp.Or(s.Tenant, s.By, "operator"), nil
	}
	return "", sluice.Errorf(sluice.Conflict, "", "a job of nobody")
}

// Detail returns a job with what it costs and what becomes of it.
func (d jobDesk) Detail(ctx context.Context, id string) (server.JobDetail, error) {
	j, err := d.Get(ctx, id)
	if err != nil {
		return server.JobDetail{}, err
	}
	out := server.JobDetail{Job: j, Cost: j.BilledUSD}
	if c, err := d.r.jobs.Cost(id); err == nil {
		out.Cost = c
	}
	if t, ok := d.r.clients.tenants.Tenant(j.Tenant); ok {
		s := t.Spending(d.r.clients.tenants.Spent(j.Tenant)+d.r.jobs.Unposted(j.Tenant), d.r.parts.clock.Now())
		out.Spending = &s
	}
	if w, ok, err := d.r.clients.wiper.Of(ctx, id); err != nil {
		return server.JobDetail{}, err
	} else if ok {
		out.Wiped = &w
	} else if at := d.r.clients.wiper.Due(j); !at.IsZero() {
		out.WipeAt = &at
	}
	return out, nil
}

// Exec runs a command beside a running job.
func (d jobDesk) Exec(ctx context.Context, id string, argv []string, in io.Reader, out io.Writer) (int, error) {
	if err := d.own(ctx, id); err != nil {
		return 0, err
	}
	return d.r.jobs.Exec(ctx, id, argv, in, out)
}

// fetchWait is how long a download waits for another host's files.
const fetchWait = 2 * time.Minute

// Files opens the folders of a job.
func (d jobDesk) Files(ctx context.Context, id string) (*compute.JobFiles, error) {
	if err := d.own(ctx, id); err != nil {
		return nil, err
	}
	fctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	if err := d.r.jobs.Fetch(fctx, id); err != nil && sluice.KindOf(err) != sluice.NotFound {
		// What came home before is better than nothing.
		d.r.log.Warn("the files of a job could not be brought from its host", "job", id, "err", err)
	}
	return d.r.jobs.Files(id)
}

// Placements returns the decisions where a job goes.
func (d jobDesk) Placements(ctx context.Context, id string) ([]compute.Placement, error) {
	if err := d.own(ctx, id); err != nil {
		return nil, err
	}
	return d.r.clients.placements.Placements(ctx, id)
}

// Wipe wipes the data of an ended job.
func (d jobDesk) Wipe(ctx context.Context, id, by string) (compute.Wipe, error) {
	j, err := d.Get(ctx, id)
	if err != nil {
		return compute.Wipe{}, err
	}
	return d.r.clients.wiper.Wipe(ctx, j, by, "asked for")
}

// Wipes returns what was wiped.
func (d jobDesk) Wipes(ctx context.Context, limit int) ([]compute.Wipe, error) {
	if !server.CallerOf(ctx).Operator {
		return nil, sluice.Errorf(sluice.NotFound, "", "only the operator sees them")
	}
	return d.r.clients.wiper.List(ctx, limit)
}

// offers lists the classes of units that are sold, without how many there are.
func (d jobDesk) offers(context.Context) ([]server.Offer, error) {
	by := map[string]*server.Offer{}
	for _, h := range d.r.parts.hosts {
		o := by[h.Class]
		if o == nil {
			r := d.r.parts.rates[h.Class]
			o = &server.Offer{Class: h.Class, GPU: h.GPUModel, Regions: []string{}, Isolations: []compute.Isolation{}, FirmUSD: r.firm, SpotUSD: r.spot}
			by[h.Class] = o
		}
		if h.Region != "" && !slices.Contains(o.Regions, h.Region) {
			o.Regions = append(o.Regions, h.Region)
		}
		for _, i := range h.Isolations {
			if !slices.Contains(o.Isolations, i) {
				o.Isolations = append(o.Isolations, i)
			}
		}
	}
	out := make([]server.Offer, 0, len(by))
	for _, o := range by {
		slices.Sort(o.Regions)
		if len(o.Isolations) == 0 {
			o.Isolations = append(o.Isolations, compute.IsolationNone)
		}
		out = append(out, *o)
	}
	slices.SortFunc(out, func(a, b server.Offer) int { return cmp.Compare(a.Class, b.Class) })
	return out, nil
}
