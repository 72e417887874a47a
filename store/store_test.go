package store

import (
	"context"
	"database/sql"
	"testing"
)

func open(t *testing.T, dir string, opt Options) *DB {
	t.Helper()
	db, err := Open(t.Context(), dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func set(ctx context.Context, db *DB, key, value string) error {
	return db.Write(ctx, func(tx *sql.Tx) error { return SetMeta(tx, key, value) })
}

func TestMeta(t *testing.T) {
	// A folder whose name would break a DSN that is put together carelessly.
	dir := t.TempDir() + "/a b?c#d%20é&e=f"
	db := open(t, dir, Options{Site: "west"})
	if _, ok, err := db.Meta(t.Context(), "clock"); ok || err != nil {
		t.Fatalf("unset: %v, %v", ok, err)
	}
	for _, v := range []string{"1", "2"} {
		if err := set(t.Context(), db, "clock", v); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := db.Meta(t.Context(), "clock"); got != v || !ok || err != nil {
			t.Fatalf("got %q, %v, %v, want %q", got, ok, err, v)
		}
	}
	var mode string
	if err := db.Read().QueryRow(`PRAGMA journal_mode`).Scan(&mode); err != nil || mode != "wal" {
		t.Fatalf("journal mode %q, %v", mode, err)
	}
	if _, err := db.Read().Exec(`DELETE FROM meta`); err == nil {
		t.Fatal("a reader wrote")
	}
}
