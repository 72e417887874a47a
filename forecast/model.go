package forecast

import (
	"math"
	"slices"
	"sort"

	"sluice/forecast/boost"
)

const (
	fewest = 200 // examples of a fit
	bins   = 64
)

// model is what was learned at one date.
type model struct {
	trees *boost.Model
	// levels are forecasts, and low and high the 10 % and 90 % quantiles of price
	// less forecast between two of them.
	levels    []float64
	low, high []float64
}

// fit learns from the examples; nil where there are too few.
func fit(rows []example, o Options, seed uint64) *model {
	if len(rows) < fewest {
		return nil
	}
	cols := make([][]float64, len(rows[0].x))
	for j := range cols {
		cols[j] = make([]float64, len(rows))
		for i := range rows {
			cols[j][i] = float64(rows[i].x[j])
		}
	}
	size := make([]float64, len(rows))
	for i := range rows {
		size[i] = math.Abs(rows[i].price)
	}
	slices.Sort(size)
	cap := 24 * max(1, size[len(size)/2])
	for _, k := range o.Strikes {
		cap = max(cap, 4*k)
	}
	y := make([]float64, len(rows))
	for i := range rows {
		y[i] = max(-cap, min(rows[i].price, cap))
	}
	tb, err := boost.NewTable(cols, bins)
	if err != nil {
		panic("forecast: " + err.Error()) // the rows are ours
	}
	trees, err := tb.Fit(y, nil, boost.Options{Trees: 100, Leaves: 16, MinRows: 30, Rate: 0.1, L2: 5, Rows: 0.5, Columns: 0.5, Seed: seed})
	if err != nil {
		panic("forecast: " + err.Error())
	}
	m := &model{trees: trees}
	m.spread(rows)
	return m
}

// spread measures how far prices lie from the forecast, by the forecast's level.
func (m *model) spread(rows []example) {
	type pair struct{ p, r float64 }
	pairs := make([]pair, len(rows))
	x := make([]float64, len(rows[0].x))
	for i, r := range rows {
		for j, v := range r.x {
			x[j] = float64(v)
		}
		p := m.trees.Predict(x)
		pairs[i] = pair{p, r.price - p}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		switch {
		case a.p < b.p:
			return -1
		case a.p > b.p:
			return 1
		}
		return 0
	})
	const groups = 10
	for g := range groups {
		part := pairs[g*len(pairs)/groups : (g+1)*len(pairs)/groups]
		r := make([]float64, len(part))
		for i := range part {
			r[i] = part[i].r
		}
		slices.Sort(r)
		m.levels = append(m.levels, part[len(part)-1].p)
		m.low = append(m.low, r[len(r)/10])
		m.high = append(m.high, r[len(r)-1-len(r)/10])
	}
}

func (m *model) expect(row []float64) Expected {
	p := m.trees.Predict(row)
	g := min(sort.SearchFloat64s(m.levels, p), len(m.levels)-1)
	return Expected{p, min(p, p+m.low[g]), max(p, p+m.high[g])}
}
