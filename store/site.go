package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/ledger"
	"sluice/site"
)

// Site keeps what package site must find again. It is a site.Store.
type Site struct{ db *DB }

var _ site.Store = Site{}

// Site returns the store of the site.
func (db *DB) Site() Site { return Site{db} }

// Keys of meta.
const (
	metaProgress = "site.progress" // site.Progress as JSON
	metaNow      = "site.now"      // of the last kept turn, RFC 3339
)

// LoadSite reads what an earlier process has kept.
func (s Site) LoadSite(ctx context.Context) (site.Saved, error) {
	out := site.Saved{Machines: map[string]site.MachineRow{}}
	if v, ok, err := s.db.Meta(ctx, metaNow); err != nil {
		return out, err
	} else if ok {
		if out.Now, err = time.Parse(time.RFC3339Nano, v); err != nil {
			return out, damaged("the clock", err)
		}
	}
	if v, ok, err := s.db.Meta(ctx, metaProgress); err != nil {
		return out, err
	} else if ok {
		if err := json.Unmarshal([]byte(v), &out.Progress); err != nil {
			return out, damaged("the running interval", err)
		}
	}
	err := each(ctx, s.db, `SELECT name, prior, want, asleep, since, cut FROM machines`, nil, func(r *sql.Rows) error {
		var m site.MachineRow
		var since int64
		if err := r.Scan(&m.Name, &m.Prior, &m.Want, &m.Asleep, &since, &m.Cut); err != nil {
			return err
		}
		m.Since = time.Unix(0, since).UTC()
		out.Machines[m.Name] = m
		return nil
	})
	if err != nil {
		return out, err
	}
	if out.Pins, err = docs[site.Pin](ctx, s.db, `SELECT doc FROM pins ORDER BY machine`); err != nil {
		return out, err
	}
	out.Curtailments, err = docs[site.Curtailment](ctx, s.db,
		`SELECT doc FROM curtailments WHERE state IN (?, ?) ORDER BY ordered_at, id`, site.Active, site.Pending)
	if err != nil {
		return out, err
	}
	if out.OpenAlarms, err = docs[site.Alarm](ctx, s.db, `SELECT doc FROM alarms WHERE open = 1 ORDER BY id`); err != nil {
		return out, err
	}
	err = each(ctx, s.db, `SELECT kind, key, doc FROM lessons`, nil, func(r *sql.Rows) error {
		var l site.Lesson
		if err := r.Scan(&l.Kind, &l.Key, &l.Doc); err != nil {
			return err
		}
		out.Lessons = append(out.Lessons, l)
		return nil
	})
	if err != nil {
		return out, err
	}
	row := s.db.Read().QueryRowContext(ctx, `SELECT (SELECT coalesce(max(id), 0) FROM alarms), (SELECT coalesce(max(id), 0) FROM decisions)`)
	if err := row.Scan(&out.LastAlarm, &out.LastDecision); err != nil {
		return out, classify("reading the site", err)
	}
	return out, nil
}

