//go:build !race

package forecast

import (
	"math/rand/v2"
	"testing"
)

// TestNoLeak rewrites the future, from several instants on, and wants everything
// expected before to stay as it was, bit for bit.
func TestNoLeak(t *testing.T) {
	const hours = 24 * 36
	o := Options{Horizon: 30}
	was := walk(t, newMarket(1, hours), o, 30)
	for _, cut := range []int{24*14 - 1, 24*21 + 7, 24*32 + 18} {
		m := newMarket(1, hours)
		r := rand.New(rand.NewPCG(uint64(cut), 2))
		for i := cut; i < hours; i++ {
			m.real[i] = 4000*r.Float64() - 500
			if i >= published(cut) {
				m.ahead[i] = 4000 * r.Float64()
			}
		}
		is := walk(t, m, o, 30)
		// At the instant cut itself the price of its interval is not known yet.
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
