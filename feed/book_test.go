package feed_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/feed"
)

var t0 = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// script is an origin that a test plays: what it says, or how it fails.
type script struct {
	mu     sync.Mutex
	points map[feed.Quantity][]feed.Point
	err    error
	asked  []time.Time
	wait   bool // until the context ends
}

func (s *script) Fetch(ctx context.Context, now time.Time) (map[feed.Quantity][]feed.Point, error) {
	s.mu.Lock()
	s.asked = append(s.asked, now)
	wait, points, err := s.wait, s.points, s.err
	s.mu.Unlock()
	if wait {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return points, err
}

func (s *script) set(f func(*script)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func hour(h int, v float64) feed.Point {
	from := t0.Add(time.Duration(h) * time.Hour)
	return feed.Point{From: from, To: from.Add(time.Hour), Value: v, Published: from, Origin: "script"}
}

func says(ps ...feed.Point) map[feed.Quantity][]feed.Point {
	return map[feed.Quantity][]feed.Point{feed.RealTimePrice: ps}
}

func refresh(t *testing.T, b *feed.Book, now time.Time) {
	t.Helper()
	if err := b.Refresh(context.Background(), now); err != nil {
		t.Fatal(err)
	}
}

func TestFreshThenStaleThenFallback(t *testing.T) {
	first := &script{points: says(hour(0, 10))}
	second := &script{points: says(hour(0, 20), hour(1, 21), hour(2, 22))}
	for i := range second.points[feed.RealTimePrice] { // the second knows ahead
		second.points[feed.RealTimePrice][i].Published = t0
	}
	b := feed.NewBook([]feed.Spec{
		{Name: "first", Source: first, MaxAge: 15 * time.Minute},
		{Name: "second", Source: second, MaxAge: 15 * time.Minute, Fallback: map[feed.Quantity]float64{feed.RealTimePrice: 99}},
	})
	if v := b.At(feed.RealTimePrice, t0); v.Value != 99 || !v.Stale || v.Origin != "fallback of second" || !v.Known {
		t.Errorf("before anything was fetched: %+v", v)
	}
	if v := b.At(feed.BTCPrice, t0); v.Known {
		t.Errorf("of what nobody knows: %+v", v)
	}
	refresh(t, b, t0)
	for _, c := range []struct {
		after time.Duration
		value float64
		stale bool
		why   string
	}{
		{0, 10, false, "the first is fresh"},
		{time.Hour - 1, 10, false, "its interval runs"},
		{75 * time.Minute, 10, false, "it has ended 15 minutes ago"},
		{75*time.Minute + 1, 21, false, "the first is stale, the second in force"},
		{3*time.Hour + 15*time.Minute, 22, false, "the second's last has ended 15 minutes ago"},
		{3*time.Hour + 16*time.Minute, 22, true, "both are stale, the second is younger"},
		{4 * time.Hour, 22, true, "an hour is four maximum ages"},
		{4*time.Hour + 1, 99, true, "and then the fallback counts"},
	} {
		if v := b.At(feed.RealTimePrice, t0.Add(c.after)); v.Value != c.value || v.Stale != c.stale || !v.Known {
			t.Errorf("after %s: %+v, want %g because %s", c.after, v, c.value, c.why)
		}
	}
	if v := b.At(feed.RealTimePrice, t0.Add(-time.Minute)); v.Value != 99 {
		t.Errorf("before publication: %+v", v)
	}
}

func TestStaleForEverWithoutFallback(t *testing.T) {
	b := feed.NewBook([]feed.Spec{{Name: "a", Source: &script{points: says(hour(0, 10))}}})
	refresh(t, b, t0)
	if v := b.At(feed.RealTimePrice, t0.Add(1000*time.Hour)); !v.Known || !v.Stale || v.Value != 10 {
		t.Errorf("%+v", v)
	}
}

func TestObservationAgesFromItsPublication(t *testing.T) {
	obs := feed.Point{From: t0, Value: 60000, Published: t0, Origin: "ticker"}
	b := feed.NewBook([]feed.Spec{{Name: "a", Source: &script{points: map[feed.Quantity][]feed.Point{feed.BTCPrice: {obs}}}, MaxAge: 10 * time.Minute}})
	refresh(t, b, t0)
	if v := b.At(feed.BTCPrice, t0.Add(10*time.Minute)); v.Stale || v.Value != 60000 || !v.AsOf.Equal(t0) {
		t.Errorf("after 10 minutes: %+v", v)
	}
	if v := b.At(feed.BTCPrice, t0.Add(10*time.Minute+1)); !v.Stale {
		t.Errorf("later: %+v", v)
	}
	s := b.Series(feed.BTCPrice, t0, 5*time.Minute, 4)
	if !s[0].Known || !s[1].Known || !s[2].Known || s[3].Known {
		t.Errorf("ahead: %+v", s)
	}
}

func TestARestatedPriceCountsFromItsPublication(t *testing.T) {
	old, restated := hour(0, 10), hour(0, 12)
	restated.Published = t0.Add(20 * time.Minute)
	b := feed.NewBook([]feed.Spec{{Name: "a", Source: &script{points: says(restated, old)}}})
	refresh(t, b, t0)
	if v := b.At(feed.RealTimePrice, t0.Add(19*time.Minute)); v.Value != 10 {
		t.Errorf("before: %+v", v)
	}
	if v := b.At(feed.RealTimePrice, t0.Add(20*time.Minute)); v.Value != 12 || !v.AsOf.Equal(restated.Published) {
		t.Errorf("after: %+v", v)
	}
}

func TestSeriesKnowsWhatIsPublished(t *testing.T) {
	var ps []feed.Point
	for h := range 4 {
		p := hour(h, float64(100+h))
		p.Published = t0.Add(-6 * time.Hour)
		if h == 3 {
			p.Published = t0.Add(time.Minute)
		}
		ps = append(ps, p)
	}
	b := feed.NewBook([]feed.Spec{{
		Name: "da", Source: &script{points: map[feed.Quantity][]feed.Point{feed.DayAheadPrice: ps}},
		Fallback: map[feed.Quantity]float64{feed.DayAheadPrice: 1},
	}})
	refresh(t, b, t0)
	s := b.Series(feed.DayAheadPrice, t0.Add(30*time.Second), time.Hour, 5)
	for i, want := range []float64{100, 101, 102} {
		if !s[i].Known || s[i].Value != want {
			t.Errorf("interval %d: %+v", i, s[i])
		}
	}
	if s[3].Known || s[4].Known {
		t.Errorf("what is not out is known: %+v %+v", s[3], s[4])
	}
	if got := b.Series(feed.DayAheadPrice, t0, time.Hour, 0); len(got) != 0 {
		t.Errorf("no intervals give %v", got)
	}
}

func TestFailureKeepsTheLastGoodAndBacksOff(t *testing.T) {
	src := &script{points: says(hour(0, 10))}
	b := feed.NewBook([]feed.Spec{{Name: "a", Source: src, Refresh: time.Minute}})
	refresh(t, b, t0)
	src.set(func(s *script) { s.points, s.err = nil, errors.New("it is down") })
	var asked []time.Duration
	for at := t0; at.Before(t0.Add(2 * time.Hour)); at = at.Add(time.Minute) {
		n := len(src.asked)
		err := b.Refresh(context.Background(), at)
		if len(src.asked) > n {
			asked = append(asked, at.Sub(t0))
			if err == nil || !strings.Contains(err.Error(), "feed a: it is down") {
				t.Errorf("the error is %v", err)
			}
		} else if err != nil {
			t.Errorf("an error without a fetch: %v", err)
		}
	}
	want := []time.Duration{1, 3, 7, 15, 31, 47, 63, 79, 95, 111}
	for i := range want {
		want[i] *= time.Minute
	}
	if !reflect.DeepEqual(asked, want) {
		t.Errorf("asked after %v, want %v", asked, want)
	}
	if v := b.At(feed.RealTimePrice, t0.Add(30*time.Minute)); v.Value != 10 || v.Stale {
		t.Errorf("%+v", v)
	}
	s := b.Status(t0.Add(2 * time.Hour))[0]
	if s.Error != "it is down" || !strings.Contains(s.Note, "last good 2026-01-15T12:00:00Z") || !s.Stale || s.Value != 10 || s.Unit != "USD/MWh" {
		t.Errorf("the status is %+v", s)
	}
	src.set(func(s *script) { s.points, s.err = says(hour(2, 30)), nil })
	refresh(t, b, t0.Add(130*time.Minute))
	if s := b.Status(t0.Add(130 * time.Minute))[0]; s.Error != "" || s.Value != 30 || s.Stale {
		t.Errorf("after it came back: %+v", s)
	}
}

func TestTheClockMayGoBack(t *testing.T) {
	src := &script{points: says(hour(0, 10))}
	b := feed.NewBook([]feed.Spec{{Name: "a", Source: src, Refresh: time.Hour}})
	refresh(t, b, t0)
	refresh(t, b, t0.Add(-48*time.Hour))
	if len(src.asked) != 2 {
		t.Errorf("asked %d times", len(src.asked))
	}
}

func TestPointsThatBreakTheContractAreRefused(t *testing.T) {
	empty := hour(0, 1)
	empty.To = empty.From
	for name, p := range map[string]feed.Point{"not a number": hour(0, math.NaN()), "infinite": hour(0, math.Inf(1)), "empty": empty} {
		b := feed.NewBook([]feed.Spec{{Name: "a", Source: &script{points: says(p)}}})
		if err := b.Refresh(context.Background(), t0); err == nil {
			t.Errorf("%s passes", name)
		}
		if v := b.At(feed.RealTimePrice, t0); v.Known {
			t.Errorf("%s counts: %+v", name, v)
		}
	}
}

// A feed that hangs costs its own timeout, and does not hold up the others.
func TestAHangingFeedHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, hang := &script{points: says(hour(0, 10))}, &script{wait: true}
		b := feed.NewBook([]feed.Spec{{Name: "hang", Source: hang, Timeout: 3 * time.Second}, {Name: "good", Source: good}})
		began := time.Now()
		done := make(chan error, 1)
		go func() { done <- b.Refresh(context.Background(), t0) }()
		synctest.Wait() // all is waiting: the good one is stored, no lock is held
		if v := b.At(feed.RealTimePrice, t0); v.Value != 10 {
			t.Errorf("while one hangs: %+v", v)
		}
		if err := b.Refresh(context.Background(), t0); err != nil {
			t.Errorf("a second refresh does not skip what is being fetched: %v", err)
		}
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %s", took)
		}
		if len(hang.asked) != 1 {
			t.Errorf("the hanging one was asked %d times", len(hang.asked))
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	src := &script{points: says(hour(0, 10))}
	b := feed.NewBook([]feed.Spec{{Name: "a", Source: src, Refresh: time.Nanosecond}})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range 50 {
				now := t0.Add(time.Duration(i*50+j) * time.Second)
				_ = b.Refresh(context.Background(), now)
				b.At(feed.RealTimePrice, now)
				b.Series(feed.RealTimePrice, now, time.Minute, 5)
				b.Hashprice(now)
				b.Status(now)
				b.Digest(now)
				b.Orders(now)
			}
		}()
	}
	wg.Wait()
	if v := b.At(feed.RealTimePrice, t0); v.Value != 10 {
		t.Errorf("%+v", v)
	}
}

