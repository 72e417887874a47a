package pivot

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/history"
)

const shared = "../../shared/data/"

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Series of a quarter of an hour, of an hour and of a day come onto one grid of
// hours, over the range that all of them cover.
func TestReadHistory(t *testing.T) {
	var price, btc strings.Builder
	price.WriteString("ts_utc,eur\n")
	btc.WriteString("ts_utc,usd\n")
	start := time.Date(2022, 3, 1, 10, 0, 0, 0, time.UTC)
	for i := range 4 * 72 {
		at := start.Add(time.Duration(i) * 15 * time.Minute)
		v := "40"
		switch {
		case i == 4*20: // 2 March 06:00: one of the four is missing
			v = ""
		case i%4 == 1:
			v = "80"
		}
		price.WriteString(at.Format(time.RFC3339) + "," + v + "\n")
	}
	for i := range 100 {
		if i == 30 { // 1 March 20:00 is before the range; 2 March 14:00 is not
			continue
		}
		btc.WriteString(start.Add(time.Duration(i-10)*time.Hour).Format(time.RFC3339) + ",40000\n")
	}
	s := Series{
		USDPer:     1.1,
		RealTime:   history.Spec{Path: file(t, "price.csv", price.String())},
		BTC:        history.Spec{Path: file(t, "btc.csv", btc.String())},
		Difficulty: history.Spec{Path: file(t, "d.csv", "date_utc,difficulty\n2022-03-01,27e12\n2022-03-02,28e12\n2022-03-03,28e12\n2022-03-04,28e12\n")},
		Subsidy:    history.Spec{Path: file(t, "s.csv", "date_utc,subsidy\n2022-03-01,6.25\n2022-03-02,6.25\n2022-03-03,6.25\n2022-03-04,6.25\n")},
	}
	h, err := ReadHistory(s)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2022, 3, 2, 0, 0, 0, 0, time.UTC); !h.Start.Equal(want) || len(h.Price) != 58 || len(h.Hashprice) != 58 {
		t.Fatalf("from %s, %d prices, %d hashprices", h.Start, len(h.Price), len(h.Hashprice))
	}
	for i, p := range h.Price {
		want := 1.1 * 50
		if i == 6 {
			want = 1.1 * (40 + 40 + 80) / 3
		}
		if math.Abs(p-want) > 1e-9 {
			t.Errorf("hour %d costs %v, want %v", i, p, want)
		}
	}
	want := sluice.NetworkHashprice(40000, 28e12, 6.25, 0.125).USDPerPHDay()
	for i, x := range h.Hashprice {
		if i == 6 {
			if !math.IsNaN(x) {
				t.Errorf("an hour without bitcoin's price has the hashprice %v", x)
			}
		} else if math.Abs(x-want) > 1e-9 {
			t.Errorf("hour %d: hashprice %v, want %v", i, x, want)
		}
	}
	if !strings.Contains(h.HashFrom, "2 % of the subsidy in 58 of 58 hours") || len(h.Notes) == 0 || !strings.Contains(strings.Join(h.Notes, " "), "price.csv:82") {
		t.Errorf("%q, %q", h.HashFrom, h.Notes)
	}

	s.Fees = history.Spec{Path: file(t, "f.csv", "date_utc,fees\n2022-03-02,0.5\n")}
	if h, err = ReadHistory(s); err != nil {
		t.Fatal(err)
	}
	if want := sluice.NetworkHashprice(40000, 28e12, 6.25, 0.5).USDPerPHDay(); math.Abs(h.Hashprice[0]-want) > 1e-9 || !strings.Contains(h.HashFrom, "34 of 58") {
		t.Errorf("with fees %v, want %v: %s", h.Hashprice[0], want, h.HashFrom)
	}

	direct := Series{USDPer: 1, RealTime: s.RealTime, Hashprice: history.Spec{Path: file(t, "h.csv", "date_utc,h\n2022-03-02,77\n2022-03-03,78\n")}}
	if h, err = ReadHistory(direct); err != nil || h.Hashprice[0] != 77 || h.Hashprice[24] != 78 {
		t.Errorf("%v (%v)", h.Hashprice, err)
	}
	if h, err = ReadHistory(Series{USDPer: 1, RealTime: s.RealTime}); err != nil || h.Hashprice != nil {
		t.Errorf("without any: %v (%v)", h.Hashprice, err)
	}
}

func TestReadHistoryRefuses(t *testing.T) {
	price := history.Spec{Path: file(t, "p.csv", "ts_utc,p\n2022-03-01T00:00:00Z,1\n2022-03-01T01:00:00Z,1\n")}
	for name, s := range map[string]Series{
		"no price":          {USDPer: 1},
		"no file":           {USDPer: 1, RealTime: history.Spec{Path: price.Path + "x"}},
		"nothing in common": {USDPer: 1, RealTime: price, Hashprice: history.Spec{Path: file(t, "h.csv", "date_utc,h\n2023-03-02,77\n2023-03-03,78\n")}},
	} {
		_, err := ReadHistory(s)
		if k := sluice.KindOf(err); k != sluice.Invalid && k != sluice.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The recorded series of ERCOT West and of the bitcoin network make a plan.
func TestRecordedHistory(t *testing.T) {
	if _, err := os.Stat(shared); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	spec := func(name, column string) history.Spec {
		return history.Spec{Path: shared + name + ".csv.gz", Column: column}
	}
	h, err := ReadHistory(Series{
		USDPer: 1, RealTime: spec("ercot_rt_hourly_lz", "lz_west_usd_per_mwh"), BTC: spec("btc_price_hourly", ""),
		Difficulty: spec("btc_network_daily_open", "difficulty"), Subsidy: spec("btc_network_daily_open", "subsidy_btc_per_block"),
	})
	if err != nil {
		t.Fatal(err)
	}
	p := madePlan(1, minWeeks)
	p.History, p.Steps, p.Scenarios = h, 4, 60
	p.Terms.Hashprice, p.Terms.CurtailHours = given(43.34), given(100)
	r := run(t, p)
	if r.History.Weeks < 150 || r.History.WeeksLeftOut > 3 || math.Abs(r.History.CalledHoursYear-100) > 3 {
		t.Errorf("%+v", r.History)
	}
	if r.Solver.WorstGap > 0.005 || r.Solver.Infeasible != 0 {
		t.Errorf("%+v", r.Solver)
	}
	// Half of the connection is firm: up to there miners carry nearly all calls of
	// the hosting, beyond they cannot.
	for _, s := range r.Steps {
		if s.Conversion != "hosting" || s.Share == 0 || s.Share == 1 {
			continue
		}
		if covered := s.FlexibilityUSD / s.CalledAloneUSD; (s.Share <= 0.5) != (covered > 0.9) {
			t.Errorf("at %v miners save %.0f %% of what calls cost the AI alone", s.Share, 100*covered)
		}
	}
}
