package main

import (
	"cmp"
	"context"
	"io"
	"os"
	"slices"

	"sluice"
	"sluice/compute"
	"sluice/ledger"
	"sluice/server"
	"sluice/store"
)

// jobDesk takes jobs on for the API.
type jobDesk struct{ r *running }

func (d jobDesk) Submit(ctx context.Context, s server.Submission) (compute.Job, error) {
	owner, err := tenantOf(ctx, s)
	if err != nil {
		return compute.Job{}, err
	}
	task, err := compute.ParseTaskEnv([]byte(s.Task), cmp.Or(s.File, "task.yaml"), s.Env)
	if err != nil {
		return compute.Job{}, err
	}
	if s.Name != "" {
		task.Name = s.Name
	}
	req := compute.SubmitRequest{ID: s.ID, Task: task, Tenant: owner, Interruptible: task.Resources.UseSpot}
	if len(s.Workdir) > 0 {
		dir, err := os.MkdirTemp("", "sluice-workdir-")
		if err != nil {
			return compute.Job{}, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := s.UnpackWorkdir(dir); err != nil {
			return compute.Job{}, err
		}
		req.WorkdirPath = dir
	}
	req.Class, err = d.class(task)
	if err != nil {
		return compute.Job{}, err
	}
	r := d.r.parts.rates[req.Class]
	req.RateUSDHour = r.firm
	if req.Interruptible {
		req.RateUSDHour = r.spot
	}
	for _, h := range d.r.parts.hosts {
		if h.Class == req.Class && h.UnitW > 0 {
			req.StrikeUSDMWh = strike(req.RateUSDHour, float64(h.UnitW)*d.r.parts.options.Overhead)
		}
	}
	j, err := d.r.jobs.Submit(ctx, d.r.parts.clock.Now(), req)
	if err == nil {
		d.r.site.Kick()
	}
	return j, err
}

// class finds the class of real hosts for a task.
func (d jobDesk) class(t *compute.Task) (string, error) {
	gpus, virtual := false, false
	for _, h := range d.r.parts.hosts {
		if h.Real && (h.GPUModel != "") == (t.Resources.GPUs > 0) {
			return h.Class, nil
		}
		gpus = gpus || (h.Real && h.GPUModel != "")
		virtual = virtual || !h.Real
	}
	if t.Resources.GPUs > 0 && !gpus {
		hint := "take resources.accelerators out of the task to run it on this machine's CPUs"
		if virtual {
			hint = "the demo's GPU hosts are virtual and run no real process; " + hint
		}
		return "", sluice.Errorf(sluice.Invalid, hint, "no real host of this site has %s", cmp.Or(t.Resources.Accelerator, "a GPU"))
	}
	return "", sluice.Errorf(sluice.Invalid, "add one under hosts: in sluice.yaml", "this site has no host that runs jobs")
}

func (d jobDesk) Cancel(ctx context.Context, id, _ string) (compute.Job, error) {
	if err := d.own(ctx, id); err != nil {
		return compute.Job{}, err
	}
	return d.r.jobs.Cancel(ctx, d.r.parts.clock.Now(), id)
}

func (d jobDesk) List(ctx context.Context, f server.JobFilter) ([]compute.Job, error) {
	all := d.r.jobs.Jobs()
	slices.Reverse(all)
	out := []compute.Job{}
	after, caller := f.After != "", server.CallerOf(ctx)
	for _, j := range all {
		if after {
			after = j.ID != f.After
			continue
		}
		if f.State != "" && j.State != f.State || f.Tenant != "" && j.Tenant != f.Tenant || !caller.Sees(j.Tenant) {
			continue
		}
		if out = append(out, j); f.Limit > 0 && len(out) == f.Limit {
			break
		}
	}
	return out, nil
}

func (d jobDesk) Get(ctx context.Context, id string) (compute.Job, error) {
	if err := d.own(ctx, id); err != nil {
		return compute.Job{}, err
	}
	return d.r.jobs.Job(id)
}

func (d jobDesk) Logs(ctx context.Context, id string, from int64, follow bool, w io.Writer) error {
	if err := d.own(ctx, id); err != nil {
		return err
	}
	return d.r.jobs.Logs(ctx, id, from, follow, w)
}

// books reads the journal for the API.
type books struct{ db *store.DB }

func (b books) Balances(ctx context.Context) ([]ledger.Balance, error) { return b.db.Balances(ctx) }

func (b books) Entries(ctx context.Context, f server.EntryFilter) ([]ledger.Entry, error) {
	return b.db.Entries(ctx, f.From, f.To, f.After, f.Limit)
}

func (b books) ExportHledger(ctx context.Context, w io.Writer) error {
	return b.db.ExportHledger(ctx, w)
}
