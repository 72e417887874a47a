// Package history owns recorded series: prices, the bitcoin network and job
// arrivals, read from CSV files (plain or gzip) in one pass with flat memory,
// cleaned by stated rules. Whatever is not as it should be is found and reported
// with its file and line (Finding); nothing is mended silently.
//
// Form of a file. The first line names the columns; a byte order mark, CRLF,
// quoted fields, blank lines and lines that begin with # are fine. The first
// column is the start of the interval: RFC 3339 with Z or an offset, with T or a
// space between date and time. In a column whose name ends in _utc, a date alone
// is that UTC day. Rules says how rows are cleaned, Fill how unknown values are
// stood in for; docs/history.md has both with examples.
package history

import (
	"fmt"
	"math"
	"time"

	"sluice"
)

// Spec says which series to read.
type Spec struct {
	Path   string // a .csv or .csv.gz file
	Column string // the value's column; empty: the only one beside the time
	// Step is the distance of the rows; 0: the most frequent one of the file's
	// first rows.
	Step time.Duration
	// From and To are the half-open range that is wanted; zero: from the first
	// row, to the last. A range that the file does not cover is a gap; a range
	// of which it has no row at all is an error.
	From, To time.Time
	// Low and High are plausible bounds, in the column's unit. What lies outside
	// is absurd and unknown. Both 0: every finite number is plausible.
	Low, High float64
}

// Row is one step of a series.
type Row struct {
	At    time.Time // start of the interval, UTC
	Value float64   // NaN: unknown
	Line  int       // where it stands in the (unpacked) file; 0: there is no row
}

// Known says whether the row has a value.
func (r Row) Known() bool { return !math.IsNaN(r.Value) }

const (
	// window is how many rows are held to put rows in order, and from how many
	// the step and the grid are inferred.
	window = 1024
	// maxSteps bounds a range: a year of seconds, a hundred years of 5 minutes.
	maxSteps = 1 << 25
	// maxGap is the longest hole between two rows. A longer one is a mistyped year.
	maxGap  = 10 * 366 * 24 * time.Hour
	minStep = time.Second
	maxStep = 366 * 24 * time.Hour
	// Times outside these years are mistyped.
	firstYear, lastYear = 1970, 2200
)

// Rules returns the rules by which a series is cleaned and filled, a sentence or
// two each, for reports.
func Rules() []string {
	return append([]string{
		"The grid is the step and the phase that most of the first 1,024 rows keep; rows off the grid are left out and reported.",
		"A step without a row is missing (gap), a row without a value is unknown (blank); neither is filled here.",
		"A value that is no number, infinite, or outside the plausible bounds, and a row with another number of fields than the header, is unknown (absurd).",
		"Rows out of order are put in their place if that is at most 1,024 rows away (unordered); else the file is refused.",
		"Rows that stand twice with the same value count once (duplicate); with another value the later row counts, as a restatement (conflict). An unknown value never replaces a known one.",
		"One missing or repeated hour where the clocks of the US, the EU or Australia change (Saturday 12:00 to Sunday 12:00 UTC) is reported as dst: the file was not written in UTC all along.",
		"A file is refused where a time cannot be read, has no zone or lies outside 1970 to 2199, a hole is longer than ten years, or the file is cut off.",
	}, fillRules()...)
}

// check refuses what makes no sense.
func (s Spec) check() error {
	bad := func(format string, args ...any) error {
		return sluice.Errorf(sluice.Invalid, "", "reading %s: %s", s.Path, fmt.Sprintf(format, args...))
	}
	if s.Step != 0 && (s.Step < minStep || s.Step > maxStep) {
		return bad("a step of %s is not between 1 second and 366 days", s.Step)
	}
	for _, t := range []time.Time{s.From, s.To} {
		if y := t.UTC().Year(); !t.IsZero() && (y < firstYear || y > lastYear) {
			return bad("%s is not between %d and %d", t.Format(time.RFC3339), firstYear, lastYear)
		}
	}
	if !s.From.IsZero() && !s.To.IsZero() && !s.From.Before(s.To) {
		return bad("the range from %s to %s is empty", s.From.Format(time.RFC3339), s.To.Format(time.RFC3339))
	}
	if math.IsNaN(s.Low) || math.IsNaN(s.High) || s.Low > s.High {
		return bad("the bounds %g to %g hold no value", s.Low, s.High)
	}
	return nil
}
