package telemetry

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// siteMetrics are the names on /metrics that the dashboard may use; a test of the
// server's holds that they are there.
var siteMetrics = regexp.MustCompile(`^(sluice_[a-z_]+|process_(resident_memory_bytes|cpu_seconds_total))$`)

// TestTheDashboardAsksForWhatThereIs parses every expression of the shipped
// dashboard, as Grafana would send it, and looks its metrics up.
func TestTheDashboardAsksForWhatThereIs(t *testing.T) {
	b, err := os.ReadFile("../examples/grafana/sluice.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		UID    string
		Panels []struct {
			Title      string
			Type       string
			Datasource *struct{ Type, UID string }
			GridPos    struct{ X, Y, W, H int }
			Targets    []struct {
				Expr, RefID string
				Datasource  struct{ UID string }
			}
		}
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
	}
	if err := json.Unmarshal(b, &board); err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../server/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	turns, err := os.ReadFile("../server/metrics_turns.go")
	if err != nil {
		t.Fatal(err)
	}
	exposed := string(source) + string(turns)
	known := func(name string) bool {
		if _, ok := catalogue[name]; ok {
			return true
		}
		for _, m := range hostMetrics {
			if m.series == name {
				return true
			}
		}
		plain := name
		for _, end := range []string{"_bucket", "_sum", "_count"} {
			plain = strings.TrimSuffix(plain, end)
		}
		own := map[string]bool{"sluice_telemetry_samples_dropped_total": true, "sluice_telemetry_samples_recorded_total": true}
		return siteMetrics.MatchString(name) && (own[name] || strings.HasPrefix(name, "process_") || strings.Contains(exposed, `"`+plain+`"`))
	}
	d := testDB(t)
	end := sampleFleet(t, d, 60)
	var hosts []HostReading
	for name, m := range hostMetrics {
		for i := range 3 {
			hosts = append(hosts, HostReading{Host: "gpu1", Name: name, Unit: m.unit, GPU: "0", At: end.Add(-time.Duration(i) * 10 * time.Second), Value: float64(100 - i)})
		}
	}
	if err := NewRecorder(d, nil).RecordHosts(t.Context(), hosts); err != nil {
		t.Fatal(err)
	}
	u := serveAPI(t, d, QueryOptions{})
	p := parser.NewParser(parser.Options{})
	vars := strings.NewReplacer("$site", "valley", "$class", ".*", "$machine", ".*", "$__rate_interval", "1m")
	asked, used := 0, map[string]bool{}
	for _, panel := range board.Panels {
		if g := panel.GridPos; g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
			t.Errorf("%s lies outside the grid: %+v", panel.Title, g)
		}
		if panel.Type == "row" {
			continue
		}
		if panel.Datasource == nil || panel.Datasource.UID != "${datasource}" || len(panel.Targets) == 0 {
			t.Errorf("%s does not use the variable for its data source, or asks nothing", panel.Title)
		}
		for _, x := range panel.Targets {
			expr := vars.Replace(x.Expr)
			e, err := p.ParseExpr(expr)
			if err != nil || strings.Contains(expr, "$") {
				t.Errorf("%s: %s: %v", panel.Title, expr, err)
				continue
			}
			asked++
			for _, selector := range parser.ExtractSelectors(e) {
				for _, m := range selector {
					if m.Name == model.MetricNameLabel {
						used[m.Value] = true
						if m.Type != labels.MatchEqual || !known(m.Value) {
							t.Errorf("%s asks for %s, which nothing records", panel.Title, m.Value)
						}
					}
				}
			}
			code, a := ask(t, http.MethodPost, u, "/api/v1/query", url.Values{"query": {expr}, "time": {end.Format(time.RFC3339)}})
			if code != http.StatusOK {
				t.Errorf("%s: %s: %s", panel.Title, expr, a.Error)
			}
			if strings.Contains(expr, "sluice_machine_") || strings.Contains(expr, "sluice_class_") || strings.Contains(expr, "sluice_gpu_") || strings.Contains(expr, "sluice_host_") {
				if strings.Contains(string(a.Data), `"result":[]`) && !strings.Contains(expr, "errors") {
					t.Errorf("%s: %s finds nothing", panel.Title, expr)
				}
			}
		}
	}
	for name := range catalogue {
		if !used[name] && name != MachineUnits && name != MachineBusy {
			t.Errorf("%s is recorded and not on the dashboard", name)
		}
	}
	for _, m := range hostMetrics {
		if !used[m.series] && m.unit != "bytes" && m.series != "sluice_host_cpu_power_watts" {
			t.Errorf("%s is recorded and not on the dashboard", m.series)
		}
	}
	for _, v := range board.Templating.List {
		if v.Type == "query" && !known(regexp.MustCompile(`label_values\(([a-z_]+)`).FindStringSubmatch(v.Definition)[1]) {
			t.Errorf("the variable %s asks for what nothing records: %s", v.Name, v.Definition)
		}
	}
	if asked < 30 {
		t.Errorf("%d expressions", asked)
	}
}
