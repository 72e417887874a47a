package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Price is what a feed has said of one interval [From, To).
type Price struct {
	Quantity  string // a feed.Quantity
	From, To  time.Time
	Published time.Time // when it became known
	Value     float64   // in the quantity's unit
}

// KeepPrices keeps prices, all or none. One of an interval that is there replaces
// it. What begins before forget is dropped, of the quantities that are among them.
func (db *DB) KeepPrices(ctx context.Context, ps []Price, forget time.Time) error {
	return db.Write(ctx, func(tx *sql.Tx) error {
		st, err := tx.PrepareContext(ctx, `INSERT INTO prices (quantity, from_at, to_at, published_at, value) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (quantity, from_at) DO UPDATE SET to_at = excluded.to_at, published_at = excluded.published_at, value = excluded.value`)
		if err != nil {
			return fmt.Errorf("keeping prices: %w", err)
		}
		defer func() { _ = st.Close() }()
		for _, p := range ps {
			if _, err := st.ExecContext(ctx, p.Quantity, p.From.UnixNano(), p.To.UnixNano(), p.Published.UnixNano(), p.Value); err != nil {
				return fmt.Errorf("keeping the %s of %s: %w", p.Quantity, p.From.Format(time.RFC3339), err)
			}
		}
		for _, q := range quantities(ps) { // by the key: a scan of years would take long
			if _, err := tx.ExecContext(ctx, `DELETE FROM prices WHERE quantity = ? AND from_at < ?`, q, forget.UnixNano()); err != nil {
				return fmt.Errorf("dropping old prices: %w", err)
			}
		}
		return nil
	})
}

func quantities(ps []Price) []string {
	var out []string
	seen := map[string]bool{}
	for _, p := range ps {
		if !seen[p.Quantity] {
			seen[p.Quantity] = true
			out = append(out, p.Quantity)
		}
	}
	return out
}

// Prices returns the kept prices of a quantity whose intervals begin at from or
// later, by start.
func (db *DB) Prices(ctx context.Context, quantity string, from time.Time) ([]Price, error) {
	var out []Price
	err := each(ctx, db, `SELECT from_at, to_at, published_at, value FROM prices WHERE quantity = ? AND from_at >= ? ORDER BY from_at`,
		[]any{quantity, from.UnixNano()}, func(r *sql.Rows) error {
			p := Price{Quantity: quantity}
			var begin, end, published int64
			if err := r.Scan(&begin, &end, &published, &p.Value); err != nil {
				return err
			}
			p.From, p.To, p.Published = time.Unix(0, begin).UTC(), time.Unix(0, end).UTC(), time.Unix(0, published).UTC()
			out = append(out, p)
			return nil
		})
	return out, err
}
