package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sluice/fabric"
)

// Fabric keeps the tokens of hosts and what hosts report. It is a fabric.Tokens
// and a fabric.Journal.
type Fabric struct{ db *DB }

var (
	_ fabric.Tokens  = Fabric{}
	_ fabric.Journal = Fabric{}
)

// Fabric returns the store of the fabric.
func (db *DB) Fabric() Fabric { return Fabric{db} }

// PutToken inserts or replaces a token's record.
func (f Fabric) PutToken(ctx context.Context, r fabric.TokenRecord) error {
	return f.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO host_tokens (id, host, hash, created_at, expires_at, joined_at, revoked_at, by)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at, joined_at = excluded.joined_at,
				revoked_at = max(revoked_at, excluded.revoked_at)`,
			r.ID, r.Host, r.Hash[:], nano(r.CreatedAt), nano(r.ExpiresAt), nano(r.JoinedAt), nano(r.RevokedAt), r.By)
		if err != nil {
			return fmt.Errorf("writing a token of %s: %w", r.Host, err)
		}
		return nil
	})
}

// LoadTokens returns all records.
func (f Fabric) LoadTokens(ctx context.Context) ([]fabric.TokenRecord, error) {
	rows, err := f.db.Read().QueryContext(ctx, `SELECT id, host, hash, created_at, expires_at, joined_at, revoked_at, by FROM host_tokens ORDER BY created_at, id`)
	if err != nil {
		return nil, classify("reading the hosts' tokens", err)
	}
	defer func() { _ = rows.Close() }()
	var out []fabric.TokenRecord
	for rows.Next() {
		var r fabric.TokenRecord
		var hash []byte
		var created, expires, joined, revoked int64
		if err := rows.Scan(&r.ID, &r.Host, &hash, &created, &expires, &joined, &revoked, &r.By); err != nil {
			return nil, classify("reading the hosts' tokens", err)
		}
		copy(r.Hash[:], hash)
		r.CreatedAt, r.ExpiresAt, r.JoinedAt, r.RevokedAt = timeOf(created), timeOf(expires), timeOf(joined), timeOf(revoked)
		out = append(out, r)
	}
	return out, classify("reading the hosts' tokens", rows.Err())
}

// RevokeTokens revokes all tokens of a host that are not yet.
func (f Fabric) RevokeTokens(ctx context.Context, host string, at time.Time) (int, error) {
	var n int64
	err := f.db.Write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE host_tokens SET revoked_at = ? WHERE host = ? AND revoked_at = 0`, nano(at), host)
		if err == nil {
			n, err = res.RowsAffected()
		}
		if err != nil {
			return fmt.Errorf("revoking the tokens of %s: %w", host, err)
		}
		return nil
	})
	return int(n), err
}

// EventsKept is how long what hosts have reported is kept here. What is billed of
// it stands in the journal, and readings in the telemetry.
const EventsKept = 7 * 24 * time.Hour

// pruneEach is how many old events go with each transaction, so that none is long.
const pruneEach = 2000

// AppendEvents stores what is new of the batches, in one transaction.
func (f Fabric) AppendEvents(ctx context.Context, batches []fabric.HostBatch) ([]fabric.Outcome, error) {
	var out []fabric.Outcome
	err := f.db.Write(ctx, func(tx *sql.Tx) error {
		out = make([]fabric.Outcome, len(batches)) // from the beginning when it is tried again
		insert, err := tx.PrepareContext(ctx, `INSERT INTO host_events (host, epoch, seq, at, run, doc) VALUES (?, ?, ?, ?, ?, ?)`)
		if err != nil {
			return fmt.Errorf("writing events: %w", err)
		}
		defer func() { _ = insert.Close() }()
		for i, b := range batches {
			if out[i], err = appendBatch(ctx, tx, insert, b); err != nil {
				return fmt.Errorf("writing events of %s: %w", b.Host, err)
			}
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM host_events WHERE (host, epoch, seq) IN
			(SELECT host, epoch, seq FROM host_events WHERE at < ? ORDER BY at LIMIT ?)`, time.Now().Add(-EventsKept).UnixNano(), pruneEach)
		if err != nil {
			return fmt.Errorf("forgetting old events: %w", err)
		}
		return nil
	})
	return out, err
}

func appendBatch(ctx context.Context, tx *sql.Tx, insert *sql.Stmt, b fabric.HostBatch) (fabric.Outcome, error) {
	var last uint64
	err := tx.QueryRowContext(ctx, `SELECT seq FROM host_progress WHERE host = ? AND epoch = ?`, b.Host, b.Epoch).Scan(&last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	switch {
	case b.To <= last:
		return fabric.Known, nil
	case b.After > last && !b.Force:
		return fabric.Gap, nil
	}
	stored := last
	for _, e := range b.Events {
		if e.Seq <= stored {
			continue
		}
		if e.Dropped > 0 { // the agent does not know what of it had arrived
			e.Dropped = min(e.Dropped, e.Seq-stored)
		}
		stored = e.Seq
		run := ""
		switch {
		case e.Use != nil:
			run = e.Use.Run
		case e.Run != nil:
			run = e.Run.Run
		}
		doc, err := json.Marshal(e)
		if err != nil {
			return 0, err
		}
		if _, err := insert.ExecContext(ctx, b.Host, b.Epoch, int64(e.Seq), e.At.UnixNano(), run, string(doc)); err != nil { //nolint:gosec // numbers of events
			return 0, err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO host_progress (host, epoch, seq) VALUES (?, ?, ?)
		ON CONFLICT (host, epoch) DO UPDATE SET seq = excluded.seq`, b.Host, b.Epoch, int64(b.To)) //nolint:gosec // numbers of events
	return fabric.Stored, err
}

// Events returns what was reported of a run, or with an empty run of a host, in
// the order of its happening.
func (f Fabric) Events(ctx context.Context, host, run string, limit int) ([]fabric.Event, error) {
	rows, err := f.db.Read().QueryContext(ctx, `SELECT doc FROM host_events WHERE host = ? AND (? = '' OR run = ?) ORDER BY at, epoch, seq LIMIT ?`, host, run, run, limit)
	if err != nil {
		return nil, classify("reading events", err)
	}
	defer func() { _ = rows.Close() }()
	var out []fabric.Event
	for rows.Next() {
		var doc string
		var e fabric.Event
		if err := rows.Scan(&doc); err != nil {
			return nil, classify("reading events", err)
		}
		if err := json.Unmarshal([]byte(doc), &e); err != nil {
			return nil, fmt.Errorf("reading events: %w", err)
		}
		out = append(out, e)
	}
	return out, classify("reading events", rows.Err())
}

func nano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
