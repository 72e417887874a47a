package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// market is a made-up market with a day-ahead price, a load that follows the
// hours, and scarcity that lasts for some hours and that day-ahead sees coming.
type market struct{ real, ahead []float64 }

func newMarket(seed uint64, n int) market {
	r := rand.New(rand.NewPCG(seed, 1))
	m := market{make([]float64, n), make([]float64, n)}
	noise, tight := 0.0, 0.0
	for i := range n {
		hour := float64(i % 24)
		base := 25 + 15*math.Sin((hour-9)/24*2*math.Pi)
		if i%24 == 0 {
			tight = 0
			if r.Float64() < 0.15 {
				tight = 30 + 100*r.Float64()
			}
		}
		evening := 0.0
		if hour >= 15 && hour <= 19 {
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

// walk feeds the market hour by hour and returns all that was expected.
func walk(t *testing.T, m market, o Options, n int) [][]Expected {
	t.Helper()
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]Expected
	published := 0
	for i := range m.real {
		now := midnight.Add(time.Duration(i) * time.Hour)
		for ; published < len(m.ahead) && published/24 <= (i+6)/24; published++ {
			f.Publish(midnight.Add(time.Duration(published)*time.Hour), time.Hour, m.ahead[published])
		}
		all = append(all, f.Expect(now, n))
		f.Observe(now, m.real[i])
	}
	return all
}

// TestNoLeak rewrites the future, from several instants on, and wants everything
// expected before to stay as it was, bit for bit.
func TestNoLeak(t *testing.T) {
	const hours = 24 * 70
	was := walk(t, newMarket(1, hours), Options{Horizon: 24}, 24)
	for _, cut := range []int{24*14 - 1, 24 * 15, 24*28 + 7, 24*60 + 13} {
		m := newMarket(1, hours)
		r := rand.New(rand.NewPCG(uint64(cut), 2))
		for i := cut; i < hours; i++ {
			m.real[i] = 4000*r.Float64() - 500
			if i/24 > (cut+6)/24 { // not published yet
				m.ahead[i] = 4000 * r.Float64()
			}
		}
		is := walk(t, m, Options{Horizon: 24}, 24)
		// At the instant cut itself the price of the interval is not known yet.
		for i := 0; i <= cut; i++ {
			for k := range was[i] {
				if was[i][k] != is[i][k] {
					t.Fatalf("rewritten from %d on: expected at %d for %d ahead %+v, was %+v", cut, i, k, is[i][k], was[i][k])
				}
			}
		}
		if was[cut+1][0] == is[cut+1][0] && was[cut+2][0] == is[cut+2][0] {
			t.Errorf("rewritten from %d on: nothing changed after either: the test sees nothing", cut)
		}
	}
}
