package backtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/feed"
	"sluice/history"
)

// Day-ahead prices of a day become known at 18:00 UTC of the day before, all at
// once, and neither the feed nor the forecast is told of one before.
func TestDayAheadIsPublishedTheDayBefore(t *testing.T) {
	from := time.Date(2023, 3, 1, 0, 0, 0, 0, time.UTC)
	var text bytes.Buffer
	text.WriteString("ts_utc,usd\n")
	const days = 6
	for h := range days * 24 {
		fmt.Fprintf(&text, "%s,%d\n", from.Add(time.Duration(h)*time.Hour).Format(time.RFC3339), h)
	}
	path := filepath.Join(t.TempDir(), "prices.csv")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	o := &Options{From: from, To: from.Add((days - 1) * 24 * time.Hour), Series: map[feed.Quantity]history.Spec{
		feed.RealTimePrice: {Path: path}, feed.DayAheadPrice: {Path: path},
	}}
	if err := o.fill(); err != nil {
		t.Fatal(err)
	}
	m, err := openMarket(o, o.From)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	var last time.Time // the latest interval that is known
	m.onPublish = func(at time.Time, d time.Duration, usd float64) {
		if d != time.Hour || usd != at.Sub(from).Hours() || !at.After(last) {
			t.Errorf("told of %v USD at %s for %s, after %s", usd, at, d, last)
		}
		last = at
	}
	for m.at().Before(o.To) {
		x, err := m.advance()
		if err != nil {
			t.Fatal(err)
		}
		end := x.at.Add(6 * time.Hour).Truncate(24 * time.Hour).Add(24 * time.Hour)
		if !last.Equal(end.Add(-time.Hour)) {
			t.Fatalf("at %s prices up to %s are known, want up to %s", x.at, last, end)
		}
		points, err := m.Fetch(t.Context(), x.at)
		if err != nil {
			t.Fatal(err)
		}
		ahead := points[feed.DayAheadPrice]
		if p := ahead[len(ahead)-1]; !p.From.Equal(last) || p.Published.After(x.at) {
			t.Errorf("at %s the feed says %+v", x.at, p)
		}
		for _, p := range points[feed.RealTimePrice] {
			if p.To.After(x.at) || p.Published.After(x.at) {
				t.Errorf("at %s the feed says %+v", x.at, p)
			}
		}
	}
}
