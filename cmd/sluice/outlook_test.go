package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sluice/feed"
	"sluice/forecast"
	"sluice/site"
	"sluice/store"
)

// market is a feed that a test plays: it says what it has published by the time
// that it is asked, of the last week.
type market struct {
	mu     sync.Mutex
	points map[feed.Quantity][]feed.Point
	silent bool
}

func (m *market) Fetch(_ context.Context, now time.Time) (map[feed.Quantity][]feed.Point, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.silent {
		return nil, errors.New("nobody answers")
	}
	out := map[feed.Quantity][]feed.Point{}
	for q, ps := range m.points {
		for _, p := range ps {
			if !p.Published.After(now) && p.From.After(now.Add(-7*day)) {
				out[q] = append(out[q], p)
			}
		}
	}
	return out, nil
}

func (m *market) add(q feed.Quantity, from time.Time, d time.Duration, usd float64, published time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.points[q] = append(m.points[q], feed.Point{From: from, To: from.Add(d), Value: usd, Published: published, Origin: "test"})
}

// told is a forecaster that notes what it is told, and expects what the test says.
type told struct {
	real, ahead map[time.Time]float64
	order       []time.Time // of real, as it was told
	twice       int         // told again with the same value
	expects     func(at time.Time) float64
	step        time.Duration
	asked       int
}

func (f *told) Publish(from time.Time, d time.Duration, usd float64) {
	if v, ok := f.ahead[from]; ok && v == usd {
		f.twice++
	}
	f.ahead[from] = usd
}

func (f *told) Observe(from time.Time, usd float64) {
	if v, ok := f.real[from]; ok && v == usd {
		f.twice++
	}
	f.real[from] = usd
	f.order = append(f.order, from)
}

func (f *told) Expect(now time.Time, n int) []forecast.Expected {
	f.asked++
	out := make([]forecast.Expected, n)
	for i := range out {
		at := now.Truncate(f.step).Add(time.Duration(i) * f.step)
		out[i].Mean = f.expects(at)
		if v, ok := f.real[at]; ok {
			out[i].Mean = v
		}
	}
	return out
}

// memory is a priceKeeper that may fail.
type memory struct {
	rows map[priceKey]store.Price
	err  error
}

func (m *memory) KeepPrices(_ context.Context, ps []store.Price, _ time.Time) error {
	if m.err != nil {
		return m.err
	}
	for _, p := range ps {
		m.rows[keyOf(p)] = p
	}
	return nil
}

func (m *memory) Prices(_ context.Context, q string, from time.Time) ([]store.Price, error) {
	if m.err != nil {
		return nil, m.err
	}
	var out []store.Price
	for _, p := range m.rows {
		if p.Quantity == q && !p.From.Before(from) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b store.Price) int { return a.From.Compare(b.From) })
	return out, nil
}

// stage is an outlook over a played market.
type stage struct {
	t      testing.TB
	market *market
	book   *feed.Book
	keep   *memory
	told   *told
	o      *outlook
}

var spring = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func newStage(t testing.TB) *stage {
	s := &stage{t: t, market: &market{points: map[feed.Quantity][]feed.Point{}}, keep: &memory{rows: map[priceKey]store.Price{}}}
	s.book = feed.NewBook([]feed.Spec{{Name: "market", Source: s.market, MaxAge: time.Hour}})
	s.restart(5*time.Minute, 2*time.Hour)
	return s
}

// restart begins a new process over the same market and what was kept.
func (s *stage) restart(step, horizon time.Duration) {
	s.told = &told{real: map[time.Time]float64{}, ahead: map[time.Time]float64{}, expects: func(time.Time) float64 { return 50 }}
	s.o = newOutlook(site.Options{Feeds: s.book, Step: step, Horizon: horizon}, s.keep, nil, 1, slog.New(slog.DiscardHandler))
	mine := s.told
	s.o.make = func(o forecast.Options) (forecaster, error) { mine.step = o.Step; return mine, nil }
}

func (s *stage) follow(now time.Time) {
	_ = s.book.Refresh(s.t.Context(), now)
	s.o.follow(s.t.Context(), now)
}

// history plays days of quarter-hours at a price, published at their end, up to a
// time.
func (s *stage) history(to time.Time, length time.Duration, usd float64) {
	for at := to.Add(-length); at.Before(to); at = at.Add(15 * time.Minute) {
		end := at.Add(15 * time.Minute)
		s.keep.rows[priceKey{string(feed.RealTimePrice), at.UnixNano()}] = store.Price{
			Quantity: string(feed.RealTimePrice), From: at, To: end, Published: end, Value: usd,
		}
	}
	s.market.add(feed.RealTimePrice, to.Add(-15*time.Minute), 15*time.Minute, usd, to)
}

