package boost

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// sample draws rows of features in [0, 1) and a target from them.
func sample(seed uint64, rows, features int, target func(x []float64, r *rand.Rand) float64) (cols [][]float64, y []float64) {
	r := rand.New(rand.NewPCG(seed, 7))
	cols = make([][]float64, features)
	x := make([]float64, features)
	for range rows {
		for j := range cols {
			x[j] = r.Float64()
			cols[j] = append(cols[j], x[j])
		}
		y = append(y, target(x, r))
	}
	return cols, y
}

func row(cols [][]float64, i int) []float64 {
	x := make([]float64, len(cols))
	for j := range cols {
		x[j] = cols[j][i]
	}
	return x
}

// TestNoRoundIsWorse: without draws, no round makes the fit to its own rows worse.
func TestNoRoundIsWorse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.IntRange(1, 120).Draw(t, "rows")
		cols := make([][]float64, rapid.IntRange(1, 3).Draw(t, "columns"))
		value := rapid.OneOf(rapid.Float64Range(-1e3, 1e3), rapid.SampledFrom([]float64{0, 1, math.NaN(), math.Inf(1), math.Inf(-1)}))
		for j := range cols {
			cols[j] = rapid.SliceOfN(value, rows, rows).Draw(t, "column")
		}
		y := rapid.SliceOfN(rapid.Float64Range(-1e3, 1e3), rows, rows).Draw(t, "y")
		w := rapid.SliceOfN(rapid.Float64Range(0.1, 5), rows, rows).Draw(t, "w")
		q := rapid.SampledFrom([]float64{0, 0.1, 0.5, 0.9}).Draw(t, "quantile")
		tb, err := NewTable(cols, rapid.IntRange(2, maxBins).Draw(t, "bins"))
		if err != nil {
			t.Fatal(err)
		}
		before := math.Inf(1)
		for _, trees := range []int{1, 2, 5, 12} {
			m, err := tb.Fit(y, w, Options{Trees: trees, Leaves: 6, MinRows: 2, Rate: 0.5, Quantile: q})
			if err != nil {
				t.Fatal(err)
			}
			loss := 0.0
			for i := range y {
				d := y[i] - m.Predict(row(cols, i))
				switch {
				case q == 0:
					loss += w[i] * d * d
				case d > 0:
					loss += w[i] * q * d
				default:
					loss += w[i] * (q - 1) * d
				}
			}
			if loss > before*(1+1e-9)+1e-6 {
				t.Fatalf("after %d trees the loss is %v, it was %v", trees, loss, before)
			}
			before = loss
		}
	})
}

// TestTreesAndTableAgree: a row of the table falls into the same leaf by its bins,
// while fitting, as by its values, later. What the model says about its own rows
// would differ else.
func TestTreesAndTableAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.IntRange(2, 200).Draw(t, "rows")
		value := rapid.OneOf(rapid.Float64Range(-2, 2), rapid.Map(rapid.IntRange(-2, 2), func(i int) float64 { return float64(i) }),
			rapid.Just(math.NaN()), rapid.Just(math.Inf(1)), rapid.Just(math.Inf(-1)))
		cols := [][]float64{
			rapid.SliceOfN(value, rows, rows).Draw(t, "a"),
			rapid.SliceOfN(value, rows, rows).Draw(t, "b"),
		}
		y := rapid.SliceOfN(rapid.Float64Range(-9, 9), rows, rows).Draw(t, "y")
		tb, err := NewTable(cols, 16)
		if err != nil {
			t.Fatal(err)
		}
		o, _ := Options{Trees: 5, Leaves: 8, MinRows: 1, Rate: 1}.orDefaults()
		f := fitting{tb: tb, opt: o, y: y, rng: rand.New(rand.NewPCG(1, 1))}
		if err := f.weigh(nil); err != nil {
			t.Fatal(err)
		}
		m := Model{features: 2}
		for range o.Trees {
			m.trees = append(m.trees, f.round())
		}
		for i := range y {
			if got := m.Predict(row(cols, i)); math.Abs(got-f.now[i]) > 1e-9 {
				t.Fatalf("row %d: %v by its values, %v by its bins", i, got, f.now[i])
			}
		}
	})
}

func TestDrawsTheShare(t *testing.T) {
	cols, y := sample(8, 20000, 1, func(x []float64, _ *rand.Rand) float64 { return x[0] })
	tb, err := NewTable(cols, 8)
	if err != nil {
		t.Fatal(err)
	}
	for _, share := range []float64{0.05, 0.5, 0.95} {
		o, _ := Options{Rows: share}.orDefaults()
		f := fitting{tb: tb, opt: o, y: y, rng: rand.New(rand.NewPCG(1, 2))}
		if err := f.weigh(nil); err != nil {
			t.Fatal(err)
		}
		f.draw()
		if got := float64(len(f.g.order)) / float64(len(y)); math.Abs(got-share) > 0.015 {
			t.Errorf("drew %.3f of the rows, want %v", got, share)
		}
		if !slices.IsSorted(f.g.order) || len(slices.Compact(f.g.order)) != len(f.g.order) {
			t.Error("a row was drawn twice, or out of order")
		}
	}
}

func TestRefusesEach(t *testing.T) {
	good := [][]float64{{1, 2, 3}}
	for name, cols := range map[string][][]float64{"none": nil, "no rows": {{}}, "uneven": {{1, 2}, {1}}} {
		if _, err := NewTable(cols, 8); err == nil {
			t.Errorf("columns %s: no error", name)
		}
	}
	for _, bins := range []int{1, 256} {
		if _, err := NewTable(good, bins); err == nil {
			t.Errorf("%d bins: no error", bins)
		}
	}
	tb, err := NewTable(good, 8)
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	for name, c := range map[string]struct {
		y, w []float64
		o    Options
	}{
		"targets":   {[]float64{1}, nil, Options{}},
		"weights":   {[]float64{1, 2, 3}, []float64{1}, Options{}},
		"NaN":       {[]float64{1, nan, 3}, nil, Options{}},
		"negative":  {[]float64{1, 2, 3}, []float64{1, -1, 1}, Options{}},
		"no weight": {[]float64{1, 2, 3}, []float64{0, 0, 0}, Options{}},
		"rate":      {[]float64{1, 2, 3}, nil, Options{Rate: 2}},
		"quantile":  {[]float64{1, 2, 3}, nil, Options{Quantile: 1}},
		"trees":     {[]float64{1, 2, 3}, nil, Options{Trees: -1}},
		"NaN share": {[]float64{1, 2, 3}, nil, Options{Rows: nan}},
	} {
		if _, err := tb.Fit(c.y, c.w, c.o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
