package telemetry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// scope is what the endpoints about series are asked for.
type scope struct {
	from, to time.Time
	sets     [][]*labels.Matcher
	limit    int
}

func (a *API) scope(r *http.Request) (scope, *result) {
	var s scope
	bad := func(x result) (scope, *result) { return s, &x }
	var err error
	if s.limit, err = count(r, "limit", 0); err != nil {
		return bad(badParam("limit", err))
	}
	if s.from, err = moment(r, "start", minTime); err != nil {
		return bad(badParam("start", err))
	}
	if s.to, err = moment(r, "end", maxTime); err != nil {
		return bad(badParam("end", err))
	}
	if s.sets, err = a.selectors(r); err != nil {
		return bad(badData(err))
	}
	return s, nil
}

// hints let the database stop one after the limit: enough to know of more.
func (s scope) hint() int {
	if s.limit > 0 && s.limit < math.MaxInt {
		return s.limit + 1
	}
	return 0
}

func (a *API) labelNames(r *http.Request) result {
	return a.names(r, func(ctx context.Context, q storage.Querier, h *storage.LabelHints, m []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelNames(ctx, h, m...)
	})
}

func (a *API) labelValues(r *http.Request) result {
	name := r.PathValue("name")
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return badData(fmt.Errorf("invalid label name: %q", clip(name)))
	}
	return a.names(r, func(ctx context.Context, q storage.Querier, h *storage.LabelHints, m []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelValues(ctx, name, h, m...)
	})
}

// names unites what ask finds for each selector.
func (a *API) names(r *http.Request, ask func(context.Context, storage.Querier, *storage.LabelHints, []*labels.Matcher) ([]string, annotations.Annotations, error)) result {
	s, bad := a.scope(r)
	if bad != nil {
		return *bad
	}
	q, err := a.db.Querier(s.from.UnixMilli(), s.to.UnixMilli())
	if err != nil {
		return failed(err, nil)
	}
	defer func() { _ = q.Close() }() // it was read to its end, or the error is told
	if len(s.sets) == 0 {
		s.sets = [][]*labels.Matcher{nil}
	}
	out := []string{}
	var warnings annotations.Annotations
	for _, set := range s.sets {
		found, w, err := ask(r.Context(), q, &storage.LabelHints{Limit: s.hint()}, set)
		warnings.Merge(w)
		if err != nil {
			return failed(err, warnings)
		}
		for _, x := range found {
			out = append(out, strings.Clone(x)) // the database's own lives as long as q
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if s.limit > 0 && len(out) > s.limit {
		out = out[:s.limit]
		warnings.Add(errCut)
	}
	return result{data: out, warnings: warnings}
}

func (a *API) series(r *http.Request) result {
	if len(r.Form["match[]"]) == 0 {
		return badData(errors.New("no match[] parameter provided"))
	}
	s, bad := a.scope(r)
	if bad != nil {
		return *bad
	}
	q, err := a.db.Querier(s.from.UnixMilli(), s.to.UnixMilli())
	if err != nil {
		return failed(err, nil)
	}
	hints := &storage.SelectHints{Start: s.from.UnixMilli(), End: s.to.UnixMilli(), Func: "series", Limit: s.hint()}
	var sets []storage.SeriesSet
	for _, m := range s.sets {
		// Sorted where several are merged: the merge goes by that.
		sets = append(sets, q.Select(r.Context(), len(s.sets) > 1, hints, m...))
	}
	set := sets[0]
	if len(sets) > 1 {
		set = storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge)
	}
	x := result{done: func() { _ = q.Close() }}
	out := []labels.Labels{}
	for set.Next() {
		if err := r.Context().Err(); err != nil {
			return result{err: failed(err, nil).err, done: x.done}
		}
		if s.limit > 0 && len(out) == s.limit {
			x.warnings.Add(errCut)
			break
		}
		out = append(out, set.At().Labels())
	}
	x.warnings.Merge(set.Warnings())
	if err := set.Err(); err != nil {
		return result{err: failed(err, nil).err, warnings: x.warnings, done: x.done}
	}
	x.data = out
	return x
}
