package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"sluice"
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

func get(t *testing.T, db *DB, key string) string {
	t.Helper()
	v, _, err := db.Meta(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wantError checks the kind of an error and that its hint helps.
func wantError(t *testing.T, err error, k sluice.Kind, says string) {
	t.Helper()
	var e *sluice.Error
	if !errors.As(err, &e) || e.Kind != k || e.Hint == "" || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want an error of kind %d that says %q, with a hint", err, k, says)
	}
}

func TestMeta(t *testing.T) {
	// A folder whose name would break a DSN that is put together carelessly.
	dir := t.TempDir() + "/a b?c#d%20é&e=f"
	db := open(t, dir, Options{Site: "west"})
	if _, err := os.Stat(filepath.Join(dir, FileName)); err != nil || !db.Created() || db.Dir() != dir {
		t.Fatalf("the file lies elsewhere: %v", err)
	}
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
}

func TestPragmas(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		for _, pool := range []*sql.DB{db.writer, db.Read()} {
			var got string
			if err := pool.QueryRow(`PRAGMA ` + pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %q, %v, want %q", pragma, got, err, want)
			}
		}
	}
	if _, err := db.Read().Exec(`DELETE FROM meta`); err == nil {
		t.Error("a reader wrote")
	}
	info, err := os.Stat(filepath.Join(db.Dir(), FileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the database: %v, %v", info.Mode(), err)
	}
}

func TestOpenTwice(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(t.Context(), dir, Options{Demo: true, Site: "west"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), dir, Options{Demo: true, Site: "west"})
	wantError(t, err, sluice.Conflict, "in use by process")
	if err := set(t.Context(), db, "k", "v"); err != nil {
		t.Errorf("the first no longer writes: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, Options{Demo: true, Site: "west"})
	if again.Created() || get(t, again, "k") != "v" {
		t.Error("what was written is not there")
	}
}

func TestOpenNotWritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), filepath.Join(file, "data"), Options{})
	wantError(t, err, sluice.Invalid, "cannot make the data folder")
	// Permissions do not stop root, a folder in the lock's place does.
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, LockName), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), dir, Options{})
	wantError(t, err, sluice.Invalid, "cannot be written")
}

func TestFolderOfAnother(t *testing.T) {
	demo, site := t.TempDir(), t.TempDir()
	for dir, opt := range map[string]Options{demo: {Demo: true, Site: "demo"}, site: {Site: "west"}} {
		db, err := Open(t.Context(), dir, opt)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Open(t.Context(), demo, Options{Site: "demo"})
	wantError(t, err, sluice.Conflict, "the data of a demo")
	_, err = Open(t.Context(), site, Options{Demo: true, Site: "west"})
	wantError(t, err, sluice.Conflict, "the books of a real site")
	_, err = Open(t.Context(), site, Options{Site: "east"})
	wantError(t, err, sluice.Conflict, `belongs to the site "west"`)
	// A refusal lets go of the folder, and no name asks for none.
	open(t, site, Options{})
}

func TestOpenDamaged(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), dir, Options{})
	wantStorageError(t, err, Corrupt)
	wantError(t, err, sluice.Unavailable, "the database is damaged")
}

// The schema of the very first release, and one of the future.
func oldMigrations(t *testing.T) fs.FS {
	t.Helper()
	b, err := fs.ReadFile(embedded(), "0001_ledger.sql")
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{"0001_ledger.sql": {Data: b}}
}

func TestMigrateFromOlder(t *testing.T) {
	dir := t.TempDir()
	old, err := Open(t.Context(), dir, Options{Site: "west", migrations: oldMigrations(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := set(t.Context(), old, "k", "v"); err != nil {
		t.Fatal(err)
	}
	post(t, old, 1, 3)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if names := backups(t, dir); len(names) != 0 {
		t.Fatalf("a new database was copied: %v", names)
	}

	db, err := Open(t.Context(), dir, Options{Site: "west"})
	if err != nil {
		t.Fatal(err)
	}
	if get(t, db, "k") != "v" || count(t, db) != 3 {
		t.Error("the migration has lost something")
	}
	var jobs int
	if err := db.Read().QueryRow(`SELECT count(*) FROM jobs`).Scan(&jobs); err != nil {
		t.Errorf("it has not migrated: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	names := backups(t, dir)
	if len(names) != 1 || !strings.HasPrefix(names[0], "pre-v") || !strings.HasSuffix(names[0], "-from-v1.db") {
		t.Fatalf("snapshots: %v", names)
	}
	open(t, dir, Options{Site: "west"})
	if again := backups(t, dir); len(again) != 1 {
		t.Errorf("opened without a migration, and copied: %v", again)
	}

	// The way back: the snapshot is what the older program wrote.
	back := filepath.Join(t.TempDir(), "back")
	if err := Restore(t.Context(), filepath.Join(dir, BackupDir, names[0]), back); err != nil {
		t.Fatal(err)
	}
	was := open(t, back, Options{Site: "west", migrations: oldMigrations(t)})
	if get(t, was, "k") != "v" || count(t, was) != 3 {
		t.Error("the snapshot lacks something")
	}
}

// A migration that fails leaves the database as it was.
func TestMigrationFails(t *testing.T) {
	dir := t.TempDir()
	old, err := Open(t.Context(), dir, Options{migrations: oldMigrations(t)})
	if err != nil {
		t.Fatal(err)
	}
	post(t, old, 1, 3)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	bad := oldMigrations(t).(fstest.MapFS)
	bad["0002_bad.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE half (x);\nINSERT INTO nowhere VALUES (1);\n")}
	if db, err := Open(t.Context(), dir, Options{migrations: bad}); err == nil {
		_ = db.Close()
		t.Fatal("a broken migration was accepted")
	}
	db := open(t, dir, Options{migrations: oldMigrations(t)})
	if count(t, db) != 3 {
		t.Error("entries are lost")
	}
}

func TestNewerSchema(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.writer.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), dir, Options{})
	wantError(t, err, sluice.Conflict, "a newer version of sluice (schema v9999")
	err = Restore(t.Context(), filepath.Join(dir, FileName), filepath.Join(t.TempDir(), "new"))
	wantError(t, err, sluice.Conflict, "a newer version of sluice (schema v9999")
}

func backups(t *testing.T, dir string) (names []string) {
	t.Helper()
	es, err := os.ReadDir(filepath.Join(dir, BackupDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names
}
