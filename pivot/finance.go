package pivot

import (
	"math"
	"slices"
)

// Flow is cash by month in USD: Flow[i] is what has come in (positive) or gone
// out when i months have passed since today.
type Flow []float64

// NPV is the present value at a discount rate of rate a year (0.12 is 12 %):
// Σ Flow[i] / (1 + rate)^(i/12).
func (f Flow) NPV(rate float64) float64 {
	month := math.Pow(1+rate, -1.0/12)
	sum, factor := 0.0, 1.0
	for _, x := range f {
		sum += x * factor
		factor *= month
	}
	return sum
}

const (
	// leastRate and mostRate bound an internal rate of return, a year. Beyond them
	// it tells nobody anything.
	leastRate = -0.95
	mostRate  = 10.0
	rateSteps = 400
)

// IRR is the internal rate of return a year: the one rate at which the present
// value is nothing. It is false where there is none between -95 % and 1000 %, or
// more than one (cash that changes its sign more than once can have several,
// and then none of them means anything).
func (f Flow) IRR() (rate float64, ok bool) {
	if !slices.ContainsFunc(f, func(x float64) bool { return x < 0 }) || !slices.ContainsFunc(f, func(x float64) bool { return x > 0 }) {
		return 0, false
	}
	at := func(i int) float64 { // evenly spaced in log(1 + rate)
		lo, hi := math.Log1p(leastRate), math.Log1p(mostRate)
		return math.Expm1(lo + (hi-lo)*float64(i)/rateSteps)
	}
	found, lo, hi := 0, 0.0, 0.0
	last := f.NPV(at(0))
	for i := 1; i <= rateSteps; i++ {
		v := f.NPV(at(i))
		if (last < 0) != (v < 0) {
			found++
			lo, hi = at(i-1), at(i)
		}
		last = v
	}
	if found != 1 {
		return 0, false
	}
	rising := f.NPV(lo) < 0
	for range 200 {
		mid := lo + (hi-lo)/2
		if mid <= lo || mid >= hi {
			break
		}
		if (f.NPV(mid) < 0) == rising {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo + (hi-lo)/2, true
}

// Payback is the time in years after which the cash so far is never below nothing
// again. It is false where nothing was laid out, or where that never comes.
func (f Flow) Payback() (years float64, ok bool) {
	sum, out, back := 0.0, false, -1
	for i, x := range f {
		sum += x
		switch {
		case sum < 0:
			out, back = true, -1
		case out && back < 0:
			back = i
		}
	}
	if back < 0 {
		return 0, false
	}
	return float64(back) / 12, true
}

// add adds k times g.
func (f Flow) add(g Flow, k float64) {
	for i := range f {
		f[i] += k * g[i]
	}
}

// Quantiles are what is reported of a figure over the scenarios.
type Quantiles struct {
	P5  float64 `json:"p5"`
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
}

func quantiles(xs []float64) Quantiles {
	s := slices.Clone(xs)
	slices.Sort(s)
	return Quantiles{quantile(s, 0.05), quantile(s, 0.5), quantile(s, 0.95)}
}

// quantile interpolates between the order statistics of the sorted s, as
// spreadsheets do (type 7 of Hyndman and Fan).
func quantile(s []float64, q float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	h := q * float64(len(s)-1)
	i := int(h)
	if i+1 >= len(s) {
		return s[len(s)-1]
	}
	return s[i] + (h-float64(i))*(s[i+1]-s[i])
}

// spread returns the mean and the standard deviation.
func spread(xs []float64) (mean, sd float64) {
	for _, x := range xs {
		mean += x
	}
	mean /= float64(len(xs))
	for _, x := range xs {
		sd += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(sd / float64(len(xs)))
}
