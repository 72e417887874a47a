package history

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// fill reads rows until the window is full or the file ends.
func (s *Series) fill() error {
	for !s.ended && len(s.pending)-s.head < window {
		ok, err := s.in.next()
		if err != nil {
			return err
		}
		if !ok {
			s.ended = true
			return nil
		}
		if err := s.row(); err != nil {
			return err
		}
	}
	return nil
}

// row reads the row and puts it in its place.
func (s *Series) row() error {
	fields := s.in.fields
	at, why := stamp(fields[0], s.utc)
	if why != "" {
		return s.in.errorf("", "%.40q %s", fields[0], why)
	}
	c := cell{at: at, value: math.NaN(), line: s.in.line, unordered: at < s.last}
	if s.first.line == 0 {
		s.first = c
	}
	if at < s.first.at {
		s.first.at = at
	}
	s.last, s.latest = at, max(s.latest, at)
	if at <= s.taken {
		return s.in.errorf("sort the file by time, the oldest row first", "the row of %s stands more than %d rows away from its place", text(at), window)
	}
	// What lies before the range is not judged; only the file's first rows are
	// kept, for they show the step.
	if at < s.from && s.grid {
		return nil
	}
	if n := len(fields); n != len(s.in.names) {
		c.bad = fmt.Sprintf("the row has %d field%s, the header %d", n, plural(n), len(s.in.names))
	} else if c.value, c.bad = number(fields[s.col]); c.bad == "" && !math.IsNaN(c.value) {
		if c.bad = s.outside(c.value); c.bad != "" {
			c.value = math.NaN()
		}
	}
	s.place(c)
	return nil
}

// place inserts the cell by its time, after those of the same time.
func (s *Series) place(c cell) {
	if len(s.pending) == cap(s.pending) { // the half of it, at least, is taken
		n := copy(s.pending, s.pending[s.head:])
		s.pending, s.head = s.pending[:n], 0
	}
	if n := len(s.pending); n == s.head || s.pending[n-1].at <= c.at {
		s.pending = append(s.pending, c)
		return
	}
	i, _ := slices.BinarySearchFunc(s.pending[s.head:], c.at, func(p cell, at int64) int {
		if p.at <= at {
			return -1
		}
		return 1
	})
	s.pending = slices.Insert(s.pending, s.head+i, c)
}

// take returns the next cell of the range on the grid, with all rows of its time
// made one, and notes what was found in them. It is false after the last.
func (s *Series) take() (cell, bool, error) {
	for {
		if err := s.fill(); err != nil {
			return cell{}, false, err
		}
		if s.head == len(s.pending) || s.pending[s.head].at >= s.to {
			return cell{}, false, nil
		}
		c := s.pending[s.head]
		s.head++
		s.taken = c.at - 1 // more rows of this time may come
		if c.at < s.from {
			continue
		}
		if (c.at-s.phase)%s.step != 0 {
			s.note(OffGrid, c, 1, "")
			continue
		}
		single := true
		for s.head < len(s.pending) && s.pending[s.head].at == c.at {
			c = s.merge(c, s.pending[s.head])
			s.head++
			single = false
			if err := s.fill(); err != nil {
				return cell{}, false, err
			}
		}
		s.taken = c.at
		if single && c.unordered {
			s.note(Unordered, c, 1, "")
		}
		switch {
		case c.bad != "":
			s.note(Absurd, c, 1, c.bad)
		case math.IsNaN(c.value):
			s.note(Blank, c, 1, "")
		}
		return c, true, nil
	}
}

// merge makes one of two rows of the same time.
func (s *Series) merge(a, b cell) cell {
	kind, note := Duplicate, ""
	if a.value != b.value && !math.IsNaN(a.value) && !math.IsNaN(b.value) {
		kind, note = Conflict, fmt.Sprintf("%g, then %g", a.value, b.value)
	}
	if s.step <= int64(time.Hour) && atClockChange(instant(a.at)) {
		note, kind = "an hour stands twice; the later rows count", DST
	}
	s.note(kind, b, 1, note)
	if math.IsNaN(b.value) {
		return a
	}
	return b
}

func (s *Series) note(kind string, c cell, n int, note string) {
	s.found.add(Finding{Kind: kind, Line: c.line, From: instant(c.at), To: instant(c.at + s.step), Count: n, Note: note})
}

// outside says why the value is not plausible, if it is not.
func (s *Series) outside(v float64) string {
	if (s.spec.Low == 0 && s.spec.High == 0) || (v >= s.spec.Low && v <= s.spec.High) {
		return ""
	}
	return fmt.Sprintf("%g is not between %g and %g", v, s.spec.Low, s.spec.High)
}
