//go:build !race

package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

// TestRandomWalk: where prices are a random walk, the last price is the best that
// can be known, and the forecast keeps to it.
func TestRandomWalk(t *testing.T) {
	const hours, learned = 24 * 130, 24 * 60
	r := rand.New(rand.NewPCG(5, 5))
	m := market{real: make([]float64, hours)}
	p := 40.0
	for i := range m.real {
		p += 4 * r.NormFloat64()
		p += 0.002 * (40 - p)
		m.real[i] = p
	}
	all := walk(t, m, Options{Horizon: 1}, 1)
	for _, k := range []float64{25, 40, 60} {
		forecast, last := regret(m, all, k, learned)
		if forecast > 1.05*last {
			t.Errorf("random walk, strike %v: regret %.0f of the last price's %.0f", k, forecast, last)
		}
	}
}

// TestQuantiles: about a tenth of prices lies below Low and above High.
func TestQuantiles(t *testing.T) {
	m := newMarket(12, 24*100)
	all := walk(t, m, Options{Horizon: 6}, 6)
	for _, lead := range []int{0, 5} {
		var below, above, n float64
		for i := 24 * 45; i < len(m.real)-lead; i++ {
			e, p := all[i][lead], m.real[i+lead]
			if !(e.Low <= e.Mean && e.Mean <= e.High) {
				t.Fatalf("at %d, %d ahead: %+v is out of order", i, lead, e)
			}
			n++
			if p < e.Low {
				below++
			}
			if p > e.High {
				above++
			}
		}
		if below/n < 0.04 || below/n > 0.18 || above/n < 0.04 || above/n > 0.18 {
			t.Errorf("%d ahead: %.2f of prices below Low, %.2f above High, want 0.1 each", lead, below/n, above/n)
		}
	}
}

// TestLaterLeads: what is expected of later hours errs far less than the last price,
// and not much more than the day-ahead price, which in this market is the mean
// itself but for spikes.
func TestLaterLeads(t *testing.T) {
	m := newMarket(13, 24*100)
	all := walk(t, m, Options{}, 24)
	for _, lead := range []int{1, 4, 12} {
		var model, ahead, last float64
		for i := 24 * 45; i < len(m.real)-lead; i++ {
			p := m.real[i+lead]
			if p > 400 {
				continue // a spike that nobody sees coming
			}
			model += math.Abs(p - all[i][lead].Mean)
			ahead += math.Abs(p - m.ahead[i+lead])
			last += math.Abs(p - m.real[i-1])
		}
		if model > 1.5*ahead || model > 0.7*last {
			t.Errorf("%d ahead: errs by %.0f, the day-ahead price by %.0f, the last price by %.0f", lead, model, ahead, last)
		}
	}
}

// TestLittleHistory: before there is enough to learn from, the next interval is
// expected at the last price, later ones at the day-ahead price.
func TestLittleHistory(t *testing.T) {
	f := begin(t, Options{Horizon: 3})
	if got := f.Expect(hour(0), 2); got[0] != (Expected{}) || got[1] != (Expected{}) {
		t.Errorf("nothing known: %+v", got)
	}
	f.Publish(hour(1), 2*time.Hour, 30)
	if got := f.Expect(hour(0), 3); got[0].Mean != 0 || got[1].Mean != 30 || got[2].Mean != 30 {
		t.Errorf("no real-time price yet: %+v", got)
	}
	for i := range 24 * 13 {
		f.Observe(hour(i), float64(20+i%7))
		got := f.Expect(hour(i+1), 3)
		if last := float64(20 + i%7); got[0] != (Expected{last, last, last}) {
			t.Fatalf("hour %d: %+v after a price of %v", i+1, got[0], last)
		}
	}
}

// TestKnownPrices: what is known needs no forecast, and prices that are no numbers
// count for nothing.
func TestKnownPrices(t *testing.T) {
	f := begin(t, Options{Horizon: 3})
	f.Observe(hour(0), 10)
	f.Observe(hour(1), 20) // known before the hour has ended
	f.Observe(hour(2), math.NaN())
	f.Observe(hour(2), math.Inf(1))
	f.Publish(hour(3), time.Hour, math.NaN())
	got := f.Expect(hour(0).Add(59*time.Minute), 4)
	for k, want := range []float64{10, 20, 20, 20} {
		if got[k].Mean != want {
			t.Errorf("%d ahead: %+v, want %v", k, got[k], want)
		}
	}
	f.Observe(hour(1), 25) // a restatement
	if got := f.Expect(hour(1), 2); got[0].Mean != 25 || got[1].Mean != 25 {
		t.Errorf("restated: %+v", got)
	}
}

// TestGap: after a hole the forecast goes on, from what it last saw.
func TestGap(t *testing.T) {
	m := newMarket(14, 24*40)
	f := begin(t, Options{Horizon: 24})
	for i, p := range m.real {
		if i/24 == 30 || i%97 == 5 {
			continue
		}
		f.Publish(hour(i), time.Hour, m.ahead[i])
		for _, e := range f.Expect(hour(i), 3) {
			if math.IsNaN(e.Mean) || math.Abs(e.Mean) > 3000 {
				t.Fatalf("hour %d: %+v", i, e)
			}
		}
		f.Observe(hour(i), p)
	}
}

