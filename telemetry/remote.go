package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"sluice"

	"github.com/prometheus/client_golang/prometheus"
)

// RemoteOptions describe a receiver of Prometheus remote write, version 1.0. URL
// is required.
type RemoteOptions struct {
	URL string
	// Token returns the bearer token, nil or empty: none. It is asked for each
	// time, so that a token may change.
	Token func() (string, error)
	// User and Password are for basic authentication, where there is no token.
	User     string
	Password func() (string, error)

	Backlog time.Duration // how far sending may lag behind, site time; older samples are not sent any more; default 2 h
	Batch   int           // samples in a request, default 2,000
	Every   time.Duration // between looks for new samples, wall time; default 5 s
	Timeout time.Duration // of a request, wall time; default 30 s
	// Retry is the wall time before a failed request is tried again; it doubles
	// up to a minute. Default 1 s.
	Retry time.Duration
	Log   *slog.Logger // nil: nothing
}

// Remote sends what is recorded to a receiver, at least once and in order. Its
// backlog is the database itself: an outage costs no memory, and a restart goes
// on where it was.
type Remote struct {
	db     *DB
	o      RemoteOptions
	client *http.Client
	file   string

	mark  mark
	width int64 // milliseconds of a window

	sent, rejected, failures, skippedMS atomic.Uint64
	lagMS                               atomic.Int64
}

// mark is how far sending has come. It is kept beside the samples.
type mark struct {
	Sent  int64 `json:"sent_ms"`  // everything up to and with it
	Until int64 `json:"until_ms"` // end of the window that is being sent; its requests come out the same after a restart
}

// Windows of samples that are sent together: wide enough to be worth a look at
// all series, narrow enough to be held in memory.
const (
	narrowest = 1_000
	firstWide = 10_000
	widest    = 600_000
	manyReqs  = 200
	fewReqs   = 50
)

// NewRemote makes the sender. Run sends.
func NewRemote(db *DB, o RemoteOptions) (*Remote, error) {
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, sluice.Errorf(sluice.Invalid, "give it as https://host/api/v1/write", "the URL of remote write is none")
	}
	if u.User != nil {
		return nil, sluice.Errorf(sluice.Invalid, "give the user and password by themselves", "the URL of remote write holds a user")
	}
	o.Backlog = orElse(o.Backlog, 2*time.Hour)
	o.Every = orElse(o.Every, 5*time.Second)
	o.Timeout = orElse(o.Timeout, 30*time.Second)
	o.Retry = orElse(o.Retry, time.Second)
	if o.Batch <= 0 {
		o.Batch = 2000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Remote{
		db: db, o: o, width: firstWide, file: filepath.Join(db.o.Dir, "remote_write.json"),
		client: &http.Client{
			Timeout: o.Timeout,
			// A redirect would carry the token elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if err := r.load(); err != nil {
		o.Log.Warn("where remote write was cannot be read: it begins with what is recorded from now on", "err", err)
	}
	return r, nil
}

func orElse(d, other time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return other
}

func (r *Remote) load() error {
	b, err := os.ReadFile(r.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r.mark)
	}
	if err != nil || r.mark.Sent < 0 || r.mark.Until < r.mark.Sent {
		r.mark = mark{}
	}
	return err
}

// save keeps the mark. Where that fails sending goes on: after a restart some
// samples are sent twice.
func (r *Remote) save() {
	b, err := json.Marshal(r.mark)
	if err == nil {
		tmp := r.file + ".tmp"
		if err = os.WriteFile(tmp, b, 0o600); err == nil {
			err = os.Rename(tmp, r.file)
		}
	}
	if err != nil {
		r.o.Log.Warn("where remote write is could not be kept", "err", err)
	}
}

