package forecast

import (
	"math"
	"slices"
	"sort"
)

// past is one forecast made by a model that had not seen the interval, what it
// would have been without a model, and what the price came to.
type past struct {
	day                  int64 // since 1970
	value, anchor, price float64
}

// record is how the models did. It says how far to follow them, and how far off
// prices are.
type record struct {
	opt  Options
	past []past
}

const (
	mostPast  = 20000 // two years of hours
	levels    = 12    // of the forecast, with quantiles of their own
	fewestOff = 100   // errors that quantiles are taken from
)

func (r *record) add(p past) { r.past = append(r.past, p) }

// trim forgets what is old.
func (r *record) trim() {
	if n := len(r.past) - mostPast; n > 0 {
		r.past = append(r.past[:0], r.past[n:]...)
	}
}

// shares of the model in a forecast that are tried.
var shares = []float64{0, 0.25, 0.5, 0.75, 0.9, 1}

// bandEnds are the quantiles of the price at which one band of prices ends and the
// next begins. How far a model is to be followed differs: near common prices it
// has learned a lot, near rare ones it may know less than the last price tells.
var bandEnds = []float64{0.25, 0.5, 0.7, 0.85, 0.95, 0.985, 0.997}

// band is a range of prices in which decisions take the same share of the model.
type band struct {
	upTo  float64 // the last band has no end
	share float64
}

// trust returns the bands, from the lowest on: in each, the share that served
// decisions best at strikes in that band.
func (r *record) trust() []band {
	if len(r.past) == 0 {
		return []band{{math.Inf(1), 0}}
	}
	prices := make([]float64, len(r.past))
	for i, p := range r.past {
		prices[i] = p.price
	}
	slices.Sort(prices)
	at := func(q float64) float64 { return prices[int(q*float64(len(prices)-1))] }
	var bands []band
	from := 0.0
	for _, to := range append(slices.Clone(bandEnds), 1) {
		var strikes []float64
		for _, part := range []float64{0.1, 0.5, 0.9} {
			strikes = append(strikes, at(from)+part*(at(to)-at(from)))
		}
		end := at(to)
		if to == 1 {
			end = math.Inf(1)
		}
		for _, k := range r.opt.Strikes {
			if k >= at(from) && k < end {
				strikes = append(strikes, k)
			}
		}
		bands = append(bands, band{end, r.share(strikes)})
		from = to
	}
	return bands
}

// share returns the share that gains most over the anchor, less the doubt in that
// gain: what happened once may be chance.
func (r *record) share(strikes []float64) float64 {
	best, most := 0.0, 0.0
	for _, w := range shares[1:] {
		sum := 0.0
		for _, k := range strikes {
			sum += r.gain(k, w)
		}
		if sum > most {
			best, most = w, sum
		}
	}
	return best
}

// doubt is how many standard errors of a gain do not count. Days count as
// independent of each other, intervals of a day do not.
const doubt = 1

// gain is what decisions with the share w won over those by the anchor at the
// strike, less doubt, as a share of what the anchor's lost.
func (r *record) gain(strike, w float64) float64 {
	var lost, sum, square, ofDay float64
	for i, p := range r.past {
		if i > 0 && p.day != r.past[i-1].day {
			sum, square, ofDay = sum+ofDay, square+ofDay*ofDay, 0
		}
		d := p.price - strike // what running costs
		byAnchor := p.anchor < strike
		if byAnchor == (d > 0) {
			lost += math.Abs(d)
		}
		if run := mix(p.value, p.anchor, w) < strike; run != byAnchor {
			if run {
				d = -d
			}
			ofDay += d
		}
	}
	sum, square = sum+ofDay, square+ofDay*ofDay
	if lost == 0 {
		return 0
	}
	return (sum - doubt*math.Sqrt(square)) / lost
}

// blend returns the price at which the decision turns: in each band, a strike is
// compared with the mix that has the band's share.
func blend(bands []band, value, anchor float64) float64 {
	least := math.Inf(-1)
	for _, b := range bands {
		v := max(least, mix(value, anchor, b.share))
		if v < b.upTo {
			return v
		}
		least = b.upTo
	}
	return least
}

func mix(value, anchor, w float64) float64 {
	if w == 1 {
		return value
	}
	return w*value + (1-w)*anchor
}

// quantiles of price less forecast, by the forecast's level.
type quantiles struct {
	upTo      []float64 // the level's forecasts are at most this, but in the last
	low, high []float64
}

// errors measures them for forecasts that trust the model so far.
func (r *record) errors(trust []band) quantiles {
	var b quantiles
	if len(r.past) < fewestOff {
		return b
	}
	type pair struct{ value, off float64 }
	all := make([]pair, len(r.past))
	for i, p := range r.past {
		v := blend(trust, p.value, p.anchor)
		all[i] = pair{v, p.price - v}
	}
	slices.SortFunc(all, func(a, b pair) int {
		switch {
		case a.value < b.value:
			return -1
		case a.value > b.value:
			return 1
		}
		return 0
	})
	n := min(levels, len(all)/fewestOff)
	for g := range n {
		part := all[g*len(all)/n : (g+1)*len(all)/n]
		off := make([]float64, len(part))
		for i := range part {
			off[i] = part[i].off
		}
		slices.Sort(off)
		b.upTo = append(b.upTo, part[len(part)-1].value)
		b.low = append(b.low, off[len(off)/10])
		b.high = append(b.high, off[len(off)-1-len(off)/10])
	}
	return b
}

// around returns the forecast with its quantiles.
func (b *quantiles) around(v float64) Expected {
	if len(b.upTo) == 0 {
		return Expected{v, v, v}
	}
	g := min(sort.SearchFloat64s(b.upTo, v), len(b.upTo)-1)
	return Expected{v, v + min(0, b.low[g]), v + max(0, b.high[g])}
}
