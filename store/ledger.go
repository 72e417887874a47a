package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"time"

	"sluice"
	"sluice/ledger"
)

// AppendEntries adds the entries to the journal, in their order, and returns
// how many were new. An entry whose ID is there with the same content is left
// out, so a settlement may be repeated after a crash; with other content it is a
// Conflict: what is written is corrected, never changed. Entries that fail Check
// are Invalid. After an error the transaction must not be committed.
func AppendEntries(tx *sql.Tx, entries []ledger.Entry) (added int, err error) {
	if len(entries) == 0 {
		return 0, nil
	}
	insert, err := tx.Prepare(`INSERT INTO postings (entry, line, account, commodity, amount, memo) VALUES (?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return 0, fmt.Errorf("appending to the journal: %w", err)
	}
	defer func() { err = errors.Join(err, insert.Close()) }()
	for _, e := range entries {
		if err := e.Check(); err != nil {
			return added, err
		}
		there, err := entryByID(tx, e.ID)
		if err != nil {
			return added, err
		}
		if there != nil {
			if !there.Equal(e) {
				return added, sluice.Errorf(sluice.Conflict, "append a correcting entry under an ID of its own",
					"entry %s is in the journal with other content", e.ID)
			}
			continue
		}
		if err := appendEntry(tx, insert, e); err != nil {
			return added, fmt.Errorf("appending entry %s: %w", e.ID, err)
		}
		added++
	}
	return added, nil
}

func appendEntry(tx *sql.Tx, insert *sql.Stmt, e ledger.Entry) error {
	meta := e.Meta
	if meta == nil {
		meta = map[string]string{}
	}
	b, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	res, err := tx.Exec(`INSERT INTO entries (id, at, text, division, corrects, meta) VALUES (?, ?, ?, ?, ?, ?)`,
		e.ID, e.At.UnixNano(), e.Text, string(e.Division()), e.Corrects, string(b))
	if err != nil {
		return err
	}
	seq, err := res.LastInsertId()
	if err != nil {
		return err
	}
	for i, p := range e.Postings {
		if _, err := insert.Exec(seq, i, p.Account, p.Commodity, int64(p.Amount), p.Memo); err != nil {
			return err
		}
	}
	return nil
}

// A row of this for each posting; entries have at least two.
const selectEntries = `SELECT e.seq, e.id, e.at, e.text, e.corrects, e.meta, p.account, p.commodity, p.amount, p.memo
	FROM entries e JOIN postings p ON p.entry = e.seq `

func entryByID(tx *sql.Tx, id string) (*ledger.Entry, error) {
	rows, err := tx.Query(selectEntries+`WHERE e.id = ? ORDER BY p.line`, id)
	if err != nil {
		return nil, fmt.Errorf("looking for entry %s: %w", id, err)
	}
	var found *ledger.Entry
	err = scanEntries(rows, func(e ledger.Entry) error {
		found = &e
		return nil
	})
	return found, err
}

// scanEntries closes the rows.
func scanEntries(rows *sql.Rows, each func(ledger.Entry) error) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	var e ledger.Entry
	var seq int64
	for rows.Next() {
		var row ledger.Entry
		var p ledger.Posting
		var n, at int64
		var meta []byte
		if err := rows.Scan(&n, &row.ID, &at, &row.Text, &row.Corrects, &meta, &p.Account, &p.Commodity, &p.Amount, &p.Memo); err != nil {
			return fmt.Errorf("reading the journal: %w", err)
		}
		if n != seq {
			if seq != 0 {
				if err := each(e); err != nil {
					return err
				}
			}
			e, seq = row, n
			e.At = time.Unix(0, at).UTC()
			if err := json.Unmarshal(meta, &e.Meta); err != nil {
				return fmt.Errorf("reading the meta of entry %s: %w", e.ID, err)
			}
		}
		e.Postings = append(e.Postings, p)
	}
	if err := rows.Err(); err != nil {
		return classify("reading the journal", err)
	}
	if seq != 0 {
		return each(e)
	}
	return nil
}

// Balances returns what each account holds now, in the order of their names, in
// a time that grows with the accounts and not with the journal.
func (db *DB) Balances(ctx context.Context) (out []ledger.Balance, err error) {
	rows, err := db.reader.QueryContext(ctx, `SELECT account, commodity, amount FROM balances ORDER BY account, commodity`)
	if err != nil {
		return nil, classify("reading the balances", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var b ledger.Balance
		if err := rows.Scan(&b.Account, &b.Commodity, &b.Amount); err != nil {
			return nil, fmt.Errorf("reading the balances: %w", err)
		}
		out = append(out, b)
	}
	return out, classify("reading the balances", rows.Err())
}

// EachEntry calls fn with the entries of [from, to) in the order of their times,
// those of one time in the order in which they were written, all as of the
// moment of the call. A zero from or to leaves that end open. It stops at fn's
// first error and returns it.
func (db *DB) EachEntry(ctx context.Context, from, to time.Time, fn func(ledger.Entry) error) error {
	lo, hi := span(from, to)
	rows, err := db.reader.QueryContext(ctx, selectEntries+`WHERE e.at >= ? AND e.at < ? ORDER BY e.at, e.seq, p.line`, lo, hi)
	if err != nil {
		return classify("reading the journal", err)
	}
	return scanEntries(rows, fn)
}

// errStop ends EachEntry when its consumer has seen enough.
var errStop = errors.New("stop")

// AllEntries is EachEntry as a sequence, for ledger.WriteHledger and
// ledger.IncomeStatement; an error is its last element.
func (db *DB) AllEntries(ctx context.Context, from, to time.Time) iter.Seq2[ledger.Entry, error] {
	return func(yield func(ledger.Entry, error) bool) {
		err := db.EachEntry(ctx, from, to, func(e ledger.Entry) error {
			if !yield(e, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(ledger.Entry{}, err)
		}
	}
}

// Entries returns up to limit entries of [from, to) in the order in which they
// were written, those after the entry of the ID after, "" from the start. A zero
// from or to leaves that end open, a limit of 0 takes all. An unknown after is
// NotFound.
func (db *DB) Entries(ctx context.Context, from, to time.Time, after string, limit int) ([]ledger.Entry, error) {
	var seq int64
	if after != "" {
		err := db.reader.QueryRowContext(ctx, `SELECT seq FROM entries WHERE id = ?`, after).Scan(&seq)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, sluice.Errorf(sluice.NotFound, "", "there is no entry %s", after)
		}
		if err != nil {
			return nil, classify("looking for entry "+after, err)
		}
	}
	if limit < 1 {
		limit = -1 // SQLite's word for all
	}
	lo, hi := span(from, to)
	rows, err := db.reader.QueryContext(ctx, selectEntries+`WHERE e.seq IN
		(SELECT seq FROM entries WHERE seq > ? AND at >= ? AND at < ? ORDER BY seq LIMIT ?) ORDER BY e.seq, p.line`,
		seq, lo, hi, limit)
	if err != nil {
		return nil, classify("reading the journal", err)
	}
	var out []ledger.Entry
	err = scanEntries(rows, func(e ledger.Entry) error {
		out = append(out, e)
		return nil
	})
	return out, err
}

// ExportHledger writes the whole journal in the format of hledger, in the order
// of the entries' times.
func (db *DB) ExportHledger(ctx context.Context, w io.Writer) error {
	return ledger.WriteHledger(w, db.AllEntries(ctx, time.Time{}, time.Time{}))
}

// span returns [from, to) in nanoseconds since 1970, zero times as open ends.
func span(from, to time.Time) (lo, hi int64) {
	lo, hi = math.MinInt64, math.MaxInt64
	if !from.IsZero() {
		lo = from.UnixNano()
	}
	if !to.IsZero() {
		hi = to.UnixNano()
	}
	return lo, hi
}
