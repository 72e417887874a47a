package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/pressly/goose/v3"

	"sluice"
)

//go:embed migrations/*.sql
var files embed.FS

func embedded() fs.FS {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the path is a constant
	}
	return sub
}

func provider(db *sql.DB, migrations fs.FS) (*goose.Provider, error) {
	return goose.NewProvider(goose.DialectSQLite3, db, migrations,
		goose.WithDisableGlobalRegistry(true))
}

// migrate brings the schema to this program's. An existing database is copied
// first, to backups/pre-v<new>-from-v<old>.db: the way back to the older program.
func (db *DB) migrate(ctx context.Context) error {
	p, err := provider(db.writer, db.opt.migrations)
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return classify("reading the version of the schema", err)
	}
	db.created = have == 0
	if have > want {
		return newerSchema(db.dir, have, want)
	}
	if have == want {
		return nil
	}
	if have > 0 {
		file, err := freeName(filepath.Join(db.dir, BackupDir), fmt.Sprintf("pre-v%d-from-v%d", want, have))
		if err != nil {
			return err
		}
		if err := db.Backup(ctx, file); err != nil {
			return fmt.Errorf("copying the database before its migration: %w", err)
		}
	}
	if _, err := p.Up(ctx); err != nil {
		return classify(fmt.Sprintf("migrating the database from v%d to v%d", have, want), err)
	}
	return nil
}

func newerSchema(what string, have, want int64) error {
	return sluice.Errorf(sluice.Conflict, "use that version, or restore a backup that an older one has made",
		"%s was written by a newer version of sluice (schema v%d, this one knows v%d)", what, have, want)
}

// freeName returns dir/stem.db, or with a number where that is taken. It makes
// the folder.
func freeName(dir, stem string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", notWritable(dir, err)
	}
	for n := 1; ; n++ {
		name := stem
		if n > 1 {
			name += "-" + strconv.Itoa(n)
		}
		file := filepath.Join(dir, name+".db")
		_, err := os.Lstat(file)
		if errors.Is(err, fs.ErrNotExist) {
			return file, nil
		}
		if err != nil {
			return "", notWritable(dir, err)
		}
	}
}
