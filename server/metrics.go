package server

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/site"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics answers scrapes out of a registry of this server's own: the figures of
// the site, how long its turns took, and what Go and the system say of the
// process.
func (s *Server) metrics() http.Handler {
	reg := prometheus.NewRegistry()
	s.figures = reg
	reg.MustRegister(s.o.Figures...)
	reg.MustRegister(
		siteFigures{site: s.o.Site, now: s.o.Now, version: s.o.Version},
		s.turns,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		// One bad figure must not hide the others from whoever watches the site.
		ErrorHandling:       promhttp.ContinueOnError,
		ErrorLog:            slog.NewLogLogger(s.o.Log.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: 8,
	})
}

// Gatherer gathers what /metrics shows, for whoever records it.
func (s *Server) Gatherer() prometheus.Gatherer { return s.figures }

// siteFigures reads the site when it is scraped. All figures of a scrape are of
// one Status, so that they agree with each other, and cost nothing in between.
type siteFigures struct {
	site    Site
	now     func() time.Time
	version string
}

// Describe names nothing, which makes the collector an unchecked one: which
// figures there are depends on the site, one that has not planned has no plan.
func (f siteFigures) Describe(chan<- *prometheus.Desc) {}

// Collect sends the figures of this moment.
func (f siteFigures) Collect(ch chan<- prometheus.Metric) {
	now, st, g := f.now(), f.site.Status(), gauges(ch)

	g.family("sluice_info", "The running site; always 1.", "name", "mode", "demo", "version")(
		1, st.Name, st.Mode, strconv.FormatBool(st.Demo), f.version)
	g.one("sluice_site_time_seconds", "Site time, Unix seconds.", float64(st.Now.UnixMilli())/1e3)
	g.power(st)
	g.one("sluice_price_usd_per_mwh", "Price of energy now.", st.PriceUSDPerMWh)
	g.one("sluice_hashprice_usd_per_ph_day", "What a PH/s earns in a day.", st.HashpriceUSDPerPHDay)
	g.one("sluice_hashrate_hashes_per_second", "Hashing speed of the site.", st.HashratePHs*1e15)
	g.one("sluice_margin_usd_per_hour", "Revenue less energy, at this moment's rate.", st.MarginUSDPerHour)
	margin := g.family("sluice_division_margin_usd_per_hour", "Revenue less energy of a division, at this moment's rate.", "division")
	margin(st.MiningMarginUSDHour, string(sluice.Mining))
	margin(st.AIMarginUSDHour, string(sluice.AI))

	g.counts("sluice_machines", "Machines by state.", "state", st.Machines)
	g.counts("sluice_jobs", "AI jobs by state.", "state", st.Jobs)
	g.one("sluice_gpus", "GPUs of the site.", float64(st.GPUs))
	g.one("sluice_gpus_busy", "GPUs that jobs hold.", float64(st.GPUsBusy))

	alarms := map[string]int{string(sluice.Info): 0, string(sluice.Warning): 0, string(sluice.Critical): 0}
	for _, a := range st.Alarms {
		alarms[string(a.Severity)]++
	}
	g.counts("sluice_alarms", "Open alarms by severity.", "severity", alarms)
	orders := map[string]int{"pending": 0, "active": 0}
	for _, c := range st.Curtailments {
		orders[c.State]++
	}
	g.counts("sluice_curtailments", "Curtailment orders in force or coming, by state.", "state", orders)

	age := g.family("sluice_feed_age_seconds", "Age of a feed's value, site time.", "feed")
	stale := g.family("sluice_feed_stale", "1 where a feed is older than it may be, or a fallback.", "feed")
	for _, x := range st.Feeds {
		if !x.AsOf.IsZero() {
			age(now.Sub(x.AsOf).Seconds(), x.Name)
		}
		stale(truth(x.Stale), x.Name)
	}
	if p := st.Plan; p != nil {
		g.one("sluice_plan_age_seconds", "Age of the newest plan, site time.", now.Sub(p.At).Seconds())
		g.one("sluice_plan_objective_usd", "What the newest plan earns over its horizon.", p.ObjectiveUSD)
		g.one("sluice_plan_bound_usd", "What no plan can exceed.", p.BoundUSD)
		g.one("sluice_plan_feasible", "1 when the newest plan keeps every limit.", truth(p.Feasible))
		g.one("sluice_plan_decision", "Number of the newest plan's decision; 0 when it changed nothing.", float64(p.Decision))
	}
}

// gauges sends gauges to a scrape.
type gauges chan<- prometheus.Metric

func (g gauges) power(st site.Status) {
	g.one("sluice_limit_watts", "Limit in force at the grid connection.", st.LimitKW*1e3)
	g.one("sluice_connection_watts", "Limit of the grid connection without curtailment.", st.ConnectionKW*1e3)
	g.one("sluice_load_watts", "Load at the grid connection.", st.LoadKW*1e3)
	use := g.family("sluice_division_load_watts", "Load by use.", "division")
	use(st.MiningKW*1e3, string(sluice.Mining))
	use(st.AIKW*1e3, string(sluice.AI))
	use(st.OtherKW*1e3, "other")
	load := g.family("sluice_node_load_watts", "Load of a node of the power tree.", "node")
	limit := g.family("sluice_node_limit_watts", "Limit of a node of the power tree; 0 for none.", "node")
	for _, n := range st.Nodes {
		load(n.LoadKW*1e3, n.Name)
		limit(n.LimitKW*1e3, n.Name)
	}
}

// family returns what sends one gauge of the family, with a value for each label.
func (g gauges) family(name, help string, labels ...string) func(v float64, values ...string) {
	d := prometheus.NewDesc(name, help, labels, nil)
	return func(v float64, values ...string) {
		for i := range values {
			values[i] = strings.ToValidUTF8(values[i], "\uFFFD") // names come from many hands
		}
		g <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, values...)
	}
}

func (g gauges) one(name, help string, v float64) { g.family(name, help)(v) }

func (g gauges) counts(name, help, label string, by map[string]int) {
	send := g.family(name, help, label)
	for k, n := range by {
		send(float64(n), k)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
