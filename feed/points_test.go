package feed_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/feed"
)

func TestPointsAreOfTheFeedThatCounts(t *testing.T) {
	restated := hour(0, 11)
	restated.Published = t0.Add(90 * time.Minute)
	first := &script{points: says(hour(0, 10), restated, hour(1, 12), hour(2, 13))}
	second := &script{points: says(hour(0, 20), hour(1, 21), hour(2, 22), hour(3, 23), hour(4, 24))}
	b := feed.NewBook([]feed.Spec{{Name: "first", Source: first}, {Name: "second", Source: second}})
	if ps := b.Points(feed.RealTimePrice, t0, t0.Add(9*time.Hour), t0); ps != nil {
		t.Errorf("before anything was fetched: %v", ps)
	}
	refresh(t, b, t0)
	for _, c := range []struct {
		from, to, now int // minutes after t0
		want          []float64
		why           string
	}{
		{0, 540, 0, []float64{10}, "nothing later is published"},
		{0, 540, 89, []float64{10, 12}, "the restatement is not out"},
		{0, 540, 90, []float64{11, 12}, "it is out"},
		{59, 61, 150, []float64{11, 12}, "both hours overlap"},
		{60, 61, 150, []float64{12}, "the first has ended"},
		{60, 60, 150, nil, "the range is empty"},
		{0, 540, 195, []float64{11, 12, 13}, "the first ended 15 minutes ago"},
		{0, 540, 196, []float64{20, 21, 22, 23}, "the first is stale"},
		{0, 540, 400, nil, "both are stale"},
	} {
		at := func(m int) time.Time { return t0.Add(time.Duration(m) * time.Minute) }
		var got []float64
		for _, p := range b.Points(feed.RealTimePrice, at(c.from), at(c.to), at(c.now)) {
			got = append(got, p.Value)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("[%d, %d) at %d: %v, want %v because %s", c.from, c.to, c.now, got, c.want, c.why)
		}
	}
}

// Whatever is published and restated, Points says of each hour what Known says.
func TestPointsSayWhatIsKnown(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var ps []feed.Point
		for range rapid.IntRange(1, 40).Draw(r, "points") {
			p := hour(rapid.IntRange(0, 12).Draw(r, "hour"), rapid.Float64Range(-50, 500).Draw(r, "usd"))
			p.Published = t0.Add(time.Duration(len(ps)*7+rapid.IntRange(0, 6).Draw(r, "minutes")) * time.Minute)
			ps = append(ps, p)
		}
		b := feed.NewBook([]feed.Spec{{Name: "only", Source: &script{points: says(ps...)}, MaxAge: 1000 * time.Hour}})
		if err := b.Refresh(t.Context(), t0); err != nil {
			r.Fatal(err)
		}
		now := t0.Add(time.Duration(rapid.IntRange(0, 300).Draw(r, "now")) * time.Minute)
		got := map[time.Time]float64{}
		for _, p := range b.Points(feed.RealTimePrice, t0, t0.Add(24*time.Hour), now) {
			if _, twice := got[p.From]; twice || p.Published.After(now) {
				r.Fatalf("%+v at %s", p, now)
			}
			got[p.From] = p.Value
		}
		want := map[time.Time]float64{}
		for h := range 13 {
			at := t0.Add(time.Duration(h) * time.Hour)
			// Where nothing has begun, no feed has a value yet, and there are no points.
			if v := b.Known(feed.RealTimePrice, at.Add(time.Second), now); v.Known && b.At(feed.RealTimePrice, now).Known {
				want[at] = v.Value
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			r.Fatalf("at %s points are %v, known are %v of %+v", now, got, want, ps)
		}
	})
}
