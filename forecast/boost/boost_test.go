package boost_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice/forecast/boost"
)

// rows makes n rows of k uniform features and their targets.
func rows(seed uint64, n, k int, f func(x []float64) float64, noise float64) (cols [][]float64, y []float64) {
	r := rand.New(rand.NewPCG(seed, 7))
	cols = make([][]float64, k)
	for range n {
		x := make([]float64, k)
		for j := range x {
			x[j] = r.Float64()
			cols[j] = append(cols[j], x[j])
		}
		y = append(y, f(x)+noise*r.NormFloat64())
	}
	return cols, y
}

func fit(t testing.TB, cols [][]float64, y, w []float64, o boost.Options) *boost.Model {
	t.Helper()
	tb, err := boost.NewTable(cols, 64)
	if err != nil {
		t.Fatal(err)
	}
	m, err := tb.Fit(y, w, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// wave has a step, a wave and a product: no line fits it.
func wave(x []float64) float64 {
	v := 10*math.Sin(6*x[0]) + 20*x[1]*x[2]
	if x[3] > 0.7 {
		v += 15
	}
	return v
}

// A function that no line fits is learned far better than its mean explains it, on
// rows that were not seen.
func TestLearns(t *testing.T) {
	cols, y := rows(1, 4000, 5, wave, 1)
	m := fit(t, cols, y, nil, boost.Options{Trees: 150})
	mean := 0.0
	for _, v := range y {
		mean += v / float64(len(y))
	}
	r := rand.New(rand.NewPCG(9, 9))
	var off, spread float64
	for range 2000 {
		x := make([]float64, 5)
		for j := range x {
			x[j] = r.Float64()
		}
		off += math.Pow(m.Predict(x)-wave(x), 2)
		spread += math.Pow(wave(x)-mean, 2)
	}
	if off > 0.03*spread {
		t.Errorf("%.3f of the variance is left unexplained", off/spread)
	}
}

// More trees never fit the rows they were fitted on worse.
func TestLossFalls(t *testing.T) {
	cols, y := rows(2, 1500, 4, wave, 3)
	last := math.Inf(1)
	for _, trees := range []int{1, 5, 20, 80, 200} {
		m := fit(t, cols, y, nil, boost.Options{Trees: trees})
		loss := 0.0
		for i := range y {
			x := []float64{cols[0][i], cols[1][i], cols[2][i], cols[3][i]}
			loss += math.Pow(m.Predict(x)-y[i], 2)
		}
		if loss > last*(1+1e-9) {
			t.Errorf("%d trees: loss %g, with fewer %g", trees, loss, last)
		}
		last = loss
	}
}

// Pinball loss finds quantiles that change with a feature.
func TestQuantiles(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	cols := [][]float64{nil}
	var y []float64
	for range 6000 {
		x := r.Float64()
		cols[0] = append(cols[0], x)
		y = append(y, 10*x+(1+4*x)*r.NormFloat64())
	}
	for _, q := range []float64{0.1, 0.5, 0.9} {
		m := fit(t, cols, y, nil, boost.Options{Trees: 120, Leaves: 8, MinRows: 60, Quantile: q})
		for _, x := range []float64{0.1, 0.5, 0.9} {
			below := 0
			const n = 4000
			for range n {
				if 10*x+(1+4*x)*r.NormFloat64() < m.Predict([]float64{x}) {
					below++
				}
			}
			if got := float64(below) / n; math.Abs(got-q) > 0.09 {
				t.Errorf("quantile %g at %g: %.3f lies below", q, x, got)
			}
		}
	}
}

// A missing value is a value of its own.
func TestMissing(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	cols := [][]float64{nil}
	var y []float64
	for i := range 1000 {
		if i%3 == 0 {
			cols[0], y = append(cols[0], math.NaN()), append(y, 100)
		} else {
			cols[0], y = append(cols[0], r.Float64()), append(y, 5)
		}
	}
	m := fit(t, cols, y, nil, boost.Options{Trees: 200})
	if a, b := m.Predict([]float64{math.NaN()}), m.Predict([]float64{0.5}); math.Abs(a-100) > 1 || math.Abs(b-5) > 1 {
		t.Errorf("missing gives %g, known gives %g", a, b)
	}
}

// Rows of weight 0 count for nothing.
func TestWeights(t *testing.T) {
	cols, y := rows(5, 800, 2, func(x []float64) float64 { return 30 * x[0] }, 0)
	w := make([]float64, len(y))
	for i := range w {
		if cols[1][i] < 0.5 {
			w[i] = 1
		} else {
			y[i] = -1e6
		}
	}
	m := fit(t, cols, y, w, boost.Options{Trees: 100})
	if v := m.Predict([]float64{0.5, 0.9}); math.Abs(v-15) > 3 {
		t.Errorf("at 0.5 it says %g, not 15: rows of weight 0 were heard", v)
	}
}

// The same input gives the same model bit for bit, drawn rows and columns too, and a
// prediction is never outside what was seen (squared loss).
func TestDeterministicAndWithin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, k := rapid.IntRange(1, 200).Draw(t, "n"), rapid.IntRange(1, 4).Draw(t, "k")
		value := rapid.OneOf(rapid.Float64Range(-1e4, 1e4), rapid.Just(math.NaN()), rapid.Just(math.Inf(1)), rapid.Just(0.0))
		cols := make([][]float64, k)
		for j := range cols {
			cols[j] = rapid.SliceOfN(value, n, n).Draw(t, "col")
		}
		y := rapid.SliceOfN(rapid.Float64Range(-5e3, 5e3), n, n).Draw(t, "y")
		o := boost.Options{Trees: 20, MinRows: 3, Rows: 0.7, Columns: 0.8, Seed: rapid.Uint64().Draw(t, "seed")}
		var got [2][]float64
		for r := range got {
			tb, err := boost.NewTable(cols, 16)
			if err != nil {
				t.Fatal(err)
			}
			m, err := tb.Fit(y, nil, o)
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				x := make([]float64, k)
				for j := range x {
					x[j] = cols[j][i]
				}
				got[r] = append(got[r], m.Predict(x))
			}
		}
		lo, hi := slices.Min(y), slices.Max(y)
		for i := range n {
			if got[0][i] != got[1][i] {
				t.Fatalf("row %d: %v and %v", i, got[0][i], got[1][i])
			}
			if v := got[0][i]; math.IsNaN(v) || v < lo-(hi-lo)-1e-6 || v > hi+(hi-lo)+1e-6 {
				t.Fatalf("row %d: %v, targets lie within %v and %v", i, v, lo, hi)
			}
		}
	})
}

func TestRefuses(t *testing.T) {
	if _, err := boost.NewTable([][]float64{{1, 2}, {1}}, 16); err == nil {
		t.Error("columns of two lengths are taken")
	}
	tb, err := boost.NewTable([][]float64{{1, 2, 3}}, 16)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tb.Fit([]float64{1, 2}, nil, boost.Options{}); err == nil {
		t.Error("two targets for three rows are taken")
	}
}
