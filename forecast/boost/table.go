package boost

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// maxBins is how many bins a column has at most, without the one of missing
// values: a bin is a byte, and 0 is missing.
const maxBins = 255

// edgeRows is how many rows, evenly spaced, decide where the bins lie.
const edgeRows = 20000

// Table holds the columns that a model is fitted on, each value replaced by the
// bin it falls into. It can be fitted several times, with other targets.
type Table struct {
	rows  int
	cols  []column
	total int // bins of all columns together, missing ones included
}

// column is one feature. A value v is in bin b ≥ 1 if edges[b-2] < v ≤ edges[b-1];
// NaN is in bin 0.
type column struct {
	edges []float64
	bin   []uint8
	first int // where the column's bins begin in a histogram
}

// bins returns how many bins the column has, the one of missing values included.
func (c *column) bins() int { return len(c.edges) + 2 }

// place returns the bin of a value.
//
//go:norace
func (c *column) place(v float64) uint8 {
	if math.IsNaN(v) {
		return 0
	}
	return uint8(sort.SearchFloat64s(c.edges, v) + 1)
}

// NewTable bins the columns, cols[feature][row], into at most so many bins of
// about equally many rows each. NaN is a missing value, infinities are values
// like others. All columns must have the same length.
func NewTable(cols [][]float64, bins int) (*Table, error) {
	if bins < 2 || bins > maxBins {
		return nil, fmt.Errorf("binning: %d bins, want 2 to %d", bins, maxBins)
	}
	if len(cols) == 0 || len(cols[0]) == 0 {
		return nil, fmt.Errorf("binning: no columns or no rows")
	}
	t := &Table{rows: len(cols[0]), cols: make([]column, len(cols))}
	sorted := make([]float64, 0, t.rows)
	for j, values := range cols {
		if len(values) != t.rows {
			return nil, fmt.Errorf("binning: column %d has %d rows, column 0 has %d", j, len(values), t.rows)
		}
		sorted = sorted[:0]
		for i := 0; i < t.rows; i += 1 + (t.rows-1)/edgeRows {
			if v := values[i]; !math.IsNaN(v) {
				sorted = append(sorted, v)
			}
		}
		slices.Sort(sorted)
		c := &t.cols[j]
		c.edges = edges(sorted, bins)
		c.first = t.total
		t.total += c.bins()
		c.bin = make([]uint8, t.rows)
		for i, v := range values {
			c.bin[i] = c.place(v)
		}
	}
	return t, nil
}

// edges returns the upper ends of all bins but the last. An edge lies on a value,
// so that the bins do not depend on how values between two rows would round.
func edges(sorted []float64, bins int) []float64 {
	var e []float64
	n := len(sorted)
	for b := 1; b < bins && n > 0; b++ {
		v := sorted[(b*n-1)/bins]
		if v == sorted[n-1] {
			break
		}
		if len(e) == 0 || v > e[len(e)-1] {
			e = append(e, v)
		}
	}
	return e
}
