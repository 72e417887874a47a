package store

import (
	"context"
	"database/sql"
	"errors"
	"strconv"

	"sluice"
)

// Keys of the meta table that the store itself writes, once.
const (
	metaDemo = "demo"
	metaSite = "site"
)

// Meta returns a value of the site that fits no table of its own, and whether
// it is there.
func (db *DB) Meta(ctx context.Context, key string) (string, bool, error) {
	return meta(ctx, db.reader, key)
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func meta(ctx context.Context, q queryer, key string) (string, bool, error) {
	var v string
	err := q.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = ?`, key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, classify("reading "+key, err)
	}
	return v, true, nil
}

// SetMeta stores a value for the key.
func SetMeta(tx *sql.Tx, key, value string) error {
	_, err := tx.Exec(`INSERT INTO meta (key, value) VALUES (?, ?)
		ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, value)
	return err
}

// claim checks that the folder belongs to the site of the options, and writes
// their name onto a new one. Demo and real money must never share a book.
func (db *DB) claim(ctx context.Context) error {
	return db.Write(ctx, func(tx *sql.Tx) error {
		demo, known, err := meta(ctx, tx, metaDemo)
		if err != nil {
			return err
		}
		if !known {
			if err := SetMeta(tx, metaDemo, strconv.FormatBool(db.opt.Demo)); err != nil {
				return err
			}
		} else if demo != strconv.FormatBool(db.opt.Demo) {
			if db.opt.Demo {
				return sluice.Errorf(sluice.Conflict, "choose another folder with --data",
					"the folder %s holds the books of a real site, not of a demo", db.dir)
			}
			return sluice.Errorf(sluice.Conflict, "choose another folder with --data, or start it with --demo",
				"the folder %s holds the data of a demo, not of a real site", db.dir)
		}
		site, known, err := meta(ctx, tx, metaSite)
		if err != nil || db.opt.Site == "" {
			return err
		}
		if !known {
			return SetMeta(tx, metaSite, db.opt.Site)
		}
		if site != db.opt.Site {
			return sluice.Errorf(sluice.Conflict, "choose another folder with --data, or give the site its old name",
				"the folder %s belongs to the site %q, not to %q", db.dir, site, db.opt.Site)
		}
		return nil
	})
}
