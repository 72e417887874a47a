package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sluice"
	"sluice/compute"
)

// Secrets keeps what a vault has encrypted. The keys are not here, nor in a
// backup.
type Secrets struct{ db *DB }

// Secrets returns the store of the vault.
func (db *DB) Secrets() Secrets { return Secrets{db} }

// PutSealed keeps the sealed secrets of a job. Error: Conflict when it has some.
func (s Secrets) PutSealed(ctx context.Context, job string, sealed []byte) error {
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO secrets (job, sealed) VALUES (?, ?) ON CONFLICT (job) DO NOTHING`, job, sealed)
		if err != nil {
			return fmt.Errorf("writing the secrets of job %s: %w", job, err)
		}
		if n, err := res.RowsAffected(); err != nil {
			return fmt.Errorf("writing the secrets of job %s: %w", job, err)
		} else if n != 1 {
			return sluice.Errorf(sluice.Conflict, "", "job %s has its secrets already", job)
		}
		return nil
	})
}

// Sealed returns the sealed secrets of a job; found is false where it never had
// any, and erased true where they were erased.
func (s Secrets) Sealed(ctx context.Context, job string) (sealed []byte, found, erased bool, err error) {
	var at sql.NullInt64
	err = s.db.reader.QueryRowContext(ctx, `SELECT sealed, erased_at FROM secrets WHERE job = ?`, job).Scan(&sealed, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, false, nil
	}
	if err != nil {
		return nil, false, false, classify("reading the secrets of job "+job, err)
	}
	return sealed, true, at.Valid, nil
}

// DropSealed empties what is kept of a job and notes that it was erased.
func (s Secrets) DropSealed(ctx context.Context, job string, at time.Time) error {
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE secrets SET sealed = x'', erased_at = ? WHERE job = ? AND erased_at IS NULL`, at.UnixNano(), job); err != nil {
			return fmt.Errorf("erasing the secrets of job %s: %w", job, err)
		}
		return nil
	})
}

// Wipes keeps the records of wiping. It is a compute.WipeStore.
type Wipes struct{ db *DB }

var _ compute.WipeStore = Wipes{}

// Wipes returns the store of the wipes.
func (db *DB) Wipes() Wipes { return Wipes{db} }

// PutWipe inserts or replaces the record of a job.
func (s Wipes) PutWipe(ctx context.Context, w compute.Wipe) error {
	doc, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("writing the wipe of job %s: %w", w.Job, err)
	}
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO wipes (job, asked_at, done, doc) VALUES (?, ?, ?, ?)
			ON CONFLICT (job) DO UPDATE SET done = excluded.done, doc = excluded.doc`,
			w.Job, w.AskedAt.UnixNano(), w.DoneAt != nil, string(doc)); err != nil {
			return fmt.Errorf("writing the wipe of job %s: %w", w.Job, err)
		}
		return nil
	})
}

// Wipe returns the record of a job, and whether there is one.
func (s Wipes) Wipe(ctx context.Context, job string) (compute.Wipe, bool, error) {
	ws, err := loadDocs[compute.Wipe](ctx, s.db, "the wipe of job "+job, `SELECT doc FROM wipes WHERE job = ?`, job)
	if err != nil || len(ws) == 0 {
		return compute.Wipe{}, false, err
	}
	return ws[0], true, nil
}

// Wipes returns the newest limit records, the newest first; a limit of 0 takes all.
func (s Wipes) Wipes(ctx context.Context, limit int) ([]compute.Wipe, error) {
	if limit < 1 {
		limit = -1
	}
	return loadDocs[compute.Wipe](ctx, s.db, "the wipes", `SELECT doc FROM wipes ORDER BY asked_at DESC, job DESC LIMIT ?`, limit)
}

// OpenWipes returns those that were begun and not finished.
func (s Wipes) OpenWipes(ctx context.Context) ([]compute.Wipe, error) {
	return loadDocs[compute.Wipe](ctx, s.db, "the wipes", `SELECT doc FROM wipes WHERE done = 0 ORDER BY job`)
}

// maxPlacements is how many decisions are kept of a job: the newest.
const maxPlacements = 50

// Placements keeps the decisions where jobs go. It is a compute.PlacementStore.
type Placements struct{ db *DB }

var _ compute.PlacementStore = Placements{}

// Placements returns the store of the decisions.
func (db *DB) Placements() Placements { return Placements{db} }

// PutPlacement adds decisions in one transaction. One that says the same as the
// job's newest but for its time is left out: a job that waits a day for the same
// reason has one decision.
func (s Placements) PutPlacement(ctx context.Context, ps ...compute.Placement) error {
	if len(ps) == 0 {
		return nil
	}
	docs := make([]string, len(ps))
	for i, p := range ps {
		b, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("writing a placement of job %s: %w", p.Job, err)
		}
		docs[i] = string(b)
	}
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		put, err := tx.PrepareContext(ctx, `INSERT INTO placements (job, doc) SELECT ?1, ?2
			WHERE json_remove(?2, '$.at') IS NOT (SELECT json_remove(doc, '$.at') FROM placements WHERE job = ?1 ORDER BY seq DESC LIMIT 1)`)
		if err != nil {
			return fmt.Errorf("writing placements: %w", err)
		}
		defer func() { _ = put.Close() }()
		trim, err := tx.PrepareContext(ctx, `DELETE FROM placements WHERE job = ?1 AND seq <= (
			SELECT seq FROM placements WHERE job = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)`)
		if err != nil {
			return fmt.Errorf("writing placements: %w", err)
		}
		defer func() { _ = trim.Close() }()
		for i, p := range ps {
			if _, err := put.ExecContext(ctx, p.Job, docs[i]); err != nil {
				return fmt.Errorf("writing a placement of job %s: %w", p.Job, err)
			}
			if _, err := trim.ExecContext(ctx, p.Job, maxPlacements); err != nil {
				return fmt.Errorf("writing a placement of job %s: %w", p.Job, err)
			}
		}
		return nil
	})
}

// Placements returns the decisions of a job, the newest first.
func (s Placements) Placements(ctx context.Context, job string) ([]compute.Placement, error) {
	return loadDocs[compute.Placement](ctx, s.db, "the placements of job "+job, `SELECT doc FROM placements WHERE job = ? ORDER BY seq DESC`, job)
}
