package report

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestScaleHoldsItsValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyValue().Filter(finite).Draw(t, "a"), anyValue().Filter(finite).Draw(t, "b")
		lo, hi := min(a, b), max(a, b)
		knee := rapid.SampledFrom([]float64{0, 50, 1e-3}).Draw(t, "knee")
		s := newScale(lo, hi, 250, 30, knee, rapid.Bool().Draw(t, "zero"))
		if slack := 1e-8 * (s.hi - s.lo); s.lo > lo+slack || s.hi < hi-slack {
			t.Fatalf("%v to %v does not hold %v to %v", s.lo, s.hi, lo, hi)
		}
		last := math.Inf(1)
		for i := range 9 {
			y := s.at(lo + (hi-lo)*float64(i)/8)
			if !(y <= last) || y < 29.9 || y > 250.1 {
				t.Fatalf("a larger value stands at %v, a smaller at %v", y, last)
			}
			last = y
		}
		ticks := s.ticks("USD")
		if len(ticks) < 2 && knee == 0 || len(ticks) > 12 {
			t.Fatalf("%d ticks from %v to %v", len(ticks), s.lo, s.hi)
		}
		texts := map[string]bool{}
		for _, k := range ticks {
			if y := s.at(k.at); y < 29 || y > 251 {
				t.Fatalf("a tick %v at %v, outside", k, y)
			}
			texts[k.text] = true
		}
		// Beyond the six decimals that are written, neighbours look alike.
		if len(texts) != len(ticks) && s.hi-s.lo > 1e-4*max(1, math.Abs(s.hi), math.Abs(s.lo)) {
			t.Fatalf("two ticks are written alike: %v", ticks)
		}
	})
}

func texts(ticks []tick) string {
	var s []string
	for _, t := range ticks {
		s = append(s, t.text)
	}
	return strings.Join(s, " ")
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		lo, hi, knee float64
		unit, want   string
	}{
		{0, 13.2e6, 0, "USD", "$0 $2 M $4 M $6 M $8 M $10 M $12 M $14 M"},
		{-0.4e6, 1.1e6, 0, "USD", "−$0.4 M −$0.2 M $0 $0.2 M $0.4 M $0.6 M $0.8 M $1 M $1.2 M"},
		{0, 14, 0, "MW", "0 MW 2 MW 4 MW 6 MW 8 MW 10 MW 12 MW 14 MW"},
		{0, 1, 0, Fraction, "0 % 20 % 40 % 60 % 80 % 100 %"},
		{0, 3200, 0, "GPU-hours", "0 500 1,000 1,500 2,000 2,500 3,000 3,500"},
	} {
		got := texts(newScale(c.lo, c.hi, 300, 30, c.knee, true).ticks(c.unit))
		if got != c.want {
			t.Errorf("%v to %v %s: %s", c.lo, c.hi, c.unit, got)
		}
	}
	bent := newScale(-30, 9000, 300, 30, 50, true).ticks("USD/MWh")
	for _, want := range []string{"$0", "$100", "$1 k"} {
		if !slices.ContainsFunc(bent, func(k tick) bool { return k.text == want }) {
			t.Errorf("no tick %s among %s", want, texts(bent))
		}
	}
}

