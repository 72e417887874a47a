package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"sluice"
	"sluice/compute"
)

// Jobs keeps the jobs of package compute. It is a compute.Store.
type Jobs struct{ db *DB }

var _ compute.Store = Jobs{}

// Jobs returns the store of the jobs.
func (db *DB) Jobs() Jobs { return Jobs{db} }

// jobDoc is the column doc. Job leaves out what the API must not show, so the
// parts stand beside it.
type jobDoc struct {
	Job      compute.Job       `json:"job"`
	Task     *compute.Task     `json:"task"`
	Nodes    []compute.NodeRun `json:"nodes,omitempty"`
	Cause    *int              `json:"cause,omitempty"`
	After    compute.State     `json:"after,omitempty"`
	UsedMS   int64             `json:"used_unit_ms"`
	Retries  int               `json:"retries,omitempty"`
	Restarts int               `json:"restarts,omitempty"`
	Choices  []compute.Choice  `json:"choices,omitempty"`
	Lessons  compute.Lessons   `json:"lessons,omitzero"`

	// Of records that were written before a job had nodes.
	Handle   compute.Handle `json:"handle,omitempty"`
	Executor string         `json:"executor,omitempty"`
}

// nodes is the present run of an old record: one node, the job's own.
func (d *jobDoc) nodes() []compute.NodeRun {
	if d.Nodes != nil || d.Executor == "" {
		return d.Nodes
	}
	return []compute.NodeRun{{RunID: d.Job.RunID, Host: d.Job.Host, Executor: d.Executor, Units: d.Job.Units, Handle: d.Handle}}
}

// PutJobs inserts or replaces the records in one transaction.
func (j Jobs) PutJobs(ctx context.Context, recs []compute.Record) error {
	if len(recs) == 0 {
		return nil
	}
	docs := make([]string, len(recs))
	for i, r := range recs {
		doc, err := json.Marshal(jobDoc{
			Job: r.Job, Task: r.Task, Nodes: r.Nodes, Cause: r.Cause, After: r.After, UsedMS: r.UsedMS,
			Retries: r.Retries, Restarts: r.Restarts, Choices: r.Choices, Lessons: r.Lessons,
		})
		if err != nil {
			return fmt.Errorf("writing job %s: %w", r.Job.ID, err)
		}
		docs[i] = string(doc)
	}
	return j.db.Write(ctx, func(tx *sql.Tx) error {
		stmt, err := tx.PrepareContext(ctx, `INSERT INTO jobs (id, tenant, request, state, submitted_at, doc)
			VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET state = excluded.state, doc = excluded.doc`)
		if err != nil {
			return fmt.Errorf("writing jobs: %w", err)
		}
		defer func() { _ = stmt.Close() }()
		for i, r := range recs {
			if _, err := stmt.ExecContext(ctx, r.Job.ID, r.Job.Tenant, r.Key, string(r.Job.State),
				r.Job.SubmittedAt.UnixNano(), docs[i]); err != nil {
				return fmt.Errorf("writing job %s: %w", r.Job.ID, err)
			}
		}
		return nil
	})
}

// LoadJobs returns every job with what was billed of it, the oldest first.
func (j Jobs) LoadJobs(ctx context.Context) ([]compute.Record, error) {
	rows, err := j.db.Read().QueryContext(ctx, `SELECT j.id, j.request, j.doc,
			coalesce(b.unit_ms, 0), coalesce(b.micro_usd, 0), coalesce(b.credit_micro_usd, 0), coalesce(b.milli_wh, 0)
		FROM jobs j LEFT JOIN job_billing b ON b.job = j.id
		ORDER BY length(j.id), j.id`)
	if err != nil {
		return nil, classify("reading the jobs", err)
	}
	defer func() { _ = rows.Close() }()
	var out []compute.Record
	for rows.Next() {
		var r compute.Record
		var id, doc string
		var d jobDoc
		if err := rows.Scan(&id, &r.Key, &doc, &r.BilledMS, (*int64)(&r.BilledUSD), (*int64)(&r.CreditedUSD), &r.PostedMilliWh); err != nil {
			return nil, classify("reading the jobs", err)
		}
		if err := json.Unmarshal([]byte(doc), &d); err != nil || d.Task == nil || d.Job.ID != id {
			return nil, sluice.Errorf(sluice.Internal, "restore the last backup with sluice restore",
				"reading job %s: its record is damaged (%v)", id, err)
		}
		r.Job, r.Task, r.Nodes, r.Cause = d.Job, d.Task, d.nodes(), d.Cause
		r.After, r.UsedMS, r.Retries, r.Restarts = d.After, d.UsedMS, d.Retries, d.Restarts
		r.Choices, r.Lessons = d.Choices, d.Lessons
		out = append(out, r)
	}
	return out, classify("reading the jobs", rows.Err())
}

// MarkBilled notes the Uses as billed, in the transaction that posts them: both
// happen or neither. Error: Conflict when one of them was billed before, so
// nothing is ever posted twice. Tell the Service by Billed after the commit.
func MarkBilled(ctx context.Context, tx *sql.Tx, uses []compute.Use) error {
	for _, u := range uses {
		if u.FromUnitMS == 0 {
			if _, err := tx.ExecContext(ctx, `INSERT INTO job_billing (job, unit_ms, micro_usd)
				VALUES (?, 0, 0) ON CONFLICT (job) DO NOTHING`, u.JobID); err != nil {
				return fmt.Errorf("billing job %s: %w", u.JobID, err)
			}
		}
		res, err := tx.ExecContext(ctx, `UPDATE job_billing SET unit_ms = ?, micro_usd = micro_usd + ?, credit_micro_usd = credit_micro_usd + ?, milli_wh = milli_wh + ?
			WHERE job = ? AND unit_ms = ? AND credit_micro_usd = ?`, u.ToUnitMS, int64(u.Amount), int64(u.Credit), u.MilliWh, u.JobID, u.FromUnitMS, int64(u.Credited))
		if err != nil {
			return fmt.Errorf("billing job %s: %w", u.JobID, err)
		}
		if n, err := res.RowsAffected(); err != nil {
			return fmt.Errorf("billing job %s: %w", u.JobID, err)
		} else if n != 1 {
			return sluice.Errorf(sluice.Conflict, "meter again after telling Billed",
				"billing job %s: the use from %d unit-ms on was billed before", u.JobID, u.FromUnitMS)
		}
	}
	return nil
}
