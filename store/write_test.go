package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
)

func wantStorageError(t *testing.T, err error, r Reason) {
	t.Helper()
	var e *StorageError
	if !errors.As(err, &e) || e.Reason != r || sluice.KindOf(err) != sluice.Unavailable || code(err) == 0 {
		t.Fatalf("got %v, want a StorageError because it is %s", err, r)
	}
}

// fillDisk writes until the disk is full and returns how many entries were
// acknowledged.
func fillDisk(t *testing.T, db *DB) (int, error) {
	t.Helper()
	for n := 1; n < 100_000; n++ {
		if _, err := appendAll(t.Context(), db, entry("post", n)); err != nil {
			return n - 1, err
		}
	}
	t.Fatal("the disk never gets full")
	return 0, nil
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(t.Context(), dir, Options{maxPageCount: 80})
	if err != nil {
		t.Fatal(err)
	}
	n, err := fillDisk(t, db)
	wantStorageError(t, err, Full)
	if n < 50 {
		t.Fatalf("only %d entries before the disk was full: this tests little", n)
	}
	// Reading goes on, nothing confirmed is lost, nothing else is there.
	if es := checkBooks(t, db); len(es) != n {
		t.Fatalf("%d entries, %d were acknowledged", len(es), n)
	}
	// A transaction too large for what is left leaves nothing of itself.
	err = db.Write(t.Context(), func(tx *sql.Tx) error {
		for i := range 1000 {
			if err := SetMeta(tx, fmt.Sprint("k", i), strings.Repeat("x", 1000)); err != nil {
				return fmt.Errorf("keeping it: %w", err)
			}
		}
		return nil
	})
	wantStorageError(t, err, Full)
	if get(t, db, "k0") != "" {
		t.Fatal("half a transaction is there")
	}
	if _, err := db.writer.Exec(`PRAGMA max_page_count(100000)`); err != nil {
		t.Fatal(err)
	}
	if _, err := appendAll(t.Context(), db, entry("post", n+1)); err != nil {
		t.Fatalf("there is room again: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if es := checkBooks(t, open(t, dir, Options{})); len(es) != n+1 {
		t.Fatalf("%d entries after a restart, want %d", len(es), n+1)
	}
}

// A second program that respects no lock file but SQLite's, such as the sqlite3
// shell.
func hold(t *testing.T, db *DB) (release func()) {
	t.Helper()
	other := connect(filepath.Join(db.Dir(), FileName), 1)
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(tx.Rollback(), other.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestLockedByAnother(t *testing.T) {
	db := open(t, t.TempDir(), Options{BusyFor: 300 * time.Millisecond})
	release := hold(t, db)
	wantStorageError(t, set(t.Context(), db, "k", "1"), Locked)
	if get(t, db, "k") != "" {
		t.Fatal("it was written all the same")
	}
	release()
	if err := set(t.Context(), db, "k", "2"); err != nil {
		t.Fatalf("after the lock: %v", err)
	}
}

func TestLockThatPasses(t *testing.T) {
	db := open(t, t.TempDir(), Options{BusyFor: time.Minute})
	release := hold(t, db)
	done := make(chan error, 1)
	go func() { done <- set(t.Context(), db, "k", "1") }()
	select {
	case err := <-done:
		t.Fatalf("wrote through a lock: %v", err)
	case <-time.After(2 * busyMillis * time.Millisecond): // into the second try
	}
	release()
	if err := <-done; err != nil || get(t, db, "k") != "1" {
		t.Fatalf("after the lock: %v", err)
	}
}

func TestLockedUntilTheContextEnds(t *testing.T) {
	db := open(t, t.TempDir(), Options{BusyFor: time.Hour})
	defer hold(t, db)()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := set(ctx, db, "k", "1"); err == nil || time.Since(began) > 30*time.Second {
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
}

func TestWriteRollsBack(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	boom := errors.New("boom")
	err := db.Write(t.Context(), func(tx *sql.Tx) error {
		return errors.Join(SetMeta(tx, "k", "error"), boom)
	})
	if !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()
		_ = db.Write(t.Context(), func(tx *sql.Tx) error {
			_ = SetMeta(tx, "k", "panic")
			panic(boom)
		})
	}()
	ctx, cancel := context.WithCancel(t.Context())
	err = db.Write(ctx, func(tx *sql.Tx) error {
		err := SetMeta(tx, "k", "cancelled")
		cancel()
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before the commit: %v", err)
	}
	if err := db.Write(ctx, func(*sql.Tx) error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before the start: %v", err)
	}
	if v := get(t, db, "k"); v != "" {
		t.Errorf("%q was written", v)
	}
	if err := set(t.Context(), db, "k", "1"); err != nil {
		t.Errorf("the writer is stuck: %v", err)
	}
}

// Writers take turns: a counter that each reads and writes misses no step.
func TestWritesAreSerial(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	const writers, each = 8, 25
	errs := make(chan error, writers)
	for range writers {
		go func() {
			for range each {
				err := db.Write(t.Context(), func(tx *sql.Tx) error {
					v, _, err := meta(t.Context(), tx, "n")
					if err != nil {
						return err
					}
					return SetMeta(tx, "n", v+"x")
				})
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if n := len(get(t, db, "n")); n != writers*each {
		t.Errorf("counted %d, want %d", n, writers*each)
	}
}

func TestClassify(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	// A mistake of the caller's is no failure of the storage.
	err := db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO meta (key) VALUES ('k')`)
		return err
	})
	var e *StorageError
	if err == nil || errors.As(err, &e) {
		t.Errorf("a broken constraint: %v", err)
	}
	// What a disk that has become read-only gives.
	_, err = db.Read().Exec(`DELETE FROM meta`)
	wantStorageError(t, classify("writing", err), Broken)
	if classify("x", nil) != nil {
		t.Error("an error of nothing")
	}
}
