package pivot

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"sluice"
)

const (
	hoursPerWeek  = 168
	hoursPerYear  = 8766 // of 365.25 days
	weeksPerYear  = hoursPerYear / float64(hoursPerWeek)
	hoursPerMonth = hoursPerYear / 12.0
	seasons       = 52
	// maxUnknown is how many hours of a week may be unknown; they hold the value
	// before them. A week with more is left out.
	maxUnknown = 24
	minWeeks   = 8
)

// week is one week of the history: what its hours cost, whether the grid calls,
// and how the hashprice moves.
type week struct {
	start  time.Time
	season int
	spot   []float64 // USD/MWh, at the plan's level
	price  []float64 // what a MWh costs at the margin: spot, adder, and the charge on the grid's peaks
	called []bool    // the grid calls back what is not firm
	calls  int       // hours of that
	shape  []float64 // hashprice of the hour over the week's mean
	shock  float64   // what the week adds to the logarithm of the hashprice, over what was to be expected
	sum    float64   // of spot over the hours
}

// market is the history as the plan uses it.
type market struct {
	weeks     []week
	leftOut   int
	held      int     // unknown hours that hold the value before them
	level     float64 // of the hashprice today
	growth    float64 // of the hashprice a week, as a factor
	keep      float64 // share of a deviation of the hashprice's logarithm that is left after a week
	shockSD   float64
	from, end time.Time
}

func (m *market) span() string {
	return fmt.Sprintf("%d weeks from %s to %s", len(m.weeks), m.from.Format(time.DateOnly), m.end.Format(time.DateOnly))
}

// newMarket cuts the history into weeks and fits the hashprice. It fills in the
// terms that come from the history.
func newMarket(h History, t *Terms) (*market, error) {
	n := len(h.Price)
	if h.Hashprice != nil && len(h.Hashprice) != n {
		return nil, sluice.Errorf(sluice.Internal, "", "the history has %d prices and %d hashprices", n, len(h.Hashprice))
	}
	m := &market{}
	price, hash := slices.Clone(h.Price), slices.Clone(h.Hashprice)
	calledHours := m.rank(price, t.CurtailHours.Value)
	if t.CurtailAbove.Given() {
		for i, p := range price {
			calledHours[i] = p*t.PowerLevel.Value > t.CurtailAbove.Value
		}
	}
	if t.FirmShare.Value >= 1 {
		clear(calledHours) // there is nothing to call back
	}
	peaks := make([]bool, n)
	if t.Coincident.Value > 0 {
		peaks = m.rank(price, t.CoincidentHours.Value)
	}
	var means []float64
	var index []int
	for i := 0; i+hoursPerWeek <= n; i += hoursPerWeek {
		w := week{start: h.Start.Add(time.Duration(i) * time.Hour)}
		p, held, ok := hold(price[i : i+hoursPerWeek])
		q := slices.Repeat([]float64{1}, hoursPerWeek)
		heldQ, okQ := 0, true
		if hash != nil {
			q, heldQ, okQ = hold(hash[i : i+hoursPerWeek])
		}
		if !ok || !okQ {
			m.leftOut++
			continue
		}
		m.held += held + heldQ
		w.season = season(w.start)
		w.called, w.spot = calledHours[i:i+hoursPerWeek], p
		mean := 0.0
		for j, x := range q {
			mean += x / hoursPerWeek
			w.spot[j] *= t.PowerLevel.Value
			w.sum += w.spot[j]
			margin := w.spot[j] + t.Adder.Value
			if peaks[i+j] {
				margin += 1000 * t.Coincident.Value / t.CoincidentHours.Value
			}
			w.price = append(w.price, margin)
			if w.called[j] {
				w.calls++
			}
		}
		if !(mean > 0) {
			m.leftOut++
			continue
		}
		for _, x := range q {
			w.shape = append(w.shape, x/mean)
		}
		m.weeks, means, index = append(m.weeks, w), append(means, mean), append(index, i/hoursPerWeek)
	}
	if len(m.weeks) < minWeeks {
		return nil, sluice.Errorf(sluice.Invalid, "give series that cover the same time", "prices and hashprice are known together in %d whole weeks; a plan needs at least %d", len(m.weeks), minWeeks)
	}
	m.from = m.weeks[0].start
	m.end = m.weeks[len(m.weeks)-1].start.Add(hoursPerWeek * time.Hour)
	return m, m.fit(h, t, means, index)
}

