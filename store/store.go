// Package store owns the database of a site: one SQLite file in the data
// folder, its schema, its one writer, its backups. What is committed here has
// reached the disk; what is not has not happened.
package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite", without cgo

	"sluice"
)

// File names inside a data folder.
const (
	FileName  = "sluice.db"
	LockName  = "sluice.lock"
	BackupDir = "backups"
)

// readers is how many connections read at once. WAL lets them run beside the
// writer; more than a few only costs memory (each has a page cache of its own).
const readers = 4

// Options say whose folder is opened.
type Options struct {
	// Demo is whether the site is a demo; a folder keeps for life what it was
	// made as.
	Demo bool
	// Site is the site's name. Empty: whichever the folder belongs to (for
	// commands that work on a folder without a configuration).
	Site string
	// BusyFor is how long Write tries again while another process holds the
	// database, default 10 s, less where its context ends before.
	BusyFor time.Duration

	migrations   fs.FS // instead of the embedded ones
	maxPageCount int   // a disk that is full after so many pages
}

// DB is the database of one site, held by one process. All methods may be
// called from any goroutine.
type DB struct {
	dir     string
	opt     Options
	lock    *os.File
	writer  *sql.DB
	reader  *sql.DB
	turn    chan struct{} // holds a token while someone writes; first come, first served
	created bool
	commits atomic.Uint64 // of this process so far
	spent   spentCache
}

// Open opens the database of the folder dir, makes both where they are
// missing, and brings an older schema up to this program's after a snapshot
// into dir/backups.
//
// Errors: Invalid where the folder cannot be written; Conflict where another
// process has it open, where it belongs to another site or where a newer
// program has written it.
func Open(ctx context.Context, dir string, opt Options) (*DB, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "", "data folder %s: %v", dir, err)
	}
	if opt.BusyFor <= 0 {
		opt.BusyFor = 10 * time.Second
	}
	if opt.migrations == nil {
		opt.migrations = embedded()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "choose another folder with --data, or mend its permissions",
			"cannot make the data folder %s: %v", dir, err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	db := &DB{dir: dir, opt: opt, lock: lock, turn: make(chan struct{}, 1)}
	if err := db.open(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (db *DB) open(ctx context.Context) error {
	file := filepath.Join(db.dir, FileName)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		// SQLite would make it readable for all, and it holds names and figures
		// of clients.
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return notWritable(db.dir, err)
		}
		if err := f.Close(); err != nil {
			return notWritable(db.dir, err)
		}
	} else if err != nil {
		return notWritable(db.dir, err)
	}
	pragmas := []string{"journal_mode(WAL)"}
	if db.opt.maxPageCount > 0 {
		pragmas = append(pragmas, "max_page_count("+strconv.Itoa(db.opt.maxPageCount)+")")
	}
	db.writer = connect(file, 1, pragmas...)
	if err := db.writer.PingContext(ctx); err != nil {
		return classify("opening "+file, err)
	}
	if err := db.migrate(ctx); err != nil {
		return err
	}
	if err := db.claim(ctx); err != nil {
		return err
	}
	db.reader = connect(file, readers, "query_only(1)")
	if err := db.reader.PingContext(ctx); err != nil {
		return classify("opening "+file, err)
	}
	return nil
}

// busyMillis is how long SQLite itself waits for a lock before Write looks at
// its context and tries again.
const busyMillis = 250

// connect returns a pool of n connections to the file. Nothing is opened yet.
func connect(file string, n int, pragmas ...string) *sql.DB {
	// busy_timeout comes first: switching to WAL may have to wait already.
	// FULL, since a posting that was acknowledged must outlive a power cut.
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{
		"busy_timeout(" + strconv.Itoa(busyMillis) + ")",
		"foreign_keys(1)",
		"synchronous(FULL)",
	}, pragmas...)}
	u := url.URL{Scheme: "file", OmitHost: true, Path: file, RawQuery: q.Encode()}
	pool, err := sql.Open("sqlite", u.String())
	if err != nil {
		panic(err) // only an unknown driver's name gets here
	}
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
	return pool
}

func notWritable(dir string, err error) error {
	return sluice.Errorf(sluice.Invalid, "choose another folder with --data, or mend its permissions",
		"the data folder %s cannot be written: %v", dir, err)
}

// Dir returns the data folder, absolute.
func (db *DB) Dir() string { return db.dir }

// Created says whether Open has made the database.
func (db *DB) Created() bool { return db.created }

// Read returns the pool of connections for reading; they refuse to write. A
// query sees the last commit before it began. Rows must be closed soon: an open
// query keeps the write-ahead log from being folded back.
func (db *DB) Read() *sql.DB { return db.reader }

// Close ends all connections and lets go of the folder. A transaction that
// runs is finished first.
func (db *DB) Close() error {
	var errs []error
	if db.reader != nil {
		errs = append(errs, db.reader.Close())
	}
	if db.writer != nil {
		db.turn <- struct{}{}
		errs = append(errs, db.writer.Close())
		<-db.turn
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
		db.lock = nil
	}
	return errors.Join(errs...)
}
