//go:build !race

package forecast

import "testing"

// regret is what rules lose against hindsight with a load worth k, over the
// intervals from on: of the forecast, and of the last price.
func regret(m market, all [][]Expected, k float64, from int) (forecast, last float64) {
	for i := from; i < len(m.real); i++ {
		gain := k - m.real[i]
		best := max(gain, 0)
		if all[i][0].Mean < k {
			forecast += best - gain
		} else {
			forecast += best
		}
		if m.real[i-1] < k {
			last += best - gain
		} else {
			last += best
		}
	}
	return forecast, last
}

// In a market with structure the forecast loses clearly less than the last price.
func TestBeatsTheLastPrice(t *testing.T) {
	m := newMarket(7, 24*150)
	all := walk(t, m, Options{Horizon: 1}, 1)
	for _, k := range []float64{30, 50} {
		f, l := regret(m, all, k, 24*60)
		t.Logf("strike %g: %.0f against %.0f, %.2f", k, f, l, f/l)
		if f > 0.8*l {
			t.Errorf("strike %g: the forecast loses %.0f, the last price %.0f", k, f, l)
		}
	}
}

// Where nothing can be foreseen it does no harm.
func TestHarmlessOnNoise(t *testing.T) {
	m := newMarket(8, 24*120)
	for i := range m.real {
		m.real[i] = 40 + float64((i*7919)%41) - 20
		m.ahead[i] = 40
	}
	all := walk(t, m, Options{Horizon: 1}, 1)
	if f, l := regret(m, all, 40, 24*40); f > 1.05*l {
		t.Errorf("the forecast loses %.0f, the last price %.0f", f, l)
	}
}
