package telemetry

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
)

// Series is one series to be written to again and again: it keeps the database's
// reference, so that a sample costs no look-up. It belongs to one DB and, between
// two batches, to one goroutine.
type Series struct {
	labels labels.Labels
	ref    storage.SeriesRef
	gen    uint64 // of the database that ref is of
}

// Sample is a value for a series.
type Sample struct {
	Series *Series
	Value  float64
}

// Stale is the value that ends a series: queries do not find it from then on,
// rather than repeat what was last known.
func Stale() float64 { return math.Float64frombits(value.StaleNaN) }

// Series returns a new handle of the series of that name with the labels, given
// as name, value, name, value…, and the site's name. A label without a value is
// none.
func (d *DB) Series(name string, pairs ...string) *Series {
	b := labels.NewScratchBuilder(2 + len(pairs)/2)
	b.Add(model.MetricNameLabel, name)
	b.Add("site", utf8(d.o.Site))
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" && pairs[i] != "site" {
			b.Add(pairs[i], utf8(pairs[i+1]))
		}
	}
	b.Sort()
	return &Series{labels: b.Labels()}
}

// utf8 mends names, which come from many hands; the database takes nothing else.
func utf8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

const noMark = math.MaxInt64

// Append records the samples at time t. A sample that the database refuses (older than what it still takes) is
// dropped and counted, and is no error; nor is a batch that is dropped because
// the disk is nearly full. The error is for the log: the next batch is tried in
// any case.
func (d *DB) Append(ctx context.Context, t time.Time, samples []Sample) error {
	d.appendMu.Lock()
	defer d.appendMu.Unlock()
	if len(samples) == 0 {
		return nil
	}
	if d.nearlyFull() {
		d.stats.drop(dropFull, len(samples))
		return nil
	}
	if err := d.mend(); err != nil {
		d.stats.drop(dropFailed, len(samples))
		return err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.db == nil {
		d.stats.drop(dropFailed, len(samples))
		return broken("recording", errClosed)
	}
	ms := t.UnixMilli()
	for len(samples) > 0 {
		n := min(len(samples), atOnce)
		kept, err := d.commit(ctx, ms, samples[:n])
		if err != nil {
			d.stats.drop(dropFailed, len(samples))
			d.failedAt, d.pause = time.Now(), d.stats.reopenAfter
			return broken("recording", err)
		}
		d.stats.recorded.Add(uint64(kept)) //nolint:gosec // a count
		if kept > 0 {
			d.low = min(d.low, ms)
		}
		samples = samples[n:]
	}
	d.stats.reached(ms)
	return nil
}

// atOnce is how many samples are committed together: each takes its place in the
// log's buffers.
const atOnce = 8000

// commit records samples and returns how many the database took.
func (d *DB) commit(ctx context.Context, ms int64, samples []Sample) (int, error) {
	app := d.db.Appender(ctx)
	kept := 0
	for _, x := range samples {
		s := x.Series
		ref := s.ref
		if s.gen != d.gen {
			ref = 0
		}
		ref, err := app.Append(ref, s.labels, ms, x.Value)
		if err != nil {
			if refused(err) {
				d.stats.drop(dropOld, 1)
				continue
			}
			_ = app.Rollback() // the error is what counts
			return 0, err
		}
		if s.gen != d.gen {
			s.ref, s.gen = ref, d.gen
			if g, ok := app.(storage.GetRef); ok {
				// The database's own labels are the same bytes: ours are not needed twice.
				if _, own := g.GetRef(s.labels, s.labels.Hash()); !own.IsEmpty() {
					s.labels = own
				}
			}
		} else {
			s.ref = ref
		}
		kept++
	}
	return kept, app.Commit()
}

// refused says whether an error is about the sample and not about the database.
func refused(err error) bool {
	return errors.Is(err, storage.ErrOutOfOrderSample) || errors.Is(err, storage.ErrTooOldSample) ||
		errors.Is(err, storage.ErrOutOfBounds) || errors.Is(err, storage.ErrDuplicateSampleForTimestamp)
}

// nearlyFull looks at the disk now and then: telemetry must not take the last
// bytes, which the site's books need. The caller holds appendMu.
func (d *DB) nearlyFull() bool {
	if d.o.MinFree < 0 {
		return false
	}
	if now := time.Now(); now.Sub(d.checked) >= time.Second {
		d.checked = now
		free, err := d.o.Free(d.o.Dir)
		was := d.full
		d.full = err == nil && free < d.o.MinFree
		if d.full && !was {
			d.log.Warn("telemetry is dropped until the disk has room again", "free_bytes", free, "wanted_bytes", d.o.MinFree)
		}
	}
	return d.full
}

// mend reopens a database that failed to write: the log's torn end is cut off
// there. Until it is time for that every batch is an error. The caller holds
// appendMu.
func (d *DB) mend() error {
	if d.failedAt.IsZero() {
		return nil
	}
	if time.Since(d.failedAt) < d.pause {
		return broken("recording", errors.New("waits before it opens its database again"))
	}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return broken("recording", errClosed)
	}
	if d.db != nil {
		_ = d.db.Close() // it has failed already, and was told of
		d.db = nil
	}
	d.mu.Unlock()
	if err := d.open(); err != nil {
		d.failedAt, d.pause = time.Now(), min(max(2*d.pause, d.stats.reopenAfter), reopenAtMost)
		return err
	}
	d.failedAt = time.Time{}
	if d.gen > 1 { // only open writes it, under appendMu
		d.stats.reopened()
	}
	return nil
}
