// Package boost learns a function of numbers from examples: gradient-boosted
// regression trees over binned columns (Friedman 2001, "Greedy function
// approximation"; the histograms and the best-first growth are those of LightGBM,
// Ke et al. 2017). It knows squared loss, whose optimum is the conditional mean,
// and pinball loss, whose optimum is a conditional quantile.
//
// The same table, targets and options give the same model, bit for bit.
package boost

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Options say how a model is fitted. Zero fields take the value in brackets.
type Options struct {
	Trees    int     // rounds of boosting (100)
	Leaves   int     // of each tree, at most (16)
	MinRows  float64 // weight that a leaf must hold, 1 for an average row (20)
	Rate     float64 // share of each tree that is taken, 0 < Rate ≤ 1 (0.1)
	L2       float64 // weight of the pull of a leaf towards no change (1)
	Rows     float64 // share of rows drawn for each tree (1)
	Columns  float64 // share of columns drawn for each tree (1)
	Quantile float64 // 0 < Quantile < 1: pinball loss; 0: squared loss
	Seed     uint64  // of the draws
}

func (o Options) orDefaults() (Options, error) {
	set := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	if o.Trees == 0 {
		o.Trees = 100
	}
	if o.Leaves == 0 {
		o.Leaves = 16
	}
	set(&o.MinRows, 20)
	set(&o.Rate, 0.1)
	set(&o.L2, 1)
	set(&o.Rows, 1)
	set(&o.Columns, 1)
	switch {
	case o.Trees < 1, o.Leaves < 1, !(o.MinRows > 0), !(o.L2 >= 0):
		return o, fmt.Errorf("fitting: Trees, Leaves, MinRows and L2 must be positive: %+v", o)
	case !(o.Rate > 0 && o.Rate <= 1), !(o.Rows > 0 && o.Rows <= 1), !(o.Columns > 0 && o.Columns <= 1):
		return o, fmt.Errorf("fitting: Rate, Rows and Columns must be in (0, 1]: %+v", o)
	case !(o.Quantile >= 0 && o.Quantile < 1):
		return o, fmt.Errorf("fitting: Quantile must be in [0, 1): %v", o.Quantile)
	}
	return o, nil
}

// Model is a fitted function. It is safe for concurrent use.
type Model struct {
	features int
	base     float64
	trees    []tree
}

// Fit fits a model to the targets y, one for each row of the table, with weights
// w (nil: all the same). Rows of weight 0 are left out.
func (tb *Table) Fit(y, w []float64, o Options) (*Model, error) {
	o, err := o.orDefaults()
	if err != nil {
		return nil, err
	}
	if len(y) != tb.rows || w != nil && len(w) != tb.rows {
		return nil, fmt.Errorf("fitting: %d targets and %d weights for %d rows", len(y), len(w), tb.rows)
	}
	f := fitting{tb: tb, opt: o, y: y, rng: rand.New(rand.NewPCG(o.Seed, 0x5851f42d4c957f2d))}
	if err := f.weigh(w); err != nil {
		return nil, err
	}
	m := &Model{features: len(tb.cols), base: f.base()}
	for i := range f.now {
		f.now[i] = m.base
	}
	for range o.Trees {
		t := f.round()
		m.trees = append(m.trees, t)
		if len(t) == 1 && o.Rows == 1 && o.Columns == 1 {
			break // no later round would find more
		}
	}
	return m, nil
}

// Predict returns the model's value for a row of features.
func (m *Model) Predict(x []float64) float64 {
	if len(x) != m.features {
		panic(fmt.Sprintf("boost: %d features, the model has %d", len(x), m.features))
	}
	v := m.base
	for _, t := range m.trees {
		v += t.walk(x).value
	}
	return v
}

// fitting is the state of one Fit.
type fitting struct {
	tb    *Table
	opt   Options
	y, w  []float64
	rows  []int32   // those of positive weight
	now   []float64 // the model so far, for each row
	rng   *rand.Rand
	g     grower
	steps []step
}

