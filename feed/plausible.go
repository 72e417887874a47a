package feed

import "math"

// MaxReservePrice is the most that a reserve can pay, USD/MW·h.
const MaxReservePrice = 30_000

// Plausible says whether the value can be one of the quantity at all. What lies
// outside was not measured but mistyped, shifted or broken on the way, and must
// not rule a site. The bounds are wide: prices have been above 15,000 $/MWh and
// below -1,000, those of reserves above 25,000 $/MW·h.
func Plausible(q Quantity, v float64) bool {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return false
	}
	lo, hi := Bounds(q)
	return v >= lo && v <= hi
}

// Bounds are the least and the most that is plausible of a quantity.
func Bounds(q Quantity) (lo, hi float64) {
	hi = math.MaxFloat64
	switch q {
	case RealTimePrice, DayAheadPrice:
		lo, hi = -5_000, 50_000
	case BTCPrice:
		lo, hi = 0.01, 1e8
	case Difficulty:
		lo, hi = 1, 1e20
	case Subsidy:
		hi = 50
	case Fees:
		hi = 1_000
	case Hashprice:
		hi = 1e6
	case GPURate:
		hi = 1_000
	case Carbon:
		hi = 5_000
	default:
		if q.Reserve() != "" {
			hi = MaxReservePrice
		}
	}
	return lo, hi
}
