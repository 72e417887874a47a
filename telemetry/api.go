package telemetry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
)

// QueryOptions bound what queries may cost. Zero takes the default.
type QueryOptions struct {
	Timeout    time.Duration // of a query with its wait for a place, default 20 s
	MaxSamples int           // that a query may hold at once, 16 bytes each, default 5,000,000
	Concurrent int           // queries at once, default 4; more wait for their place
	// Lookback is how old a sample may be to count as the value of a time,
	// default 5 min: more where machines are polled less often than that.
	Lookback time.Duration
	// Metrics describes the metrics for the metadata endpoint; nil: the
	// catalogue of machines and classes.
	Metrics func() map[string]Metric
}

// API answers in the format of Prometheus' HTTP API, version 1, so that Grafana's
// Prometheus data source can use it as it is: GET, and POST with a form. It is
// mounted under a prefix, with http.StripPrefix, and only reads.
type API struct {
	db     *DB
	o      QueryOptions
	parser parser.Parser
	engine *promql.Engine
	places chan struct{}
	mux    *http.ServeMux
}

// maxForm bounds the body of a request.
const maxForm = 1 << 20

// maxPoints bounds a range query's steps, as Prometheus does.
const maxPoints = 11000

// NewAPI makes the query API of a database.
func NewAPI(db *DB, o QueryOptions) *API {
	if o.Timeout <= 0 {
		o.Timeout = 20 * time.Second
	}
	if o.MaxSamples <= 0 {
		o.MaxSamples = 5_000_000
	}
	if o.Concurrent <= 0 {
		o.Concurrent = 4
	}
	if o.Lookback <= 0 {
		o.Lookback = 5 * time.Minute
	}
	if o.Metrics == nil {
		o.Metrics = func() map[string]Metric { return catalogue }
	}
	p := parser.NewParser(parser.Options{})
	a := &API{db: db, o: o, parser: p, places: make(chan struct{}, o.Concurrent), mux: http.NewServeMux()}
	a.engine = promql.NewEngine(promql.EngineOpts{
		Logger: quiet(db.log), MaxSamples: o.MaxSamples, Timeout: o.Timeout, LookbackDelta: o.Lookback, Parser: p,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true,
	})
	a.handle("/api/v1/query", a.query)
	a.handle("/api/v1/query_range", a.queryRange)
	a.handle("/api/v1/format_query", a.format)
	a.handle("/api/v1/series", a.series)
	a.handle("/api/v1/labels", a.labelNames)
	a.handle("/api/v1/label/{name}/values", a.labelValues)
	a.handle("/api/v1/metadata", a.metadata)
	a.handle("/api/v1/status/buildinfo", a.buildInfo)
	// Grafana asks for these too; there are none.
	a.handle("/api/v1/query_exemplars", answer([]string{}))
	a.handle("/api/v1/rules", answer(map[string]any{"groups": []string{}}))
	a.handle("/api/v1/alerts", answer(map[string]any{"alerts": []string{}}))
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.respond(w, result{err: &apiError{"not_found", http.StatusNotFound, fmt.Errorf("there is no %s", clip(r.URL.Path))}}, "")
	})
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Close ends the queries' engine.
func (a *API) Close() error { return a.engine.Close() }

// result is what a handler has found.
type result struct {
	data     any
	warnings annotations.Annotations
	err      *apiError
	done     func() // frees what data lives in, after it was written
}

// apiError is an error with its word in the API and its status.
type apiError struct {
	word   string
	status int
	cause  error
}

func badData(err error) result {
	return result{err: &apiError{"bad_data", http.StatusBadRequest, err}}
}

func badParam(name string, err error) result {
	return badData(fmt.Errorf("invalid parameter %q: %w", name, err))
}

// failed sorts an error of the engine or the database.
func failed(err error, w annotations.Annotations) result {
	e := &apiError{"execution", http.StatusUnprocessableEntity, err}
	var timeout promql.ErrQueryTimeout
	var canceled promql.ErrQueryCanceled
	var storage promql.ErrStorage
	switch {
	case errors.As(err, &canceled):
		e.word, e.status = "canceled", 499 // as nginx and Prometheus have it: the client has left
	case errors.As(err, &timeout), errors.Is(err, context.DeadlineExceeded):
		e.word, e.status = "timeout", http.StatusServiceUnavailable
	case errors.Is(err, errClosed):
		e.word, e.status = "unavailable", http.StatusServiceUnavailable
	case errors.As(err, &storage):
		e.word, e.status = "internal", http.StatusInternalServerError
	}
	return result{err: e, warnings: w}
}

