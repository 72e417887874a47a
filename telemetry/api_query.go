package telemetry

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// queried is the data of a query.
type queried struct {
	kind  parser.ValueType
	value parser.Value
}

// query answers for one moment.
func (a *API) query(r *http.Request) result {
	limit, err := count(r, "limit", 0)
	if err != nil {
		return badParam("limit", err)
	}
	at, err := moment(r, "time", a.db.o.Now())
	if err != nil {
		return badParam("time", err)
	}
	ctx, cancel, opts, bad := a.prepare(r)
	if bad != nil {
		return *bad
	}
	q, err := a.engine.NewInstantQuery(ctx, a.db, opts, r.FormValue("query"), at)
	if err != nil {
		cancel()
		return badParam("query", err)
	}
	return evaluate(ctx, cancel, q, limit)
}

// queryRange answers for each step of a range.
func (a *API) queryRange(r *http.Request) result {
	limit, err := count(r, "limit", 0)
	if err != nil {
		return badParam("limit", err)
	}
	from, err := required(r, "start")
	if err != nil {
		return badParam("start", err)
	}
	to, err := required(r, "end")
	if err != nil {
		return badParam("end", err)
	}
	if to.Before(from) {
		return badParam("end", errors.New("end timestamp must not be before start time"))
	}
	step, err := span(r.FormValue("step"))
	if err != nil {
		return badParam("step", err)
	}
	if step <= 0 {
		return badParam("step", errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer"))
	}
	if to.Sub(from)/step > maxPoints {
		return badData(errors.New("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"))
	}
	ctx, cancel, opts, bad := a.prepare(r)
	if bad != nil {
		return *bad
	}
	q, err := a.engine.NewRangeQuery(ctx, a.db, opts, r.FormValue("query"), from, to, step)
	if err != nil {
		cancel()
		return badParam("query", err)
	}
	return evaluate(ctx, cancel, q, limit)
}

func required(r *http.Request, name string) (time.Time, error) {
	if r.FormValue(name) == "" {
		return time.Time{}, errors.New(`cannot parse "" to a valid timestamp`)
	}
	return moment(r, name, time.Time{})
}

// prepare reads what all queries may ask for: a shorter timeout, another
// lookback.
func (a *API) prepare(r *http.Request) (context.Context, context.CancelFunc, promql.QueryOpts, *result) {
	ctx, cancel := r.Context(), context.CancelFunc(func() {})
	if s := r.FormValue("timeout"); s != "" {
		d, err := span(s)
		if err != nil {
			bad := badParam("timeout", err)
			return nil, nil, nil, &bad
		}
		ctx, cancel = context.WithTimeout(ctx, d)
	}
	var lookback time.Duration
	if s := r.FormValue("lookback_delta"); s != "" {
		var err error
		if lookback, err = span(s); err != nil {
			cancel()
			bad := badParam("lookback_delta", err)
			return nil, nil, nil, &bad
		}
	}
	return ctx, cancel, promql.NewPrometheusQueryOpts(false, lookback), nil
}

// evaluate runs a query. Its samples live until done is called.
func evaluate(ctx context.Context, cancel context.CancelFunc, q promql.Query, limit int) result {
	done := func() { q.Close(); cancel() }
	if err := ctx.Err(); err != nil { // small queries do not look at the time
		x := failed(err, nil)
		x.done = done
		return x
	}
	res := q.Exec(ctx)
	if res.Err != nil {
		x := failed(res.Err, res.Warnings)
		x.done = done
		return x
	}
	x := result{warnings: res.Warnings, done: done}
	cut := false
	switch v := res.Value.(type) {
	case promql.Vector:
		if limit > 0 && len(v) > limit {
			res.Value, cut = v[:limit], true
		}
	case promql.Matrix:
		if limit > 0 && len(v) > limit {
			res.Value, cut = v[:limit], true
		}
	}
	if cut {
		x.warnings.Add(errCut)
	}
	x.data = queried{res.Value.Type(), res.Value}
	return x
}

// errCut is the warning of an answer that is not whole.
var errCut = errors.New("results truncated due to limit")