// Run sends until ctx ends.
func (r *Remote) Run(ctx context.Context) {
	t := time.NewTicker(r.o.Every)
	defer t.Stop()
	for {
		r.sync(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// sync sends everything that is recorded, window by window.
func (r *Remote) sync(ctx context.Context) {
	for ctx.Err() == nil {
		newest, low := r.db.progress()
		if newest == 0 {
			return // nothing recorded since the start: what is older is sent with it
		}
		if r.mark.Sent == 0 {
			r.mark = mark{Sent: newest - 1, Until: newest - 1}
		}
		if low <= r.mark.Sent {
			// A batch came late: what is from then on is sent again.
			r.mark = mark{Sent: low - 1, Until: low - 1}
		}
		if oldest := newest - r.o.Backlog.Milliseconds(); r.mark.Sent < oldest {
			r.skip(oldest)
		}
		r.lagMS.Store(newest - r.mark.Sent)
		if r.mark.Sent >= newest {
			return
		}
		if r.mark.Until <= r.mark.Sent {
			r.mark.Until = min(newest, r.mark.Sent+r.width)
			r.save()
		}
		if !r.window(ctx) {
			return
		}
	}
}

// skip gives up on what is older than the backlog may be.
func (r *Remote) skip(to int64) {
	r.skippedMS.Add(uint64(to - r.mark.Sent)) //nolint:gosec // positive
	r.o.Log.Warn("remote write is too far behind: older samples are not sent any more",
		"from", time.UnixMilli(r.mark.Sent).UTC(), "to", time.UnixMilli(to).UTC())
	r.mark = mark{Sent: to, Until: to}
	r.save()
}

// window sends the samples of (Sent, Until] and says whether it is done with them.
func (r *Remote) window(ctx context.Context) bool {
	requests, err := r.encode(ctx, r.mark.Sent+1, r.mark.Until)
	if err != nil {
		if ctx.Err() == nil {
			r.failures.Add(1)
			r.o.Log.Warn("remote write cannot read what is recorded", "err", err)
		}
		return false
	}
	for _, q := range requests {
		if !r.deliver(ctx, q) {
			return false
		}
	}
	r.mark.Sent = r.mark.Until
	r.save()
	switch n := len(requests); {
	case n > manyReqs:
		r.width = max(narrowest, r.width/2)
	case n < fewReqs:
		r.width = min(widest, r.width*2)
	}
	return true
}

// deliver sends a request until it is taken, refused for good, too old, or ctx
// ends; only the last two are false.
func (r *Remote) deliver(ctx context.Context, q request) bool {
	wait, told := r.o.Retry, false
	for {
		err := r.post(ctx, q, maxSplits)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		r.failures.Add(1)
		if !told {
			told = true
			r.o.Log.Warn("remote write is tried again until it works", "err", err)
		}
		var again *retryError
		if errors.As(err, &again) && again.after > wait {
			wait = min(again.after, time.Minute)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
		wait = min(2*wait, time.Minute)
		newest, _ := r.db.look()
		r.lagMS.Store(newest - r.mark.Sent)
		if newest-r.mark.Sent > r.o.Backlog.Milliseconds() {
			return false // sync skips
		}
	}
}

// progress returns the time of the newest batch, and of the oldest since it was
// last called.
func (d *DB) progress() (newest, low int64) {
	d.appendMu.Lock()
	defer d.appendMu.Unlock()
	low, d.low = d.low, noMark
	return d.stats.newest.Load(), low
}

// look returns the time of the newest batch.
func (d *DB) look() (newest int64, ok bool) {
	n := d.stats.newest.Load()
	return n, n > 0
}

var (
	descSent     = prometheus.NewDesc("sluice_remote_write_samples_sent_total", "Samples that the receiver of remote write has taken.", nil, nil)
	descRejected = prometheus.NewDesc("sluice_remote_write_samples_rejected_total", "Samples that the receiver refused for good.", nil, nil)
	descFailures = prometheus.NewDesc("sluice_remote_write_failures_total", "Requests that failed and were tried again.", nil, nil)
	descSkipped  = prometheus.NewDesc("sluice_remote_write_skipped_seconds_total", "Span of what was not sent because sending was too far behind.", nil, nil)
	descLag      = prometheus.NewDesc("sluice_remote_write_lag_seconds", "How far sending is behind recording.", nil, nil)
)

// Describe implements prometheus.Collector.
func (r *Remote) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, ch) }

// Collect implements prometheus.Collector.
func (r *Remote) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	counter(descSent, float64(r.sent.Load()))
	counter(descRejected, float64(r.rejected.Load()))
	counter(descFailures, float64(r.failures.Load()))
	counter(descSkipped, float64(r.skippedMS.Load())/1e3)
	ch <- prometheus.MustNewConstMetric(descLag, prometheus.GaugeValue, float64(r.lagMS.Load())/1e3)
}