func TestHashprice(t *testing.T) {
	one := func(q feed.Quantity, v float64) []feed.Point {
		return []feed.Point{{From: t0, Value: v, Published: t0, Origin: "o-" + string(q)}}
	}
	net := map[feed.Quantity][]feed.Point{feed.BTCPrice: one(feed.BTCPrice, 29243.15), feed.Difficulty: one(feed.Difficulty, 5.23911789814e13), feed.Subsidy: one(feed.Subsidy, 6.25)}
	src := &script{points: net}
	b := feed.NewBook([]feed.Spec{{Name: "net", Source: src, Refresh: time.Minute, MaxAge: time.Hour}})
	if v := b.Hashprice(t0); v.Known {
		t.Errorf("of nothing: %+v", v)
	}
	refresh(t, b, t0)
	v := b.Hashprice(t0)
	// 6.375 BTC · 144 · 29,243.15 $ / (5.239e13 · 2³² / 600 / 1e15 PH/s).
	want := 6.375 * 144 * 29243.15 / (5.23911789814e13 * math.Pow(2, 32) / 600 / 1e15)
	if math.Abs(v.Value-want) > 1e-6 || !v.Estimated || v.Stale || !strings.Contains(v.Origin, "fees taken as 2 % of the subsidy") {
		t.Errorf("%+v, want %g", v, want)
	}
	net[feed.Fees] = one(feed.Fees, 0.25)
	refresh(t, b, t0.Add(time.Minute))
	if v := b.Hashprice(t0.Add(time.Minute)); math.Abs(v.Value-want*6.5/6.375) > 1e-6 || v.Estimated || strings.Contains(v.Origin, "taken as") || !strings.Contains(v.Origin, "o-fees_btc_per_block") {
		t.Errorf("with fees: %+v", v)
	}
	if v := b.Hashprice(t0.Add(2 * time.Hour)); !v.Stale || !v.Known {
		t.Errorf("from old figures: %+v", v)
	}
	net[feed.Hashprice] = one(feed.Hashprice, 44)
	refresh(t, b, t0.Add(2*time.Minute))
	if v := b.Hashprice(t0.Add(2 * time.Minute)); v.Value != 44 || v.Origin != "o-hashprice_usd_per_ph_day" {
		t.Errorf("with a series of its own: %+v", v)
	}
	if want := sluice.HashpriceFromUSD(44).USDPerPHDay(); want != 44 {
		t.Errorf("the unit of hashprice changed: %g", want)
	}
}

