package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sluice"
)

// Backup writes a consistent copy of the database to destFile while the site
// goes on: what was committed before the call is in it. The file is on the disk
// when Backup returns nil; under its name there is never half a copy. It must
// not exist (Conflict), nothing is overwritten.
func (db *DB) Backup(ctx context.Context, destFile string) error {
	dest, err := filepath.Abs(destFile)
	if err != nil {
		return sluice.Errorf(sluice.Invalid, "", "backup to %s: %v", destFile, err)
	}
	return copyTo(ctx, filepath.Join(db.dir, FileName), dest)
}

// copyTo copies the database src to the new file dest.
func copyTo(ctx context.Context, src, dest string) (err error) {
	claim, err := os.OpenFile(dest, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return sluice.Errorf(sluice.Conflict, "choose another name", "the file %s exists", dest)
	}
	if err != nil {
		return sluice.Errorf(sluice.Invalid, "choose a file in a folder that can be written", "backup: %v", err)
	}
	if err := claim.Close(); err != nil {
		return fmt.Errorf("backup to %s: %w", dest, err)
	}
	// The name is ours now, so is the one beside it: a rest of a copy that was
	// cut off.
	part := dest + ".partial"
	defer func() {
		if err != nil {
			err = errors.Join(err, remove(part), remove(dest))
		}
	}()
	if err := remove(part); err != nil {
		return err
	}
	if err := vacuumInto(ctx, src, part); err != nil {
		return err
	}
	if err := os.Chmod(part, 0o600); err != nil {
		return fmt.Errorf("backup to %s: %w", dest, err)
	}
	if err := syncPath(part); err != nil {
		return err
	}
	if err := os.Rename(part, dest); err != nil {
		return fmt.Errorf("backup to %s: %w", dest, err)
	}
	return syncPath(filepath.Dir(dest))
}

// vacuumInto uses a connection of its own, so that neither the writer nor the
// readers wait for a large copy.
func vacuumInto(ctx context.Context, src, dest string) (err error) {
	c := connect(src, 1)
	defer func() { err = errors.Join(err, c.Close()) }()
	if _, err := c.ExecContext(ctx, `VACUUM INTO ?`, dest); err != nil {
		return classify("copying the database to "+dest, err)
	}
	return nil
}

func remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncPath makes a file, or the names in a folder, outlive a power cut.
func syncPath(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("bringing %s to the disk: %w", path, err)
	}
	return nil
}