// Whatever a market publishes, when, late, or restated: the forecaster has been told
// just what was published by then, new intervals by time, and nothing twice; and the
// same is kept.
func TestTheForecasterIsToldWhatIsPublished(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := newStage(t)
		minutes := func(name string, lo, hi int) time.Duration {
			return time.Duration(rapid.IntRange(lo, hi).Draw(r, name)) * time.Minute
		}
		usd := rapid.Float64Range(-50, 900)
		const quarter = 15 * time.Minute
		for i := range 24 {
			from := spring.Add(time.Duration(i) * quarter)
			if rapid.IntRange(0, 9).Draw(r, "gap") == 0 {
				continue
			}
			out := from.Add(minutes("published after its start", 0, 40))
			s.market.add(feed.RealTimePrice, from, quarter, usd.Draw(r, "usd"), out)
			if rapid.IntRange(0, 5).Draw(r, "restated") == 0 {
				s.market.add(feed.RealTimePrice, from, quarter, usd.Draw(r, "usd"), out.Add(minutes("restated after", 1, 200)))
			}
		}
		for h := range 12 {
			s.market.add(feed.DayAheadPrice, spring.Add(time.Duration(h)*time.Hour), time.Hour, usd.Draw(r, "usd"), spring.Add(minutes("auction", -300, 100)))
		}
		seen := map[feed.Quantity]map[time.Time]float64{feed.RealTimePrice: {}, feed.DayAheadPrice: {}}
		for m := 0; m < 480; m += rapid.IntRange(1, 30).Draw(r, "turn") {
			now := spring.Add(time.Duration(m) * time.Minute)
			s.follow(now)
			if usualLength(s.o.published(feed.RealTimePrice, now)) != 0 {
				for q, times := range seen {
					for _, p := range s.book.Points(q, spring, spring.Add(day), now) {
						if q == feed.DayAheadPrice || !p.From.After(now) {
							times[p.From] = p.Value
						}
					}
				}
			}
			if !maps.Equal(s.told.real, seen[feed.RealTimePrice]) || !maps.Equal(s.told.ahead, seen[feed.DayAheadPrice]) {
				r.Fatalf("at %s it was told\n%v\n%v\npublished is\n%v\n%v", now, s.told.real, s.told.ahead, seen[feed.RealTimePrice], seen[feed.DayAheadPrice])
			}
			// Held against the market itself, not the book: nothing of the future.
			for q, times := range map[feed.Quantity]map[time.Time]float64{feed.RealTimePrice: s.told.real, feed.DayAheadPrice: s.told.ahead} {
				for from, v := range times {
					if !slices.ContainsFunc(s.market.points[q], func(p feed.Point) bool {
						return p.From.Equal(from) && p.Value == v && !p.Published.After(now)
					}) {
						r.Fatalf("at %s it was told %g of %s at %s, which is not published", now, v, q, from)
					}
				}
			}
		}
		if s.told.twice > 0 {
			r.Fatalf("%d prices were told again", s.told.twice)
		}
		kept := map[time.Time]float64{}
		for _, p := range s.keep.rows {
			if p.Quantity == string(feed.RealTimePrice) {
				kept[p.From] = p.Value
			}
		}
		if !maps.Equal(kept, s.told.real) {
			r.Fatalf("kept are %v, told were %v", kept, s.told.real)
		}
	})
}

