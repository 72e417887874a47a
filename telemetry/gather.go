package telemetry

import (
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// gathered turns what a registry tells into samples, by the rules of the
// exposition format, and remembers what the metrics mean.
type gathered struct {
	db     *DB
	from   prometheus.Gatherer
	series map[string]*held
	tick   uint64
	batch  []Sample
	key    []byte

	mu    sync.Mutex
	about map[string]Metric
}

type held struct {
	s    *Series
	seen uint64
}

func newGathered(db *DB, from prometheus.Gatherer) *gathered {
	return &gathered{db: db, from: from, series: map[string]*held{}, about: map[string]Metric{}}
}

// samples gathers. Series that are gone are ended.
func (g *gathered) samples() ([]Sample, error) {
	families, err := g.from.Gather() // with an error, what could be gathered
	g.tick++
	g.batch = g.batch[:0]
	for _, f := range families {
		name := f.GetName()
		g.describe(f)
		for _, m := range f.GetMetric() {
			g.metric(name, f.GetType(), m)
		}
	}
	for k, h := range g.series {
		if h.seen != g.tick {
			g.batch = append(g.batch, Sample{h.s, Stale()})
			delete(g.series, k)
		}
	}
	return g.batch, err
}

func (g *gathered) metric(name string, t dto.MetricType, m *dto.Metric) {
	switch t {
	case dto.MetricType_COUNTER:
		g.put(name, m, "", "", m.GetCounter().GetValue())
	case dto.MetricType_GAUGE:
		g.put(name, m, "", "", m.GetGauge().GetValue())
	case dto.MetricType_UNTYPED:
		g.put(name, m, "", "", m.GetUntyped().GetValue())
	case dto.MetricType_SUMMARY:
		s := m.GetSummary()
		for _, q := range s.GetQuantile() {
			g.put(name, m, "quantile", number(q.GetQuantile()), q.GetValue())
		}
		g.put(name+"_sum", m, "", "", s.GetSampleSum())
		g.put(name+"_count", m, "", "", float64(s.GetSampleCount()))
	case dto.MetricType_HISTOGRAM:
		h := m.GetHistogram()
		whole := false
		for _, b := range h.GetBucket() {
			g.put(name+"_bucket", m, "le", number(b.GetUpperBound()), float64(b.GetCumulativeCount()))
			whole = whole || math.IsInf(b.GetUpperBound(), 1)
		}
		if !whole {
			g.put(name+"_bucket", m, "le", "+Inf", float64(h.GetSampleCount()))
		}
		g.put(name+"_sum", m, "", "", h.GetSampleSum())
		g.put(name+"_count", m, "", "", float64(h.GetSampleCount()))
	}
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// put adds a sample, with one label more where that has a name.
func (g *gathered) put(name string, m *dto.Metric, label, value string, v float64) {
	k := g.key[:0]
	k = append(k, name...)
	for _, l := range m.GetLabel() { // sorted, by the registry
		k = append(append(append(append(k, 0xff), l.GetName()...), 0xff), l.GetValue()...)
	}
	k = append(append(append(append(k, 0xff), label...), 0xff), value...)
	g.key = k
	h := g.series[string(k)]
	if h == nil {
		pairs := make([]string, 0, 2*len(m.GetLabel())+2)
		for _, l := range m.GetLabel() {
			pairs = append(pairs, l.GetName(), l.GetValue())
		}
		if label != "" {
			pairs = append(pairs, label, value)
		}
		h = &held{s: g.db.Series(name, pairs...)}
		g.series[string(k)] = h
	}
	h.seen = g.tick
	g.batch = append(g.batch, Sample{h.s, v})
}

func (g *gathered) describe(f *dto.MetricFamily) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.about[f.GetName()]; !ok {
		g.about[f.GetName()] = Metric{Type: strings.ToLower(f.GetType().String()), Help: f.GetHelp(), Unit: f.GetUnit()}
	}
}

// metrics returns what is known of the metrics so far.
func (g *gathered) metrics() map[string]Metric {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make(map[string]Metric, len(g.about)+len(catalogue))
	for k, v := range g.about {
		out[k] = v
	}
	for k, v := range catalogue {
		out[k] = v
	}
	for _, m := range hostMetrics {
		out[m.series] = m.Metric
	}
	return out
}