// SaveTurn keeps what a turn changed, in one transaction.
func (s Site) SaveTurn(ctx context.Context, t site.Turn) error {
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		if err := saveMachines(ctx, tx, t.Machines); err != nil {
			return err
		}
		for _, p := range t.Pins {
			if err := put(ctx, tx, `INSERT INTO pins (machine, doc) VALUES (?, ?)
				ON CONFLICT (machine) DO UPDATE SET doc = excluded.doc`, p, p.Machine); err != nil {
				return err
			}
		}
		for _, name := range t.Released {
			if _, err := tx.ExecContext(ctx, `DELETE FROM pins WHERE machine = ?`, name); err != nil {
				return fmt.Errorf("releasing %s: %w", name, err)
			}
		}
		for _, d := range t.Decisions {
			if err := put(ctx, tx, `INSERT INTO decisions (id, at, doc) VALUES (?, ?, ?)
				ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`, d, d.ID, d.At.UnixNano()); err != nil {
				return err
			}
		}
		for _, c := range t.Curtailments {
			if err := put(ctx, tx, `INSERT INTO curtailments (id, ordered_at, state, doc) VALUES (?, ?, ?, ?)
				ON CONFLICT (id) DO UPDATE SET state = excluded.state, doc = excluded.doc`, c, c.ID, c.OrderedAt.UnixNano(), c.State); err != nil {
				return err
			}
		}
		for _, a := range t.Alarms {
			if err := put(ctx, tx, `INSERT INTO alarms (id, open, doc) VALUES (?, ?, ?)
				ON CONFLICT (id) DO UPDATE SET open = excluded.open, doc = excluded.doc`, a, a.ID, a.ClearedAt == nil); err != nil {
				return err
			}
		}
		for _, x := range t.Samples {
			if err := put(ctx, tx, `INSERT INTO samples (at, doc) VALUES (?, ?)
				ON CONFLICT (at) DO UPDATE SET doc = excluded.doc`, x, x.At.UnixNano()); err != nil {
				return err
			}
		}
		if err := saveLessons(ctx, tx, t.Lessons); err != nil {
			return err
		}
		if t.Progress != nil {
			if err := saveProgress(tx, *t.Progress); err != nil {
				return err
			}
		}
		return SetMeta(tx, metaNow, t.Now.UTC().Format(time.RFC3339Nano))
	})
}

func saveMachines(ctx context.Context, tx *sql.Tx, rows []site.MachineRow) error {
	if len(rows) == 0 {
		return nil
	}
	// A curtailment changes thousands at once: one statement, prepared.
	stmt, err := tx.PrepareContext(ctx, `INSERT INTO machines (name, prior, want, asleep, since, cut) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET prior = excluded.prior, want = excluded.want, asleep = excluded.asleep, since = excluded.since, cut = excluded.cut`)
	if err != nil {
		return fmt.Errorf("writing machines: %w", err)
	}
	defer func() { _ = stmt.Close() }()
	for _, m := range rows {
		if _, err := stmt.ExecContext(ctx, m.Name, m.Prior, m.Want, m.Asleep, m.Since.UnixNano(), m.Cut); err != nil {
			return fmt.Errorf("writing machine %s: %w", m.Name, err)
		}
	}
	return nil
}

func saveLessons(ctx context.Context, tx *sql.Tx, lessons []site.Lesson) error {
	if len(lessons) == 0 {
		return nil
	}
	stmt, err := tx.PrepareContext(ctx, `INSERT INTO lessons (kind, key, doc) VALUES (?, ?, ?)
		ON CONFLICT (kind, key) DO UPDATE SET doc = excluded.doc`)
	if err != nil {
		return fmt.Errorf("writing what was learned: %w", err)
	}
	defer func() { _ = stmt.Close() }()
	for _, l := range lessons {
		if _, err := stmt.ExecContext(ctx, l.Kind, l.Key, string(l.Doc)); err != nil {
			return fmt.Errorf("writing what was learned of %s %s: %w", l.Kind, l.Key, err)
		}
	}
	return nil
}

// put writes a record whose JSON is the statement's last argument.
func put(ctx context.Context, tx *sql.Tx, query string, doc any, args ...any) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("writing a %T: %w", doc, err)
	}
	if _, err := tx.ExecContext(ctx, query, append(args, string(b))...); err != nil {
		return fmt.Errorf("writing a %T: %w", doc, err)
	}
	return nil
}

func saveProgress(tx *sql.Tx, p site.Progress) error {
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("writing the running interval: %w", err)
	}
	return SetMeta(tx, metaProgress, string(b))
}

