package telemetry

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Why a sample was dropped.
const (
	dropOld    = "old"    // older than what the database still takes
	dropFull   = "full"   // the disk has no room to spare
	dropFailed = "failed" // the database could not write
)

// stats count what happens to samples.
type stats struct {
	recorded, opened atomic.Uint64
	dropped          map[string]*atomic.Uint64
	newest           atomic.Int64 // milliseconds
	reopenAfter      time.Duration
}

func (s *stats) init() {
	s.dropped = map[string]*atomic.Uint64{dropOld: {}, dropFull: {}, dropFailed: {}}
	s.reopenAfter = reopenAfter
}

func (s *stats) drop(why string, n int) { s.dropped[why].Add(uint64(n)) } //nolint:gosec // a length
func (s *stats) reopened()              { s.opened.Add(1) }

// reached notes the time of a whole batch.
func (s *stats) reached(ms int64) {
	for {
		old := s.newest.Load()
		if ms <= old || s.newest.CompareAndSwap(old, ms) {
			return
		}
	}
}

// Dropped returns how many samples were not recorded since Open, for any reason.
func (d *DB) Dropped() uint64 {
	var n uint64
	for _, c := range d.stats.dropped {
		n += c.Load()
	}
	return n
}

// Recorded returns how many samples were recorded since Open.
func (d *DB) Recorded() uint64 { return d.stats.recorded.Load() }

var (
	descRecorded = prometheus.NewDesc("sluice_telemetry_samples_recorded_total", "Samples recorded.", nil, nil)
	descDropped  = prometheus.NewDesc("sluice_telemetry_samples_dropped_total", "Samples that were not recorded: older than what is taken, no room on the disk, or a failure of it.", []string{"reason"}, nil)
	descOpened   = prometheus.NewDesc("sluice_telemetry_reopened_total", "How often the database was opened again after a failure to write.", nil, nil)
	descSeries   = prometheus.NewDesc("sluice_telemetry_series", "Series in memory.", nil, nil)
	descBlocks   = prometheus.NewDesc("sluice_telemetry_blocks_bytes", "Size of what lies on disk, without the log.", nil, nil)
)

// Collect implements prometheus.Collector.
func (d *DB) Collect(ch chan<- prometheus.Metric) {
	send := func(desc *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, t, v, labels...)
	}
	send(descRecorded, prometheus.CounterValue, float64(d.stats.recorded.Load()))
	for why, n := range d.stats.dropped {
		send(descDropped, prometheus.CounterValue, float64(n.Load()), why)
	}
	send(descOpened, prometheus.CounterValue, float64(d.stats.opened.Load()))
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.db == nil {
		return
	}
	send(descSeries, prometheus.GaugeValue, float64(d.db.Head().NumSeries()))
	var bytes int64
	for _, b := range d.db.Blocks() {
		bytes += b.Size()
	}
	send(descBlocks, prometheus.GaugeValue, float64(bytes))
}
