package feed_test

import (
	"context"
	"testing"
	"time"

	"sluice/feed"
)

// A fetch between the beginning of a turn and its questions hides nothing: a
// constant that is said again, or the observation before the newest.
func TestAFetchHidesNothingFromATurnUnderWay(t *testing.T) {
	s := &script{}
	b := feed.NewBook([]feed.Spec{{Name: "x", Source: s, Refresh: time.Second}})
	for i := range 3 {
		now := t0.Add(time.Duration(i) * time.Minute)
		s.points = map[feed.Quantity][]feed.Point{
			feed.RealTimePrice: {{From: t0.AddDate(-1, 0, 0), To: t0.AddDate(1, 0, 0), Value: 40, Published: now}},
			feed.BTCPrice:      {{From: now, Value: 60000 + float64(i), Published: now}},
		}
		if err := b.Refresh(context.Background(), now); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			continue
		}
		before := now.Add(-time.Millisecond)
		if v := b.At(feed.RealTimePrice, before); v.Value != 40 || v.Stale {
			t.Errorf("fetch %d: the constant was %+v", i, v)
		}
		if v := b.At(feed.BTCPrice, before); v.Value != 60000+float64(i-1) || v.Stale {
			t.Errorf("fetch %d: the observation was %+v", i, v)
		}
		if v := b.At(feed.BTCPrice, now); v.Value != 60000+float64(i) {
			t.Errorf("fetch %d: the observation is %+v", i, v)
		}
	}
}
