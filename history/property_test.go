package history

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// readText reads a series from the text of a file.
func readText(spec Spec, text string) ([]Row, []Finding, error) {
	in, err := newLines(spec.Path, io.NopCloser(strings.NewReader(text)))
	if err != nil {
		return nil, nil, err
	}
	s, err := newSeries(spec, in)
	if err != nil {
		return nil, nil, err
	}
	var out []Row
	for {
		r, err := s.Next()
		if err != nil {
			return out, s.Findings(), s.Err()
		}
		out = append(out, r)
	}
}

// stepOf draws a step that files have.
func stepOf() *rapid.Generator[time.Duration] {
	return rapid.SampledFrom([]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 24 * time.Hour})
}

// drawn is a clean series and its lines.
type drawn struct {
	start  time.Time
	step   time.Duration
	values []float64
	lines  []string
}

func draw(t *rapid.T, least int) drawn {
	d := drawn{step: stepOf().Draw(t, "step")}
	// Summer and winter: no clock changes, which have a test of their own.
	month := rapid.SampledFrom([]time.Month{time.January, time.June, time.December}).Draw(t, "month")
	d.start = time.Date(rapid.IntRange(1971, 2190).Draw(t, "year"), month, 1, 0, 0, 0, 0, time.UTC).
		Add(time.Duration(rapid.IntRange(0, 60*60).Draw(t, "phase")) * time.Second)
	zone := time.FixedZone("", 60*15*rapid.IntRange(-48, 56).Draw(t, "zone"))
	form := rapid.SampledFrom([]string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05.000Z07:00"}).Draw(t, "form")
	most := int(28 * 24 * time.Hour / d.step)
	d.values = rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), least, min(most, 200)).Draw(t, "values")
	for i, v := range d.values {
		d.lines = append(d.lines, fmt.Sprintf("%s,%v\n", d.start.Add(time.Duration(i)*d.step).In(zone).Format(form), v))
	}
	return d
}

func (d drawn) check(t *rapid.T, rows []Row, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(d.values) {
		t.Fatalf("%d rows of %d", len(rows), len(d.values))
	}
	for i, r := range rows {
		if want := d.start.Add(time.Duration(i) * d.step); !r.At.Equal(want) {
			t.Fatalf("row %d is of %s, not %s", i, r.At, want)
		}
		if r.Value != d.values[i] && !(math.IsNaN(r.Value) && math.IsNaN(d.values[i])) {
			t.Fatalf("row %d is %v, not %v", i, r.Value, d.values[i])
		}
	}
}

// What goes in on a clean grid comes out, and nothing is found.
func TestCleanInCleanOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t, 2)
		rows, found, err := readText(Spec{Path: "f.csv"}, head+strings.Join(d.lines, ""))
		d.check(t, rows, err)
		if len(found) > 0 {
			t.Fatalf("found %v", found)
		}
	})
}

// Removing rows makes exactly those gaps, each after the row before it.
func TestRemovedRowsAreGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t, 3)
		text, missing := head, map[int]bool{}
		for i := range d.lines {
			if i > 0 && i < len(d.lines)-1 && rapid.IntRange(0, 3).Draw(t, "gone") == 0 {
				missing[i] = true
				d.values[i] = math.NaN()
				continue
			}
			text += d.lines[i]
		}
		rows, found, err := readText(Spec{Path: "f.csv", Step: d.step}, text)
		d.check(t, rows, err)
		line := 2
		for i, r := range rows {
			if want := line; missing[i] != (r.Line == 0) || (r.Line != 0 && r.Line != want) {
				t.Fatalf("row %d stands at line %d, not %d", i, r.Line, want)
			}
			if !missing[i] {
				line++
			}
		}
		told := map[int]bool{}
		for _, f := range found {
			first := int(f.From.Sub(d.start) / d.step)
			if f.Kind != Gap || f.To.Sub(f.From) != time.Duration(f.Count)*d.step || f.Line != rows[first-1].Line || missing[first+f.Count] {
				t.Fatalf("found %+v", f)
			}
			for i := range f.Count {
				told[first+i] = true
			}
		}
		if len(told) != len(missing) {
			t.Fatalf("told %v, missing %v", told, missing)
		}
		for i := range missing {
			if !told[i] {
				t.Fatalf("the gap at %d is not told", i)
			}
		}
	})
}

// Rows in any order, within the window, give the series of those in order.
func TestShuffledRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t, 2)
		mixed := rapid.Permutation(d.lines).Draw(t, "order")
		rows, found, err := readText(Spec{Path: "f.csv"}, head+strings.Join(mixed, ""))
		d.check(t, rows, err)
		if slices.Equal(mixed, d.lines) != (len(found) == 0) {
			t.Fatalf("found %v", found)
		}
		for _, f := range found {
			if f.Kind != Unordered {
				t.Fatalf("found %v", f)
			}
		}
	})
}

// Repeated rows change nothing and are all counted.
func TestRepeatedRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t, 2)
		text, twice := head, 0
		for _, l := range d.lines {
			n := rapid.IntRange(0, 2).Draw(t, "again")
			text += strings.Repeat(l, 1+n)
			twice += n
		}
		rows, found, err := readText(Spec{Path: "f.csv"}, text)
		d.check(t, rows, err)
		for _, f := range found {
			if f.Kind != Duplicate {
				t.Fatalf("found %v", f)
			}
			twice -= f.Count
		}
		if twice != 0 {
			t.Fatalf("%d rows too few or too many told", twice)
		}
	})
}