// TestShortSteps: below an hour, some leads are forecast and the others lie between
// them; each is near what its hour's day-ahead price says.
func TestShortSteps(t *testing.T) {
	m := newMarket(15, 24*24)
	f := begin(t, Options{Step: 5 * time.Minute, Horizon: 36})
	var off, n float64
	for i := range m.real {
		for done := 0; i%24 == 0 && done < 24; done++ {
			f.Publish(hour(i+done), time.Hour, m.ahead[i+done])
		}
		for k := range 12 {
			now := hour(i).Add(time.Duration(k) * 5 * time.Minute)
			if i > 24*17 && i%24 < 20 && k == 6 {
				for lead, e := range f.Expect(now, 36) {
					if !(e.Low <= e.Mean && e.Mean <= e.High) {
						t.Fatalf("hour %d, %d ahead: %+v", i, lead, e)
					}
					if p := m.real[i+(k+lead)/12]; p < 400 {
						off += math.Abs(e.Mean - p)
						n++
					}
				}
			}
			f.Observe(now, m.real[i])
		}
	}
	if off/n > 20 {
		t.Errorf("errs by %.1f on average", off/n)
	}
}

// TestWhateverItIsTold: no order of calls and no price makes it panic, or expect
// what is no number.
func TestWhateverItIsTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, err := New(Options{
			Step:    rapid.SampledFrom([]time.Duration{time.Second, 5 * time.Minute, 15 * time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "step"),
			Horizon: rapid.IntRange(1, 40).Draw(t, "horizon"),
			Strikes: rapid.SliceOfN(rapid.Float64Range(-100, 1000), 0, 2).Draw(t, "strikes"),
		})
		if err != nil {
			t.Fatal(err)
		}
		at := midnight
		for range rapid.IntRange(1, 30).Draw(t, "calls") {
			at = at.Add(time.Duration(rapid.IntRange(-3, 12).Draw(t, "steps")) * f.opt.Step / 2)
			price := rapid.OneOf(rapid.Float64Range(-1000, 20000), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0})).Draw(t, "price")
			switch rapid.IntRange(0, 2).Draw(t, "call") {
			case 0:
				f.Publish(at, time.Duration(rapid.IntRange(-2, 8).Draw(t, "length"))*f.opt.Step/2, price)
			case 1:
				f.Observe(at, price)
			default:
				n := rapid.IntRange(0, 50).Draw(t, "n")
				got := f.Expect(at, n)
				if len(got) != n {
					t.Fatalf("%d forecasts of %d", len(got), n)
				}
				for _, e := range got {
					if !(e.Low <= e.Mean && e.Mean <= e.High) || math.IsInf(e.Mean, 0) {
						t.Fatalf("%+v", e)
					}
				}
			}
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []Options{
		{Step: 7 * time.Hour}, {Step: time.Millisecond}, {Step: -time.Hour}, {Horizon: -1}, {Strikes: []float64{math.NaN()}},
	} {
		if _, err := New(o); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestBlend: the price at which the decision turns is that of the band in which the
// strike lies.
func TestBlend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bands := []band{{20, 1}, {50, 0.5}, {100, 0}, {math.Inf(1), 0.75}}
		for i := range bands {
			bands[i].share = rapid.SampledFrom(shares).Draw(t, "share")
		}
		v := rapid.Float64Range(-50, 300).Draw(t, "value")
		a := rapid.Float64Range(-50, 300).Draw(t, "anchor")
		turns := blend(bands, v, a)
		if lo, hi := min(v, a), max(v, a); turns < lo-1e-9 || turns > hi+1e-9 {
			t.Fatalf("turns at %v, outside %v to %v", turns, lo, hi)
		}
		// Both say the same of this strike: so does the blend.
		k := rapid.Float64Range(-100, 400).Draw(t, "strike")
		if (v < k) == (a < k) && math.Abs(v-k) > 1e-6 && math.Abs(a-k) > 1e-6 && (turns < k) != (v < k) {
			t.Fatalf("strike %v: %v and %v agree, %v does not", k, v, a, turns)
		}
	})
}

// TestTrustIsEarned: a model that knows is followed, one that guesses is not.
func TestTrustIsEarned(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for _, knows := range []bool{true, false} {
		var rec record
		last := 40.0
		for i := range 3000 {
			price := 20 + 60*r.Float64()
			value := 20 + 60*r.Float64()
			if knows {
				value = price + 5*r.NormFloat64()
			} else {
				price = last + r.NormFloat64()
			}
			rec.add(past{int64(i / 24), value, last, price})
			last = price
		}
		for i, b := range rec.trust() {
			if middle := i > 1 && i < 5; middle && (b.share > 0.7) != knows {
				t.Errorf("knows %v: in the band up to %.0f the model's share is %v", knows, b.upTo, b.share)
			}
		}
	}
}
