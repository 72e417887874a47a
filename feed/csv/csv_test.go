package csv

import (
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/feed"
	"sluice/feed/feedtest"
)

var now = time.Date(2026, 1, 15, 20, 0, 0, 0, time.UTC)

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if strings.HasSuffix(path, ".gz") {
		z := gzip.NewWriter(f)
		defer z.Close()
		fmt.Fprint(z, text)
		return
	}
	fmt.Fprint(f, text)
}

// hours makes rows of real-time and day-ahead prices from the start of 14
// January: 100 + hour, and 200 + hour.
func hours(n int) string {
	var b strings.Builder
	b.WriteString("ts_utc,real_time_usd_per_mwh,day_ahead_usd_per_mwh,btc_usd\n")
	for i := range n {
		fmt.Fprintf(&b, "%s,%d,%d,60000\n", time.Date(2026, 1, 14, i, 0, 0, 0, time.UTC).Format(time.RFC3339), 100+i, 200+i)
	}
	return b.String()
}

func TestSuiteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.csv")
	write(t, path, hours(96))
	feedtest.Contract(t, New(Options{Path: path}), now)
}

func TestSuiteFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.csv"), hours(30))
	write(t, filepath.Join(dir, "b.csv.gz"), hours(96))
	write(t, filepath.Join(dir, "notes.txt"), "not a feed")
	feedtest.Contract(t, New(Options{Path: dir}), now)
}

func fetch(t *testing.T, s *Source, now time.Time) map[feed.Quantity][]feed.Point {
	t.Helper()
	got, err := s.Fetch(context.Background(), now)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func last(ps []feed.Point) feed.Point { return ps[len(ps)-1] }

func TestPublication(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.csv")
	write(t, path, hours(96))
	s := New(Options{Path: path})
	for _, c := range []struct {
		now     time.Time
		rt, day float64 // the newest that is known
	}{
		{time.Date(2026, 1, 15, 17, 59, 59, 0, time.UTC), 100 + 41, 200 + 47}, // day-ahead to the end of this day
		{time.Date(2026, 1, 15, 18, 0, 0, 0, time.UTC), 100 + 42, 200 + 71},   // and of the next
	} {
		got := fetch(t, s, c.now)
		if v := last(got[feed.RealTimePrice]).Value; v != c.rt {
			t.Errorf("at %s the newest real-time price is %g, want %g", c.now, v, c.rt)
		}
		if v := last(got[feed.DayAheadPrice]).Value; v != c.day {
			t.Errorf("at %s the newest day-ahead price is %g, want %g", c.now, v, c.day)
		}
	}
	early := New(Options{Path: path, Lead: 12 * time.Hour})
	if v := last(fetch(t, early, time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC))[feed.DayAheadPrice]).Value; v != 271 {
		t.Errorf("with 12 hours of lead the newest is %g", v)
	}
}

func TestColumnsIntervalsAndCurrency(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.csv")
	write(t, path, "\ufeffTime,Spot,DA\n2026-01-15T19:00:00Z,10,20\n2026-01-15T19:15:00Z,11,\n2026-01-15T20:30:00+01:00,12,\n2026-01-15T19:45:00Z,13,\n2026-01-15T20:00:00Z,14,24\n")
	s := New(Options{Path: path, USDPer: 2, Columns: map[feed.Quantity]string{feed.RealTimePrice: "spot", feed.DayAheadPrice: "DA"}})
	got := fetch(t, s, now)
	rt, da := got[feed.RealTimePrice], got[feed.DayAheadPrice]
	if len(rt) != 5 || rt[2].Value != 24 || !rt[2].From.Equal(time.Date(2026, 1, 15, 19, 30, 0, 0, time.UTC)) || rt[2].To.Sub(rt[2].From) != 15*time.Minute {
		t.Errorf("real-time %+v", rt)
	}
	// The blank quarters are missing values of an hourly series, not gaps of it.
	if len(da) != 2 || da[0].To.Sub(da[0].From) != time.Hour || s.Note() != "" {
		t.Errorf("day-ahead %+v, note %q", da, s.Note())
	}
	if o := rt[1].Origin; o != "csv "+path+":3" {
		t.Errorf("the origin is %q", o)
	}
	fixed := New(Options{Path: path, Interval: 5 * time.Minute, Columns: map[feed.Quantity]string{feed.RealTimePrice: "spot"}})
	if p := fetch(t, fixed, now)[feed.RealTimePrice][0]; p.To.Sub(p.From) != 5*time.Minute {
		t.Errorf("with an interval of 5m a value holds for %s", p.To.Sub(p.From))
	}
}