// Sixty days make a forecast: before, and while the price in force is stale, the
// site's own rule counts.
func TestTheRuleCountsUntilEnoughIsKnown(t *testing.T) {
	for _, c := range []struct {
		name  string
		play  func(s *stage)
		ready bool
		why   string
	}{
		{"60 days", func(s *stage) { s.history(spring, 60*day, 30) }, true, ""},
		{"a quarter less", func(s *stage) { s.history(spring, 60*day-15*time.Minute, 30) }, false, "60.0 of the 60 days of prices that it learns from are known"},
		{"a day", func(s *stage) { s.history(spring, day, 30) }, false, "1.0 of the 60 days of prices that it learns from are known"},
		{"a year, long ago", func(s *stage) { s.history(spring.Add(-401*day), 365*day, 30); s.history(spring, day, 30) }, false, "1.0 of the 60 days of prices that it learns from are known"},
		{"five years, and a hole of ten hours", func(s *stage) {
			s.history(spring.Add(-10*time.Hour), 100*day, 30)
			s.history(spring, time.Hour, 30)
		}, false, "of the newest 24 hours of prices 15 are known, it needs 20"},
		{"nothing", func(*stage) {}, false, "no feed has a fresh real-time price of an interval"},
	} {
		s := newStage(t)
		c.play(s)
		s.follow(spring)
		f, got := s.o.Forecast(spring), s.o.Expect(spring, 3)
		if f.Ready != c.ready || f.Note != c.why || (got != nil) != c.ready {
			t.Errorf("%s: %+v, expected %v", c.name, f, got)
		}
	}
	s := newStage(t)
	s.history(spring, 60*day, 30)
	s.follow(spring)
	s.market.silent = true
	for _, c := range []struct {
		after time.Duration
		ready bool
	}{{30 * time.Minute, true}, {time.Hour, true}, {time.Hour + time.Second, false}, {5 * time.Hour, false}} {
		now := spring.Add(c.after)
		s.follow(now)
		if f := s.o.Forecast(now); f.Ready != c.ready || (s.o.Expect(now, 3) != nil) != c.ready || f.LearnedDays != 60 {
			t.Errorf("after %s of silence: %+v", c.after, f)
		}
	}
	s.market.silent = false
	s.market.add(feed.RealTimePrice, spring.Add(5*time.Hour), 15*time.Minute, 77, spring.Add(5*time.Hour))
	back := spring.Add(5*time.Hour + 20*time.Minute) // a feed that failed is asked again later
	s.follow(back)
	if f, want := s.o.Forecast(back), "of the newest 24 hours of prices 19 are known, it needs 20"; f.Ready || f.Note != want {
		t.Errorf("the feed is back after a hole of five hours: %+v, want %q", f, want)
	}
}

