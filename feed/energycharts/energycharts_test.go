package energycharts

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/feed"
	"sluice/feed/feedtest"
)

var (
	now  = time.Date(2026, 1, 15, 14, 7, 0, 0, time.UTC)
	rate = Rate{USDPerEUR: 1.10, AsOf: "2026-01-14"}
)

// market answers with quarter hours from yesterday; tomorrow's are not out.
func market(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/price" || r.URL.Query().Get("bzn") != "DE-LU" || r.URL.Query().Get("start") == "" {
		http.NotFound(w, r)
		return
	}
	var seconds, prices []string
	for i, at := 0, time.Date(2026, 1, 13, 23, 0, 0, 0, time.UTC); at.Before(time.Date(2026, 1, 16, 23, 0, 0, 0, time.UTC)); i, at = i+1, at.Add(15*time.Minute) {
		seconds = append(seconds, fmt.Sprint(at.Unix()))
		price := fmt.Sprintf("%.2f", 80+float64(i%96)/10)
		if !at.Before(time.Date(2026, 1, 15, 23, 0, 0, 0, time.UTC)) {
			price = "null"
		}
		prices = append(prices, price)
	}
	fmt.Fprintf(w, `{"license_info":"CC BY 4.0","unix_seconds":[%s],"price":[%s],"unit":"EUR / MWh","deprecated":false}`, strings.Join(seconds, ","), strings.Join(prices, ","))
}

func TestSuite(t *testing.T) {
	feedtest.HTTP(t, feedtest.Wire{New: func(u string) feed.Source { return New(u, "DE-LU", rate) }, Good: http.HandlerFunc(market), Now: now})
}

func TestValues(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(market))
	defer srv.Close()
	b := feed.NewBook([]feed.Spec{{Name: "epex", Source: New(srv.URL, "DE-LU", rate)}})
	if err := b.Refresh(context.Background(), now); err != nil {
		t.Fatal(err)
	}
	// 14:00 is the 60th quarter of the market's day, which began at 23:00.
	v := b.At(feed.DayAheadPrice, now)
	if want := 86.0 * 1.10; v.Value < want-1e-9 || v.Value > want+1e-9 || v.Stale || !strings.Contains(v.Origin, "1.1 USD/EUR of 2026-01-14") {
		t.Errorf("%+v, want %g", v, want)
	}
	if rt := b.At(feed.RealTimePrice, now); rt.Value != v.Value || !rt.Estimated {
		t.Errorf("as real-time: %+v", rt)
	}
	s := b.Series(feed.DayAheadPrice, now, 15*time.Minute, 48)
	known := 0
	for _, x := range s {
		if x.Known {
			known++
		}
	}
	if want := 36; known != want { // 14:07 to 22:52
		t.Errorf("%d intervals are known, want %d", known, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for body, want := range map[string]string{
		`{"unix_seconds":[0,3600],"price":[1,2],"unit":"EUR / kWh"}`:           "unit",
		`{"unix_seconds":[0,3600],"price":[1],"unit":"EUR/MWh"}`:               "2 times and 1 prices",
		`{"unix_seconds":[3600,0],"price":[1,2],"unit":"EUR/MWh"}`:             "upwards",
		`{"unix_seconds":[0,3600],"price":[null,null],"unit":"EUR/MWh"}`:       "no price",
		`{"unix_seconds":[0,3600],"price":[1,2e9],"unit":"EUR/MWh"}`:           "no sense",
		`{"unix_seconds":[0,99999999999999],"price":[1,2],"unit":"EUR / MWh"}`: "no sense",
	} {
		if _, err := parse([]byte(body), rate, "x", now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", body, err)
		}
	}
	if _, err := parse([]byte(`{"unix_seconds":[0],"price":[1],"unit":"EUR/MWh"}`), Rate{}, "x", now); err == nil {
		t.Error("no rate, and no error")
	}
}

// The market changed from hours to quarters on 2025-10-01.
func TestHoursThenQuarters(t *testing.T) {
	ps, err := parse([]byte(`{"unix_seconds":[0,3600,7200,8100,9000,9900,10800],"price":[1,2,3,4,5,6,7],"unit":"EUR/MWh"}`), rate, "x", now)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(ps); i++ {
		if ps[i].From.Before(ps[i-1].To) {
			t.Errorf("%d overlaps", i)
		}
	}
	if d := ps[3].To.Sub(ps[3].From); d != 15*time.Minute {
		t.Errorf("a quarter is %s long", d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"unix_seconds":[0,900],"price":[1,null],"unit":"EUR / MWh"}`), int64(500))
	f.Add([]byte(`{"unix_seconds":[17179869184],"price":[-500.5],"unit":"EUR/MWh"}`), int64(0))
	f.Fuzz(func(t *testing.T, body []byte, unix int64) {
		now := time.Unix(unix%4_000_000_000, 0)
		ps, err := parse(body, rate, "x", now)
		if err != nil {
			return
		}
		for i, p := range ps {
			if p.Published.After(now) || !p.From.Before(p.To) || !feed.Plausible(feed.DayAheadPrice, p.Value) || (i > 0 && p.From.Before(ps[i-1].To)) {
				t.Errorf("%s gives %+v", body, p)
			}
		}
	})
}
