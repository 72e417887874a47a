package history

import (
	"errors"
	"io"
	"math"
	"strings"
	"time"

	"sluice"
)

// Series reads a recorded series forward, once. It is not safe for use by several
// goroutines.
type Series struct {
	spec     Spec
	in       *lines
	col      int
	utc      bool  // the time's column says that it is UTC
	from, to int64 // ns since 1970; to is the end of time where there is none
	step     int64 // ns; 0 until it is known
	phase    int64 // of the grid, ns

	pending []cell // by time, from head on; those of one time in the file's order
	head    int
	ended   bool  // the file was read to its end
	last    int64 // time of the row read last
	taken   int64 // time of the cell taken last, -1 before
	first   cell  // of the file
	latest  int64 // time in the file

	next    int64 // time of the next row that Next returns
	ahead   cell  // the next cell, where has
	has     bool
	grid    bool // step and phase are known
	started bool
	done    bool // no cell comes any more
	stop    int64
	line    int // of the row given out last; 1, the header, before
	given   int // steps
	err     error

	current Row // of At

	found findings
}

// cell is a row of the file.
type cell struct {
	at        int64
	value     float64
	line      int
	bad       string // why the value is absurd
	unordered bool
}

// Open opens the series and reads its header and its first rows. A file that is
// not there is a NotFound error, one of the wrong form an Invalid one.
func Open(spec Spec) (*Series, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	in, err := openLines(spec.Path)
	if err != nil {
		return nil, err
	}
	return newSeries(spec, in)
}

// newSeries reads the first rows; it closes the lines where that fails.
func newSeries(spec Spec, in *lines) (*Series, error) {
	s := &Series{spec: spec, in: in, to: math.MaxInt64, step: int64(spec.Step), taken: -1, line: 1, pending: make([]cell, 0, 2*window), found: findings{path: spec.Path}}
	if !spec.From.IsZero() {
		s.from = spec.From.UnixNano()
	}
	if !spec.To.IsZero() {
		s.to = spec.To.UnixNano()
	}
	if err := s.begin(); err != nil {
		_ = in.close()
		return nil, err
	}
	return s, nil
}

func (s *Series) begin() error {
	names := s.in.names
	s.utc = strings.HasSuffix(strings.ToLower(names[0]), "_utc")
	switch {
	case len(names) < 2:
		return s.in.errorf("the first column is the time, the others are values", "the file has no column of values")
	case s.spec.Column != "":
		var err error
		if s.col, err = s.in.column(s.spec.Column); err != nil {
			return err
		}
		if s.col == 0 {
			return sluice.Errorf(sluice.Invalid, "name one of "+list(names[1:]), "%s: the column %s is the time", s.spec.Path, names[0])
		}
	case len(names) == 2:
		s.col = 1
	default:
		return sluice.Errorf(sluice.Invalid, "name the column", "%s has several columns of values: %s", s.spec.Path, list(names[1:]))
	}
	if err := s.fill(); err != nil {
		return err
	}
	if len(s.pending) == 0 {
		return sluice.Errorf(sluice.Invalid, "", "%s has a header and no rows", s.spec.Path)
	}
	if err := s.infer(); err != nil {
		return err
	}
	if s.hasFrom() && s.hasTo() && (s.to-s.from)/s.step > maxSteps {
		return s.tooLong()
	}
	return nil
}

func (s *Series) hasFrom() bool { return !s.spec.From.IsZero() }

func (s *Series) hasTo() bool { return !s.spec.To.IsZero() }

// Column is the value's column, as the file names it.
func (s *Series) Column() string { return s.in.names[s.col] }

// Step is the distance of the rows.
func (s *Series) Step() time.Duration { return time.Duration(s.step) }

// Close closes the file. Findings may still be asked for.
func (s *Series) Close() error { return s.in.close() }

// Findings returns what was found so far in the range, by line: of all of it once
// Next has returned io.EOF.
func (s *Series) Findings() []Finding { return s.found.all() }

// Next returns the row of the next step of the range, also where the file has
// none, and io.EOF after the last. After an error it returns that error again.
func (s *Series) Next() (Row, error) {
	if s.err != nil {
		return Row{}, s.err
	}
	r, err := s.advance()
	if err != nil {
		s.err = err
	}
	return r, err
}

