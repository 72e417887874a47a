package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/site"
)

// envelope is an answer of the API.
type envelope struct {
	Status    string          `json:"status"`
	Data      json.RawMessage `json:"data"`
	ErrorType string          `json:"errorType"`
	Error     string          `json:"error"`
	Warnings  []string        `json:"warnings"`
}

// ask sends a form by GET or POST.
func ask(t testing.TB, method, base, path string, form url.Values) (int, envelope) {
	t.Helper()
	var req *http.Request
	if method == http.MethodPost {
		req, _ = http.NewRequest(method, base+path, strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		req, _ = http.NewRequest(method, base+path+"?"+form.Encode(), nil)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
		t.Fatalf("%s %s: Content-Type %q", method, path, ct)
	}
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatalf("%s %s: %v in %.200s", method, path, err, b)
	}
	return resp.StatusCode, e
}

// canonical is data with the order of series taken out, where it means nothing.
func canonical(t testing.TB, raw json.RawMessage, ordered bool) any {
	t.Helper()
	if len(raw) == 0 {
		return nil
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if m, ok := v.(map[string]any); ok {
		if list, ok := m["result"].([]any); ok && (m["resultType"] == "vector" || m["resultType"] == "matrix") && !ordered {
			sortByText(list)
		}
	}
	if list, ok := v.([]any); ok {
		sortByText(list)
	}
	return v
}

func sortByText(list []any) {
	text := func(v any) string { b, _ := json.Marshal(v); return string(b) }
	sort.Slice(list, func(i, j int) bool { return text(list[i]) < text(list[j]) })
}

// sampleFleet records an hour of a small site: machines that run, one that goes
// silent, one that sleeps, one whose source of power changes.
func sampleFleet(t testing.TB, d *DB, turns int) time.Time {
	t.Helper()
	rec := NewRecorder(d, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	at := start
	for i := range turns {
		at = start.Add(time.Duration(i) * 10 * time.Second)
		var turn []site.MachineReading
		for k := range 12 {
			r := site.MachineReading{
				Name: fmt.Sprintf("m%02d", k), Class: []string{"s19", "s21"}[k%2], Model: "Antminer <S> \"19\" é", Kind: sluice.Miner,
				State: site.StateMining, Mode: sluice.ModeMine, PowerSource: sluice.SourceDevice,
				Power: sluice.Watts(3200 + rng.IntN(100)),
				Reading: sluice.Reading{
					Errors: []string{"fan lost", "chain break"}[:k%7/5*(1+i%2)],
					At:     at.Add(-time.Duration(k) * time.Second), HasHashRate: true, HashRate: sluice.HashRate(100 + rng.Float64()),
					HasTemp: k%3 > 0, TempC: 60 + rng.Float64()*10, Uptime: time.Duration(i) * 10 * time.Second,
				},
			}
			switch {
			case k == 3 && i > turns/2:
				r.Silent, r.State = true, site.StateSilent
			case k == 4 && i%60 > 30:
				r.State, r.Mode, r.Power, r.Reading.HashRate = site.StateSleeping, sluice.ModeSleep, 15, 0
			case k == 5 && i > turns/3:
				r.PowerSource = sluice.SourceNameplate
			case k == 6 && i > turns-20:
				continue
			}
			turn = append(turn, r)
		}
		if err := rec.Record(context.Background(), at, turn); err != nil {
			t.Fatal(err)
		}
	}
	if d.Dropped() != 0 {
		t.Fatalf("%d samples dropped", d.Dropped())
	}
	return at
}

// expressions are what dashboards and people ask.
var expressions = []string{
	`1+1`, `"text <b>"`, `vector(1)`, `time()`, `scalar(vector(NaN))`, `vector(1)/0`, `-vector(1)/0`,
	`sluice_machine_power_watts`, `sluice_machine_power_watts{class="s19"}`, `sluice_machine_power_watts{machine=~"m0[1-3]",class!="s21"}`,
	`{__name__=~"sluice_machine_(uptime_seconds|state)",machine="m03"}`, `sluice_machine_state == 0`, `sluice_machine_mode_info{mode="sleep"}`,
	`sum(sluice_machine_power_watts)`, `sum by (class) (sluice_machine_power_watts)`, `sum without (machine,source) (sluice_machine_power_watts)`,
	`avg by (class,source) (sluice_machine_power_watts)`, `topk(3, sluice_machine_chip_temperature_celsius)`, `bottomk(2, sluice_machine_hashrate_hashes_per_second)`,
	`count by (mode) (sluice_machine_mode_info)`, `count_values("watts", round(sluice_machine_power_watts, 50))`, `quantile by (class) (0.9, sluice_machine_power_watts)`,
	`stddev(sluice_machine_power_watts)`, `sluice_class_power_watts / (sluice_class_hashrate_hashes_per_second / 1e12)`,
	`sluice_machine_power_watts * on (machine) group_left (mode) sluice_machine_mode_info`, `sluice_machine_power_watts and on (machine) sluice_machine_state == 1`,
	`sluice_machine_power_watts unless on (machine) sluice_machine_state == 0`, `absent(sluice_nothing)`, `absent_over_time(sluice_machine_power_watts{machine="m06"}[1m])`,
	`rate(sluice_machine_statetime_seconds[5m])`, `increase(sluice_machine_statetime_seconds[7m])`, `delta(sluice_machine_power_watts[3m])`, `deriv(sluice_machine_power_watts[10m])`,
	`avg_over_time(sluice_class_power_watts[10m])`, `max_over_time(sluice_machine_power_watts[90s])`, `quantile_over_time(0.5, sluice_machine_power_watts[5m])`,
	`changes(sluice_machine_state[1h])`, `resets(sluice_machine_state[1h])`, `sluice_class_power_watts offset 10m`, `sluice_class_power_watts @ 1772370000`,
	`max_over_time(sum(sluice_machine_power_watts)[20m:1m])`, `predict_linear(sluice_class_power_watts[10m], 600)`, `holt_winters_is_gone(1)`,
	`label_replace(sluice_machine_state, "n", "$1", "machine", "m(.*)")`, `sort_desc(sluice_machine_power_watts)`, `histogram_quantile(0.9, sluice_machine_power_watts)`,
	`clamp_max(sluice_machine_power_watts, 3250)`, `sgn(sluice_machine_power_watts - 3250)`, `hour()`, `minute(vector(1772370000))`, `sluice_machine_power_watts[1m]`,
	`sum(sluice_machine_power_watts`, `sluice_machine_power_watts + on (class) sluice_machine_state`, `rate(sluice_machine_state)`, `{}`, ``, `1 +`, `foo{a="b"`,
	`sluice_class_machines > 0`, `count(sluice_machine_power_watts > bool 3250)`, `present_over_time(sluice_machine_state[5m])`, `last_over_time(sluice_machine_power_watts{machine="m03"}[1h])`,
}

// TestAnswersAreThoseOfPrometheus sends what was recorded to Debian's Prometheus
// by remote write, and compares the answers of the two.
func TestAnswersAreThoseOfPrometheus(t *testing.T) {
	d := testDB(t)
	end := sampleFleet(t, d, 360)
	peer := startPrometheus(t)
	r, err := NewRemote(d, RemoteOptions{URL: peer.url() + "/api/v1/write", Backlog: 24 * time.Hour, Batch: 500})
	if err != nil {
		t.Fatal(err)
	}
	r.mark = mark{Sent: start.UnixMilli() - 1, Until: start.UnixMilli() - 1}
	r.sync(context.Background())
	if r.sent.Load() != d.Recorded() || r.rejected.Load() != 0 {
		t.Fatalf("%d of %d samples sent, %d rejected", r.sent.Load(), d.Recorded(), r.rejected.Load())
	}
	api := NewAPI(d, QueryOptions{})
	defer api.Close()
	own := httptest.NewServer(http.StripPrefix("/prometheus", api))
	defer own.Close()
	compared := 0
	same := func(path string, form url.Values, ordered bool) {
		t.Helper()
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if method == http.MethodPost && strings.HasPrefix(path, "/api/v1/label/") {
				continue // there Prometheus takes no POST
			}
			code, got := ask(t, method, own.URL+"/prometheus", path, form)
			wantCode, want := ask(t, method, peer.url(), path, form)
			compared++
			if code != wantCode || got.Status != want.Status || got.ErrorType != want.ErrorType || got.Status == "error" != (got.Error != "") {
				t.Errorf("%s %s %v: %d %s %q %q, Prometheus says %d %s %q %q", method, path, form, code, got.Status, got.ErrorType, got.Error, wantCode, want.Status, want.ErrorType, want.Error)
				continue
			}
			if a, b := canonical(t, got.Data, ordered), canonical(t, want.Data, ordered); !near(a, b) {
				t.Errorf("%s %s %v:\n%.600s\nPrometheus says\n%.600s", method, path, form, got.Data, want.Data)
			}
		}
	}
	at := func(x time.Time) string { return fmt.Sprintf("%d.%03d", x.Unix(), x.Nanosecond()/1e6) }
	for _, e := range expressions {
		ordered := strings.HasPrefix(e, "sort") || strings.HasPrefix(e, "topk") || strings.HasPrefix(e, "bottomk")
		// All moments lie between samples: since Prometheus 3 a range leaves out the
		// sample at its very beginning, and Debian's is older.
		for _, when := range []time.Time{end.Add(1500 * time.Millisecond), end.Add(-31*time.Minute + 123*time.Millisecond), end.Add(time.Hour + time.Second)} {
			same("/api/v1/query", url.Values{"query": {e}, "time": {at(when)}}, ordered)
		}
		first := start.Add(3 * time.Second)
		if strings.HasPrefix(e, "rate") || strings.HasPrefix(e, "increase") {
			first = first.Add(10 * time.Minute) // how a counter that begins is extrapolated has changed too
		}
		same("/api/v1/query_range", url.Values{"query": {e}, "start": {first.Format(time.RFC3339)}, "end": {at(end)}, "step": {"2m"}}, false)
		same("/api/v1/query_range", url.Values{"query": {e}, "start": {at(end.Add(-5*time.Minute + 1300*time.Millisecond))}, "end": {at(end)}, "step": {"7.5"}}, false)
	}
	for _, f := range []url.Values{
		{},
		{"query": {"up"}, "start": {"1"}, "end": {"0"}, "step": {"1"}},
		{"query": {"up"}, "start": {"0"}, "end": {"1e6"}, "step": {"1"}},
		{"query": {"up"}, "start": {"0"}, "end": {"10"}, "step": {"0"}},
		{"query": {"up"}, "start": {"0"}, "end": {"10"}, "step": {"-1s"}},
		{"query": {"up"}, "start": {"yesterday"}, "end": {"10"}, "step": {"1"}},
		{"query": {"up"}, "start": {"0"}, "end": {"10"}, "step": {"1e30"}},
		{"query": {"up"}, "start": {"0"}, "end": {"10"}, "step": {"1"}, "timeout": {"soon"}},
	} {
		same("/api/v1/query_range", f, false)
		same("/api/v1/query", f, false)
	}
	window := url.Values{"start": {at(start)}, "end": {at(end)}}
	with := func(match ...string) url.Values {
		f := url.Values{"match[]": match}
		for k, v := range window {
			f[k] = v
		}
		return f
	}
	for _, f := range []url.Values{window, {}, with("sluice_machine_state"), with("sluice_machine_state", `{class="s21"}`), with("{}"), with("foo{"), with(`{a=""}`), {"start": {"x"}}, with("sluice_nothing")} {
		same("/api/v1/labels", f, false)
		same("/api/v1/label/machine/values", f, false)
		same("/api/v1/label/__name__/values", f, false)
		same("/api/v1/series", f, false)
	}
	same("/api/v1/label/%ff/values", window, false)
	if compared < 500 {
		t.Errorf("%d answers compared", compared)
	}
}

// near compares answers; the two engines are years apart and add up floats
// in another order.
func near(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k := range x {
			if _, ok := y[k]; !ok || !near(x[k], y[k]) {
				return false
			}
		}
		return true
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !near(x[i], y[i]) {
				return false
			}
		}
		return true
	case string:
		y, ok := b.(string)
		if !ok || x == y {
			return ok
		}
		var f, g float64
		if _, err := fmt.Sscan(x, &f); err != nil {
			return false
		}
		if _, err := fmt.Sscan(y, &g); err != nil {
			return false
		}
		return math.Abs(f-g) <= 1e-9*math.Max(math.Abs(f), math.Abs(g))
	}
	return reflect.DeepEqual(a, b)
}