// handle adds a route: one query among those that run at once, bounded in time.
func (a *API) handle(path string, f func(*http.Request) result) {
	h := func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			a.respond(w, badData(fmt.Errorf("error parsing form values: %w", err)), "")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), a.o.Timeout)
		defer cancel()
		select {
		case a.places <- struct{}{}:
			defer func() { <-a.places }()
		case <-ctx.Done():
			a.respond(w, failed(promql.ErrQueryTimeout("waiting for other queries to end"), nil), "")
			return
		}
		x := f(r.WithContext(ctx))
		if x.done != nil {
			defer x.done()
		}
		a.respond(w, x, r.FormValue("query"))
	}
	a.mux.HandleFunc("GET "+path, h)
	a.mux.HandleFunc("POST "+path, h)
}

func answer(data any) func(*http.Request) result {
	return func(*http.Request) result { return result{data: data} }
}

// metadata says what the metrics mean.
func (a *API) metadata(r *http.Request) result {
	limit, err := count(r, "limit", -1)
	if err != nil {
		return badParam("limit", err)
	}
	out := map[string][]Metric{}
	only := r.FormValue("metric")
	for name, m := range a.o.Metrics() {
		if limit >= 0 && len(out) >= limit {
			break
		}
		if only == "" || only == name {
			out[name] = []Metric{m}
		}
	}
	return result{data: out}
}

// buildInfo tells clients what to expect: the version is that of the Prometheus
// whose engine answers.
func (a *API) buildInfo(*http.Request) result {
	return result{data: map[string]string{
		"version": engineVersion(), "revision": "sluice", "branch": "", "buildUser": "", "buildDate": "", "goVersion": runtime.Version(),
	}}
}

// engineVersion is the Prometheus release of the library: its module v0.313.0 is
// release 3.13.0.
func engineVersion() string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, m := range info.Deps {
			if m.Path != "github.com/prometheus/prometheus" {
				continue
			}
			var minor, patch int
			if _, err := fmt.Sscanf(m.Version, "v0.%d.%d", &minor, &patch); err == nil {
				return fmt.Sprintf("%d.%d.%d", minor/100, minor%100, patch)
			}
		}
	}
	return "3.0.0"
}

func (a *API) format(r *http.Request) result {
	e, err := a.parser.ParseExpr(r.FormValue("query"))
	if err != nil {
		return badParam("query", err)
	}
	return result{data: e.Pretty(0)}
}

// Times of a range that is open: the furthest that the format can say.
var (
	minTime = time.Unix(math.MinInt64/1000+62135596801, 0).UTC()
	maxTime = time.Unix(math.MaxInt64/1000-62135596801, 999999999).UTC()
)

// moment reads a time: Unix seconds or RFC 3339.
func moment(r *http.Request, name string, otherwise time.Time) (time.Time, error) {
	s := r.FormValue(name)
	switch {
	case s == "":
		return otherwise, nil
	case s == minTime.Format(time.RFC3339Nano):
		return minTime, nil
	case s == maxTime.Format(time.RFC3339Nano):
		return maxTime, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		whole, part := math.Modf(f)
		if math.IsNaN(f) || math.Abs(whole) > float64(maxTime.Unix()) {
			return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", clip(s))
		}
		return time.Unix(int64(whole), int64(math.Round(part*1000))*int64(time.Millisecond)).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", clip(s))
	}
	return t, nil
}

// span reads a duration: seconds, or as in PromQL.
func span(s string) (time.Duration, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if ns := f * float64(time.Second); math.Abs(ns) < math.MaxInt64 {
			return time.Duration(ns), nil
		}
		return 0, fmt.Errorf("cannot parse %q to a valid duration. It overflows int64", clip(s))
	}
	d, err := model.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("cannot parse %q to a valid duration", clip(s))
	}
	return time.Duration(d), nil
}

// count reads a number that is not negative.
func count(r *http.Request, name string, otherwise int) (int, error) {
	s := r.FormValue(name)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, err
	}
	if n < 0 {
		return 0, errors.New(name + " must be non-negative")
	}
	return n, nil
}

// selectors reads match[].
func (a *API) selectors(r *http.Request) ([][]*labels.Matcher, error) {
	sets, err := a.parser.ParseMetricSelectors(r.Form["match[]"])
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		empty := true
		for _, m := range set {
			empty = empty && m.Matches("")
		}
		if empty {
			return nil, errors.New("match[] must contain at least one non-empty matcher")
		}
	}
	return sets, nil
}

// clip shortens what a stranger sent before it goes into a message.
func clip(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
