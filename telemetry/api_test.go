package telemetry

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func serveAPI(t testing.TB, d *DB, o QueryOptions) string {
	t.Helper()
	a := NewAPI(d, o)
	srv := httptest.NewServer(a)
	t.Cleanup(func() { srv.Close(); _ = a.Close() })
	return srv.URL
}

func TestWhatGrafanaAsksForIsThere(t *testing.T) {
	d := testDB(t)
	sampleFleet(t, d, 10)
	u := serveAPI(t, d, QueryOptions{})
	for path, want := range map[string]string{
		"/api/v1/status/buildinfo":                               `"version":"3.`,
		"/api/v1/metadata":                                       `"sluice_machine_power_watts":[{"type":"gauge","help":"Power of`,
		"/api/v1/metadata?metric=sluice_class_machines":          `{"sluice_class_machines":[{"type":"gauge","help":"Machines of a class by state.","unit":""}]}`,
		"/api/v1/metadata?limit=0":                               `{}`,
		"/api/v1/rules":                                          `{"groups":[]}`,
		"/api/v1/alerts":                                         `{"alerts":[]}`,
		"/api/v1/query_exemplars?query=a":                        `[]`,
		"/api/v1/format_query?query=sum(a)by(b)":                 `"sum by (b) (a)"`,
		"/api/v1/query?query=1%2B1":                              `{"resultType":"scalar","result":[1772366400,"2"]}`, // at the site's own time
		"/api/v1/label/machine/values?limit=2":                   `["m00","m01"]`,
		"/api/v1/series?match[]=sluice_class_machines&limit=1":   `[{"__name__":"sluice_class_machines"`,
		"/api/v1/query?query=sluice_machine_state&limit=1":       `"resultType":"vector"`,
		"/api/v1/label/U__machine/values?match[]={class=~\"x\"}": `[]`,
	} {
		path, query, _ := strings.Cut(path, "?")
		form, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		code, e := ask(t, http.MethodGet, u, path, form)
		if code != http.StatusOK || e.Status != "success" || !strings.Contains(string(e.Data), want) {
			t.Errorf("%s %s: %d %.300s, want %s", path, query, code, e.Data, want)
		}
		if cut := form.Get("limit") != "" && path != "/api/v1/metadata"; cut != (len(e.Warnings) > 0) {
			t.Errorf("%s %s: warnings %q", path, query, e.Warnings)
		}
	}
}

func TestQueriesAreBounded(t *testing.T) {
	d := testDB(t)
	end := sampleFleet(t, d, 60)
	u := serveAPI(t, d, QueryOptions{MaxSamples: 100, Timeout: time.Second})
	form := url.Values{"query": {"sluice_machine_power_watts"}, "start": {start.Format(time.RFC3339)}, "end": {end.Format(time.RFC3339)}, "step": {"10"}}
	if code, e := ask(t, http.MethodPost, u, "/api/v1/query_range", form); code != http.StatusUnprocessableEntity || e.ErrorType != "execution" {
		t.Errorf("too many samples: %d %+v", code, e)
	}
	if code, e := ask(t, http.MethodPost, u, "/api/v1/query", url.Values{"query": {"sluice_machine_state"}, "timeout": {"0"}}); code != http.StatusServiceUnavailable || e.ErrorType != "timeout" {
		t.Errorf("no time: %d %+v", code, e)
	}
	if code, e := ask(t, http.MethodPost, u, "/api/v1/query", url.Values{"query": {strings.Repeat("1+", maxForm)}}); code != http.StatusBadRequest || e.ErrorType != "bad_data" {
		t.Errorf("a form of 2 MiB: %d %+v", code, e)
	}
	if code, e := ask(t, http.MethodGet, u, "/api/v1/admin/tsdb/delete_series", nil); code != http.StatusNotFound || e.ErrorType != "not_found" {
		t.Errorf("what is not there: %d %+v", code, e)
	}
	resp, err := http.DefaultClient.Do(must(http.NewRequest(http.MethodDelete, u+"/api/v1/query", nil)))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode/100 != 4 {
		t.Errorf("DELETE: %s", resp.Status)
	}
}

func must[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}

// TestAFullHouseWaitsItsTurn fills all places: who comes then is told so in time.
func TestAFullHouseWaitsItsTurn(t *testing.T) {
	d := testDB(t)
	a := NewAPI(d, QueryOptions{Concurrent: 1, Timeout: 50 * time.Millisecond})
	defer a.Close()
	srv := httptest.NewServer(a)
	defer srv.Close()
	a.places <- struct{}{}
	if code, e := ask(t, http.MethodGet, srv.URL, "/api/v1/query", url.Values{"query": {"1"}}); code != http.StatusServiceUnavailable || e.ErrorType != "timeout" {
		t.Errorf("%d %+v", code, e)
	}
	<-a.places
	// There is room again: now a query may be late, on a busy machine, but not for want of it.
	for try := 0; ; try++ {
		code, e := ask(t, http.MethodGet, srv.URL, "/api/v1/query", url.Values{"query": {"1"}})
		if code == http.StatusOK {
			break
		}
		if try == 100 || e.ErrorType != "timeout" {
			t.Fatalf("%d %+v", code, e)
		}
	}
}