// A range gives the part of the whole that lies in it.
func TestRangeIsAPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := draw(t, 2)
		for i := range d.values { // some of them blank
			if rapid.IntRange(0, 5).Draw(t, "blank") == 0 {
				d.values[i] = math.NaN()
				d.lines[i] = d.lines[i][:strings.IndexByte(d.lines[i], ',')+1] + "\n"
			}
		}
		text := head + strings.Join(d.lines, "")
		a := rapid.IntRange(0, len(d.lines)-1).Draw(t, "from")
		b := rapid.IntRange(a+1, len(d.lines)).Draw(t, "to")
		spec := Spec{Path: "f.csv", From: d.start.Add(time.Duration(a) * d.step), To: d.start.Add(time.Duration(b) * d.step)}
		if rapid.Bool().Draw(t, "off the grid") { // half a step earlier at both ends is the same
			spec.From, spec.To = spec.From.Add(-d.step/2), spec.To.Add(-d.step/2)
		}
		rows, found, err := readText(spec, text)
		part := drawn{start: d.start.Add(time.Duration(a) * d.step), step: d.step, values: d.values[a:b]}
		part.check(t, rows, err)
		blanks := 0
		for _, f := range found {
			if f.Kind != Blank || f.From.Before(spec.From) || f.From.After(spec.To) {
				t.Fatalf("found %v", f)
			}
			blanks += f.Count
		}
		for _, v := range part.values {
			if math.IsNaN(v) {
				blanks--
			}
		}
		if blanks != 0 {
			t.Fatalf("%d blanks too few or too many told", blanks)
		}
	})
}

// The fast reading of times is that of the standard library.
func TestFastStamp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digits := func(n, most int) string { return fmt.Sprintf("%0*d", n, rapid.IntRange(0, most).Draw(t, "part")) }
		zone := "Z"
		if rapid.Bool().Draw(t, "offset") {
			zone = rapid.SampledFrom([]string{"+", "-"}).Draw(t, "sign") + digits(2, 23) + ":" + digits(2, 59)
		}
		sep := rapid.SampledFrom([]string{"T", " "}).Draw(t, "separator")
		text := fmt.Sprintf("%04d-%s-%s%s%s:%s:%s%s", rapid.IntRange(1960, 2210).Draw(t, "year"), digits(2, 13), digits(2, 32), sep, digits(2, 25), digits(2, 61), digits(2, 61), zone)
		broken := rapid.IntRange(0, 9).Draw(t, "broken") == 0
		if broken {
			b := []byte(text)
			b[rapid.IntRange(0, len(b)-1).Draw(t, "where")] = rapid.Byte().Draw(t, "what")
			text = string(b)
		}
		got, fast := fastStamp([]byte(text))
		want, err := time.Parse(time.RFC3339, strings.Replace(text, " ", "T", 1))
		if fast && (err != nil || want.UnixNano() != got) {
			t.Fatalf("%q is %s and not %s (%v)", text, instant(got), want, err)
		}
		if !fast && !broken && err == nil && want.Year() > firstYear && want.Year() < lastYear-1 {
			t.Fatalf("%q is not read fast", text)
		}
	})
}

// FuzzSeries reads any bytes: one clear error, or rows one step apart.
func FuzzSeries(f *testing.F) {
	for _, c := range rules {
		f.Add([]byte(c.text), c.spec.Column, int64(c.spec.Step), int64(0), int64(0))
	}
	for _, c := range refusals {
		f.Add([]byte(c.text), c.spec.Column, int64(c.spec.Step), int64(0), int64(0))
	}
	f.Add([]byte(hours("2021-06-01T00:00:00Z,1", "2022-06-01T00:00:00Z,2")), "", int64(5*time.Minute), int64(1_600_000_000), int64(1_700_000_000))
	f.Add([]byte("\x1f\x8b\x08\x00\x00"), "", int64(0), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, text []byte, column string, step, from, to int64) {
		spec := Spec{Path: "f.csv", Column: column, Step: time.Duration(step)}
		if from != 0 {
			spec.From = time.Unix(from, 0)
		}
		if to != 0 {
			spec.To = time.Unix(to, 0)
		}
		if spec.check() != nil {
			return
		}
		in, err := newLines(spec.Path, io.NopCloser(bytes.NewReader(text)))
		if err != nil {
			told(t, err)
			return
		}
		s, err := newSeries(spec, in)
		if err != nil {
			told(t, err)
			return
		}
		var last time.Time
		for range 10_000 { // a hole of ten years at a second is legal, and long
			r, err := s.Next()
			if err != nil {
				if s.Err() != nil {
					told(t, err)
				}
				break
			}
			if !last.IsZero() && r.At.Sub(last) != s.Step() {
				t.Fatalf("%s follows %s at a step of %s", r.At, last, s.Step())
			}
			if math.IsInf(r.Value, 0) || (r.Line == 0 && r.Known()) {
				t.Fatalf("%+v", r)
			}
			if (!spec.From.IsZero() && r.At.Before(spec.From)) || (!spec.To.IsZero() && !r.At.Before(spec.To)) {
				t.Fatalf("%s is not in the range", r.At)
			}
			last = r.At
		}
		for _, f := range s.Findings() {
			if f.Count < 1 || f.Line < 1 || f.To.Before(f.From) || len(f.String()) > 400 {
				t.Fatalf("%+v", f)
			}
		}
	})
}

// told checks that an error names the file and stays readable.
func told(t *testing.T, err error) {
	t.Helper()
	if s := err.Error(); !strings.Contains(s, "f.csv") || len(s) > 4000 {
		t.Fatalf("%.500s", s)
	}
}
