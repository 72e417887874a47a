package history

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
)

// file writes a fixture and returns its path.
func file(tb testing.TB, name, text string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func utc(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

// shown prints values as people write them, ? for unknown.
func shown(vs []float64) string {
	var s []string
	for _, v := range vs {
		if math.IsNaN(v) {
			s = append(s, "?")
			continue
		}
		s = append(s, fmt.Sprint(v))
	}
	return strings.Join(s, " ")
}

const head = "ts_utc,price\n"

// hours returns the file of hourly rows of 2021-06-01 that begin at the given hour.
func hours(rows ...string) string {
	return head + strings.Join(rows, "\n") + "\n"
}

func h(hour int, value string) string {
	return fmt.Sprintf("2021-06-01T%02d:00:00Z,%s", hour, value)
}

var rules = []struct {
	name  string
	text  string
	spec  Spec
	start string // of the grid; empty: 2021-06-01T00:00:00Z
	step  time.Duration
	want  string   // values
	found []string // "LINE kind COUNT FROM..TO note", times without their date where it is 2021-06-01
}{
	{name: "clean", text: hours(h(0, "1"), h(1, "2.5"), h(2, "-3e1")), want: "1 2.5 -30"},
	{name: "no line end at the end", text: strings.TrimSuffix(hours(h(0, "1"), h(1, "2")), "\n"), want: "1 2"},
	{name: "byte order mark and CRLF", text: "\ufeff" + strings.ReplaceAll(hours(h(0, "1"), h(1, "2")), "\n", "\r\n"), want: "1 2"},
	{name: "comments and blank lines", text: "# made by hand\n\n" + hours(h(0, "1"), "", "# later", h(1, "2"), "  "), want: "1 2"},
	{name: "spaces around fields", text: head + " 2021-06-01T00:00:00Z , 1 \n 2021-06-01T01:00:00Z , 2\n", want: "1 2"},
	{name: "quoted fields", text: "\"ts_utc\",\"a, b\",price\n\"2021-06-01T00:00:00Z\",\"x, \"\"y\"\"\",\"1\"\n2021-06-01T01:00:00Z,z,2\n", spec: Spec{Column: "price"}, want: "1 2"},
	{name: "column by name, whatever its case", text: "ts_utc,a,Price\n2021-06-01T00:00:00Z,5,1\n2021-06-01T01:00:00Z,6,2\n", spec: Spec{Column: " PRICE "}, want: "1 2"},

	{name: "space between date and time", text: head + "2021-06-01 00:00:00+00:00,1\n2021-06-01 01:00:00+00:00,2\n", want: "1 2"},
	{name: "forms of times", text: head + "2021-06-01T00:00Z,1\n2021-06-01t01:00:00z,2\n2021-06-01T02:00:00.000Z,3\n2021-05-31T22:00:00-0500,4\n2021-06-01 06:00:00+02,5\n", want: "1 2 3 4 5"},
	{name: "days", text: "date_utc,price\n2021-06-01,1\n2021-06-02,2\n", step: 24 * time.Hour, want: "1 2"},
	{name: "a single day", text: "date_utc,price\n2021-06-01,1\n", step: 24 * time.Hour, want: "1"},
	{name: "a single row at a given step", text: hours(h(0, "1")), spec: Spec{Step: time.Hour}, want: "1"},
	{name: "the spring change in offsets", text: head + "2021-03-14T01:00:00-06:00,1\n2021-03-14T03:00:00-05:00,2\n2021-03-14T04:00:00-05:00,3\n", start: "2021-03-14T07:00:00Z", want: "1 2 3"},
	{name: "the autumn change in offsets", text: head + "2021-11-07T00:00:00-05:00,1\n2021-11-07T01:00:00-05:00,2\n2021-11-07T01:00:00-06:00,3\n2021-11-07T02:00:00-06:00,4\n", start: "2021-11-07T05:00:00Z", want: "1 2 3 4"},

	{name: "gap", text: hours(h(0, "1"), h(1, "2"), h(4, "5"), h(5, "6")), want: "1 2 ? ? 5 6", found: []string{"3 gap 2 02:00..04:00"}},
	{
		name: "gaps at both ends of the range", text: hours(h(2, "1"), h(3, "2")), spec: Spec{From: utc("2021-06-01T00:00:00Z"), To: utc("2021-06-01T06:00:00Z")},
		want: "? ? 1 2 ? ?", found: []string{"1 gap 2 00:00..02:00", "3 gap 2 04:00..06:00"},
	},
	{name: "a range within", text: hours(h(0, "1"), h(1, ""), h(2, "3"), h(3, "4"), h(5, "")), spec: Spec{From: utc("2021-06-01T02:00:00Z"), To: utc("2021-06-01T04:00:00Z")}, start: "2021-06-01T02:00:00Z", want: "3 4"},
	{name: "a range off the grid", text: hours(h(0, "1"), h(1, "2"), h(2, "3"), h(3, "4")), spec: Spec{From: utc("2021-06-01T00:30:00Z"), To: utc("2021-06-01T02:30:00Z")}, start: "2021-06-01T01:00:00Z", want: "2 3"},
	{
		name: "blanks, and words for them", text: hours(h(0, "1"), h(1, ""), h(2, "NaN"), h(3, "null"), h(4, "5"), h(5, " ")), want: "1 ? ? ? 5 ?",
		found: []string{"3 blank 3 01:00..04:00", "7 blank 1 05:00..06:00"},
	},
	{name: "rows that stand twice", text: hours(h(0, "1"), h(1, "2"), h(1, "2"), h(1, "2.0"), h(2, "3")), want: "1 2 3", found: []string{"4 duplicate 2 01:00..02:00"}},
	{name: "a restatement", text: hours(h(0, "1"), h(1, "2"), h(1, "7"), h(2, "3")), want: "1 7 3", found: []string{"4 conflict 1 01:00..02:00 2, then 7"}},
	{name: "an unknown value replaces none", text: hours(h(0, "1"), h(1, "2"), h(1, ""), h(2, "x"), h(2, "3")), want: "1 2 3", found: []string{"4 duplicate 2 01:00..03:00"}},
	{
		name: "no numbers", text: hours(h(0, "1"), h(1, "12abc"), h(2, "Inf"), h(3, "1e999"), h(4, "0x10"), h(5, "1_000"), h(6, "--1"), h(7, "8")), want: "1 ? ? ? ? ? ? 8",
		found: []string{`3 absurd 6 01:00..07:00 "12abc" is no finite number`},
	},
	{name: "a decimal comma", text: hours(h(0, "1"), h(1, "2,5"), h(2, "3")), want: "1 ? 3", found: []string{"3 absurd 1 01:00..02:00 the row has 3 fields, the header 2"}},
	{name: "a quoted thousand", text: hours(h(0, "1"), h(1, `"2,500"`), h(2, "3")), want: "1 ? 3", found: []string{`3 absurd 1 01:00..02:00 "2,500" is no finite number`}},
	{name: "a short row", text: "ts_utc,a,b\n2021-06-01T00:00:00Z,1,1\n2021-06-01T01:00:00Z,2\n", spec: Spec{Column: "a"}, want: "1 ?", found: []string{"3 absurd 1 01:00..02:00 the row has 2 fields, the header 3"}},
	{
		name: "out of bounds", text: hours(h(0, "-5"), h(1, "10"), h(2, "10.1"), h(3, "-5.1"), h(4, "0")), spec: Spec{Low: -5, High: 10}, want: "-5 10 ? ? 0",
		found: []string{"4 absurd 2 02:00..04:00 10.1 is not between -5 and 10"},
	},
	{name: "no bounds", text: hours(h(0, "-1e300"), h(1, "1e300")), want: "-1e+300 1e+300"},
	{name: "rows out of order", text: hours(h(0, "1"), h(3, "4"), h(1, "2"), h(2, "3"), h(4, "5")), want: "1 2 3 4 5", found: []string{"4 unordered 1 01:00..02:00"}},
	{
		name: "rows off the grid", text: hours(h(0, "1"), "2021-06-01T00:05:00Z,9", h(1, "2"), "2021-06-01T01:00:00.5Z,9", h(2, "3")), spec: Spec{Step: time.Hour}, want: "1 2 3",
		found: []string{"3 off-grid 2 00:05..02:00"},
	},
	{name: "a first row off the grid", text: hours("2021-06-01T00:05:00Z,9", h(1, "2"), h(2, "3"), h(3, "4")), start: "2021-06-01T01:00:00Z", want: "2 3 4", found: []string{"2 off-grid 1 00:05..01:05"}},
	{
		name: "the lost hour of autumn", text: head + "2021-11-07T05:00:00Z,1\n2021-11-07T06:00:00Z,2\n2021-11-07T08:00:00Z,4\n", start: "2021-11-07T05:00:00Z", want: "1 2 ? 4",
		found: []string{"3 dst 1 2021-11-07T07:00:00Z..2021-11-07T08:00:00Z one hour is missing"},
	},
	{
		name: "the lost hour in quarters", text: head + "2021-10-31T00:30:00Z,1\n2021-10-31T00:45:00Z,2\n2021-10-31T02:00:00Z,7\n", spec: Spec{Step: 15 * time.Minute}, start: "2021-10-31T00:30:00Z", want: "1 2 ? ? ? ? 7",
		found: []string{"3 dst 4 2021-10-31T01:00:00Z..2021-10-31T02:00:00Z one hour is missing"},
	},
	{
		name: "the repeated hour of autumn", text: head + "2021-11-07T00:30:00Z,1\n2021-11-07T01:00:00Z,2\n2021-11-07T01:30:00Z,3\n2021-11-07T01:00:00Z,4\n2021-11-07T01:30:00Z,5\n2021-11-07T02:00:00Z,6\n",
		start: "2021-11-07T00:30:00Z", step: 30 * time.Minute, want: "1 4 5 6", found: []string{"5 dst 2 2021-11-07T01:00:00Z..2021-11-07T02:00:00Z an hour stands twice; the later rows count"},
	},
	{
		name: "half an hour is no clock change", text: head + "2021-11-07T06:00:00Z,1\n2021-11-07T06:30:00Z,2\n2021-11-07T07:30:00Z,4\n", spec: Spec{Step: 30 * time.Minute}, start: "2021-11-07T06:00:00Z", want: "1 2 ? 4",
		found: []string{"3 gap 1 2021-11-07T07:00:00Z..2021-11-07T07:30:00Z"},
	},
	{
		name: "nor an hour that reaches beyond", text: head + "2021-11-07T11:00:00Z,1\n2021-11-07T12:30:00Z,2\n2021-11-07T13:00:00Z,4\n", spec: Spec{Step: 30 * time.Minute}, start: "2021-11-07T11:00:00Z", want: "1 ? ? 2 4",
		found: []string{"2 gap 2 2021-11-07T11:30:00Z..2021-11-07T12:30:00Z"},
	},
	{
		name: "two hours are no clock change", text: head + "2021-11-07T05:00:00Z,1\n2021-11-07T06:00:00Z,2\n2021-11-07T09:00:00Z,4\n", start: "2021-11-07T05:00:00Z", want: "1 2 ? ? 4",
		found: []string{"3 gap 2 2021-11-07T07:00:00Z..2021-11-07T09:00:00Z"},
	},
	{
		name: "nor is a week later", text: head + "2021-11-14T05:00:00Z,1\n2021-11-14T06:00:00Z,2\n2021-11-14T08:00:00Z,4\n", start: "2021-11-14T05:00:00Z", want: "1 2 ? 4",
		found: []string{"3 gap 1 2021-11-14T07:00:00Z..2021-11-14T08:00:00Z"},
	},
}

// brief writes a finding as the table has it.
func brief(f Finding) string {
	at := func(t time.Time) string {
		if t.Format(time.DateOnly) == "2021-06-01" {
			return t.Format("15:04")
		}
		return t.Format(time.RFC3339)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %d %s..%s %s", f.Line, f.Kind, f.Count, at(f.From), at(f.To), f.Note))
}

func TestRules(t *testing.T) {
	for _, c := range rules {
		t.Run(c.name, func(t *testing.T) {
			spec := c.spec
			spec.Path = file(t, "f.csv", c.text)
			g, err := Read(spec)
			if err != nil {
				t.Fatal(err)
			}
			if c.start == "" {
				c.start = "2021-06-01T00:00:00Z"
			}
			step := cmp.Or(c.step, spec.Step, time.Hour)
			if got := shown(g.Values); got != c.want || !g.Start.Equal(utc(c.start)) || g.Step != step {
				t.Errorf("%s at %s from %s; want %s at %s from %s", got, g.Step, g.Start, c.want, step, c.start)
			}
			var found []string
			for _, f := range g.Findings {
				found = append(found, brief(f))
				if f.Path != spec.Path {
					t.Errorf("the finding is of %s", f.Path)
				}
			}
			if !slices.Equal(found, c.found) {
				t.Errorf("found\n%s\nwant\n%s", strings.Join(found, "\n"), strings.Join(c.found, "\n"))
			}
		})
	}
}

var refusals = []struct {
	name, text string
	spec       Spec
	want       []string // in the error's text
}{
	{name: "empty", text: "", want: []string{"f.csv is empty"}},
	{name: "blank lines only", text: "\n\n# x\n", want: []string{"f.csv is empty"}},
	{name: "header only", text: head, want: []string{"f.csv has a header and no rows"}},
	{name: "no header", text: h(0, "1") + "\n", want: []string{"f.csv:1: the file has no header", "2021-06-01T00:00:00Z"}},
	{name: "numbers only", text: "0,0,5\n0,0,0\n", want: []string{"f.csv:1: the file has no header"}},
	{name: "one column", text: "ts_utc\n2021-06-01T00:00:00Z\n", want: []string{"f.csv:1: the file has no column of values"}},
	{name: "several columns", text: "ts_utc,a,b\n", want: []string{"several columns of values: a, b", "name the column"}},
	{name: "unknown column", text: "ts_utc,lz_west_usd,lz_north_usd\n", spec: Spec{Column: "lz_wets_usd"}, want: []string{`no column "lz_wets_usd"; it has ts_utc, lz_west_usd, lz_north_usd`, "did you mean lz_west_usd?"}},
	{name: "the time as value", text: "ts_utc,a,b\n", spec: Spec{Column: "ts_utc"}, want: []string{"the column ts_utc is the time", "name one of a, b"}},
	{name: "a column twice", text: "ts_utc,a,A\n", spec: Spec{Column: "a"}, want: []string{`the column "a" twice`}},
	{name: "local time", text: hours(h(0, "1"), "2021-06-01 01:00:00,2"), want: []string{`f.csv:3: "2021-06-01 01:00:00" has no zone`, "2026-01-31T17:00:00Z"}},
	{name: "local day", text: "date,a\n2021-06-01,1\n", want: []string{`f.csv:2: "2021-06-01" is a date without a zone: name the column date_utc`}},
	{name: "month", text: "month,a\n2021-06,1\n", want: []string{`f.csv:2: "2021-06" is no time`}},
	{name: "no such day", text: hours("2021-02-29T00:00:00Z,1"), want: []string{`f.csv:2: "2021-02-29T00:00:00Z" is no time`}},
	{name: "no time", text: hours(h(0, "1"), ",2"), want: []string{`f.csv:3: "" is no time`}},
	{name: "year 9999", text: hours(h(0, "1"), "9999-06-01T00:00:00Z,2"), want: []string{`f.csv:3: "9999-06-01T00:00:00Z" is outside the years 1970 to 2199`}},
	{name: "year 12021", text: hours(h(0, "1"), "12021-06-01T00:00:00Z,2"), want: []string{"f.csv:3: ", "is no time"}},
	{name: "year 0001", text: hours("0001-06-01T00:00:00Z,2"), want: []string{"f.csv:2: ", "outside the years"}},
	{name: "a mistyped year", text: hours(h(0, "1"), h(1, "2"), "2121-06-01T02:00:00Z,3"), spec: Spec{Step: time.Hour}, want: []string{"f.csv:4: the row is of 2121-06-01T02:00:00Z, more than ten years after"}},
	{name: "open quote", text: hours(h(0, "1"), h(1, `"2`)), want: []string{"f.csv:3: the line is no CSV"}},
	{name: "huge line", text: hours(h(0, "1"), h(1, strings.Repeat("1", maxLine))), want: []string{"f.csv:3: the line is longer than 64 KiB"}},
	{name: "huge header", text: strings.Repeat("a,", maxLine), want: []string{"f.csv:1: the line is longer than 64 KiB"}},
	{name: "not gzip", text: "PK\x03\x04", spec: Spec{Path: "f.csv.gz"}, want: []string{"f.csv.gz is no gzip file"}},
	{name: "one row", text: hours(h(0, "1")), want: []string{"the step does not show from 1 row", "say the step"}},
	{name: "no common step", text: hours(h(0, "1"), "2021-06-01T00:01:07Z,2", "2021-06-01T00:05:10Z,2", "2021-06-01T00:09:11Z,2", "2021-06-01T00:12:00Z,1"), spec: Spec{Step: time.Hour}, want: []string{"do not follow one another at a step of 1h0m0s"}},
	{name: "only rows off the grid", text: hours(h(0, "1"), h(1, "2"), "2021-06-01T01:30:00Z,3"), spec: Spec{Step: time.Hour, From: utc("2021-06-01T01:10:00Z"), To: utc("2021-06-01T01:50:00Z")}, want: []string{"no row from 2021-06-01T01:10:00Z to 2021-06-01T01:50:00Z"}},
	{name: "after all rows, without end", text: hours(h(0, "1"), h(1, "1")), spec: Spec{From: utc("2022-01-01T00:00:00Z")}, want: []string{"no row from 2022-01-01T00:00:00Z on; it begins"}},
	{name: "very many columns", text: "ts_utc" + strings.Repeat(",x", 3000) + "\n", want: []string{"x, x and 2980 more"}},
	{name: "before all rows", text: hours(h(0, "1"), h(1, "1")), spec: Spec{To: utc("2021-01-01T00:00:00Z")}, want: []string{"no row before 2021-01-01T00:00:00Z; it begins at 2021-06-01T00:00:00Z", "ask for a range"}},
	{name: "after all rows", text: hours(h(0, "1"), h(1, "1")), spec: Spec{From: utc("2022-01-01T00:00:00Z"), To: utc("2023-01-01T00:00:00Z")}, want: []string{"no row from 2022-01-01T00:00:00Z to 2023-01-01T00:00:00Z; it begins at 2021-06-01T00:00:00Z and ends at 2021-06-01T01:00:00Z"}},
	{name: "an empty range", text: head, spec: Spec{From: utc("2022-01-01T00:00:00Z"), To: utc("2022-01-01T00:00:00Z")}, want: []string{"the range from 2022-01-01T00:00:00Z to 2022-01-01T00:00:00Z is empty"}},
	{name: "a range of other ages", text: head, spec: Spec{From: utc("0022-01-01T00:00:00Z")}, want: []string{"0022-01-01T00:00:00Z is not between 1970 and 2200"}},
	{name: "a range of too many steps", text: hours(h(0, "1")), spec: Spec{Step: time.Second, From: utc("2021-01-01T00:00:00Z"), To: utc("2031-01-01T00:00:00Z")}, want: []string{"more than 33554432 steps of 1s", "shorter range"}},
	{name: "a hole of too many steps", text: hours("2021-06-01T00:00:00Z,1", "2021-06-01T00:00:01Z,1", "2028-06-01T00:00:00Z,1"), spec: Spec{Step: time.Second}, want: []string{"more than 33554432 steps of 1s"}},
	{name: "a step of nothing", text: head, spec: Spec{Step: time.Nanosecond}, want: []string{"a step of 1ns"}},
	{name: "bounds that hold nothing", text: head, spec: Spec{Low: 2, High: 1}, want: []string{"the bounds 2 to 1"}},
}

func TestRefusals(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			spec, name := c.spec, "f.csv"
			if spec.Path != "" {
				name = spec.Path
			}
			spec.Path = file(t, name, c.text)
			g, err := Read(spec)
			if err == nil {
				t.Fatalf("it reads %v", g)
			}
			if sluice.KindOf(err) != sluice.Invalid {
				t.Errorf("kind %v", sluice.KindOf(err))
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
}

// A file that was cut off must not pass for a whole one.
func TestCutGzip(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	text := head
	for i := range 5000 {
		text += fmt.Sprintf("%s,%d\n", utc("2021-01-01T00:00:00Z").Add(time.Duration(i)*time.Hour).Format(time.RFC3339), i*i%977)
	}
	w.Write([]byte(text))
	w.Close()
	whole := b.Bytes()
	if g, err := Read(Spec{Path: file(t, "f.csv.gz", string(whole))}); err != nil || len(g.Values) != 5000 {
		t.Fatalf("whole: %v", err)
	}
	// The ending alone tells its file.
	if g, err := Read(Spec{Path: file(t, "f.csv", string(whole))}); err != nil || len(g.Values) != 5000 {
		t.Fatalf("by its first bytes: %v", err)
	}
	for _, n := range []int{3, 12, len(whole) / 2, len(whole) - 1} {
		_, err := Read(Spec{Path: file(t, "f.csv.gz", string(whole[:n]))})
		if err == nil || !strings.Contains(err.Error(), "f.csv.gz") || sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	broken := bytes.Clone(whole)
	broken[len(broken)-6] ^= 1 // of the checksum
	if _, err := Read(Spec{Path: file(t, "f.csv.gz", string(broken))}); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a broken file: %v", err)
	}
}

func TestMissingFile(t *testing.T) {
	_, err := Open(Spec{Path: filepath.Join(t.TempDir(), "none.csv")})
	if sluice.KindOf(err) != sluice.NotFound || !strings.Contains(fmt.Sprint(err), "none.csv") {
		t.Error(err)
	}
}

// A row may stand 1,024 rows from its place and no further.
func TestDisorderIsBounded(t *testing.T) {
	make := func(late int) string { // the first row stands late by so many rows
		text := head
		for i := 1; i < 3000; i++ {
			text += utc("2021-01-01T00:00:00Z").Add(time.Duration(i)*time.Hour).Format(time.RFC3339) + ",1\n"
			if i == late {
				text += "2021-01-01T00:00:00Z,1\n"
			}
		}
		return file(t, "f.csv", text)
	}
	g, err := Read(Spec{Path: make(window - 1)})
	if err != nil || len(g.Values) != 3000 || len(g.Findings) != 1 || g.Findings[0].Kind != Unordered {
		t.Errorf("%v", err)
	}
	_, err = Read(Spec{Path: make(window + 1)})
	if want := fmt.Sprintf("f.csv:%d: the row of 2021-01-01T00:00:00Z stands more than 1024 rows away", window+3); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
}

// A row that stands twice is found within the window, and refused beyond it.
func TestLateRepetition(t *testing.T) {
	near, far := 0, 0
	for late := window - 3; late < window+4; late++ {
		text := head
		for i := range 1500 {
			text += utc("2021-01-01T00:00:00Z").Add(time.Duration(i)*time.Hour).Format(time.RFC3339) + ",1\n"
			if i == late {
				text += "2021-01-01T00:00:00Z,2\n"
			}
		}
		rows, found, err := readText(Spec{Path: "f.csv"}, text)
		switch {
		case err == nil && len(rows) == 1500 && len(found) == 1 && found[0].Kind == Conflict && rows[0].Value == 2 && far == 0:
			near++
		case err != nil && strings.Contains(err.Error(), fmt.Sprintf("f.csv:%d: the row of 2021-01-01T00:00:00Z stands more than", late+3)):
			far++
		default:
			t.Errorf("after %d rows: %d rows, %v, %v", late, len(rows), found, err)
		}
	}
	if near == 0 || far == 0 {
		t.Errorf("%d found, %d refused", near, far)
	}
}

// A time may stand any number of times, also more often than the window is long.
func TestManyOfOneTime(t *testing.T) {
	text := head + h(0, "1") + "\n"
	for i := range 3*window + 1 {
		text += h(1, fmt.Sprint(i)) + "\n"
	}
	g, err := Read(Spec{Path: file(t, "f.csv", text+h(2, "3")+"\n")})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := shown(g.Values), fmt.Sprintf("1 %d 3", 3*window); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if f := g.Findings[0]; len(g.Findings) != 1 || f.Kind != Conflict || f.Count != 3*window || f.Line != 4 {
		t.Errorf("%v", g.Findings)
	}
}

// A newest-first file is refused, and the way to mend it said.
func TestBackwards(t *testing.T) {
	text := head
	for i := range 3000 {
		text += utc("2021-01-01T00:00:00Z").Add(-time.Duration(i)*time.Hour).Format(time.RFC3339) + ",1\n"
	}
	if _, err := Read(Spec{Path: file(t, "f.csv", text)}); err == nil || !strings.Contains(err.Error(), "oldest row first") {
		t.Error(err)
	}
}