// rank says which hours are among the most expensive of their year, so many of
// 8,766. Years are counted from the first hour; the last one's share is by its
// length.
func (m *market) rank(price []float64, hours float64) []bool {
	out := make([]bool, len(price))
	for from := 0; from < len(price); from += hoursPerYear {
		year := price[from:min(from+hoursPerYear, len(price))]
		order := make([]int, 0, len(year))
		for i, p := range year {
			if !math.IsNaN(p) {
				order = append(order, i)
			}
		}
		sort.SliceStable(order, func(a, b int) bool { return year[order[a]] > year[order[b]] })
		n := int(math.Round(hours * float64(len(year)) / hoursPerYear))
		for _, i := range order[:min(n, len(order))] {
			out[from+i] = true
		}
	}
	return out
}

// hold returns a copy in which unknown hours hold the value before them (the
// first ones that after them), how many did, and whether few enough are unknown.
func hold(v []float64) (out []float64, held int, ok bool) {
	out = slices.Clone(v)
	last := math.NaN()
	for _, x := range v {
		if !math.IsNaN(x) {
			last = x
			break
		}
	}
	for i, x := range out {
		if math.IsNaN(x) {
			out[i] = last
			held++
			continue
		}
		last = x
	}
	return out, held, held <= maxUnknown
}

func season(t time.Time) int { return min((t.YearDay()-1)/7, seasons-1) }

// assumedKeep is what is left of a deviation after a week where the history does
// not tell: half after 34 weeks.
const assumedKeep = 0.98

// fit takes the hashprice apart: a trend, which the plan replaces by its own
// level and growth, and deviations from it, of which a share is left after a week
// (an autoregressive process of order one in the logarithm). What is new in a week
// stays with the week, so that a scenario draws it together with that week's
// prices.
func (m *market) fit(h History, t *Terms, means []float64, index []int) error {
	m.growth = math.Pow((1+t.BTCGrowth.Value)/(1+t.DifficultyGrowth.Value), 1/weeksPerYear)
	if !t.Hashprice.Given() {
		last := math.NaN()
		for _, x := range h.Hashprice {
			if x > 0 {
				last = x
			}
		}
		if math.IsNaN(last) {
			return sluice.Errorf(sluice.Invalid, "give pivot.hashprice_usd_per_ph_day, or series of btc_usd, difficulty and subsidy_btc_per_block", "there is no hashprice")
		}
		t.Hashprice = Number{last, "the latest of the history"}
	}
	m.level = t.Hashprice.Value
	x := detrend(means, index)
	num, den := 0.0, 0.0
	for i := 1; i < len(x); i++ {
		if index[i] == index[i-1]+1 {
			num += x[i] * x[i-1]
			den += x[i-1] * x[i-1]
		}
	}
	source := "fitted to the history"
	m.keep = assumedKeep
	if den > 1e-12 && len(x) >= seasons {
		m.keep = min(max(num/den, 0.5), 0.995)
	} else {
		source = "assumption: the history is too short, or its hashprice too steady, to tell"
	}
	if t.HalfLife.Given() {
		m.keep = math.Pow(0.5, 1/t.HalfLife.Value)
	} else {
		t.HalfLife = Number{math.Log(0.5) / math.Log(m.keep), source}
	}
	var shocks []float64
	var at []int
	for i := 1; i < len(x); i++ {
		if index[i] == index[i-1]+1 {
			shocks, at = append(shocks, x[i]-m.keep*x[i-1]), append(at, i)
		}
	}
	if len(shocks) == 0 {
		return nil
	}
	// The hashprice has no seasons: what the history shows of them is chance, and
	// scenarios, which draw by season, must not repeat it every year.
	for i := range shocks {
		sum, n := 0.0, 0.0
		for j := range shocks {
			if apart(m.weeks[at[i]].season, m.weeks[at[j]].season) <= seasonReach {
				sum, n = sum+shocks[j], n+1
			}
		}
		m.weeks[at[i]].shock = shocks[i] - sum/n
	}
	var all []float64
	for _, w := range m.weeks {
		all = append(all, w.shock)
	}
	_, m.shockSD = spread(all)
	return nil
}

// apart is how many weeks lie between two seasons.
func apart(a, b int) int {
	d := (a - b + seasons) % seasons
	return min(d, seasons-d)
}

// detrend returns the logarithms less their straight line.
func detrend(v []float64, index []int) []float64 {
	x := make([]float64, len(v))
	n, st, sx, stt, stx := float64(len(v)), 0.0, 0.0, 0.0, 0.0
	for i := range v {
		x[i] = math.Log(v[i])
		t := float64(index[i])
		st, sx, stt, stx = st+t, sx+x[i], stt+t*t, stx+t*x[i]
	}
	slope := 0.0
	if d := n*stt - st*st; d > 0 {
		slope = (n*stx - st*sx) / d
	}
	for i := range x {
		x[i] -= (sx-slope*st)/n + slope*float64(index[i])
	}
	return x
}