func TestDigest(t *testing.T) {
	src := &script{points: says(hour(0, 10), hour(1, 11))}
	b := feed.NewBook([]feed.Spec{{Name: "a", Source: src, Refresh: time.Minute}, {Name: "b", Fallback: map[feed.Quantity]float64{feed.RealTimePrice: 5}}})
	refresh(t, b, t0)
	one := b.Digest(t0)
	if len(one) != 2 || len(one["a"]) != 64 || one["a"] == one["b"] {
		t.Fatalf("%v", one)
	}
	if again := b.Digest(t0.Add(time.Minute)); !reflect.DeepEqual(one, again) {
		t.Errorf("the same inputs digest differently: %v and %v", one, again)
	}
	if later := b.Digest(t0.Add(time.Hour)); later["a"] == one["a"] {
		t.Error("another price has the same digest")
	}
	src.set(func(s *script) { s.points = says(hour(0, 10.5), hour(1, 11)) })
	refresh(t, b, t0.Add(2*time.Minute))
	if now := b.Digest(t0.Add(2 * time.Minute)); now["a"] == one["a"] || now["b"] != one["b"] {
		t.Errorf("after a changed price: %v, before %v", now, one)
	}
}

// The price of a reserve is a quantity like any other: shown, aged, fallen back
// upon and digested by its name.
func TestReserves(t *testing.T) {
	if q := feed.ReservePrice("rrs"); q.Reserve() != "rrs" || q.Unit() != "USD/MW/h" || !q.DayAhead() || feed.RealTimePrice.Reserve() != "" || feed.RealTimePrice.DayAhead() {
		t.Errorf("%s is of the reserve %q, in %q", q, q.Reserve(), q.Unit())
	}
	for v, want := range map[float64]bool{-0.01: false, 0: true, 25674.3: true, 30_001: false, math.NaN(): false} {
		if feed.Plausible(feed.ReservePrice("rrs"), v) != want {
			t.Errorf("a reserve's price of %g: plausible %t", v, !want)
		}
	}
	src := &script{points: map[feed.Quantity][]feed.Point{feed.RealTimePrice: {hour(0, 10)}, feed.ReservePrice("rrs"): {hour(0, 5)}, feed.ReservePrice("ecrs"): {hour(0, 6)}}}
	b := feed.NewBook([]feed.Spec{{Name: "a", Source: src, Refresh: time.Minute, Fallback: map[feed.Quantity]float64{feed.ReservePrice("nonspin"): 2, feed.ReservePrice("rrs"): 1}}})
	refresh(t, b, t0)
	var shown []string
	for _, s := range b.Status(t0) {
		shown = append(shown, fmt.Sprintf("%s %g %s %t", s.Quantity, s.Value, s.Unit, s.Stale))
	}
	want := []string{
		"real_time_usd_per_mwh 10 USD/MWh false", "reserve_usd_per_mw_h/ecrs 6 USD/MW/h false",
		"reserve_usd_per_mw_h/nonspin 2 USD/MW/h true", "reserve_usd_per_mw_h/rrs 5 USD/MW/h false",
	}
	if !reflect.DeepEqual(shown, want) {
		t.Errorf("the status is\n%s", strings.Join(shown, "\n"))
	}
	one := b.Digest(t0)["a"]
	src.set(func(s *script) {
		s.points = map[feed.Quantity][]feed.Point{feed.RealTimePrice: {hour(0, 10)}, feed.ReservePrice("rrs"): {hour(0, 5)}, feed.ReservePrice("ecrs"): {hour(0, 7)}}
	})
	refresh(t, b, t0.Add(2*time.Minute))
	if b.Digest(t0.Add(2 * time.Minute))["a"] == one {
		t.Error("another price of a reserve has the same digest")
	}
}