// A reserve's price stands in a column of its own name, or in one that is named;
// like the day-ahead price it comes from the auction of the day before.
func TestReserves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.csv")
	text := "ts_utc,Reserve_USD_per_MW_h/RRS,ecrs,reserve_usd_per_mw_h/nonspin,reserve_usd_per_mw_h/\n"
	for h := range 48 {
		text += fmt.Sprintf("%s,%d,%d,1,1\n", time.Date(2026, 1, 15, h, 0, 0, 0, time.UTC).Format(time.RFC3339), 100+h, 200+h)
	}
	write(t, path, text+"2026-01-17T00:00:00Z,25674,31000,-1,1\n")
	s := New(Options{Path: path, USDPer: 0.5, Columns: map[feed.Quantity]string{feed.ReservePrice("ecrs"): "ECRS", feed.ReservePrice("nonspin"): "absent"}})
	got := fetch(t, s, time.Date(2026, 1, 15, 18, 0, 0, 0, time.UTC))
	if len(got) != 2 {
		t.Errorf("the quantities are %v", got)
	}
	for q, want := range map[feed.Quantity]float64{feed.ReservePrice("RRS"): 147, feed.ReservePrice("ecrs"): 247} {
		if v := last(got[q]); v.Value != want/2 || v.To.Sub(v.From) != time.Hour {
			t.Errorf("at 18:00 the newest of %s is %+v, want %g", q, v, want/2)
		}
	}
	plain := New(Options{Path: path})
	got = fetch(t, plain, time.Date(2026, 1, 16, 18, 0, 0, 0, time.UTC))
	if v := last(got[feed.ReservePrice("RRS")]).Value; v != 25674 {
		t.Errorf("the dearest hour is %g", v)
	}
	if v := last(got[feed.ReservePrice("nonspin")]).Value; v != 1 || !strings.Contains(plain.Note(), "reserve_usd_per_mw_h/nonspin cannot be -1") {
		t.Errorf("a negative price counts: %g, note %q", v, plain.Note())
	}
}

func TestWhatIsWrongIsLeftOutAndTold(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.csv")
	write(t, path, `ts_utc,real_time_usd_per_mwh
2026-01-15T10:00:00Z,10
2026-01-15T11:00:00Z,eleven
2026-01-15T12:00:00Z,9999999
2026-01-15 13:00,13
2026-01-15T14:00:00Z,
2026-01-15T15:00:00Z,NaN
2026-01-15T16:00:00Z,16
2026-01-15T17:00:00Z,17
2026-01-15T16:00:00Z,166
2026-01-15T18:00:00Z,18
`)
	s := New(Options{Path: dir})
	ps := fetch(t, s, now)[feed.RealTimePrice]
	var values []float64
	for _, p := range ps {
		values = append(values, p.Value)
	}
	if fmt.Sprint(values) != "[10 166 17 18]" {
		t.Errorf("the values are %v", values)
	}
	if p := ps[0]; p.To.Sub(p.From) != time.Hour {
		t.Errorf("the value before the gap holds for %s", p.To.Sub(p.From))
	}
	for _, want := range []string{"a.csv:3: ", "a.csv:4: ", "a.csv:5: ", "a.csv:7: ", "stands twice", "and 1 more"} {
		if !strings.Contains(s.Note(), want) {
			t.Errorf("the note does not say %q: %s", want, s.Note())
		}
	}
}

func TestRereadWhenChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.csv")
	write(t, path, hours(40))
	s := New(Options{Path: path})
	if v := last(fetch(t, s, now)[feed.RealTimePrice]).Value; v != 139 {
		t.Fatalf("the newest is %g", v)
	}
	write(t, path, hours(45))
	if v := last(fetch(t, s, now)[feed.RealTimePrice]).Value; v != 144 {
		t.Errorf("after the file grew the newest is %g", v)
	}
}

func TestOldSeriesStillShows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.csv")
	write(t, path, hours(5))
	if ps := fetch(t, New(Options{Path: path}), now.AddDate(1, 0, 0))[feed.RealTimePrice]; len(ps) == 0 || last(ps).Value != 104 {
		t.Errorf("a year later: %v", ps)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	p := func(name, text string) string {
		path := filepath.Join(dir, name)
		write(t, path, text)
		return path
	}
	notGzip := filepath.Join(dir, "x.csv.gz")
	if err := os.WriteFile(notGzip, []byte("plain"), 0o600); err != nil {
		t.Fatal(err)
	}
	whole := p("whole.csv.gz", hours(500))
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut.csv.gz")
	if err := os.WriteFile(cut, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "folder")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "absent.csv"):                              "no such file",
		p("empty.csv", ""):                                            "header",
		p("notime.csv", "a,b\n1,2\n"):                                 "no column of time",
		p("noquantity.csv", "ts_utc,price\n2026-01-01T00:00:00Z,1\n"): "columns",
		p("quote.csv", "ts_utc,btc_usd\n2026-01-01T00:00:00Z,\"1\n"):  "quote.csv:",
		p("nothing.csv", "ts_utc,btc_usd\n2026-01-01T00:00:00Z,-5\n"): "nothing.csv:2",
		notGzip: "gzip",
		cut:     "unexpected EOF",
		empty:   "no CSV files",
	} {
		_, err := New(Options{Path: path}).Fetch(context.Background(), now)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", filepath.Base(path), err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(hours(30)))
	f.Add([]byte("ts_utc,btc_usd\n2026-01-01T00:00:00Z,1e308\n2026-01-01T00:00:00Z,2\n"))
	f.Add([]byte("ts,reserve_usd_per_mw_h/rrs,RESERVE_usd_per_mw_h/\xc8\xba\xc8\xba\n2026-01-01T00:00:00Z,1,2\n"))
	f.Add([]byte("time,difficulty\n9999-01-01T00:00:00Z,1\n0001-01-01T00:00:00Z,1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &reader{o: Options{Lead: defaultLead, USDPer: 1}, values: map[feed.Quantity][]feed.Point{}}
		if err := r.parse(context.Background(), strings.NewReader(string(data)), "x"); err != nil {
			return
		}
		for q, ps := range r.values {
			out := r.finish(q, ps)
			for i, p := range out {
				if !p.From.Before(p.To) || !feed.Plausible(q, p.Value) || (i > 0 && p.From.Before(out[i-1].To)) {
					t.Errorf("%q gives %s %+v", data, q, p)
				}
			}
		}
	})
}
