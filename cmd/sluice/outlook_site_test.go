package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/config"
	"sluice/feed"
	"sluice/forecast"
	"sluice/site"
	"sluice/store"
)

// daily is a market whose price follows the hours, with a day-ahead price beside it
// that knows of dear evenings.
func daily(at time.Time) (real, ahead float64) {
	dear := 0.0
	if h := at.Hour(); at.YearDay()%5 == 0 && h >= 18 && h < 21 {
		dear = 150
	}
	base := 30 + 15*math.Sin(float64(at.Hour()-9)/24*2*math.Pi)
	return base + dear + 4*math.Sin(float64(at.Unix()/3600%97)), base + 0.8*dear
}

// play publishes hours of daily, day-ahead at 18:00 of the day before, real-time at
// the end.
func (m *market) play(from, to time.Time) {
	for at := from; at.Before(to); at = at.Add(time.Hour) {
		real, ahead := daily(at)
		m.add(feed.RealTimePrice, at, time.Hour, real, at.Add(time.Hour))
		m.add(feed.DayAheadPrice, at, time.Hour, ahead, at.Truncate(day).Add(dayAheadAt-day))
	}
}

func openDB(t *testing.T, dir string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), dir, store.Options{Site: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// A process that starts again expects to the last bit what the one before did: what
// was observed is in the database, restatements too. In between it learns at once.
func TestTheForecastOutlivesARestart(t *testing.T) {
	m := &market{points: map[feed.Quantity][]feed.Point{}}
	begin := spring.Add(-64 * day)
	m.play(begin, spring.Add(2*day))
	m.add(feed.RealTimePrice, spring.Add(-30*time.Hour), time.Hour, 321, spring.Add(-6*time.Hour))
	dir := t.TempDir()
	var before []float64
	var seen site.Forecast
	start := func(db *store.DB) (*outlook, *feed.Book) {
		book := feed.NewBook([]feed.Spec{{Name: "market", Source: m, MaxAge: time.Hour}})
		return newOutlook(site.Options{Feeds: book, Step: 5 * time.Minute, Horizon: 6 * time.Hour}, db, nil, 1, slog.New(slog.DiscardHandler)), book
	}
	follow := func(o *outlook, book *feed.Book, now time.Time) {
		t.Helper()
		if err := book.Refresh(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		o.follow(t.Context(), now)
	}
	db := openDB(t, dir)
	o, book := start(db)
	for now := begin.Add(4 * time.Hour); !now.After(spring); now = now.Add(4 * time.Hour) {
		follow(o, book, now)
	}
	before, seen = o.Expect(spring, 72), o.Forecast(spring)
	if len(before) != 72 || !seen.Ready || seen.LearnedDays < 63 {
		t.Fatalf("%d intervals are expected, %+v", len(before), seen)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	db = openDB(t, dir)
	defer db.Close()
	o, book = start(db)
	if got := o.Expect(spring, 72); got != nil || o.Forecast(spring).Ready {
		t.Errorf("before it has learned again it expects %v", got)
	}
	follow(o, book, spring)
	if got := o.Expect(spring, 72); !reflect.DeepEqual(got, before) {
		t.Errorf("after a restart it expects\n%v, before\n%v", got, before)
	}
	if got := o.Forecast(spring); !reflect.DeepEqual(got, seen) {
		t.Errorf("after a restart people see %+v, before %+v", got, seen)
	}
}

// beginSite writes a configuration with a feed of its own, and recorded prices of so
// many days before now beside it, all in a currency of which one is 2 USD, and begins
// the site.
func beginSite(t *testing.T, now time.Time, days int, history string) *running {
	t.Helper()
	dir := t.TempDir()
	var live strings.Builder
	live.WriteString("ts_utc,real_time_usd_per_mwh,day_ahead_usd_per_mwh\n")
	for at := now.Truncate(time.Hour).Add(-3 * time.Hour); at.Before(now.Add(30 * time.Hour)); at = at.Add(time.Hour) {
		real, ahead := daily(at)
		fmt.Fprintf(&live, "%s,%g,%g\n", at.Format(time.RFC3339), real/2, ahead/2)
	}
	write := func(name, text string) {
		t.Helper()
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if !strings.HasSuffix(name, ".gz") {
			_, err = f.WriteString(text)
		} else {
			z := gzip.NewWriter(f)
			if _, err = z.Write([]byte(text)); err == nil {
				err = z.Close()
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("live.csv", live.String())
	var real, ahead strings.Builder
	real.WriteString("ts_utc,west,north\n")
	ahead.WriteString("ts_utc,west\n")
	for at := now.Truncate(day).Add(-time.Duration(days) * day); at.Before(now.Truncate(time.Hour)); at = at.Add(time.Hour) {
		r, a := daily(at)
		fmt.Fprintf(&real, "%s,%g,9999\n", at.Format(time.RFC3339), r/2)
		fmt.Fprintf(&ahead, "%s,%g\n", at.Format(time.RFC3339), a/2)
	}
	write("real.csv.gz", real.String())
	write("ahead.csv", ahead.String())
	write("sluice.yaml", `
site: {name: test, step: 5m, horizon: 3h, currency: EUR, usd_per_currency: 2, usd_per_currency_as_of: 2026-01-01}
nodes: [{name: site, limit: 1MW}]
classes:
  - {name: s21, node: site, modes: [{name: sleep, power: 20W}, {name: mine, power: 3500W, hashrate_ths: 200}]}
machines: [{name: m1, class: s21, driver: luxos, address: 127.0.0.1, api_port: 1}]
feeds:
  - {name: prices, type: csv, path: live.csv, max_age: 2h}
  - {name: fixed, type: constant, values: {hashprice_usd_per_ph_day: 60}}
`+history)
	cfg, err := config.Load(filepath.Join(dir, "sluice.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := realParts(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	db := openDB(t, filepath.Join(dir, "data"))
	t.Cleanup(func() { db.Close() })
	r, err := begin(t.Context(), p, db, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.jobs.Close)
	return r
}

const recordedYAML = `
history:
  series:
    - {quantity: real_time_usd_per_mwh, file: real.csv.gz, column: west}
    - {quantity: day_ahead_usd_per_mwh, file: ahead.csv}
    - {quantity: btc_usd, file: nowhere.csv}
`

// A real site learns from the series of its configuration and plans by what it
// expects; without them, or with too little, it goes on by the rule.
func TestARealSiteLearnsFromItsHistory(t *testing.T) {
	now := time.Now().UTC()
	for _, c := range []struct {
		name, yaml string
		days       int
		ready      bool
	}{
		{"90 days", recordedYAML, 90, true},
		{"58 days", recordedYAML, 58, false}, // and what there is of today,
		{"none", "", 90, false},
		{"a file that is missing", strings.ReplaceAll(recordedYAML, "real.csv.gz", "missing.csv"), 90, false},
	} {
		r := beginSite(t, now, c.days, c.yaml)
		if f := r.site.Status().Forecast; f == nil || f.Ready || f.Note == "" {
			t.Errorf("%s: at the start people see %+v", c.name, f)
		}
		r.outlook.follow(context.Background(), now)
		if err := r.site.Step(context.Background(), now); err != nil {
			t.Fatal(err)
		}
		f, got := r.site.Status().Forecast, r.outlook.Expect(now, 36)
		if f == nil || f.Ready != c.ready || (len(got) == 36) != c.ready || (f.Note == "") != c.ready {
			t.Errorf("%s: people see %+v, expected are %v", c.name, f, got)
		}
		if !c.ready {
			continue
		}
		// What is expected is near to what will be, in USD, and the hour in force as
		// it is published.
		want := 0.0
		for i, v := range got {
			real, _ := daily(now.Truncate(5 * time.Minute).Add(time.Duration(i) * 5 * time.Minute))
			want += math.Abs(v-real) / float64(len(got))
		}
		if real, _ := daily(now); math.Abs(got[0]-real) > 1e-9 || want > 25 {
			t.Errorf("%s: it expects %v, on average %.1f $/MWh off", c.name, got, want)
		}
		if f.LearnedDays < 89 || now.Sub(*f.LearnedFrom) < 89*day || f.LearnedTo.Before(now) {
			t.Errorf("%s: people see %+v", c.name, f)
		}
	}
}

// Recorded prices of another step than the feed's say nothing of its intervals: they
// are left out, and the log says so.
func TestRecordedPricesOfAnotherStep(t *testing.T) {
	var log strings.Builder
	s := newStage(t)
	s.o.log = slog.New(slog.NewTextHandler(&log, nil))
	s.history(spring, 60*day, 30)
	for k, p := range s.keep.rows {
		p.To = p.From.Add(time.Hour)
		s.keep.rows[k] = p
	}
	s.follow(spring)
	if f := s.o.Forecast(spring); f.Ready || f.LearnedDays > 0.02 || !strings.Contains(log.String(), "give a series of the feed's step") {
		t.Errorf("people see %+v, the log says %s", f, log.String())
	}
}

// Expect is called with the site's lock held, while follow learns in another
// goroutine: it neither waits nor sees half a forecast.
func TestExpectDoesNotWaitForLearning(t *testing.T) {
	s := newStage(t)
	s.history(spring, 60*day, 30)
	s.follow(spring)
	entered, leave := make(chan struct{}), make(chan struct{})
	s.told.expects = func(at time.Time) float64 {
		if at.Equal(spring.Add(15 * time.Minute)) {
			close(entered)
			<-leave
		}
		return 60
	}
	next := spring.Add(15 * time.Minute)
	done := make(chan struct{})
	go func() { defer close(done); s.o.follow(context.Background(), next) }()
	<-entered
	if got, want := s.o.Expect(next, 3), []float64{50, 50, 50}; !reflect.DeepEqual(got, want) {
		t.Errorf("while it learns it expects %v, want those made before, %v", got, want)
	}
	close(leave)
	<-done
	if got, want := s.o.Expect(next, 3), []float64{60, 60, 60}; !reflect.DeepEqual(got, want) {
		t.Errorf("after it has learned it expects %v, want %v", got, want)
	}
}

var _ forecaster = (*forecast.Forecaster)(nil)