// The book agrees with a search through all points, whatever they are.
func TestAtAgreesWithASlowSearch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(rt, "n")
		var ps []feed.Point
		at := t0
		for i := range n {
			at = at.Add(time.Duration(rapid.IntRange(0, 3).Draw(rt, "gap")) * 5 * time.Minute)
			p := feed.Point{From: at, Value: float64(i), Published: at.Add(time.Duration(rapid.IntRange(-60, 30).Draw(rt, "pub")) * time.Minute), Origin: "x"}
			at = at.Add(time.Duration(rapid.IntRange(1, 4).Draw(rt, "len")) * 5 * time.Minute)
			p.To = at
			ps = append(ps, p)
		}
		b := feed.NewBook([]feed.Spec{{Name: "a", Source: &script{points: says(ps...)}, MaxAge: 10 * time.Minute}})
		if err := b.Refresh(context.Background(), t0); err != nil {
			rt.Fatal(err)
		}
		now := t0.Add(time.Duration(rapid.IntRange(-30, 600).Draw(rt, "now")) * time.Minute)
		var want *feed.Point
		age := time.Duration(math.MaxInt64)
		for i, p := range ps {
			if p.Published.After(now) || p.From.After(now) {
				continue
			}
			if a := max(0, now.Sub(p.To)); a <= age {
				want, age = &ps[i], a
			}
		}
		// Interval that runs: To is exclusive, so age 0 at To itself ties with the next.
		v := b.At(feed.RealTimePrice, now)
		switch {
		case want == nil && v.Known:
			rt.Fatalf("%+v is known, and nothing is published", v)
		case want != nil && (!v.Known || v.Value != want.Value || v.Stale != (age > 10*time.Minute)):
			rt.Fatalf("%+v, want %+v of the age %s", v, *want, age)
		}
		for i, x := range b.Series(feed.RealTimePrice, now, 5*time.Minute, 12) {
			if !x.Known || i == 0 {
				continue
			}
			s, p := now.Add(time.Duration(i)*5*time.Minute), ps[int(x.Value)]
			if p.Published.After(now) || s.Before(p.From) || !s.Before(p.To) {
				rt.Fatalf("interval %d at %s has %+v", i, s, p)
			}
		}
	})
}

func TestSubsidyHalves(t *testing.T) {
	for h, want := range map[int64]float64{0: 50, 209_999: 50, 210_000: 25, 839_999: 6.25, 840_000: 3.125, 6_930_000: 0, 21_000_000: 0, -1: 0} {
		if got := feed.SubsidyAt(h); got != want {
			t.Errorf("at %d: %g, want %g", h, got, want)
		}
	}
}
