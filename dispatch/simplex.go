package dispatch

import "math"

// tableau is a linear program in the simplex method's dense form: maximise
// costs·x where rows·x = right, 0 ≤ x ≤ upper. It starts with one column of the
// identity for each row, and columns are added to it as they are found: small
// programs that are solved again and again, each time from where it stood.
type tableau struct {
	rows    [][]float64 // by row and column
	right   []float64   // what the row's basic column is worth
	basis   []int       // by row: its column
	gain    []float64   // by column: what one more of it would bring
	upper   []float64   // by column
	flipped []bool      // by column: stands for upper - x
	barred  []bool      // by column: may not come back
	basic   []bool
	choosy  bool    // takes only columns that would pay
	worth   float64 // of the present corner, less that of the start
	at      []int32 // where the pivot row is not 0
	pivots  int
	ops     int
}

const simplexTiny = 1e-9

// newTableau starts with the identity: a slack of each row, or what is barred
// once it has left (an equation has no slack).
func newTableau(right []float64, equations int) *tableau {
	m := len(right)
	t := &tableau{right: append([]float64(nil), right...), rows: make([][]float64, m), basis: make([]int, m)}
	for i := range t.rows {
		t.rows[i] = make([]float64, m, 4*m)
		t.rows[i][i] = 1
		t.basis[i] = i
		t.gain = append(t.gain, 0)
		t.upper = append(t.upper, inf)
		t.flipped = append(t.flipped, false)
		t.basic = append(t.basic, true)
		t.barred = append(t.barred, i < equations)
	}
	return t
}

// price is the worth of one more of row i.
func (t *tableau) price(i int) float64 { return -t.gain[i] }

// column adds a column given as its entries by row, and returns its number; -1
// for one that would not pay as things stand.
func (t *tableau) column(entries []float64, cost, upper float64) int {
	n := len(t.gain)
	gain := cost
	for k, a := range entries {
		if a != 0 {
			gain += a * t.gain[k]
		}
	}
	if t.choosy && gain < 1e-7*max(1, math.Abs(cost)) {
		return -1
	}
	for i, row := range t.rows {
		v := 0.0
		for k, a := range entries {
			if a != 0 {
				v += a * row[k]
			}
		}
		t.rows[i] = append(row, v)
	}
	t.ops += len(entries) * len(t.rows) / 4
	t.gain = append(t.gain, gain)
	t.upper = append(t.upper, upper)
	t.flipped = append(t.flipped, false)
	t.basic = append(t.basic, false)
	t.barred = append(t.barred, false)
	return n
}

// flip makes a column stand for upper - x.
func (t *tableau) flip(j int) {
	u := t.upper[j]
	for i, row := range t.rows {
		if row[j] != 0 {
			t.right[i] -= row[j] * u
			row[j] = -row[j]
		}
	}
	t.worth += t.gain[j] * u
	t.gain[j] = -t.gain[j]
	t.flipped[j] = !t.flipped[j]
}

// pivot brings column j into the basis in row r.
func (t *tableau) pivot(r, j int) {
	row := t.rows[r]
	f := 1 / row[j]
	for k := range row {
		row[k] *= f
	}
	t.right[r] *= f
	row[j] = 1
	// Most of the row is 0, above all under basic columns.
	t.at = t.at[:0]
	for k, v := range row {
		if v > 1e-13 || v < -1e-13 {
			t.at = append(t.at, int32(k))
		} else {
			row[k] = 0
		}
	}
	for i, other := range t.rows {
		if i == r {
			continue
		}
		if g := other[j]; g != 0 {
			for _, k := range t.at {
				other[k] -= g * row[k]
			}
			other[j] = 0
			if t.right[i] -= g * t.right[r]; t.right[i] < 0 && t.right[i] > -1e-7 {
				t.right[i] = 0
			}
			t.ops += len(t.at) / 2
		}
	}
	g := t.gain[j]
	t.worth += g * t.right[r]
	for _, k := range t.at {
		t.gain[k] -= g * row[k]
	}
	t.gain[j] = 0
	t.basic[t.basis[r]] = false
	t.basis[r] = j
	t.basic[j] = true
	t.pivots++
}

// solve moves to the best corner, in at most so many pivots.
func (t *tableau) solve(most int) {
	still := 0 // pivots in a row that gained nothing
	for range most {
		j := t.entering(still > 30)
		if j < 0 {
			return
		}
		r, step, high := t.leaving(j)
		if step == inf {
			return // cannot be: everything is bounded
		}
		if t.gain[j]*step > simplexTiny {
			still = 0
		} else {
			still++
		}
		if r < 0 {
			t.flip(j)
			continue
		}
		if high { // the basic column leaves at its upper end
			k := t.basis[r]
			row := t.rows[r]
			for c := range row {
				row[c] = -row[c]
			}
			row[k] = 1
			t.right[r] = t.upper[k] - t.right[r]
			t.flipped[k] = !t.flipped[k]
		}
		t.pivot(r, j)
	}
}

// entering picks the column with the steepest gain; in order, where the method
// might else go round in circles.
func (t *tableau) entering(inOrder bool) int {
	best, most := -1, simplexTiny*100
	for j, g := range t.gain {
		if g <= most || t.basic[j] || t.barred[j] {
			continue
		}
		best = j
		if inOrder {
			break
		}
		most = g
	}
	return best
}

// leaving finds which row stops the growth of column j, and when; row -1: its
// own upper end. high: the basic column of that row comes to its upper end.
func (t *tableau) leaving(j int) (row int, step float64, high bool) {
	row, step = -1, t.upper[j]
	size := 0.0
	for i, r := range t.rows {
		v := r[j]
		var s float64
		up := false
		switch {
		case v > simplexTiny:
			s = t.right[i] / v
		case v < -simplexTiny && t.upper[t.basis[i]] < inf:
			s = (t.upper[t.basis[i]] - t.right[i]) / -v
			up = true
		default:
			continue
		}
		if s = max(s, 0); s < step-1e-12 || s <= step && math.Abs(v) > size {
			row, step, high, size = i, s, up, math.Abs(v)
		}
	}
	return row, step, high
}

// values returns the worth of each column.
func (t *tableau) values() []float64 {
	x := make([]float64, len(t.gain))
	for i, j := range t.basis {
		x[j] = t.right[i]
	}
	for j, f := range t.flipped {
		if f {
			x[j] = t.upper[j] - x[j]
		}
	}
	return x
}
