package orders

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/feed"
	"sluice/feed/feedtest"
)

var now = time.Date(2026, 7, 1, 20, 0, 0, 0, time.UTC)

const (
	goodCSV = `# from the aggregator
id,node,limit_kw,from,to
A-1,,4000,2026-07-01T20:05:00Z,2026-07-01T20:35:00Z
A-2,feeder-a,0,2026-07-01T16:05:00-05:00,2026-07-01T17:00:00-05:00
`
	goodJSON = `[{"id":"A-1","limit_kw":4000,"from":"2026-07-01T20:05:00Z","to":"2026-07-01T20:35:00Z","published":"2026-07-01T19:00:00Z"},
 {"id":"A-2","node":"feeder-a","limit_kw":"0","from":"2026-07-01T21:05:00Z","to":"2026-07-01T22:00:00Z"}]`
)

func TestSuiteHTTP(t *testing.T) {
	feedtest.HTTP(t, feedtest.Wire{
		New: func(u string) feed.Source { return New(Options{URL: u, User: "operator", Password: "hunter2"}) },
		Good: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if u, p, _ := r.BasicAuth(); u != "operator" || p != "hunter2" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_, _ = io.WriteString(w, goodJSON)
		}),
		Now: now,
	})
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "orders.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSuiteFile(t *testing.T) {
	feedtest.Contract(t, New(Options{Path: file(t, goodCSV)}), now)
}

func TestBothShapesSayTheSame(t *testing.T) {
	fromCSV, err := parseCSV([]byte(goodCSV), "f")
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := parseJSON([]byte(`{"items":`+goodJSON+`}`), "u")
	if err != nil {
		t.Fatal(err)
	}
	if len(fromCSV) != 2 || len(fromJSON) != 2 {
		t.Fatalf("%v and %v", fromCSV, fromJSON)
	}
	for i := range fromCSV {
		a, b := fromCSV[i], fromJSON[i]
		a.Origin, b.Origin, a.Published, b.Published = "", "", time.Time{}, time.Time{}
		if a != b {
			t.Errorf("%+v and %+v", a, b)
		}
	}
	if fromCSV[1].Origin != "f:4" {
		t.Errorf("the origin is %q", fromCSV[1].Origin)
	}
}

func TestABrokenOrderDoesNotHideTheOthers(t *testing.T) {
	path := file(t, goodCSV+`A-3,,many,2026-07-01T20:05:00Z,2026-07-01T20:35:00Z
A-4,,-5,2026-07-01T20:05:00Z,2026-07-01T20:35:00Z
A-5,,NaN,2026-07-01T20:05:00Z,2026-07-01T20:35:00Z
A-6,,5,2026-07-01T20:35:00Z,2026-07-01T20:05:00Z
A-7,,5,2026-07-01 20:05,2026-07-01T20:35:00Z
A-1,,5,2026-07-01T20:05:00Z,2026-07-01T20:35:00Z
,,5,2026-07-01T20:05:00Z,2026-07-01T20:35:00Z
`)
	b := feed.NewBook([]feed.Spec{{Name: "grid", Source: New(Options{Path: path})}})
	err := b.Refresh(context.Background(), now)
	if err == nil {
		t.Fatal("nothing is said of the broken ones")
	}
	for _, id := range []string{`"A-3"`, `"A-4"`, `"A-5"`, `"A-6"`, `"A-7"`, `"A-1"`, `""`, ":5)", ":11)"} {
		if !strings.Contains(err.Error(), id) {
			t.Errorf("%s is not named: %v", id, err)
		}
	}
	if got := b.Orders(now); len(got) != 2 || got[0].LimitKW != 4000 {
		t.Errorf("obeyed are %v", got)
	}
	if s := b.Status(now); len(s) != 1 || s[0].Error == "" || s[0].Value != 2 {
		t.Errorf("the status is %+v", s)
	}
}

func TestWithdrawnOrdersGoAndSilenceKeepsThem(t *testing.T) {
	path := file(t, goodCSV)
	b := feed.NewBook([]feed.Spec{{Name: "grid", Source: New(Options{Path: path}), Refresh: time.Second}})
	if err := b.Refresh(context.Background(), now); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := b.Refresh(context.Background(), now.Add(time.Minute)); err == nil {
		t.Error("a file that is gone is no error")
	}
	if got := b.Orders(now.Add(time.Minute)); len(got) != 2 {
		t.Errorf("after the file went %v stand", got)
	}
	if err := os.WriteFile(path, []byte("id,node,limit_kw,from,to\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Refresh(context.Background(), now.Add(2*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := b.Orders(now.Add(2 * time.Minute)); len(got) != 0 {
		t.Errorf("withdrawn orders stand: %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(goodCSV))
	f.Add([]byte(goodJSON))
	f.Add([]byte("id,limit_kw,from,to\n\"x,1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, parse := range []func([]byte, string) ([]feed.Order, error){parseCSV, parseJSON} {
			list, _ := parse(data, "x")
			ids := map[string]bool{}
			for _, o := range list {
				if o.ID == "" || ids[o.ID] || !o.From.Before(o.To) || !(o.LimitKW >= 0) || o.LimitKW > 1e9 {
					t.Errorf("%q gives %+v", data, o)
				}
				ids[o.ID] = true
			}
		}
	})
}
