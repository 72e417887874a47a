package server

import (
	"context"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"sluice/site"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scrape reads /metrics as Prometheus does.
func (r *rig) scrape() map[string]*dto.MetricFamily {
	r.t.Helper()
	res := r.do("GET", "/metrics", "")
	if ct := res.Header.Get("Content-Type"); res.StatusCode != 200 || !strings.HasPrefix(ct, "text/plain; version=0.0.4") {
		r.t.Fatalf("GET /metrics: status %d, Content-Type %q", res.StatusCode, ct)
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return families
}

// value finds the gauge of these labels (pairs); NaN when there is none.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	for _, m := range families[name].GetMetric() {
		got := map[string]string{}
		for _, l := range m.GetLabel() {
			got[l.GetName()] = l.GetValue()
		}
		same := len(got) == len(labels)/2
		for i := 0; i < len(labels); i += 2 {
			same = same && got[labels[i]] == labels[i+1]
		}
		if same {
			return m.GetGauge().GetValue()
		}
	}
	return math.NaN()
}

func TestMetrics(t *testing.T) {
	r := newRig(t, nil)
	r.site.status.Nodes = append(r.site.status.Nodes, site.Node{Name: "b\xffd", LoadKW: 1})
	r.site.status.Curtailments = []site.Curtailment{{State: "active"}}
	families := r.scrape()
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"sluice_info", []string{"name", "demo", "mode", "control", "demo", "true", "version", "1.2.3"}, 1},
		{"sluice_site_time_seconds", nil, float64(t0.Unix())},
		{"sluice_load_watts", nil, 13_200_500},
		{"sluice_limit_watts", nil, 14e6},
		{"sluice_division_load_watts", []string{"division", "ai"}, 2.1e6},
		{"sluice_division_load_watts", []string{"division", "other"}, 100_500},
		{"sluice_node_load_watts", []string{"node", `feeder "a"`}, 7e6},
		{"sluice_node_limit_watts", []string{"node", "site"}, 14e6},
		{"sluice_node_load_watts", []string{"node", "b\uFFFDd"}, 1000},
		{"sluice_price_usd_per_mwh", nil, 61.25},
		{"sluice_hashprice_usd_per_ph_day", nil, 62},
		{"sluice_hashrate_hashes_per_second", nil, 4e17},
		{"sluice_margin_usd_per_hour", nil, 812.5},
		{"sluice_division_margin_usd_per_hour", []string{"division", "mining"}, 312.5},
		{"sluice_machines", []string{"state", "mining"}, 3900},
		{"sluice_jobs", []string{"state", "running"}, 12},
		{"sluice_gpus_busy", nil, 1500},
		{"sluice_alarms", []string{"severity", "critical"}, 1},
		{"sluice_alarms", []string{"severity", "info"}, 0},
		{"sluice_curtailments", []string{"state", "active"}, 1},
		{"sluice_feed_age_seconds", []string{"feed", "price"}, 60},
		{"sluice_feed_stale", []string{"feed", "btc"}, 1},
		{"sluice_plan_age_seconds", nil, 30},
		{"sluice_plan_bound_usd", nil, 11},
		{"sluice_plan_feasible", nil, 1},
	} {
		if got := value(families, c.name, c.labels...); got != c.want {
			t.Errorf("%s%v = %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	if age := value(families, "sluice_feed_age_seconds", "feed", "btc"); !math.IsNaN(age) {
		t.Errorf("a feed that never had a value is %v s old", age)
	}
	for name := range families {
		own, _, _ := strings.Cut(name, "_")
		if own != "sluice" && own != "go" && own != "process" {
			t.Errorf("%s is a stranger", name)
		}
	}
	if families["go_goroutines"] == nil {
		t.Error("Go's own figures are not there")
	}

	r.site.status.Plan = nil
	if families = r.scrape(); families["sluice_plan_age_seconds"] != nil || families["sluice_load_watts"] == nil {
		t.Error("a site that has not planned yet must have its figures, and none of a plan")
	}
}

// TestMetricsLint holds names, units and help to what Prometheus' own linter asks.
func TestMetricsLint(t *testing.T) {
	s := newTurns()
	s.see(&site.PlanInfo{At: t0, SolveMS: 1, StepMS: 2})
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s, siteFigures{site: newFakeSite(), now: func() time.Time { return t0 }, version: "1.2.3"})
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if n, err := testutil.GatherAndCount(reg); err != nil || n < 35 {
		t.Errorf("%d figures, %v: the linter sees too little", n, err)
	}
}

// TestTurns holds that each plan of a served site is counted once, those too that
// no scrape has seen, until the server stops.
func TestTurns(t *testing.T) {
	r := newRig(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.srv.Serve(ctx, l) }()
	<-r.site.subbed
	made := func(after time.Duration, solve, step float64) site.Event {
		st := r.site.status
		st.Plan = &site.PlanInfo{At: t0.Add(after), SolveMS: solve, StepMS: step}
		return site.Event{Kind: "status", Data: st}
	}
	for _, e := range []site.Event{
		made(0, 4, 80), made(0, 4, 80), // the same plan, at the next turn
		{Kind: "decision", Data: site.Decision{ID: 1, SolveMS: 9e6}},
		{Kind: "status", Data: site.Status{}}, // no plan yet
		made(time.Minute, 20, 300), made(2*time.Minute, 40_000, 50_000),
	} {
		r.site.publish(e)
	}
	deadline, end := context.WithTimeout(ctx, 90*time.Second)
	defer end()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		f := r.scrape()
		solve, step := f["sluice_plan_solve_seconds"].GetMetric()[0].GetHistogram(), f["sluice_step_seconds"].GetMetric()[0].GetHistogram()
		if solve.GetSampleCount() >= 3 {
			if math.Abs(solve.GetSampleSum()-40.024) > 1e-9 || math.Abs(step.GetSampleSum()-50.38) > 1e-9 || step.GetSampleCount() != 3 {
				t.Errorf("solve %v, step %v", solve, step)
			}
			for i, want := range map[int]uint64{1: 0, 2: 1, 3: 1, 4: 2, 13: 2} { // up to 2.5, 5, 10, 25 ms and 30 s
				if got := solve.GetBucket()[i].GetCumulativeCount(); got != want {
					t.Errorf("%d plans within %v s, want %d", got, solve.GetBucket()[i].GetUpperBound(), want)
				}
			}
			break
		}
		select {
		case <-deadline.Done():
			t.Fatalf("solve %v, step %v", solve, step)
		case <-tick.C:
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-r.site.ended
}
