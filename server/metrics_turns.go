package server

import (
	"context"
	"sync"
	"time"

	"sluice/site"

	"github.com/prometheus/client_golang/prometheus"
)

// turns are histograms of the loop's turns that planned. Unlike the gauges they
// have to hear of each plan, not of the newest at a scrape only.
type turns struct {
	step, solve prometheus.Histogram

	mu   sync.Mutex
	last time.Time // site time of the newest plan seen
}

func newTurns() *turns {
	// From a small site's milliseconds to far more than a turn may take.
	buckets := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	return &turns{
		step: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_step_seconds",
			Help: "Wall time of the turns of the loop that planned.", Buckets: buckets,
		}),
		solve: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_plan_solve_seconds",
			Help: "Wall time that plans took to solve.", Buckets: buckets,
		}),
	}
}

// Describe names both histograms.
func (t *turns) Describe(ch chan<- *prometheus.Desc) { t.step.Describe(ch); t.solve.Describe(ch) }

// Collect sends both histograms.
func (t *turns) Collect(ch chan<- prometheus.Metric) { t.step.Collect(ch); t.solve.Collect(ch) }

// see counts a plan the first time it is seen; nil is none.
func (t *turns) see(p *site.PlanInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p == nil || !p.At.After(t.last) {
		return
	}
	t.last = p.At
	t.step.Observe(p.StepMS / 1e3)
	t.solve.Observe(p.SolveMS / 1e3)
}

// eventsForTurns is how many events may wait for the histograms: status events
// come at each turn, a few a second.
const eventsForTurns = 64

// listen observes the plans that the site makes, until ctx or the site ends it.
func (t *turns) listen(ctx context.Context, s Site) {
	ch, end := s.Subscribe(eventsForTurns)
	defer end()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-ch:
			if !ok {
				return
			}
			if st, ok := e.Data.(site.Status); ok {
				t.see(st.Plan)
			}
		}
	}
}