// Each interval of the site has the expected price of the market's interval that it
// lies in; what is published counts as it is.
func TestExpectedPricesByTheSitesIntervals(t *testing.T) {
	s := newStage(t)
	s.history(spring, 60*day, 30)
	s.told.expects = func(at time.Time) float64 { return 100 + at.Sub(spring).Minutes()/15 }
	now := spring.Add(6 * time.Minute)
	s.follow(now)
	if got, want := s.o.Expect(now, 5), []float64{100, 100, 101, 101, 101}; !reflect.DeepEqual(got, want) {
		t.Errorf("in intervals of 5 minutes from minute 5 on: %v, want %v", got, want)
	}
	if f := s.o.Forecast(now); !f.Ready || f.NextUSDPerMWh != 100 || !f.LearnedTo.Equal(spring) || !f.LearnedFrom.Equal(spring.Add(-60*day)) {
		t.Errorf("people see %+v", f)
	}
	// Minute 15 comes, and nothing has been followed yet.
	now = spring.Add(15 * time.Minute)
	if got, want := s.o.Expect(now, 4), []float64{101, 101, 101, 102}; !reflect.DeepEqual(got, want) {
		t.Errorf("from minute 15 on: %v, want %v", got, want)
	}
	// The market says the price of this interval and of the next but one at once.
	s.market.add(feed.RealTimePrice, now, 15*time.Minute, 900, now)
	s.market.add(feed.RealTimePrice, now.Add(30*time.Minute), 15*time.Minute, 901, now)
	if err := s.book.Refresh(t.Context(), now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	want := []float64{900, 900, 900, 102, 102, 102, 901}
	if got := s.o.Expect(now, 7); !reflect.DeepEqual(got, want) {
		t.Errorf("published and not followed: %v, want %v", got, want)
	}
	s.follow(now)
	if got := s.o.Expect(now, 7); !reflect.DeepEqual(got, want) {
		t.Errorf("published and followed: %v, want %v", got, want)
	}
	if got, most := s.o.Expect(now, 1000), 30; len(got) < 24 || len(got) > most {
		t.Errorf("%d intervals of 5 minutes, want the horizon's 24 and not more than %d", len(got), most)
	}
	// Nobody has followed for long: the rule counts.
	if got := s.o.Expect(now.Add(40*time.Minute), 3); got != nil {
		t.Errorf("40 minutes after it was made it says %v", got)
	}

	// Intervals of the site longer than the market's: the mean of what is left of it.
	s.restart(time.Hour, 3*time.Hour)
	s.told.expects = func(at time.Time) float64 { return 100 + at.Sub(spring).Minutes()/15 }
	s.follow(spring.Add(31 * time.Minute))
	got, want := s.o.Expect(spring.Add(31*time.Minute), 3), []float64{(102 + 901) / 2.0, (104 + 105 + 106 + 107) / 4.0, (108 + 109 + 110 + 111) / 4.0}
	if len(got) != 3 || math.Abs(got[0]-want[0])+math.Abs(got[1]-want[1])+math.Abs(got[2]-want[2]) > 1e-9 {
		t.Errorf("by the hour: %v, want %v", got, want)
	}
}

// A price that is asked for in the same interval again is not made anew.
func TestNothingNewIsNoWork(t *testing.T) {
	s := newStage(t)
	s.history(spring, 60*day, 30)
	for i := range 10 {
		s.follow(spring.Add(time.Duration(i) * time.Second))
	}
	if s.told.asked != 1 {
		t.Errorf("in one interval without news it was asked %d times", s.told.asked)
	}
	s.market.add(feed.RealTimePrice, spring.Add(-15*time.Minute), 15*time.Minute, 31, spring.Add(time.Minute)) // restated
	s.follow(spring.Add(time.Minute))
	s.follow(spring.Add(15 * time.Minute))
	if s.told.asked != 3 {
		t.Errorf("after a restatement and in the next interval it was asked %d times", s.told.asked)
	}
}

// A disk that does not answer takes nothing of the forecast, and what waits is kept
// when it does.
func TestTheForecastOutlivesTheDisk(t *testing.T) {
	s := newStage(t)
	s.history(spring, 60*day, 30)
	s.follow(spring)
	s.keep.err = errors.New("the disk is full")
	var log strings.Builder
	s.o.log = slog.New(slog.NewTextHandler(&log, nil))
	next := spring.Add(20 * time.Minute)
	s.market.add(feed.RealTimePrice, spring, 15*time.Minute, 44, next)
	s.follow(next)
	if v, ok := s.told.real[spring]; !ok || v != 44 || !s.o.Forecast(next).Ready {
		t.Errorf("with a full disk it was told %v, %+v", v, s.o.Forecast(next))
	}
	s.follow(next.Add(time.Second))
	if n := strings.Count(log.String(), "the disk is full"); n != 1 {
		t.Errorf("after two looks the log says %d times that the disk is full", n)
	}
	s.keep.err = nil
	s.follow(next.Add(2 * time.Second))
	if p := s.keep.rows[priceKey{string(feed.RealTimePrice), spring.UnixNano()}]; p.Value != 44 {
		t.Errorf("kept is %+v", p)
	}
}

// A market that goes over to another step is learned anew from what was of that step.
func TestAnotherStep(t *testing.T) {
	s := newStage(t)
	s.history(spring, 60*day, 30)
	s.follow(spring)
	later := spring.Add(8 * day)
	for at := later.Add(-day); at.Before(later); at = at.Add(5 * time.Minute) {
		s.market.add(feed.RealTimePrice, at, 5*time.Minute, 20, at)
	}
	s.told.real = map[time.Time]float64{}
	s.follow(later)
	if f := s.o.Forecast(later); s.told.step != 5*time.Minute || f.Ready || f.LearnedDays != 1 || len(s.told.real) != 288 {
		t.Errorf("after the change the step is %s, %d prices were told, %+v", s.told.step, len(s.told.real), f)
	}
}

// A price that stands in the configuration is no market: nothing is forecast, and
// nobody is warned of it.
func TestAPriceThatStays(t *testing.T) {
	s := newStage(t)
	var log strings.Builder
	s.o.log = slog.New(slog.NewTextHandler(&log, nil))
	s.market.add(feed.RealTimePrice, spring.Add(-day), 100*365*day, 40, spring.Add(-day))
	s.follow(spring)
	if f := s.o.Forecast(spring); f.Ready || !strings.Contains(f.Note, "holds for longer than a day") || log.Len() > 0 {
		t.Errorf("%+v, log %q", f, log.String())
	}
}

// The end of the program does not wait for a fit.
func TestRunEndsWhileItLearns(t *testing.T) {
	s := newStage(t)
	s.history(spring, 60*day, 30)
	if err := s.book.Refresh(t.Context(), spring); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		entered, leave, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		s.told.expects = func(at time.Time) float64 {
			if at.Equal(spring.Add(15 * time.Minute)) {
				close(entered)
				<-leave
			}
			return 60
		}
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(ended)
			s.o.run(ctx, func() time.Time { return spring.Add(time.Since(began)) })
		}()
		<-entered
		if got := time.Since(began); got != time.Second {
			t.Errorf("it looks after %s, want a second", got)
		}
		cancel()
		<-ended
		close(leave)
	})
}
