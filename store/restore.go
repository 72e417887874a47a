package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sluice"
)

// Restore makes dir a data folder with the content of a backup. The backup is
// verified first: whole, a database of sluice, not newer than this program. dir
// must be missing or empty (Conflict). Until the last step, a rename, dir holds
// no database; a restore that was cut off can be repeated.
func Restore(ctx context.Context, backupFile, dir string) error {
	return restore(ctx, backupFile, dir, false)
}

// RestoreOver is Restore into a folder that is in use by no process but not
// empty: the database there is moved to its backups folder, all else stays.
func RestoreOver(ctx context.Context, backupFile, dir string) error {
	return restore(ctx, backupFile, dir, true)
}

func restore(ctx context.Context, backupFile, dir string, over bool) (err error) {
	src, err := filepath.Abs(backupFile)
	if err != nil {
		return sluice.Errorf(sluice.Invalid, "", "restoring %s: %v", backupFile, err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return sluice.Errorf(sluice.Invalid, "", "restoring to %s: %v", dir, err)
	}
	if err := verify(ctx, src, embedded()); err != nil {
		return err
	}
	names, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return notWritable(dir, err)
	}
	fresh := filepath.Join(dir, FileName+".restoring")
	occupied := slices.ContainsFunc(names, func(e fs.DirEntry) bool { // by more than an attempt that was cut off
		return e.Name() != LockName && !strings.HasPrefix(e.Name(), filepath.Base(fresh))
	})
	if occupied && !over {
		return sluice.Errorf(sluice.Conflict, "choose a new folder, or say that it may be overwritten",
			"the folder %s is not empty", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return notWritable(dir, err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	file := filepath.Join(dir, FileName)
	if err := remove(fresh); err != nil {
		return notWritable(dir, err)
	}
	if err := copyTo(ctx, src, fresh); err != nil {
		return err
	}
	if err := setAside(ctx, file); err != nil {
		return errors.Join(err, remove(fresh))
	}
	if err := os.Rename(fresh, file); err != nil {
		return fmt.Errorf("restoring %s: %w", file, err)
	}
	return syncPath(dir)
}

// verify returns nil for a whole database of this program or an older one.
func verify(ctx context.Context, file string, migrations fs.FS) (err error) {
	bad := func(format string, args ...any) error {
		return sluice.Errorf(sluice.Invalid, "choose another backup", "%s is no backup of a site: %s", file, fmt.Sprintf(format, args...))
	}
	// SQLite would make the file.
	if info, err := os.Stat(file); err != nil {
		return sluice.Errorf(sluice.NotFound, "", "the backup cannot be read: %v", err)
	} else if !info.Mode().IsRegular() || info.Size() == 0 {
		return bad("it is empty, or not a file")
	}
	c := connect(file, 1, "query_only(1)")
	defer func() { err = errors.Join(err, c.Close()) }()
	rows, err := c.QueryContext(ctx, `PRAGMA integrity_check`)
	if err != nil {
		return bad("%v", err)
	}
	if err := complaint(rows); err != nil {
		return bad("%v", err)
	}
	var broken int
	if err := c.QueryRowContext(ctx, `SELECT count(*) FROM pragma_foreign_key_check`).Scan(&broken); err != nil || broken > 0 {
		return bad("%d rows refer to nothing (%v)", broken, err)
	}
	var have int64
	if err := c.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&have); err != nil || have == 0 {
		return bad("it has no schema (%v)", err)
	}
	p, err := provider(c, migrations)
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	sources := p.ListSources()
	if want := sources[len(sources)-1].Version; have > want {
		return newerSchema(file, have, want)
	}
	return nil
}

// complaint returns what an integrity check found, nil for "ok".
func complaint(rows *sql.Rows) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return err
		}
		if s != "ok" {
			return errors.New(s)
		}
	}
	return rows.Err()
}

// setAside moves a database to the backups folder. Its write-ahead log must
// never lie beside another database, so it is folded in first, and where the
// database is too damaged for that, the log goes before the file does.
func setAside(ctx context.Context, file string) error {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	to, err := freeName(filepath.Join(filepath.Dir(file), BackupDir), "replaced")
	if err != nil {
		return err
	}
	c := connect(file, 1)
	_, _ = c.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
	_ = c.Close()
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(file+suffix, to+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("moving the old database to %s: %w", to, err)
		}
	}
	return nil
}
