package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// rows reads all rows of a series that is open.
func rows(t *testing.T, s *Series) []Row {
	t.Helper()
	var out []Row
	for {
		r, err := s.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
}

func open(t *testing.T, spec Spec) *Series {
	t.Helper()
	s, err := Open(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Each row says where it stands; a missing one says that it stands nowhere.
func TestLines(t *testing.T) {
	s := open(t, Spec{Path: file(t, "f.csv", "# x\n"+hours(h(0, "1"), "", h(2, ""), h(3, "4")))})
	var got []string
	for _, r := range rows(t, s) {
		got = append(got, fmt.Sprintf("%02d:%d:%v", r.At.Hour(), r.Line, r.Known()))
	}
	// 0 to 2 and 2 to 3 are one distance each: the shorter is the step.
	if want := "00:3:true 01:0:false 02:5:false 03:6:true"; strings.Join(got, " ") != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := s.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

// At walks a coarse series at a finer step.
func TestAt(t *testing.T) {
	s := open(t, Spec{Path: file(t, "f.csv", hours(h(0, "1"), h(1, "2"), h(3, "4"), h(4, "")))})
	var got []float64
	for at := utc("2021-05-31T23:30:00Z"); at.Before(utc("2021-06-01T06:00:00Z")); at = at.Add(30 * time.Minute) {
		v, ok := s.At(at)
		if ok == math.IsNaN(v) {
			t.Errorf("%v, %v", v, ok)
		}
		got = append(got, v)
	}
	if want := "? 1 1 2 2 ? ? 4 4 ? ? ? ?"; shown(got) != want {
		t.Errorf("%s, want %s", shown(got), want)
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}

	s = open(t, Spec{Path: file(t, "f.csv", hours(h(0, "1"), h(1, "2"), h(2, "3")))})
	if v, _ := s.At(utc("2021-06-01T02:59:59Z")); v != 3 {
		t.Errorf("after a leap: %v", v)
	}
	if v, ok := s.At(utc("2021-06-01T01:59:59Z")); ok {
		t.Errorf("it went back to %v", v)
	}
}

// An error while reading stays, and At does not hide it.
func TestErrorsStay(t *testing.T) {
	text := head
	for i := range 2 * window {
		text += utc("2021-01-01T00:00:00Z").Add(time.Duration(i)*time.Hour).Format(time.RFC3339) + ",1\n"
	}
	broken := errors.New("the cable was pulled")
	in, err := newLines("f.csv", io.NopCloser(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken))))
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSeries(Spec{Path: "f.csv"}, in)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.At(utc("2022-01-01T00:00:00Z")); ok || s.Err() == nil || !strings.Contains(s.Err().Error(), "f.csv:2049: the file cannot be read further: the cable was pulled") {
		t.Errorf("%v", s.Err())
	}
	if _, err := s.Next(); !errors.Is(err, s.Err()) {
		t.Errorf("then %v", err)
	}
}

// Open reads the first rows, not the file.
func TestOpenReadsLittle(t *testing.T) {
	text := head
	for i := range window + 1 {
		text += utc("2021-01-01T00:00:00Z").Add(time.Duration(i)*time.Hour).Format(time.RFC3339) + ",1\n"
	}
	read := 0
	in, err := newLines("f.csv", io.NopCloser(counting{io.MultiReader(strings.NewReader(text), endless{}), &read}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newSeries(Spec{Path: "f.csv"}, in); err != nil || read > len(text)+2*maxLine {
		t.Errorf("%d bytes read; %v", read, err)
	}
}

type counting struct {
	r io.Reader
	n *int
}

func (c counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	*c.n += n
	return n, err
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

// Many findings are counted, and the first hundred of a kind listed.
func TestFindingsAreBounded(t *testing.T) {
	text := head
	for i := range 2000 { // each second hour is missing, each tenth blank
		v := "1"
		if i%5 == 0 {
			v = ""
		}
		text += utc("2021-01-01T00:00:00Z").Add(time.Duration(2*i)*time.Hour).Format(time.RFC3339) + "," + v + "\n"
	}
	g, err := Read(Spec{Path: file(t, "f.csv", text), Step: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	count, places := map[string]int{}, map[string]int{}
	for _, f := range g.Findings {
		count[f.Kind] += f.Count
		places[f.Kind]++
	}
	// One of the missing hours, 2021-03-28T01, is where clocks change.
	if count[Gap]+count[DST] != 1999 || count[Blank] != 400 || places[Gap] != maxListed+1 || places[Blank] != maxListed+1 {
		t.Errorf("%v in %v", count, places)
	}
	told := 0
	for _, f := range g.Findings {
		if strings.Contains(f.String(), "counted from here on") {
			told++
		}
	}
	if told != 2 {
		t.Errorf("%d findings say that they count others", told)
	}
}

func TestFindingText(t *testing.T) {
	at := utc("2020-05-14T05:00:00Z")
	for _, c := range []struct {
		kind  string
		step  time.Duration
		count int
		note  string
		want  string
	}{
		{Gap, time.Hour, 120, "", "f.csv:1234: 120 hours are missing from 2020-05-14T05:00Z"},
		{Gap, time.Hour, 1, "", "f.csv:1234: 1 hour is missing from 2020-05-14T05:00Z"},
		{Gap, 24 * time.Hour, 2, "", "f.csv:1234: 2 days are missing from 2020-05-14T05:00Z"},
		{Gap, time.Minute, 2, "", "f.csv:1234: 2 minutes are missing from 2020-05-14T05:00Z"},
		{Gap, 5 * time.Minute, 2, "", "f.csv:1234: 2 5-minute intervals are missing from 2020-05-14T05:00Z"},
		{Gap, 7 * time.Second, 1, "", "f.csv:1234: 1 interval is missing from 2020-05-14T05:00Z"},
		{Blank, time.Hour, 1, "", "f.csv:1234: 1 value is blank from 2020-05-14T05:00Z"},
		{Duplicate, time.Hour, 1, "", "f.csv:1234: 1 row of 2020-05-14T05:00Z and after stands twice and counts once"},
		{Conflict, time.Hour, 2, "1, then 2", "f.csv:1234: 2 rows of 2020-05-14T05:00Z and after restate another; the later one counts: 1, then 2"},
		{Absurd, time.Hour, 1, "9 is not between 0 and 1", "f.csv:1234: 1 absurd value from 2020-05-14T05:00Z is left out: 9 is not between 0 and 1"},
		{Unordered, time.Hour, 2, "", "f.csv:1234: 2 rows of 2020-05-14T05:00Z and after stood in the wrong place"},
		{OffGrid, time.Hour, 2, "", "f.csv:1234: 2 rows from 2020-05-14T05:00Z are off the grid of the others and left out"},
		{DST, time.Hour, 1, "one hour is missing", "f.csv:1234: clocks change at 2020-05-14T05:00Z: one hour is missing"},
		{Fraction, 0, 2, "", "f.csv:1234: 2 jobs asked for a part of a GPU and got whole ones"},
		{Dropped, 0, 1, "they take no time", "f.csv:1234: 1 job left out: they take no time"},
	} {
		f := Finding{Kind: c.kind, Path: "f.csv", Line: 1234, From: at, To: at.Add(time.Duration(c.count) * c.step), Count: c.count, Note: c.note}
		if f.String() != c.want {
			t.Errorf("%s, want %s", f, c.want)
		}
	}
	b, err := json.Marshal(Finding{Kind: Gap, Path: "f.csv", Line: 3, From: at, To: at.Add(time.Hour), Count: 1})
	if want := `{"kind":"gap","path":"f.csv","line":3,"from":"2020-05-14T05:00:00Z","to":"2020-05-14T06:00:00Z","count":1}`; string(b) != want || err != nil {
		t.Errorf("%s, %v", b, err)
	}
}

// The weekends are those of the laws, here for one year of each continent.
func TestClockChanges(t *testing.T) {
	var got []string
	for at := utc("2024-01-01T00:00:00Z"); at.Year() == 2024; at = at.Add(time.Hour) {
		if atClockChange(at) && !atClockChange(at.Add(-time.Hour)) {
			got = append(got, at.Format("01-02T15"))
		}
	}
	if want := "03-09T12 03-30T12 04-06T12 10-05T12 10-26T12 11-02T12"; strings.Join(got, " ") != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, zone := range []string{"America/New_York", "America/Chicago", "America/Los_Angeles", "Europe/Berlin", "Europe/London", "Australia/Sydney"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for at := utc("2008-01-01T00:00:00Z"); at.Year() < 2030; at = at.Add(time.Hour) {
			_, before := at.Add(-time.Second).In(loc).Zone()
			if _, after := at.In(loc).Zone(); before != after && !atClockChange(at) {
				t.Errorf("%s: the clocks change at %s", zone, at)
			}
		}
	}
}

func TestRulesAreTold(t *testing.T) {
	all := strings.Join(Rules(), "\n")
	for _, w := range []string{Gap, Blank, Absurd, Unordered, Duplicate, Conflict, DST, "off the grid", "day-ahead price", "last value", fmt.Sprint(1024)[:1] + ",024"} {
		if !strings.Contains(all, w) {
			t.Errorf("the rules do not say %q", w)
		}
	}
	if window != 1024 || maxGap != 10*366*24*time.Hour {
		t.Error("the rules tell other bounds than the code has")
	}
}
