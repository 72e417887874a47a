package ercot

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/feed"
	"sluice/feed/feedtest"
)

// The dashboard's shape: interval ends with their offset.
const dashboard = `{
 "lastUpdated": "2026-04-24 22:17:00-0500",
 "rtSppData": [
  {"intervalEnding":"22:00","dstFlag":"N","hbBusAvg":21.4,"hbHubAvg":22.0,"hbWest":18.2,"lzHouston":23.1,"lzWest":19.75,"timestamp":"2026-04-24 22:00:00-0500","interval":1777086000000},
  {"intervalEnding":"22:15","dstFlag":"N","hbBusAvg":215.2,"hbHubAvg":259.0,"hbWest":405.9,"lzHouston":173.5,"lzWest":809.79,"timestamp":"2026-04-24 22:15:00-0500","interval":1777086900000}
 ],
 "damSppData": [
  {"hourEnding":23,"dstFlag":"N","hbHubAvg":30.1,"lzWest":28.5,"timestamp":"2026-04-24 23:00:00-0500","interval":1777089600000},
  {"hourEnding":24,"dstFlag":"N","hbHubAvg":25.0,"lzWest":24.5,"timestamp":"2026-04-25 00:00:00-0500","interval":1777093200000}
 ]
}`

var now = time.Date(2026, 4, 25, 3, 20, 0, 0, time.UTC) // 22:20 Central

func serve(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
}

func TestSuiteDashboard(t *testing.T) {
	feedtest.HTTP(t, feedtest.Wire{New: func(u string) feed.Source { return New("LZ_WEST", u+"/systemWidePrices.json") }, Good: serve(dashboard), Now: now})
}

func TestSuiteReports(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/rt", serve(report(rtFields, `["2026-04-24",22,4,"LZ_WEST","LZ",19.75,false]`, `["2026-04-24",23,1,"LZ_WEST","LZ",809.79,false]`, `["2026-04-24",23,1,"HB_WEST","HU",1,false]`)))
	mux.Handle("/da", serve(report(daFields, `["2026-04-24","23:00","LZ_WEST",28.5,false]`, `["2026-04-24","24:00","LZ_WEST",24.5,false]`)))
	mux.Handle("/", http.NotFoundHandler())
	feedtest.HTTP(t, feedtest.Wire{New: func(u string) feed.Source { return New("LZ_WEST", u+"/rt", u+"/da") }, Good: mux, Now: now})
}

var (
	rtFields = []string{"deliveryDate", "deliveryHour", "deliveryInterval", "settlementPoint", "settlementPointType", "settlementPointPrice", "DSTFlag"}
	daFields = []string{"deliveryDate", "hourEnding", "settlementPoint", "settlementPointPrice", "DSTFlag"}
)

// report has the shape of the public API: descriptions of fields, rows by position.
func report(fields []string, rows ...string) string {
	var fs []string
	for i, f := range fields {
		fs = append(fs, fmt.Sprintf(`{"name":%q,"label":%q,"dataType":"x","hasRange":true,"sortable":true,"cardinality":%d}`, f, f, i))
	}
	return fmt.Sprintf(`{"_meta":{"totalRecords":%d,"pageSize":1000,"totalPages":1,"currentPage":1},"report":{"reportTypeId":12301},"fields":[%s],"data":[%s],"links":{}}`,
		len(rows), strings.Join(fs, ","), strings.Join(rows, ","))
}

func at(hour, minute int) time.Time { return time.Date(2026, 4, 25, hour, minute, 0, 0, time.UTC) }