func (f *fitting) weigh(w []float64) error {
	f.w = make([]float64, f.tb.rows)
	f.now = make([]float64, f.tb.rows)
	sum := 0.0
	for i := range f.w {
		f.w[i] = 1
		if w != nil {
			f.w[i] = w[i]
		}
		switch {
		case !(f.w[i] >= 0) || math.IsInf(f.w[i], 1):
			return fmt.Errorf("fitting: weight %v of row %d", f.w[i], i)
		case f.w[i] == 0:
			continue
		case math.IsNaN(f.y[i]) || math.IsInf(f.y[i], 0):
			return fmt.Errorf("fitting: target %v of row %d", f.y[i], i)
		}
		f.rows = append(f.rows, int32(i))
		sum += f.w[i]
	}
	if len(f.rows) == 0 {
		return fmt.Errorf("fitting: no row has any weight")
	}
	scale := float64(len(f.rows)) / sum // an average row weighs 1
	for i := range f.w {
		f.w[i] *= scale
	}
	return nil
}

// base is the best constant.
func (f *fitting) base() float64 {
	if f.opt.Quantile > 0 {
		return f.quantile(f.rows, func(i int32) float64 { return f.y[i] })
	}
	var c cell
	for _, i := range f.rows {
		c.g += f.w[i] * f.y[i]
		c.w += f.w[i]
	}
	return c.g / c.w
}

// round fits one tree to what the model still lacks, and adds it.
//
//go:norace
func (f *fitting) round() tree {
	f.draw()
	g, q := &f.g, f.opt.Quantile
	for k, i := range g.order {
		r := f.y[i] - f.now[i]
		if q > 0 { // the slope of pinball loss
			if r > 0 {
				r = q
			} else {
				r = q - 1
			}
		}
		g.of[k] = cell{f.w[i] * r, f.w[i]}
	}
	t := g.grow()
	if q > 0 {
		f.settle(t)
	}
	for i := range t {
		t[i].value *= f.opt.Rate
	}
	f.steps = t.steps(f.tb, f.steps)
	for _, i := range f.rows {
		at := int32(0)
		for f.steps[at].bin != nil {
			n := &f.steps[at]
			at = n.left
			if n.bin[i]-n.shift > n.limit {
				at++
			}
		}
		f.now[i] += t[at].value
	}
	return t
}

// settle sets each leaf of t to the quantile of what its rows lack: the slope of
// pinball loss says where to split, not how far to go.
func (f *fitting) settle(t tree) {
	for _, l := range f.g.leaves {
		rows := f.g.order[l.from:l.to]
		t[l.node].value = f.quantile(rows, func(i int32) float64 { return f.y[i] - f.now[i] })
	}
}

// draw chooses the rows and columns of the next tree.
//
//go:norace
func (f *fitting) draw() {
	g := &f.g
	if g.tb == nil {
		n := len(f.rows)
		*g = grower{tb: f.tb, opt: &f.opt, order: make([]int32, 0, n), of: make([]cell, n), scratch: make([]int32, n), cells: make([]cell, n)}
	}
	g.order = g.order[:0]
	if f.opt.Rows == 1 {
		g.order = append(g.order, f.rows...)
	} else {
		// From one drawn row to the next is a geometric step.
		all := math.Log(1 - f.opt.Rows)
		for k := -1.0; ; {
			k += 1 + math.Floor(math.Log(1-f.rng.Float64())/all)
			if k >= float64(len(f.rows)) {
				break
			}
			g.order = append(g.order, f.rows[int(k)])
		}
	}
	n := len(f.tb.cols)
	g.use = g.use[:0]
	if f.opt.Columns == 1 {
		for j := range n {
			g.use = append(g.use, j)
		}
		return
	}
	g.use = append(g.use, f.rng.Perm(n)[:max(1, int(math.Round(f.opt.Columns*float64(n))))]...)
	slices.Sort(g.use)
}

// quantile returns the weighted quantile of the rows' values.
func (f *fitting) quantile(rows []int32, value func(int32) float64) float64 {
	by := make([]cell, len(rows)) // value and weight
	sum := 0.0
	for k, i := range rows {
		by[k] = cell{value(i), f.w[i]}
		sum += f.w[i]
	}
	slices.SortFunc(by, func(a, b cell) int {
		switch {
		case a.g < b.g:
			return -1
		case a.g > b.g:
			return 1
		}
		return 0
	})
	left := f.opt.Quantile * sum
	for _, c := range by {
		if left -= c.w; left <= 0 {
			return c.g
		}
	}
	if len(by) == 0 {
		return 0
	}
	return by[len(by)-1].g
}
