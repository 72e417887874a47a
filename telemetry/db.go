// Package telemetry owns the history of readings: an embedded Prometheus TSDB,
// what of the site is recorded in it, the query API that Grafana's Prometheus
// data source speaks, and remote write. It is only ever told of the site: when
// its disk is full or broken it drops what comes and counts it, and the site's
// loop does not notice.
package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"sluice"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
)

// Options describe a database. Dir, Site and Now are required.
type Options struct {
	Dir       string           // of the database; nothing else may lie there
	Site      string           // name of the site, a label of every series
	Retention time.Duration    // how long samples are kept, default 30 days
	MaxBytes  int64            // of its blocks, the oldest go first; 0: no bound
	MinFree   int64            // bytes that stay free on the disk: below them nothing is recorded; default 512 MiB, negative: none
	Now       func() time.Time // site time
	// Block is the span of the youngest blocks, default 2 h. What is younger is in
	// memory: a clock that runs faster than the wall's needs longer ones.
	Block time.Duration
	Log   *slog.Logger // nil: nothing
	// Later makes Open return before the database is open: Ready, or the first
	// batch, opens it, and tries again where that fails. After a crash it takes
	// seconds, for which a site must not wait.
	Later bool

	// Free returns the bytes that are free where Dir lies; nil asks the system.
	Free func(dir string) (int64, error)
}

// outOfOrder is how far a batch may lie behind the newest: what a host measured while it
// was cut off comes late, and a clock that is set back must not cost readings.
const outOfOrder = 6 * time.Hour

// reopenAfter is how long a database that failed to write is left alone before
// it is closed, repaired and opened again; where that fails too it doubles up to
// reopenAtMost: a database that cannot be opened does not give back all that it
// has taken.
const (
	reopenAfter  = 30 * time.Second
	reopenAtMost = 30 * time.Minute
)

// DB is an open database. Its methods may be called from any goroutine; batches
// are appended one at a time.
type DB struct {
	o   Options
	log *slog.Logger

	mu     sync.RWMutex // guards the pointer: queries hold it for reading
	db     *tsdb.DB     // nil after Close, or while it cannot be opened
	gen    uint64       // of db: references of series die with it
	closed bool
	lock   *os.File

	appendMu sync.Mutex    // one batch at a time, guards what follows
	failedAt time.Time     // wall time of the failure that is not mended yet
	pause    time.Duration // from there to the next try
	checked  time.Time     // wall time of the newest look at the free space
	full     bool
	low      int64 // milliseconds: the oldest batch since Remote last asked

	stats stats
}

// Open opens the database of the folder, or makes it. What a crash left torn is
// cut off at the last good record.
func Open(o Options) (*DB, error) {
	if o.Dir == "" || o.Site == "" || o.Now == nil {
		return nil, sluice.Errorf(sluice.Invalid, "set telemetry.Options.Dir, Site and Now", "opening the telemetry: no folder, no site or no clock")
	}
	if o.Retention <= 0 {
		o.Retention = 30 * 24 * time.Hour
	}
	if o.Block <= 0 {
		o.Block = 2 * time.Hour
	}
	if o.MinFree == 0 {
		o.MinFree = 512 << 20
	}
	if o.Free == nil {
		o.Free = freeBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &DB{o: o, log: o.Log, low: noMark}
	d.stats.init()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, broken("making its folder", err)
	}
	var err error
	if d.lock, err = lock(o.Dir); err != nil {
		return nil, broken("locking its folder: does another Sluice run on it?", err)
	}
	if o.Later {
		d.failedAt = time.Unix(1, 0) // long ago: it may be opened at once
		return d, nil
	}
	if err := d.open(); err != nil {
		_ = d.lock.Close()
		return nil, err
	}
	return d, nil
}

// Ready opens the database where that is to be done, and says why it cannot.
func (d *DB) Ready() error {
	d.appendMu.Lock()
	defer d.appendMu.Unlock()
	return d.mend()
}

func broken(what string, err error) error {
	return &sluice.Error{
		Kind: sluice.Unavailable, Msg: "telemetry: " + what, Cause: err,
		Hint: "look at the disk; the site runs without its telemetry (telemetry.enabled: no), and the folder may be moved away",
	}
}

// open opens the database below. The caller holds no lock that a query needs.
func (d *DB) open() error {
	t := tsdb.DefaultOptions()
	t.RetentionDuration = d.o.Retention.Milliseconds()
	t.MaxBytes = d.o.MaxBytes
	t.MinBlockDuration = d.o.Block.Milliseconds()
	// Blocks grow to a tenth of the retention, so that what is too old goes in
	// steps of that.
	t.MaxBlockDuration = max(t.MinBlockDuration, min(t.RetentionDuration/10, (31*24*time.Hour).Milliseconds()))
	t.OutOfOrderTimeWindow = outOfOrder.Milliseconds()
	t.WALCompression = compression.Snappy
	t.WALSegmentSize = 32 << 20
	// Tens of thousands of series, not millions: a smaller table, fewer buffers.
	t.StripeSize = 4 << 10
	t.HeadChunksWriteBufferSize = 1 << 20
	// A query may see half of a batch, which the next evaluation mends; tracking
	// that costs memory for each series.
	t.IsolationDisabled = true
	// The library's lock outlives an opening that fails.
	t.NoLockfile = true
	db, err := tsdb.Open(d.o.Dir, quiet(d.log), nil, t, nil)
	if err != nil {
		return broken("opening "+d.o.Dir, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.db, d.gen = db, d.gen+1
	return nil
}

// Close writes what is pending and ends the database.
func (d *DB) Close() error {
	d.appendMu.Lock()
	defer d.appendMu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	defer d.lock.Close() // lets go of the lock
	if d.db == nil {
		return nil
	}
	err := d.db.Close()
	d.db = nil
	if err != nil {
		return broken("closing", err)
	}
	return nil
}

// errClosed is what a querier of a database says that is not open.
var errClosed = errors.New("the telemetry's database is not open")

// Querier lets the database be queried; its Close lets go of it.
func (d *DB) Querier(mint, maxt int64) (storage.Querier, error) {
	d.mu.RLock()
	if d.db == nil {
		d.mu.RUnlock()
		return nil, errClosed
	}
	q, err := d.db.Querier(mint, maxt)
	if err != nil {
		d.mu.RUnlock()
		return nil, err
	}
	return &heldQuerier{Querier: q, release: sync.OnceFunc(d.mu.RUnlock)}, nil
}

// heldQuerier keeps the database open while it is read: a reopening waits.
type heldQuerier struct {
	storage.Querier
	release func()
}

func (q *heldQuerier) Close() error {
	defer q.release()
	return q.Querier.Close()
}

// Compact writes what is due of the head to disk and drops what is too old. The
// database does so by itself; tests and measurements do not wait for it.
func (d *DB) Compact(ctx context.Context) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.db == nil {
		return broken("compacting", errClosed)
	}
	return d.db.Compact(ctx)
}

// Describe implements prometheus.Collector.
func (d *DB) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(d, ch) }

// quiet passes on what a person can act on; the library also tells of each block.
func quiet(l *slog.Logger) *slog.Logger {
	return slog.New(warnings{l.Handler()}).With("part", "telemetry")
}

type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}
func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }
func (w warnings) WithGroup(n string) slog.Handler      { return warnings{w.Handler.WithGroup(n)} }
