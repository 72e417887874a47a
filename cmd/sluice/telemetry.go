package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/config"
	"sluice/site"
	"sluice/telemetry"
)

// recorder keeps the history of a running site. Nothing in it is waited for by
// the site's loop: it looks at the site by itself, once in each sweep over the
// machines, and what it cannot keep is lost and counted.
type recorder struct {
	db     *telemetry.DB
	api    *telemetry.API
	remote *telemetry.Remote // nil: none
	rec    *telemetry.Recorder
	hosts  *hostReadings
	clock  func() time.Time
	every  time.Duration // wall time
	log    *slog.Logger
}

// newRecorder opens the history in the site's data folder. A history that cannot
// be opened is no reason not to run the site: it says so, and there is none.
func newRecorder(p *parts, dir string, log *slog.Logger) (*recorder, error) {
	t := p.telemetry
	if !t.On() {
		return nil, nil
	}
	// A sweep over the machines in site time: a demo's clock runs fast.
	sweep := time.Duration(float64(p.poll) * p.clock.Speed())
	db, err := telemetry.Open(telemetry.Options{
		Dir: filepath.Join(dir, "telemetry"), Site: p.options.Name, Now: p.clock.Now, Log: log,
		Retention: t.Retention.Duration(), MaxBytes: int64(t.MaxGB * 1e9), MinFree: freeFloor(t.MinFreeGB),
		Block: max(2*time.Hour, 1000*sweep), Later: true,
	})
	if err != nil {
		log.Error("readings are not kept", "err", err)
		return nil, nil
	}
	r := &recorder{db: db, hosts: p.hostReadings, clock: p.clock.Now, every: p.poll, log: log}
	r.hosts.keep()
	r.api = telemetry.NewAPI(db, telemetry.QueryOptions{
		Lookback: max(5*time.Minute, 3*sweep),
		Metrics:  func() map[string]telemetry.Metric { return r.rec.Metrics() },
	})
	if w := t.RemoteWrite; w.URL != "" {
		o := telemetry.RemoteOptions{URL: w.URL, User: w.User, Backlog: w.Backlog.Duration(), Log: log}
		if w.Token != "" {
			o.Token = w.Token.Reveal
		}
		if w.Password != "" {
			o.Password = w.Password.Reveal
		}
		if r.remote, err = telemetry.NewRemote(db, o); err != nil {
			_ = db.Close()
			return nil, err
		}
	}
	return r, nil
}

// freeFloor is the option of a configured floor: 0 there means none.
func freeFloor(gb float64) int64 {
	if gb <= 0 {
		return -1
	}
	return int64(gb * 1e9)
}

// handler is nil where there is no history.
func (r *recorder) handler() http.Handler {
	if r == nil {
		return nil
	}
	return r.api
}

// figures are the history's own, for /metrics.
func (r *recorder) figures() []prometheus.Collector {
	switch {
	case r == nil:
		return nil
	case r.remote == nil:
		return []prometheus.Collector{r.db}
	}
	return []prometheus.Collector{r.db, r.remote}
}

// watch says what is recorded besides the machines. It comes before run and
// before the first request.
func (r *recorder) watch(g prometheus.Gatherer) {
	if r != nil {
		r.rec = telemetry.NewRecorder(r.db, g)
	}
}

// run records until ctx ends.
func (r *recorder) run(ctx context.Context, s *site.Site) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if r.remote != nil {
			r.remote.Run(ctx)
		}
	}()
	if err := r.db.Ready(); err != nil {
		r.log.Error("readings are not kept; it is tried again", "err", err)
	}
	var machines []site.MachineReading
	last, failing := time.Time{}, false
	every(ctx, r.every, func() {
		now := r.clock()
		if !now.After(last) {
			return // a clock that was set back: what is there already stays
		}
		last = now
		machines = s.Readings(machines[:0])
		err := r.rec.Record(ctx, now, machines)
		readings, lost := r.hosts.take()
		if lost > 0 {
			r.log.Warn("readings of hosts were not kept: the history takes too few", "lost", lost)
		}
		err = errors.Join(err, r.rec.RecordHosts(ctx, readings))
		switch {
		case ctx.Err() != nil:
		case err != nil && !failing:
			r.log.Error("readings could not be kept; it is tried again", "err", err)
		case err == nil && failing:
			r.log.Warn("readings are kept again", "lost", r.db.Dropped())
		}
		failing = err != nil
	})
	<-sent
	if err := r.rec.End(context.WithoutCancel(ctx), r.clock()); err != nil {
		r.log.Debug("the end of the readings could not be kept", "err", err)
	}
}

// close ends the history, after the API.
func (r *recorder) close() {
	if r == nil {
		return
	}
	if err := r.db.Close(); err != nil {
		r.log.Warn("closing the history of readings", "err", err)
	}
	_ = r.api.Close() // it holds nothing by then
}

// demoTelemetry is what a demo keeps: little, and it leaves when the disk is
// nearly full.
func demoTelemetry() config.Telemetry {
	return config.Telemetry{Enabled: "yes", Retention: config.Duration(60 * 24 * time.Hour), MaxGB: 2, MinFreeGB: 1}
}
