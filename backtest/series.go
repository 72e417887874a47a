package backtest

import (
	"math"
	"path/filepath"
	"time"

	"sluice"
	"sluice/feed"
	"sluice/history"
)

// ahead is a series whose intervals are published the day before.
type ahead struct {
	in     *history.Series
	points []feed.Point // published and not yet past
	usdPer float64
	origin string
	next   *history.Row
	last   feed.Point // known of those asked for
	done   bool
	err    error
}

func openAhead(o *Options, q feed.Quantity, from time.Time) (*ahead, error) {
	spec, ok := o.Series[q]
	if !ok {
		return nil, nil
	}
	spec.From, spec.To = from.Truncate(24*time.Hour), o.To.Add(48*time.Hour)
	in, err := history.Open(spec)
	if err != nil {
		return nil, err
	}
	return &ahead{in: in, usdPer: o.USDPer, origin: filepath.Base(spec.Path) + ":" + spec.Column}, nil
}

// until reads what is published by now, and lets go of what is past. each is told
// of every new point.
func (a *ahead) until(now time.Time, each func(from time.Time, d time.Duration, usd float64)) {
	day := now.Truncate(24 * time.Hour)
	end := day.Add(24 * time.Hour)
	if now.Sub(day) >= publishAt {
		end = end.Add(24 * time.Hour)
	}
	step := a.in.Step()
	old := 0
	for old < len(a.points) && now.Sub(a.points[old].To) > step {
		old++
	}
	if old > 64 {
		a.points = append([]feed.Point(nil), a.points[old:]...)
	}
	for !a.done {
		if a.next == nil {
			r, err := a.in.Next()
			if err != nil {
				a.done, a.err = true, a.in.Err()
				return
			}
			a.next = &r
		}
		if !a.next.At.Before(end) {
			return
		}
		r := *a.next
		a.next = nil
		if !r.Known() {
			continue
		}
		v := r.Value * a.usdPer
		published := r.At.Truncate(24 * time.Hour).Add(publishAt - 24*time.Hour)
		a.points = append(a.points, feed.Point{From: r.At, To: r.At.Add(step), Value: v, Published: published, Origin: a.origin})
		if each != nil {
			each(r.At, step, v)
		}
	}
}

// value is that of the interval that holds t, NaN where it is not known.
func (a *ahead) value(t time.Time) float64 {
	for i := range a.points {
		if p := &a.points[i]; !t.Before(p.From) && t.Before(p.To) {
			a.last = *p
			return p.Value
		}
	}
	return math.NaN()
}

// paid is what a reserve pays at t, by the site's own rule: what is known, else
// the last that was known for as long as a feed counts as fresh, else the stated
// rate, else the last.
func (a *ahead) paid(t time.Time, rate float64) float64 {
	if a == nil {
		return rate
	}
	if v := a.value(t); !math.IsNaN(v) {
		return v
	}
	if rate > 0 && (a.last.To.IsZero() || t.Sub(a.last.To) > longestHole) {
		return rate
	}
	return a.last.Value
}

// slow is a series whose last value holds where it is not known.
type slow struct {
	in     *history.Series
	path   string
	origin string
	last   float64
	known  bool
}

func openSlow(o *Options, q feed.Quantity) (*slow, error) {
	spec, ok := o.Series[q]
	if !ok {
		return nil, nil
	}
	spec.From, spec.To = o.From.Add(-48*time.Hour), o.To
	in, err := history.Open(spec)
	if err != nil {
		return nil, err
	}
	return &slow{in: in, path: spec.Path, origin: filepath.Base(spec.Path) + ":" + spec.Column}, nil
}

func (s *slow) value(t time.Time) (float64, bool) {
	if v, ok := s.in.At(t); ok {
		s.last, s.known = v, true
	}
	return s.last, s.known
}

func (s *slow) missing(t time.Time) error {
	if err := s.in.Err(); err != nil {
		return err
	}
	return sluice.Errorf(sluice.Invalid, "begin where it is known, or give another series", "%s (%s) has no value at %s", s.path, s.origin, t.Format(time.RFC3339))
}