// Settle posts an interval: entries, what was billed of each job, the record of
// the settlement and the beginning of the next interval, together or not at all.
func (s Site) Settle(ctx context.Context, entries []ledger.Entry, billed []compute.Use, settled site.Settled, next site.Progress) error {
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := AppendEntries(tx, entries); err != nil {
			return err
		}
		if err := MarkBilled(ctx, tx, billed); err != nil {
			return err
		}
		if err := put(ctx, tx, `INSERT INTO settlements (from_at, corrections, doc) VALUES (?, ?, ?)
			ON CONFLICT (from_at) DO UPDATE SET corrections = excluded.corrections, doc = excluded.doc`,
			settled, settled.From.UnixNano(), settled.Corrections); err != nil {
			return err
		}
		if next.From.IsZero() {
			return nil // a correction of an interval long past
		}
		return saveProgress(tx, next)
	})
}

// Settlements returns the settled intervals that begin in [from, to).
func (s Site) Settlements(ctx context.Context, from, to time.Time) ([]site.Settled, error) {
	return docs[site.Settled](ctx, s.db, `SELECT doc FROM settlements WHERE from_at >= ? AND from_at < ? ORDER BY from_at`, from.UnixNano(), to.UnixNano())
}

// Decisions returns decisions newest first, those before an ID when it is not 0.
func (s Site) Decisions(ctx context.Context, before int64, limit int) ([]site.Decision, error) {
	if before <= 0 {
		before = 1<<63 - 1
	}
	return docs[site.Decision](ctx, s.db, `SELECT doc FROM decisions WHERE id < ? ORDER BY id DESC LIMIT ?`, before, limit)
}

// Decision returns one decision. Error: NotFound.
func (s Site) Decision(ctx context.Context, id int64) (site.Decision, error) {
	out, err := docs[site.Decision](ctx, s.db, `SELECT doc FROM decisions WHERE id = ?`, id)
	if err == nil && len(out) == 0 {
		err = sluice.Errorf(sluice.NotFound, "`sluice decisions` lists them", "no decision %d", id)
	}
	if err != nil {
		return site.Decision{}, err
	}
	return out[0], nil
}

// Curtailments returns orders newest first.
func (s Site) Curtailments(ctx context.Context, limit int) ([]site.Curtailment, error) {
	return docs[site.Curtailment](ctx, s.db, `SELECT doc FROM curtailments ORDER BY ordered_at DESC, id DESC LIMIT ?`, limit)
}

// Alarms returns alarms newest first; open ones only unless all is set.
func (s Site) Alarms(ctx context.Context, all bool, before int64, limit int) ([]site.Alarm, error) {
	if before <= 0 {
		before = 1<<63 - 1
	}
	return docs[site.Alarm](ctx, s.db, `SELECT doc FROM alarms WHERE (? OR open = 1) AND id < ? ORDER BY id DESC LIMIT ?`, all, before, limit)
}

// Samples returns the history of [from, to), thinned evenly to at most points.
func (s Site) Samples(ctx context.Context, from, to time.Time, points int) ([]site.Sample, error) {
	every := int64(1)
	if points > 0 {
		minutes := int64(to.Sub(from) / time.Minute)
		every = max(1, (minutes+int64(points)-1)/int64(points))
	}
	return docs[site.Sample](ctx, s.db, `SELECT doc FROM samples WHERE at >= ? AND at < ? AND (at / 60000000000) % ? = 0 ORDER BY at`,
		from.UnixNano(), to.UnixNano(), every)
}

// docs reads a column of JSON records.
func docs[T any](ctx context.Context, db *DB, query string, args ...any) ([]T, error) {
	out := []T{}
	err := each(ctx, db, query, args, func(r *sql.Rows) error {
		var doc string
		if err := r.Scan(&doc); err != nil {
			return err
		}
		var v T
		if err := json.Unmarshal([]byte(doc), &v); err != nil {
			return damaged(fmt.Sprintf("a %T", v), err)
		}
		out = append(out, v)
		return nil
	})
	return out, err
}

func each(ctx context.Context, db *DB, query string, args []any, f func(*sql.Rows) error) error {
	rows, err := db.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return classify("reading the site", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return classify("reading the site", rows.Err())
}

func damaged(what string, err error) error {
	return sluice.Errorf(sluice.Internal, "restore the last backup with sluice restore", "the record of %s is damaged: %v", what, err)
}
