//go:build !race

// Years of prices take minutes under the race detector, which sees the same code
// in the other tests; there e2e holds a year against the bar.

package forecast

import (
	"bufio"
	"compress/gzip"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// recorded reads the load zone West of a series by hour; package history, which
// does it properly, is not known here.
func recorded(t *testing.T, name string) map[int64]float64 {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "shared", "data", name))
	if os.IsNotExist(err) && os.Getenv("CI") != "true" {
		t.Skip("the recorded prices are not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	prices := map[int64]float64{}
	lines := bufio.NewScanner(z)
	lines.Scan()
	if !strings.HasPrefix(lines.Text(), "ts_utc,lz_west_usd_per_mwh,") {
		t.Fatalf("%s begins with %q", name, lines.Text())
	}
	for lines.Scan() {
		c := strings.Split(lines.Text(), ",")
		at, err := time.Parse(time.RFC3339, c[0])
		if err != nil {
			t.Fatal(err)
		}
		if v, err := strconv.ParseFloat(c[1], 64); err == nil {
			prices[at.Unix()/3600] = v
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return prices
}

// TestRecordedPrices walks over two years of ERCOT West, after all that is recorded before,
// with the bar of docs/forecast.md.
func TestRecordedPrices(t *testing.T) {
	rt, da := recorded(t, "ercot_rt_hourly_lz.csv.gz"), recorded(t, "ercot_da_hourly_lz.csv.gz")
	number := func(year int) int64 { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Unix() / 3600 }
	begins, from, to := number(2011), number(2018), number(2020)
	f := begin(t, Options{Horizon: 1})
	strikes := []float64{30, 50, 80, 150}
	byForecast, byLast := make([]float64, len(strikes)), make([]float64, len(strikes))
	published, last := begins, math.NaN()
	for i := begins; i < to; i++ {
		for ; published < (i+6)/24*24+24; published++ {
			if v, ok := da[published]; ok {
				f.Publish(time.Unix(published*3600, 0), time.Hour, v)
			}
		}
		p, ok := rt[i]
		if !ok {
			continue
		}
		now := time.Unix(i*3600, 0)
		if i >= from {
			mean := f.Expect(now, 1)[0].Mean
			for k, strike := range strikes {
				off := math.Abs(strike - p)
				if (mean < strike) != (p < strike) {
					byForecast[k] += off
				}
				if (last < strike) != (p < strike) {
					byLast[k] += off
				}
			}
		}
		f.Observe(now, p)
		last = p
	}
	for k, strike := range strikes {
		ratio := byForecast[k] / byLast[k]
		t.Logf("strike %v: %.3f of the regret of the last price, %.0f $/MW", strike, ratio, byLast[k])
		if !(ratio <= 0.80) {
			t.Errorf("strike %v: %.3f of the regret of the last price, want 0.80", strike, ratio)
		}
	}
}
