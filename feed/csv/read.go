package csv

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/feed"
)

const (
	maxBytes = 64 << 20 // of one file, unpacked
	maxRows  = 300_000  // of all files
	maxNotes = 5        // told by file and line; the others are counted
)

var timeColumns = []string{"ts_utc", "time", "timestamp", "from", "ts"}

// reader gathers the values of all files.
type reader struct {
	o      Options
	values map[feed.Quantity][]feed.Point // To not set yet
	notes  []string
	more   int
	rows   int
}

func load(ctx context.Context, files []string, o Options) (map[feed.Quantity][]feed.Point, string, error) {
	r := &reader{o: o, values: map[feed.Quantity][]feed.Point{}}
	for _, f := range files {
		if err := r.file(ctx, f); err != nil {
			return nil, "", err
		}
	}
	if len(r.values) == 0 {
		return nil, "", sluice.Errorf(sluice.Unavailable, "name the columns after the quantities, or set columns", "%s: no value of any quantity could be read%s", o.Path, r.sum(": "))
	}
	for q, ps := range r.values {
		r.values[q] = r.finish(q, ps)
	}
	return r.values, r.sum(""), nil
}

func (r *reader) tell(format string, args ...any) {
	if len(r.notes) < maxNotes {
		r.notes = append(r.notes, fmt.Sprintf(format, args...))
		return
	}
	r.more++
}

func (r *reader) sum(before string) string {
	if len(r.notes) == 0 {
		return ""
	}
	s := before + strings.Join(r.notes, "; ")
	if r.more > 0 {
		s += fmt.Sprintf("; and %d more", r.more)
	}
	return s
}

func (r *reader) file(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return sluice.Errorf(sluice.Unavailable, "check the feed's path", "the CSV file: %v", err)
	}
	defer f.Close()
	var in io.Reader = bufio.NewReader(f)
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(in)
		if err != nil {
			return sluice.Errorf(sluice.Unavailable, "", "%s is no gzip file: %v", path, err)
		}
		defer z.Close()
		in = z
	}
	return r.parse(ctx, in, path)
}

// capped fails, rather than ends, after its bytes: a cut file must not pass for a
// whole one.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("longer than %d MiB", maxBytes>>20)
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

func (r *reader) parse(ctx context.Context, in io.Reader, name string) error {
	c := csv.NewReader(&capped{in, maxBytes})
	c.FieldsPerRecord = -1
	c.ReuseRecord = true
	c.TrimLeadingSpace = true
	c.Comment = '#'
	header, err := c.Read()
	if err != nil {
		return sluice.Errorf(sluice.Unavailable, "", "%s has no header row: %v", name, err)
	}
	names := make([]string, len(header))
	for i, h := range header {
		header[i] = strings.TrimSpace(strings.TrimPrefix(h, "\ufeff"))
		names[i] = strings.ToLower(header[i])
	}
	when := -1
	for _, t := range timeColumns {
		if when = slices.Index(names, t); when >= 0 {
			break
		}
	}
	if when < 0 {
		return sluice.Errorf(sluice.Unavailable, "", "%s has no column of time (%s)", name, strings.Join(timeColumns, ", "))
	}
	column := r.columns(header, names)
	for {
		rec, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			var pe *csv.ParseError
			if errors.As(err, &pe) {
				return sluice.Errorf(sluice.Unavailable, "", "%s:%d: %v", name, pe.Line, pe.Err)
			}
			return sluice.Errorf(sluice.Unavailable, "", "%s: %v", name, err)
		}
		if r.rows++; r.rows > maxRows {
			return sluice.Errorf(sluice.Unavailable, "take old files out of the folder", "%s: more than %d rows", name, maxRows)
		}
		if r.rows%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, _ := c.FieldPos(0)
		r.row(rec, when, column, fmt.Sprintf("%s:%d", name, line))
	}
}

// columns finds the column of each quantity. A reserve's name keeps its capitals.
func (r *reader) columns(header, names []string) map[feed.Quantity]int {
	out := map[feed.Quantity]int{}
	for _, q := range feed.Quantities() {
		if i := slices.Index(names, string(q)); i >= 0 {
			out[q] = i
		}
	}
	const before = len(feed.ReservePrices)
	for i, h := range header {
		if len(h) > before && strings.EqualFold(h[:before], feed.ReservePrices) {
			out[feed.ReservePrice(h[before:])] = i
		}
	}
	for q, want := range r.o.Columns {
		if i := slices.Index(names, strings.ToLower(want)); i >= 0 {
			out[q] = i
		} else {
			delete(out, q)
		}
	}
	return out
}

func (r *reader) row(rec []string, when int, column map[feed.Quantity]int, place string) {
	if when >= len(rec) || strings.TrimSpace(rec[when]) == "" {
		r.tell("%s: the row has no time", place)
		return
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(rec[when]))
	if err != nil || at.Year() < 1990 || at.Year() > 2200 {
		r.tell("%s: %.40q is no time with its zone, such as 2026-01-31T17:00:00Z", place, rec[when])
		return
	}
	for q, i := range column {
		if i >= len(rec) {
			continue
		}
		text := strings.TrimSpace(rec[i])
		if text == "" {
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			r.tell("%s: %s %.40q is no number", place, q, text)
			continue
		}
		if q == feed.RealTimePrice || q.DayAhead() {
			v *= r.o.USDPer
		}
		if !feed.Plausible(q, v) {
			r.tell("%s: %s cannot be %s", place, q, text)
			continue
		}
		r.values[q] = append(r.values[q], feed.Point{From: at.UTC(), Value: v, Origin: "csv " + place})
	}
}

// finish sorts a series, settles what stands twice, and closes its intervals.
func (r *reader) finish(q feed.Quantity, ps []feed.Point) []feed.Point {
	slices.SortStableFunc(ps, func(a, b feed.Point) int { return a.From.Compare(b.From) })
	out := ps[:0:0]
	for _, p := range ps {
		n := len(out)
		if n > 0 && out[n-1].From.Equal(p.From) {
			if out[n-1].Value != p.Value {
				r.tell("%s: %s of %s stands twice; this one counts", strings.TrimPrefix(p.Origin, "csv "), q, p.From.Format(time.RFC3339))
			}
			out[n-1] = p
			continue
		}
		out = append(out, p)
	}
	d := r.o.Interval
	if d <= 0 {
		d = usual(out)
	}
	for i := range out {
		p := &out[i]
		p.To = p.From.Add(d)
		if i+1 < len(out) && out[i+1].From.Before(p.To) {
			p.To = out[i+1].From
		} else if i+1 < len(out) && out[i+1].From.After(p.To) {
			r.tell("%s: after this row %s is missing until %s", strings.TrimPrefix(p.Origin, "csv "), q, out[i+1].From.Format(time.RFC3339))
		}
		p.Published = p.From
		if q.DayAhead() {
			p.Published = p.From.Truncate(24 * time.Hour).Add(-r.o.Lead)
		}
	}
	return out
}

// usual returns the most frequent distance between the points, the shorter of
// two; an hour for a single point.
func usual(ps []feed.Point) time.Duration {
	count := map[time.Duration]int{}
	for i := 1; i < len(ps); i++ {
		count[ps[i].From.Sub(ps[i-1].From)]++
	}
	best := time.Hour
	for d, n := range count {
		if n > count[best] || (n == count[best] && d < best) {
			best = d
		}
	}
	return best
}