func TestTimeTicks(t *testing.T) {
	unix := func(s string, z *time.Location) float64 {
		x, err := time.ParseInLocation("2006-01-02 15:04", s, z)
		if err != nil {
			t.Fatal(err)
		}
		return float64(x.Unix())
	}
	for _, c := range []struct {
		from, to string
		n        int
		zone     *time.Location
		want     string
	}{
		{"2021-01-01 00:00", "2022-01-01 00:00", 13, time.UTC, "Jan 2021 Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec Jan 2022"},
		{"2021-01-01 00:00", "2022-01-01 00:00", 4, time.UTC, "Jan 2021 Apr Jul Oct Jan 2022"},
		{"2015-06-01 00:00", "2022-01-01 00:00", 8, time.UTC, "2016 2017 2018 2019 2020 2021 2022"},
		{"2021-02-12 06:00", "2021-02-14 12:00", 5, time.UTC, "12:00 13 Feb 12:00 14 Feb 12:00"},
		// Summer time begins on 14 March: the ticks stay with the clock on the wall.
		{"2021-03-13 18:00", "2021-03-15 00:00", 6, chicago, "18:00 14 Mar 06:00 12:00 18:00 15 Mar"},
		{"2021-11-06 18:00", "2021-11-08 00:00", 6, chicago, "18:00 7 Nov 06:00 12:00 18:00 8 Nov"},
		{"2021-02-12 10:03", "2021-02-12 10:31", 6, time.UTC, "10:05 10:10 10:15 10:20 10:25 10:30"},
	} {
		if got := texts(timeTicks(unix(c.from, c.zone), unix(c.to, c.zone), c.n, c.zone)); got != c.want {
			t.Errorf("%s to %s: %s", c.from, c.to, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		lo := float64(rapid.Int64Range(0, 4e9).Draw(t, "from"))
		hi := lo + rapid.Float64Range(1, 3e9).Draw(t, "long")
		n := rapid.IntRange(1, 20).Draw(t, "n")
		ticks := timeTicks(lo, hi, n, chicago)
		for i, k := range ticks {
			if k.at < lo || k.at > hi || i > 0 && k.at <= ticks[i-1].at {
				t.Fatalf("%v is out of order or of %v to %v", k, lo, hi)
			}
		}
		if len(ticks) > n+2 {
			t.Fatalf("%d ticks where %d have room", len(ticks), n)
		}
	})
}

// A line that is thinned has the same extremes in each column of pixels, and
// begins and ends there alike.
func TestExtremes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.Float64Range(-100, 100), 1, 300).Draw(t, "v")
		px := rapid.SliceOfN(rapid.Float64Range(0, 20), len(v), len(v)).Draw(t, "px")
		slices.Sort(px)
		kept := extremes(v, px, [2]int{0, len(v)})
		if !slices.IsSorted(kept) || len(slices.Compact(slices.Clone(kept))) != len(kept) {
			t.Fatalf("%v is not ascending", kept)
		}
		type column struct{ first, last, lo, hi float64 }
		columns := func(of []int) map[int]column {
			m := map[int]column{}
			for _, i := range of {
				c, ok := m[int(px[i])]
				if !ok {
					c = column{v[i], v[i], v[i], v[i]}
				}
				c.last, c.lo, c.hi = v[i], min(c.lo, v[i]), max(c.hi, v[i])
				m[int(px[i])] = c
			}
			return m
		}
		all := make([]int, len(v))
		for i := range all {
			all[i] = i
		}
		want, got := columns(all), columns(kept)
		if len(kept) > 4*len(want) {
			t.Fatalf("%d values for %d columns", len(kept), len(want))
		}
		for c, w := range want {
			if got[c] != w {
				t.Fatalf("column %d shows %v, not %v", c, got[c], w)
			}
		}
	})
}

// Areas keep the energy: the mean of the bins, weighted, is that of the values,
// whether days or pixels are taken together.
func TestBinsKeepTheMean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.Float64Range(0, 20), 2, 3000).Draw(t, "v")
		hours := rapid.SampledFrom([]float64{0.25, 1, 12, 48}).Draw(t, "hours")
		c := &xy{zone: chicago}
		for i := range v {
			c.x = append(c.x, 1.6e9+hours*3600*float64(i))
		}
		c.across = c.horizontal(0, float64(rapid.IntRange(20, 400).Draw(t, "wide")))
		bins, how := c.bins()
		sum, want, next := 0.0, 0.0, 0
		for _, b := range bins {
			if b[0] != next || b[1] <= b[0] {
				t.Fatalf("bin %v begins elsewhere than at %d", b, next)
			}
			next = b[1]
			sum += mean(v, b) * float64(b[1]-b[0])
			first, last := time.Unix(int64(c.x[b[0]]), 0).In(chicago), time.Unix(int64(c.x[b[1]-1]), 0).In(chicago)
			if strings.Contains(how, "day") && first.YearDay() != last.YearDay() {
				t.Fatalf("a day from %v to %v", first, last)
			}
		}
		for _, a := range v {
			want += a
		}
		if next != len(v) || math.Abs(sum-want) > 1e-9*want+1e-9 {
			t.Fatalf("%v of %d values became %v of %d", want, len(v), sum, next)
		}
		if (how == "") != (len(bins) == len(v)) {
			t.Fatalf("%d values in %d bins are titled %q", len(v), len(bins), how)
		}
	})
}
