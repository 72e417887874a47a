package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/compression"
)

// request is a body that is ready to be sent.
type request struct {
	body    []byte
	samples int
}

// encode makes the requests of the samples of [from, to]. Nothing of the database
// is held when it returns: sending may take long.
func (r *Remote) encode(ctx context.Context, from, to int64) ([]request, error) {
	q, err := r.db.Querier(from, to)
	if err != nil {
		return nil, err
	}
	defer func() { _ = q.Close() }() // it was read to its end, or the error is told
	set := q.Select(ctx, true, nil, labels.MustNewMatcher(labels.MatchNotEqual, model.MetricNameLabel, ""))
	var out []request
	var batch []prompb.TimeSeries
	samples := 0
	flush := func() error {
		if samples == 0 {
			return nil
		}
		x, err := pack(batch, samples)
		out, batch, samples = append(out, x), batch[:0], 0
		return err
	}
	var it chunkenc.Iterator
	for set.Next() {
		s := set.At()
		var ts *prompb.TimeSeries
		it = s.Iterator(it)
		for it.Next() == chunkenc.ValFloat {
			if ts == nil {
				batch = append(batch, prompb.TimeSeries{Labels: prompb.FromLabels(s.Labels(), nil)})
				ts = &batch[len(batch)-1]
			}
			ms, v := it.At()
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: ms, Value: v})
			samples++
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
		if samples >= r.o.Batch {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	err = flush()
	return out, err
}

func pack(batch []prompb.TimeSeries, samples int) (request, error) {
	raw, err := (&prompb.WriteRequest{Timeseries: batch}).Marshal()
	if err != nil {
		return request{}, err
	}
	body, err := compression.Encode(compression.Snappy, raw, nil)
	return request{body, samples}, err
}

// maxSplits is how often a refused request is halved to find what was wrong with
// it: the good part of it is worth that many requests, not more.
const maxSplits = 6

// retryError is a failure that may pass.
type retryError struct {
	cause error
	after time.Duration // as the receiver wishes
}

func (e *retryError) Error() string { return e.cause.Error() }
func (e *retryError) Unwrap() error { return e.cause }

// post sends a request. It returns nil too where the receiver refuses samples for
// good; those are counted. Everything else may pass: an outage, a full queue, a
// token that is not valid yet.
func (r *Remote) post(ctx context.Context, q request, splits int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.o.URL, bytes.NewReader(q.body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("User-Agent", "sluice")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	if err := r.authorize(req); err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		var u *url.Error // its text repeats the URL
		if errors.As(err, &u) {
			err = u.Err
		}
		return err
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	// The rest is read so that the connection can be used again, to a bound.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	switch {
	case resp.StatusCode/100 == 2:
		r.sent.Add(uint64(q.samples)) //nolint:gosec // a count
		return nil
	case resp.StatusCode == http.StatusBadRequest, resp.StatusCode == http.StatusUnprocessableEntity, resp.StatusCode == http.StatusRequestEntityTooLarge:
		return r.refused(ctx, q, splits, strings.TrimSpace(string(said)))
	}
	e := &retryError{cause: fmt.Errorf("the receiver answers %s: %s", resp.Status, clip(strings.TrimSpace(string(said))))}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.after = time.Duration(min(s, 60)) * time.Second
	}
	return e
}

func (r *Remote) authorize(req *http.Request) error {
	if r.o.Token != nil {
		token, err := r.o.Token()
		if err != nil {
			return err
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
			return nil
		}
	}
	if r.o.User != "" && r.o.Password != nil {
		p, err := r.o.Password()
		if err != nil {
			return err
		}
		req.SetBasicAuth(r.o.User, p)
	}
	return nil
}

// refused halves a request that the receiver calls wrong: one sample that it has
// already must not cost the others.
func (r *Remote) refused(ctx context.Context, q request, splits int, said string) error {
	raw, err := compression.Decode(compression.Snappy, q.body, nil)
	var w prompb.WriteRequest
	if err == nil {
		err = w.Unmarshal(raw)
	}
	if whole := err == nil; !whole || len(w.Timeseries) < 2 || splits == 0 { // what cannot be halved
		r.rejected.Add(uint64(q.samples)) //nolint:gosec // a count
		r.o.Log.Warn("the receiver of remote write refuses samples", "samples", q.samples, "says", clip(said))
		return nil
	}
	half := len(w.Timeseries) / 2
	for _, part := range [][]prompb.TimeSeries{w.Timeseries[:half], w.Timeseries[half:]} {
		n := 0
		for _, ts := range part {
			n += len(ts.Samples)
		}
		x, err := pack(part, n)
		if err != nil {
			return err
		}
		// When the second half has to wait, the first is sent again with it: twice
		// is allowed, not at all is not.
		if err := r.post(ctx, x, splits-1); err != nil {
			return err
		}
	}
	return nil
}
