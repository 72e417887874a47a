package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"sluice"
)

// Reason says what is wrong with the storage.
type Reason string

// Reasons of a StorageError.
const (
	Full    Reason = "full"    // no room on the disk
	Locked  Reason = "locked"  // another process holds the database
	Broken  Reason = "broken"  // the disk or the file system fails, or the folder became read-only
	Corrupt Reason = "corrupt" // the file is not what was written
)

// StorageError says that the storage has failed, not the caller: what was being
// written is not there, what was committed before is. The site raises an alarm
// and tries again later. Its kind is sluice.Unavailable.
type StorageError struct {
	Reason Reason
	Err    *sluice.Error
}

func (e *StorageError) Error() string { return e.Err.Error() }

// Unwrap returns the error for people, and through it SQLite's.
func (e *StorageError) Unwrap() error { return e.Err }

// Write runs fn in a transaction and commits it, one at a time in the order of
// the calls. It returns nil only when the commit has reached the disk, and
// otherwise nothing of it is there. While another process holds the database,
// Write tries again for Options.BusyFor or until ctx ends, so fn may run more
// than once: it must have no effects but through tx, and it must return the
// errors of tx. Write inside of fn would wait for itself for ever.
//
// Errors: *StorageError where the storage fails; fn's own as they are.
func (db *DB) Write(ctx context.Context, fn func(tx *sql.Tx) error) error {
	select {
	case db.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting to write: %w", ctx.Err())
	}
	defer func() { <-db.turn }()
	giveUp := time.NewTimer(db.opt.BusyFor)
	defer giveUp.Stop()
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		err := db.once(ctx, fn)
		if err == nil {
			return nil
		}
		// database/sql rolls back by itself when ctx ends, and its next call then
		// may say only that the transaction is over.
		if ctx.Err() != nil && errors.Is(err, sql.ErrTxDone) {
			return fmt.Errorf("writing: %w", ctx.Err())
		}
		if !busy(err) {
			return classify("writing", err)
		}
		again := time.NewTimer(wait)
		select {
		case <-again.C:
		case <-giveUp.C:
			again.Stop()
			return classify("writing", err)
		case <-ctx.Done():
			again.Stop()
			return classify("writing", err)
		}
	}
}

func (db *DB) once(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	// Also when fn panics; after a commit it does nothing.
	defer func() { _ = tx.Rollback() }()
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	db.commits.Add(1)
	return nil
}

// code returns SQLite's primary result code, 0 where the error is none of its.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

func busy(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_BUSY || c == sqlite3.SQLITE_LOCKED
}

// classify makes a *StorageError of those of SQLite's errors that are not the
// caller's fault and wraps all others with what was being done.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	fail := func(r Reason, msg, hint string) error {
		return &StorageError{Reason: r, Err: &sluice.Error{
			Kind: sluice.Unavailable, Msg: doing + ": " + msg, Hint: hint, Cause: err,
		}}
	}
	switch code(err) {
	case sqlite3.SQLITE_FULL:
		return fail(Full, "the disk is full", "make room; nothing that was confirmed is lost")
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fail(Locked, "another program holds the database", "end it, or wait for it")
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return fail(Broken, "the disk does not take it", "look at the disk, its mount and the folder's permissions")
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fail(Corrupt, "the database is damaged", "restore the last backup with sluice restore")
	case 0:
		return err
	}
	return fmt.Errorf("%s: %w", doing, err)
}