func TestDashboardAndReportsSayTheSame(t *testing.T) {
	for name, bodies := range map[string][]string{
		"dashboard": {dashboard},
		"reports": {
			report(rtFields, `["2026-04-24",22,4,"LZ_WEST","LZ",19.75,false]`, `["2026-04-24",23,1,"LZ_WEST","LZ",809.79,false]`),
			report(daFields, `["2026-04-24","23:00","LZ_WEST",28.5,false]`, `["2026-04-24","24:00","LZ_WEST",24.5,false]`),
		},
	} {
		t.Run(name, func(t *testing.T) {
			var urls []string
			for _, b := range bodies {
				srv := httptest.NewServer(serve(b))
				defer srv.Close()
				urls = append(urls, srv.URL)
			}
			got, err := New("LZ_WEST", urls...).Fetch(context.Background(), now)
			if err != nil {
				t.Fatal(err)
			}
			want := map[feed.Quantity][]feed.Point{
				feed.RealTimePrice: {{From: at(2, 45), To: at(3, 0), Value: 19.75, Published: at(3, 0)}, {From: at(3, 0), To: at(3, 15), Value: 809.79, Published: at(3, 15)}},
				// Posted at 13:30 Central of the day before.
				feed.DayAheadPrice: {{From: at(3, 0), To: at(4, 0), Value: 28.5, Published: at(18, 30).AddDate(0, 0, -2)}, {From: at(4, 0), To: at(5, 0), Value: 24.5, Published: at(18, 30).AddDate(0, 0, -2)}},
			}
			for q, ps := range want {
				if len(got[q]) != len(ps) {
					t.Fatalf("%s: %v", q, got[q])
				}
				for i, p := range ps {
					g := got[q][i]
					g.Origin = ""
					if g != p {
						t.Errorf("%s %d: %+v, want %+v", q, i, g, p)
					}
				}
			}
		})
	}
}

// In autumn the hour ending 02:00 comes twice and the flag marks the second; in
// spring the hour ending 03:00 does not exist.
func TestDaylightSaving(t *testing.T) {
	later := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	got, err := parse([]byte(report(daFields,
		`["2025-11-02","01:00","LZ_WEST",1,false]`, `["2025-11-02","02:00","LZ_WEST",2,false]`,
		`["2025-11-02","02:00","LZ_WEST",3,true]`, `["2025-11-02","03:00","LZ_WEST",4,false]`, `["2025-11-02","24:00","LZ_WEST",5,false]`,
		`["2026-03-08","02:00","LZ_WEST",6,false]`, `["2026-03-08","04:00","LZ_WEST",7,false]`)), "lz_west", "x", later)
	if err != nil {
		t.Fatal(err)
	}
	utc := func(mo, d, h int) time.Time { return time.Date(2025+1-mo/11, time.Month(mo), d, h, 0, 0, 0, time.UTC) }
	for i, want := range []time.Time{utc(11, 2, 5), utc(11, 2, 6), utc(11, 2, 7), utc(11, 2, 8), utc(11, 3, 5), utc(3, 8, 7), utc(3, 8, 8)} {
		if p := got[feed.DayAheadPrice][i]; !p.From.Equal(want) || p.Value != float64(i+1) {
			t.Errorf("row %d begins %s with %g, want %s", i+1, p.From, p.Value, want)
		}
	}
	if _, err := parse([]byte(report(daFields, `["2026-03-08","03:00","LZ_WEST",1,false]`)), "LZ_WEST", "x", later); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("an hour that does not exist: %v", err)
	}
}

func TestPointsOfTheDashboard(t *testing.T) {
	for point, want := range map[string]string{"LZ_WEST": "lzWest", "lz_houston": "lzHouston", "HB_HUBAVG": "hbHubAvg", "HB_BUSAVG": "hbBusAvg", "HB_PAN": "hbPan"} {
		if got, err := dashboardKey(point); err != nil || got != want {
			t.Errorf("%s is %q, want %q (%v)", point, got, want, err)
		}
	}
	for _, point := range []string{"", "WEST", "LZ_", "BES1_RN"} {
		if got, err := dashboardKey(point); err == nil {
			t.Errorf("%q passes as %q", point, got)
		}
	}
	if _, err := parse([]byte(dashboard), "LZ_CPS", "x", now); err == nil {
		t.Error("a zone that is not in it gives prices")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(dashboard), int64(0))
	f.Add([]byte(report(rtFields, `["2026-04-24",22,4,"LZ_WEST","LZ",19.75,false]`)), int64(1777086900))
	f.Add([]byte(report(daFields, `["2026-11-01","02:00","LZ_WEST",28.5,"Y"]`)), int64(-5))
	f.Fuzz(func(t *testing.T, body []byte, unix int64) {
		now := time.Unix(unix%4_000_000_000, 0)
		got, err := parse(body, "LZ_WEST", "x", now)
		if err != nil {
			return
		}
		for q, ps := range got {
			for _, p := range ps {
				if p.Published.After(now) || !p.From.Before(p.To) || !feed.Plausible(q, p.Value) {
					t.Errorf("%s gives %s %+v at %s", body, q, p, now)
				}
			}
		}
	})
}