func (s *Series) advance() (Row, error) {
	if !s.has && !s.done {
		if err := s.lookAhead(); err != nil {
			return Row{}, err
		}
	}
	if s.done && s.next >= s.stop {
		return Row{}, io.EOF
	}
	if s.given++; s.given > maxSteps {
		return Row{}, s.tooLong()
	}
	r := Row{At: instant(s.next), Value: math.NaN()}
	if s.has && s.ahead.at == s.next {
		r.Value, r.Line = s.ahead.value, s.ahead.line
		s.line, s.has = s.ahead.line, false
	}
	s.next += s.step
	return r, nil
}

// lookAhead takes the next cell and notes the gap before it.
func (s *Series) lookAhead() error {
	c, ok, err := s.take()
	if err != nil {
		return err
	}
	if !s.started {
		if !ok {
			return s.nothing()
		}
		s.started = true
		s.next = c.at
		if s.hasFrom() {
			s.next = s.onGrid(s.from)
		}
	} else if ok && c.at-s.next > int64(maxGap) {
		return sluice.Errorf(sluice.Invalid, "is its year mistyped?", "%s:%d: the row is of %s, more than ten years after the one before",
			s.spec.Path, c.line, text(c.at))
	}
	if ok {
		s.ahead, s.has = c, true
		return s.gap(s.next, c.at)
	}
	s.done, s.stop = true, s.next
	if s.hasTo() {
		s.stop = s.onGrid(s.to)
	}
	return s.gap(s.next, s.stop)
}

// gap notes that [from, to) is missing.
func (s *Series) gap(from, to int64) error {
	if from >= to {
		return nil
	}
	n := (to - from) / s.step
	if n > maxSteps {
		return s.tooLong()
	}
	f := Finding{Kind: Gap, Line: s.line, From: instant(from), To: instant(to), Count: int(n)}
	if to-from == int64(time.Hour) && atClockChange(f.From) && atClockChange(instant(to-1)) {
		f.Kind, f.Note = DST, "one hour is missing"
	}
	s.found.add(f)
	return nil
}

// onGrid returns the first instant of the grid at or after t.
func (s *Series) onGrid(t int64) int64 {
	off := (t - s.phase) % s.step
	if off > 0 {
		return t + s.step - off
	}
	return t - off
}

func (s *Series) tooLong() error {
	return sluice.Errorf(sluice.Invalid, "ask for a shorter range", "%s: the range has more than %d steps of %s", s.spec.Path, maxSteps, s.Step())
}

func (s *Series) nothing() error {
	return sluice.Errorf(sluice.Invalid, "ask for a range that the file covers", "%s has no row %s; it begins at %s%s", s.spec.Path, s.wanted(), text(s.first.at), s.reach())
}

func (s *Series) wanted() string {
	switch {
	case s.hasFrom() && s.hasTo():
		return "from " + text(s.from) + " to " + text(s.to)
	case s.hasFrom():
		return "from " + text(s.from) + " on"
	case s.hasTo():
		return "before " + text(s.to)
	}
	return "on the grid"
}

func (s *Series) reach() string {
	if !s.ended {
		return ""
	}
	return " and ends at " + text(s.latest)
}

// At returns the value of the interval that holds t, for callers that walk
// forward at a step of their own: a daily difficulty over hours. It is false
// where the value is not known, outside the range, and where t lies before an
// interval asked for already. Use either At or Next on a series; Err tells
// whether reading failed.
func (s *Series) At(t time.Time) (value float64, ok bool) {
	for s.current.At.IsZero() || !t.Before(s.current.At.Add(s.Step())) {
		r, err := s.Next()
		if err != nil {
			return math.NaN(), false
		}
		s.current = r
	}
	if t.Before(s.current.At) || !s.current.Known() {
		return math.NaN(), false
	}
	return s.current.Value, true
}

// Err returns the error that ended the reading, nil at the end of the range.
func (s *Series) Err() error {
	if errors.Is(s.err, io.EOF) {
		return nil
	}
	return s.err
}

func instant(ns int64) time.Time { return time.Unix(0, ns).UTC() }

func text(ns int64) string { return instant(ns).Format(time.RFC3339) }
