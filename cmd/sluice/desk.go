package main

import (
	"cmp"
	"context"
	"fmt"
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
	task, err := d.parse(s)
	if err != nil {
		return compute.Job{}, err
	}
	choice, err := d.choose(task, s)
	if err != nil {
		return compute.Job{}, err
	}
	req := compute.SubmitRequest{
		ID: s.ID, Task: task, Tenant: cmp.Or(s.By, "operator"), Interruptible: task.Resources.UseSpot, Class: choice.Class,
		Priority: task.Priority, ExpectSeconds: s.Expect.Seconds(),
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
	d.wholeArrays(task)
	defer d.r.site.Kick()
	if task.Array != nil {
		return d.submitArray(ctx, req)
	}
	return d.r.jobs.Submit(ctx, d.r.parts.clock.Now(), req)
}

// wholeArrays lets a dependency on the first job of an array be one on all of
// its jobs, as with Slurm, where they share an ID.
func (d jobDesk) wholeArrays(t *compute.Task) {
	if len(t.After) == 0 {
		return
	}
	members := map[string][]string{}
	for _, j := range d.r.jobs.Jobs() {
		if j.Task != nil && j.Task.ArrayTask != nil && j.Task.ArrayTask.Of != "" {
			members[j.Task.ArrayTask.Of] = append(members[j.Task.ArrayTask.Of], j.ID)
		}
	}
	for i := range t.After {
		if t.After[i].Kind != "aftercorr" { // which compares index by index
			for _, id := range slices.Clone(t.After[i].Jobs) {
				t.After[i].Jobs = append(t.After[i].Jobs, members[id]...)
			}
		}
	}
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

// submitArray makes a job for each index and returns the first. Where one cannot
// be made, those before it are cancelled; a second try of the same submission
// finds them by their IDs.
func (d jobDesk) submitArray(ctx context.Context, req compute.SubmitRequest) (compute.Job, error) {
	array, name, id := req.Task.Array, req.Task.Name, req.ID
	var first compute.Job
	var made []string
	for i, index := range array.Indexes {
		task := *req.Task
		task.Array, task.ArrayTask, task.Name = nil, array.Task(first.ID, i), fmt.Sprintf("%s-%d", cmp.Or(name, "array"), index)
		if req.Task = &task; id != "" {
			req.ID = fmt.Sprintf("%s/%d", id, index)
		}
		j, err := d.r.jobs.Submit(ctx, d.r.parts.clock.Now(), req)
		if err != nil {
			for _, m := range made {
				_, _ = d.r.jobs.Cancel(context.WithoutCancel(ctx), d.r.parts.clock.Now(), m)
			}
			return compute.Job{}, fmt.Errorf("job %d of an array of %d: %w", i+1, len(array.Indexes), err)
		}
		if made = append(made, j.ID); i == 0 {
			first = j
		}
	}
	return first, nil
}

func (d jobDesk) Cancel(ctx context.Context, id, _ string) (compute.Job, error) {
	return d.r.jobs.Cancel(ctx, d.r.parts.clock.Now(), id)
}

func (d jobDesk) List(_ context.Context, f server.JobFilter) ([]compute.Job, error) {
	all := d.r.jobs.Jobs()
	slices.Reverse(all)
	out := []compute.Job{}
	after := f.After != ""
	for _, j := range all {
		if after {
			after = j.ID != f.After
			continue
		}
		if f.State != "" && j.State != f.State {
			continue
		}
		if out = append(out, j); f.Limit > 0 && len(out) == f.Limit {
			break
		}
	}
	return out, nil
}

func (d jobDesk) Get(_ context.Context, id string) (compute.Job, error) { return d.r.jobs.Job(id) }

func (d jobDesk) Logs(ctx context.Context, id string, from int64, follow bool, w io.Writer) error {
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
