package telemetry

import (
	"context"
	"errors"
	"slices"
	"time"

	"sluice/site"

	"github.com/prometheus/client_golang/prometheus"
)

// Recorder writes what is known of a site into a database. It is used by one
// goroutine; Metrics may be called from any.
type Recorder struct {
	db    *DB
	fleet *fleet
	site  *gathered
	hosts map[hostSeries]*Series
	batch []Sample
}

// NewRecorder records into db, with what the gatherer tells of the site; nil:
// machines and classes only.
func NewRecorder(db *DB, g prometheus.Gatherer) *Recorder {
	if g == nil {
		g = prometheus.NewRegistry()
	}
	return &Recorder{db: db, fleet: newFleet(db), site: newGathered(db, g), hosts: map[hostSeries]*Series{}}
}

// Record adds the state at site time t: of each machine whatever is new, and the
// figures of the site. The error is for the log; the next turn is recorded in any
// case.
func (r *Recorder) Record(ctx context.Context, t time.Time, machines []site.MachineReading) error {
	figures, gerr := r.site.samples()
	r.batch = append(append(r.batch[:0], r.fleet.samples(machines)...), figures...)
	return errors.Join(gerr, r.db.Append(ctx, t, r.batch))
}

// End marks everything as ended: the site stops.
func (r *Recorder) End(ctx context.Context, t time.Time) error {
	r.batch = append(r.batch[:0], r.fleet.samples(nil)...)
	for _, h := range r.site.series {
		r.batch = append(r.batch, Sample{h.s, Stale()})
	}
	clear(r.site.series)
	return r.db.Append(ctx, t, slices.Clip(r.batch))
}

// Metrics describes every metric that has been recorded.
func (r *Recorder) Metrics() map[string]Metric { return r.site.metrics() }
