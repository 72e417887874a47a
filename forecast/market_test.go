//go:build !race

package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// market is a made-up market of hours: a load that follows the clock, noise that
// lasts, evenings of scarcity that the day-ahead market sees coming on some days,
// and a rare spike that nobody does.
type market struct{ real, ahead []float64 }

func newMarket(seed uint64, n int) market {
	r := rand.New(rand.NewPCG(seed, 1))
	m := market{make([]float64, n), make([]float64, n)}
	noise, tight := 0.0, 0.0
	for i := range n {
		clock := float64(i % 24)
		base := 25 + 15*math.Sin((clock-9)/24*2*math.Pi)
		if i%24 == 0 {
			tight = 0
			if r.Float64() < 0.25 {
				tight = 30 + 100*r.Float64()
			}
		}
		evening := 0.0
		if clock >= 15 && clock <= 19 {
			evening = tight
		}
		noise = 0.8*noise + 6*r.NormFloat64()
		m.ahead[i] = base + evening
		m.real[i] = base + noise + evening*2*r.Float64()
		if r.Float64() < 0.004 {
			m.real[i] += 500
		}
	}
	return m
}

var midnight = time.Date(2020, 3, 1, 0, 0, 0, 0, time.UTC)

func hour(i int) time.Time { return midnight.Add(time.Duration(i) * time.Hour) }

// published is how many day-ahead prices are known at hour i: those of its day, and
// from 18:00 on those of the next.
func published(i int) int { return (i+6)/24*24 + 24 }

func begin(t testing.TB, o Options) *Forecaster {
	t.Helper()
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// walk feeds the market hour by hour and returns all that was expected.
func walk(t testing.TB, m market, o Options, n int) [][]Expected {
	t.Helper()
	f := begin(t, o)
	var all [][]Expected
	done := 0
	for i, p := range m.real {
		for ; done < min(published(i), len(m.ahead)); done++ {
			f.Publish(hour(done), time.Hour, m.ahead[done])
		}
		all = append(all, f.Expect(hour(i), n))
		f.Observe(hour(i), p)
	}
	return all
}
