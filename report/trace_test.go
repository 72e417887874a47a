package report

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A trace holds a bounded number of rows, each of which is the fold of the
// moments that it stands for.
func TestTrace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows, n := rapid.IntRange(1, 20).Draw(t, "rows"), rapid.IntRange(0, 500).Draw(t, "n")
		tr := NewTrace(rows, Mean, Last, Max)
		v := make([]float64, n)
		for i := range v {
			v[i] = rapid.OneOf(rapid.Just(math.NaN()), rapid.Float64Range(-100, 100)).Draw(t, "v")
			tr.Add(time.Unix(int64(i), 0), v[i], v[i], v[i])
		}
		at := tr.At()
		if len(at) > 2*rows || n >= 2*rows && len(at) < rows {
			t.Fatalf("%d rows of %d moments, where %d to %d are asked for", len(at), n, rows, 2*rows)
		}
		for k := range at {
			from, to := int(at[k].Unix()), n
			if k+1 < len(at) {
				to = int(at[k+1].Unix())
			}
			sum, count, last, hi := 0.0, 0.0, math.NaN(), math.NaN()
			for _, a := range v[from:to] {
				if !math.IsNaN(a) {
					sum, count, last = sum+a, count+1, a
					if !(hi >= a) {
						hi = a
					}
				}
			}
			for s, want := range []float64{sum / count, last, hi} {
				got := tr.Y(s)[k]
				if math.IsNaN(want) != math.IsNaN(got) || math.Abs(got-want) > 1e-9 {
					t.Fatalf("row %d of fold %d, moments %d to %d: %v, want %v", k, s, from, to, got, want)
				}
			}
		}
		if n > 0 && at[0].Unix() != 0 {
			t.Fatalf("the first row begins at %v", at[0])
		}
	})
}

func TestTraceWithFewerValues(t *testing.T) {
	tr := NewTrace(0, Mean, Last)
	tr.Add(time.Unix(0, 0), 1)
	if y := tr.Y(1); len(y) != 1 || !math.IsNaN(y[0]) {
		t.Errorf("a value that was not given is %v", y)
	}
}
