package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
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
	task, err := d.parse(s, false)
	if err != nil {
		return compute.Job{}, err
	}
	req := d.request(task, s, owner)
	if _, err := d.price(task, s, owner).fits(); err != nil {
		return compute.Job{}, sluice.Errorf(sluice.Invalid, d.mend(task), "%s", err)
	}
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
	if err := arrived(task, req.WorkdirPath); err != nil {
		return compute.Job{}, err
	}
	defer d.r.site.Kick()
	return d.r.jobs.Submit(ctx, d.r.parts.clock.Now(), req)
}

// request is a submission as the service takes it.
func (d jobDesk) request(task *compute.Task, s server.Submission, owner string) compute.SubmitRequest {
	req := compute.SubmitRequest{
		ID: s.ID, Task: task, Tenant: owner, Real: true, Priority: task.Priority, ExpectSeconds: s.Expect.Seconds(),
	}
	if s.Due > 0 {
		due := d.r.parts.clock.Now().Add(s.Due).UTC()
		req.Deadline = &due
	}
	return req
}

// rateOf is the price of a unit of a class, per hour, and the price of energy above
// which it loses money on what it draws more when in use.
func (p *parts) rateOf(class string, interruptible bool) (usdHour, strikeUSDMWh float64) {
	r := p.rates[class]
	usdHour = r.firm
	if interruptible {
		usdHour = r.spot
	}
	for _, h := range p.hosts {
		if h.Class == class && h.UnitW > 0 {
			strikeUSDMWh = strike(usdHour, float64(h.UnitW)*p.options.Overhead)
		}
	}
	return usdHour, strikeUSDMWh
}

// arrived says which file mount did not come with the working folder.
func arrived(t *compute.Task, dir string) error {
	for i, m := range t.FileMounts {
		if _, err := os.Lstat(filepath.Join(dir, t.AtWork(i))); dir == "" || err != nil {
			return sluice.Errorf(sluice.Invalid, "sluice job submit packs it; over the API, put it into workdir_tar_gz at "+t.AtWork(i),
				"file_mounts: %s did not travel with the task", m.Target)
		}
	}
	return nil
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
	waits := d.r.site.JobsWait()
	after, caller := f.After != "", server.CallerOf(ctx)
	for _, j := range all {
		if after {
			after = j.ID != f.After
			continue
		}
		if f.State != "" && j.State != f.State || f.Tenant != "" && j.Tenant != f.Tenant || !caller.Sees(j.Tenant) {
			continue
		}
		if out = append(out, d.waits(j, waits)); f.Limit > 0 && len(out) == f.Limit {
			break
		}
	}
	return out, nil
}

func (d jobDesk) Get(ctx context.Context, id string) (compute.Job, error) {
	if err := d.own(ctx, id); err != nil {
		return compute.Job{}, err
	}
	j, err := d.r.jobs.Job(id)
	if err != nil {
		return compute.Job{}, err
	}
	return d.waits(j, d.r.site.JobsWait()), nil
}

// waits lets a new job that waits for its price, or for what its hosts cannot start
// at present, say so.
func (d jobDesk) waits(j compute.Job, why map[string]string) compute.Job {
	if w, ok := why[j.ID]; ok && j.State == compute.Queued && j.Why == compute.WaitsForRoom {
		j.Why = w
	}
	if j.State == compute.Queued {
		if why := d.r.jobs.HeldBack(j.ID); why != "" {
			j.Why = why
		}
	}
	return j
}

func (d jobDesk) Logs(ctx context.Context, id string, from int64, follow bool, w io.Writer) error {
	if err := d.own(ctx, id); err != nil {
		return err
	}
	if wipe, ok, err := d.r.clients.wiper.Of(ctx, id); err != nil {
		return err
	} else if ok && wipe.DoneAt != nil {
		return sluice.Errorf(sluice.NotFound, "sluice job show "+id+" has the record", "the output of job %s was wiped", id)
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
