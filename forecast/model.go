package forecast

import (
	"math"
	"slices"
	"sync"
	"time"

	"sluice/forecast/boost"
)

// rungCaps are where prices are cut off, as multiples of the typical price, before
// the trees of a rung learn their mean. A rung with a low cap is sharp where
// decisions at low strikes turn, since no spike drowns what it learns; one with a
// high cap knows what spikes cost. The last has none.
var rungCaps = []float64{5, 10, 24, 60, math.Inf(1)}

const (
	// clearance is how many times higher than its forecast a rung's cap must lie: what
	// is cut off then hardly counts.
	clearance = 3
	// floor is where prices are cut off below, as a multiple of the typical price.
	floor = -2
	// fewest is of how many examples a model is made.
	fewest = 300
	bins   = 64
)

// rung is a model of prices cut off at the cap: the mean of several that drew other
// rows and columns.
type rung struct {
	cap   float64
	trees []*boost.Model
}

// mean is the mean of the rung's models.
func (r *rung) mean(x []float64) float64 {
	sum := 0.0
	for _, m := range r.trees {
		sum += m.Predict(x)
	}
	return sum / float64(len(r.trees))
}

// ladder forecasts the expected price, so far as it matters to a decision.
type ladder []rung

// effort is what the trees of a rung may cost.
type effort struct {
	rungs  []float64 // caps, as multiples of the typical price
	copies int
	trees  boost.Options
}

// effortOf is what a fit is worth. Forecasts of intervals below an hour are many,
// and the last price tells most of what there is to know.
func effortOf(k kind, step time.Duration) effort {
	if k == later {
		return effort{[]float64{24, math.Inf(1)}, 1, boost.Options{Trees: 50, Leaves: 16, MinRows: 30, Rate: 0.15, L2: 5, Columns: 0.35}}
	}
	e := effort{rungCaps, 3, boost.Options{Trees: 70, Leaves: 16, MinRows: 30, Rate: 0.12, L2: 5, Columns: 0.35}}
	if step < time.Hour {
		e.copies = 1
	}
	return e
}

// fit learns from the examples; nil where they are too few.
func fit(rows []example, e effort, seed uint64) ladder {
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
	tb, err := boost.NewTable(cols, bins)
	if err != nil {
		panic("forecast: " + err.Error()) // the rows are ours
	}
	unit := typical(rows)
	// Each tree draws its own rows: the more there are, the smaller a share.
	e.trees.Rows = min(1, max(0.12, 6000/float64(len(rows))))
	l := make(ladder, len(e.rungs))
	var all sync.WaitGroup
	for r := range l {
		l[r] = rung{e.rungs[r] * unit, make([]*boost.Model, e.copies)}
		y := make([]float64, len(rows))
		for i := range rows {
			y[i] = max(floor*unit, min(rows[i].price, l[r].cap))
		}
		for c := range l[r].trees {
			o := e.trees
			o.Seed = (seed*uint64(len(l))+uint64(r))*uint64(e.copies) + uint64(c)
			all.Go(func() {
				m, err := tb.Fit(y, nil, o)
				if err != nil {
					panic("forecast: " + err.Error())
				}
				l[r].trees[c] = m
			})
		}
	}
	all.Wait()
	return l
}

// typical is the median size of the prices.
func typical(rows []example) float64 {
	size := make([]float64, len(rows))
	for i := range rows {
		size[i] = math.Abs(rows[i].price)
	}
	slices.Sort(size)
	return max(1, size[len(size)/2])
}

// value climbs to the first rung whose cap lies well above its forecast, taken
// together with the next rung's, which has learned other trees: the price at which
// a decision turns is then forecast by the rungs that are right for that price.
func (l ladder) value(x []float64) float64 {
	least := math.Inf(-1)
	v := l[0].mean(x)
	for r := range l {
		mean := v
		if r+1 < len(l) {
			v = l[r+1].mean(x)
			mean = (mean + v) / 2
		}
		mean = max(mean, least)
		if r+1 == len(l) || mean < l[r].cap/clearance {
			return mean
		}
		least = l[r].cap / clearance
	}
	return least
}
