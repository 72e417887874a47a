package constant

import (
	"context"
	"testing"
	"time"

	"sluice/feed"
	"sluice/feed/feedtest"
)

func TestSuite(t *testing.T) {
	feedtest.Contract(t, New(map[feed.Quantity]float64{feed.RealTimePrice: 42.5, feed.Subsidy: 3.125}, "contract"), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
}

func TestAConstantNeverGrowsOldAndReachesAhead(t *testing.T) {
	values := map[feed.Quantity]float64{feed.RealTimePrice: 42.5}
	b := feed.NewBook([]feed.Spec{{Name: "ppa", Source: New(values, "contract of 2026"), MaxAge: time.Minute}})
	values[feed.RealTimePrice] = 1 // the caller's map is its own
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := b.Refresh(context.Background(), now); err != nil {
		t.Fatal(err)
	}
	if v := b.At(feed.RealTimePrice, now.Add(240*time.Hour)); v.Value != 42.5 || v.Stale || v.Origin != "contract of 2026" {
		t.Errorf("%+v", v)
	}
	for i, v := range b.Series(feed.RealTimePrice, now, 5*time.Minute, 36) {
		if !v.Known || v.Value != 42.5 {
			t.Errorf("interval %d: %+v", i, v)
		}
	}
}