func TestADatabaseThatIsNotOpenSaysSo(t *testing.T) {
	d := testDB(t, func(o *Options) { o.Later = true })
	u := serveAPI(t, d, QueryOptions{})
	for _, path := range []string{"/api/v1/query", "/api/v1/labels", "/api/v1/series"} {
		if code, e := ask(t, http.MethodGet, u, path, url.Values{"query": {"a"}, "match[]": {"a"}}); code/100 != 5 || e.Status != "error" {
			t.Errorf("%s: %d %+v", path, code, e)
		}
	}
	if err := d.Ready(); err != nil {
		t.Fatal(err)
	}
	if code, e := ask(t, http.MethodGet, u, "/api/v1/query", url.Values{"query": {"a"}}); code != http.StatusOK {
		t.Errorf("%d %+v", code, e)
	}
}

// FuzzAPI asks whatever comes: each answer is JSON in its envelope, and no
// request takes the process down.
func FuzzAPI(f *testing.F) {
	d := testDB(f)
	s := d.Series("a", "k", "1")
	for i := range 20 {
		mustAppend(f, d, start.Add(time.Duration(i)*10*time.Second), Sample{s, float64(i)})
	}
	a := NewAPI(d, QueryOptions{MaxSamples: 10_000, Timeout: time.Second})
	f.Cleanup(func() { _ = a.Close() })
	at := fmt.Sprint(start.Unix())
	for _, e := range expressions {
		f.Add(uint8(0), e, at, "10", "1h")
	}
	f.Add(uint8(1), "rate(a[1m])", at, "1e30", "NaN")
	f.Add(uint8(2), `{k="1"}`, "-9e99", "", "Inf")
	f.Add(uint8(3), "a", "2026-03-01T12:00:00Z", "5m", "-1")
	f.Add(uint8(4), "k", "1e18", "x", "9223372036854775807")
	f.Fuzz(func(t *testing.T, which uint8, query, from, step, limit string) {
		path := []string{"/api/v1/query", "/api/v1/query_range", "/api/v1/series", "/api/v1/labels", "/api/v1/label/" + url.PathEscape(query) + "/values", "/api/v1/metadata"}[which%6]
		form := url.Values{"query": {query}, "time": {from}, "start": {from}, "end": {at}, "step": {step}, "limit": {limit}, "timeout": {limit}, "match[]": {query}, "lookback_delta": {step}}
		req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		a.ServeHTTP(w, req)
		if w.Code/100 == 3 { // the mux cleans paths
			return
		}
		b, _ := io.ReadAll(w.Body)
		var e envelope
		if err := json.Unmarshal(b, &e); err != nil || (e.Status == "success") != (w.Code == http.StatusOK) {
			t.Fatalf("%s %v: %d %v %.300s", path, form, w.Code, err, b)
		}
	})
}

func TestHistogramsAreRecordedAsTheyAreExposed(t *testing.T) {
	d := testDB(t)
	reg := prometheus.NewRegistry()
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", Help: "Help.", Buckets: []float64{0.5, 1}})
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "g", Help: "Gauge."}, []string{"x"})
	reg.MustRegister(h, v, d)
	h.Observe(0.7)
	v.WithLabelValues("1").Set(5)
	rec := NewRecorder(d, reg)
	if err := rec.Record(t.Context(), start, nil); err != nil {
		t.Fatal(err)
	}
	v.Reset()
	if err := rec.Record(t.Context(), start.Add(10*time.Second), nil); err != nil {
		t.Fatal(err)
	}
	u := serveAPI(t, d, QueryOptions{Metrics: rec.Metrics})
	for query, want := range map[string]string{
		`h_bucket`:                    `[{"metric":{"__name__":"h_bucket","le":"+Inf","site":"valley"},"value":[1772366410,"1"]},{"metric":{"__name__":"h_bucket","le":"0.5","site":"valley"},"value":[1772366410,"0"]},{"metric":{"__name__":"h_bucket","le":"1","site":"valley"},"value":[1772366410,"1"]}]`,
		`h_count + h_sum`:             `[{"metric":{"site":"valley"},"value":[1772366410,"1.7"]}]`,
		`g`:                           `[]`,
		`g offset 5s`:                 `[{"metric":{"__name__":"g","site":"valley","x":"1"},"value":[1772366410,"5"]}]`,
		`sluice_telemetry_series > 3`: `"site":"valley"`,
	} {
		_, e := ask(t, http.MethodGet, u, "/api/v1/query", url.Values{"query": {query}, "time": {at0}})
		b, _ := json.Marshal(canonical(t, e.Data, false))
		if !strings.Contains(string(b), want) {
			t.Errorf("%s: %s, want %s", query, b, want)
		}
	}
	if m := rec.Metrics(); m["h"].Type != "histogram" || m["h"].Help != "Help." || m["g"].Type != "gauge" || m[MachineState].Type != "gauge" {
		t.Errorf("%v", m)
	}
}

var at0 = fmt.Sprint(start.Add(10 * time.Second).Unix())
