package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sluice"
	"sluice/ledger"
)

func TestBackupAndRestore(t *testing.T) {
	db := open(t, t.TempDir(), Options{Site: "west"})
	post(t, db, 1, 20)
	file := filepath.Join(t.TempDir(), "it's a.db")
	if err := db.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, db.Backup(t.Context(), file), sluice.Conflict, "exists")
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Error("the backup was overwritten")
	}
	wantError(t, db.Backup(t.Context(), "/nowhere/at/all.db"), sluice.Invalid, "backup")

	// The rests of a restore that was cut off do not stop the next.
	dir := t.TempDir()
	for _, rest := range []string{LockName, FileName + ".restoring", FileName + ".restoring.partial"} {
		if err := os.WriteFile(filepath.Join(dir, rest), []byte("rest"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Restore(t.Context(), file, dir); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("the restore has left %v", got)
	}
	restored := open(t, dir, Options{Site: "west"})
	if got, want := checkBooks(t, restored), journal(t, db); !slices.EqualFunc(got, want, ledger.Entry.Equal) || len(got) != 20 {
		t.Error("the restored books differ")
	}
	// The next entry fits in: its number goes on, the balances too.
	post(t, restored, 20, 21)
	checkBooks(t, restored)
	if got := names(t, filepath.Dir(file)); len(got) != 1 {
		t.Errorf("the backup has left things: %v", got)
	}
}

func TestBackupWhileWriting(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	acked := make(chan int)
	done := make(chan error, 1)
	go func() {
		defer close(acked)
		for n := 1; ; n++ {
			if _, err := appendAll(ctx, db, entry("post", n)); err != nil {
				if errors.Is(err, context.Canceled) {
					err = nil
				}
				done <- err
				return
			}
			select {
			case acked <- n:
			case <-ctx.Done():
			}
		}
	}()
	out := t.TempDir()
	for i := range 5 {
		var n int
		for n < 30*(i+1) {
			n = <-acked
		}
		file := filepath.Join(out, fmt.Sprint(i))
		result := make(chan error, 1)
		go func() { result <- db.Backup(t.Context(), file) }()
		written := 0 // by the writer, while it is copied
		for copied := false; !copied; {
			select {
			case <-acked:
				written++
			case err := <-result:
				if err != nil {
					t.Fatal(err)
				}
				copied = true
			}
		}
		dir := filepath.Join(out, fmt.Sprint("restored", i))
		if err := Restore(t.Context(), file, dir); err != nil {
			t.Fatal(err)
		}
		es := checkBooks(t, open(t, dir, Options{}))
		// The writer may be one ahead of what it has told.
		if len(es) < n || len(es) > n+written+2 {
			t.Errorf("copy %d has %d entries; %d were there before, %d came", i, len(es), n, written)
		}
		for j, e := range es {
			if !e.Equal(entry("post", j+1)) {
				t.Fatalf("copy %d: entry %d is %+v", i, j, e)
			}
		}
	}
	cancel()
	for range acked {
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		out = append(out, e.Name())
	}
	return out
}

func TestRestoreRefuses(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	post(t, db, 1, 200)
	dir := t.TempDir()
	file := filepath.Join(dir, "good")
	if err := db.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spoil := func(name string, b []byte) string {
		f := filepath.Join(dir, name)
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	flipped := bytes.Clone(good)
	for i := len(flipped) / 2; i < len(flipped)/2+4096; i++ {
		flipped[i] ^= 0x5a
	}
	foreign := filepath.Join(dir, "foreign")
	other := connect(foreign, 1)
	if _, err := other.Exec(`CREATE TABLE x (y)`); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	for what, f := range map[string]string{
		"cut off":        spoil("cut", good[:len(good)/2]),
		"damaged":        spoil("flipped", flipped),
		"no database":    spoil("text", []byte("once upon a time, there was no database in this file at all")),
		"empty":          spoil("empty", nil),
		"of another use": foreign,
		"a folder":       dir,
	} {
		to := filepath.Join(t.TempDir(), "new")
		err := Restore(t.Context(), f, to)
		if sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(to); err == nil {
			t.Errorf("%s: the folder was made", what)
		}
	}
	if err := Restore(t.Context(), filepath.Join(dir, "none"), filepath.Join(t.TempDir(), "new")); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("a missing backup: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("looking for a backup has made one")
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "letter"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, Restore(t.Context(), file, full), sluice.Conflict, "is not empty")
	if got := names(t, full); len(got) != 1 {
		t.Errorf("a refused restore has left %v", got)
	}
	wantError(t, RestoreOver(t.Context(), file, db.Dir()), sluice.Conflict, "in use by process")
	if count(t, db) != 200 {
		t.Error("a running site was changed")
	}
}

func TestRestoreOver(t *testing.T) {
	old, err := Open(t.Context(), t.TempDir(), Options{Site: "west"})
	if err != nil {
		t.Fatal(err)
	}
	post(t, old, 1, 5)
	file := filepath.Join(t.TempDir(), "backup.db")
	if err := old.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	post(t, old, 6, 9)
	dir := old.Dir()
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "letter"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The rest of a log of a crashed process, which must not be read into the
	// restored database.
	if err := os.WriteFile(filepath.Join(dir, FileName+"-wal"), bytes.Repeat([]byte("wal?"), 3000), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := RestoreOver(t.Context(), file, dir); err != nil {
			t.Fatal(err)
		}
		db, err := Open(t.Context(), dir, Options{Site: "west"})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(checkBooks(t, db)); n != 5 {
			t.Errorf("%d entries, the backup had 5", n)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "letter")); err != nil {
		t.Errorf("what was beside the database: %v", err)
	}
	aside := backups(t, dir)
	if !slices.Contains(aside, "replaced.db") || !slices.Contains(aside, "replaced-2.db") {
		t.Fatalf("the replaced databases: %v", aside)
	}
	was := filepath.Join(t.TempDir(), "was")
	if err := Restore(t.Context(), filepath.Join(dir, BackupDir, "replaced.db"), was); err != nil {
		t.Fatal(err)
	}
	if n := len(checkBooks(t, open(t, was, Options{Site: "west"}))); n != 9 {
		t.Errorf("%d entries were replaced, there were 9", n)
	}
}
