package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/tenant"
	"sluice/ledger"
)

// Tenants keeps the registry of package tenant. It is a tenant.Store.
type Tenants struct{ db *DB }

var _ tenant.Store = Tenants{}

// Tenants returns the store of the tenants.
func (db *DB) Tenants() Tenants { return Tenants{db} }

// LoadTenants returns all tenants.
func (s Tenants) LoadTenants(ctx context.Context) ([]compute.Tenant, error) {
	return loadDocs[compute.Tenant](ctx, s.db, "the tenants", `SELECT doc FROM tenants ORDER BY name`)
}

// PutTenant inserts or replaces a tenant, and keeps its version.
func (s Tenants) PutTenant(ctx context.Context, t compute.Tenant, by string, at time.Time) error {
	doc, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("writing tenant %s: %w", t.Name, err)
	}
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO tenant_versions (name, version, at, by, doc) VALUES (?, ?, ?, ?, ?)`,
			t.Name, t.Version, at.UnixNano(), by, string(doc)); err != nil {
			return fmt.Errorf("writing version %d of tenant %s: %w", t.Version, t.Name, err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO tenants (name, version, doc) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET version = excluded.version, doc = excluded.doc`, t.Name, t.Version, string(doc)); err != nil {
			return fmt.Errorf("writing tenant %s: %w", t.Name, err)
		}
		return nil
	})
}

// LoadTokens returns all tokens.
func (s Tenants) LoadTokens(ctx context.Context) ([]tenant.Record, error) {
	rows, err := s.db.reader.QueryContext(ctx, `SELECT id, hash, doc FROM tenant_tokens ORDER BY id`)
	if err != nil {
		return nil, classify("reading the tokens", err)
	}
	defer func() { _ = rows.Close() }()
	var out []tenant.Record
	for rows.Next() {
		var r tenant.Record
		var id, doc string
		var hash []byte
		if err := rows.Scan(&id, &hash, &doc); err != nil {
			return nil, classify("reading the tokens", err)
		}
		if err := json.Unmarshal([]byte(doc), &r.Token); err != nil || r.ID != id || len(hash) != len(r.Hash) {
			return nil, damaged("token "+id, err)
		}
		copy(r.Hash[:], hash)
		out = append(out, r)
	}
	return out, classify("reading the tokens", rows.Err())
}

// PutToken inserts or replaces a token.
func (s Tenants) PutToken(ctx context.Context, r tenant.Record) error {
	doc, err := json.Marshal(r.Token)
	if err != nil {
		return fmt.Errorf("writing token %s: %w", r.ID, err)
	}
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO tenant_tokens (id, tenant, hash, doc) VALUES (?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`, r.ID, r.Tenant, r.Hash[:], string(doc)); err != nil {
			return fmt.Errorf("writing token %s: %w", r.ID, err)
		}
		return nil
	})
}

// MarkUsed notes when tokens were last used.
func (s Tenants) MarkUsed(ctx context.Context, at map[string]time.Time) error {
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		for id, t := range at {
			if _, err := tx.ExecContext(ctx, `UPDATE tenant_tokens SET doc = json_set(doc, '$.used_at', ?) WHERE id = ?`,
				t.UTC().Format(time.RFC3339Nano), id); err != nil {
				return fmt.Errorf("writing the use of token %s: %w", id, err)
			}
		}
		return nil
	})
}

// spentCache holds what tenants have spent for as long as nothing was committed.
type spentCache struct {
	mu     sync.Mutex
	commit uint64
	month  string
	spent  map[string]sluice.Money
}

func month(at time.Time) string { return at.UTC().Format("2006-01") }

// Spent is what was posted to the tenant in the calendar month of at. Between two
// commits it is asked of the database once, and that is one row by its key.
func (s Tenants) Spent(ctx context.Context, name string, at time.Time) (sluice.Money, error) {
	c, m := &s.db.spent, month(at)
	commit := s.db.commits.Load() // before the question: what is newer than the answer asks again
	c.mu.Lock()
	if c.commit != commit || c.month != m || c.spent == nil {
		c.commit, c.month, c.spent = commit, m, map[string]sluice.Money{}
	}
	v, ok := c.spent[name]
	c.mu.Unlock()
	if ok {
		return v, nil
	}
	err := s.db.reader.QueryRowContext(ctx, `SELECT amount FROM spending WHERE tenant = ? AND month = ?`,
		ledger.Segment(name), m).Scan((*int64)(&v))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, classify("reading what "+name+" has spent", err)
	}
	c.mu.Lock()
	if c.commit == commit && c.month == m {
		c.spent[name] = v
	}
	c.mu.Unlock()
	return v, nil
}

// Bill is what was posted to the tenant by month, the newest first.
func (s Tenants) Bill(ctx context.Context, name string) ([]tenant.Month, error) {
	rows, err := s.db.reader.QueryContext(ctx, `SELECT month, amount FROM spending WHERE tenant = ? ORDER BY month DESC LIMIT 120`, ledger.Segment(name))
	if err != nil {
		return nil, classify("reading the bill of "+name, err)
	}
	defer func() { _ = rows.Close() }()
	out := []tenant.Month{}
	for rows.Next() {
		var m tenant.Month
		if err := rows.Scan(&m.Month, (*int64)(&m.Spent)); err != nil {
			return nil, classify("reading the bill of "+name, err)
		}
		out = append(out, m)
	}
	return out, classify("reading the bill of "+name, rows.Err())
}

// loadDocs reads rows of one column that holds a T as JSON.
func loadDocs[T any](ctx context.Context, db *DB, what, query string, args ...any) ([]T, error) {
	rows, err := db.reader.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, classify("reading "+what, err)
	}
	defer func() { _ = rows.Close() }()
	var out []T
	for rows.Next() {
		var doc string
		var v T
		if err := rows.Scan(&doc); err != nil {
			return nil, classify("reading "+what, err)
		}
		if err := json.Unmarshal([]byte(doc), &v); err != nil {
			return nil, damaged(what, err)
		}
		out = append(out, v)
	}
	return out, classify("reading "+what, rows.Err())
}
