package sluice

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"time"
)

// Watts is electric power, in whole watts.
type Watts int64

// WattHours is energy, in whole watt-hours.
type WattHours int64

// HashRate is SHA-256 hashing speed in TH/s.
type HashRate float64

// Money is an amount in micro-USD (1 USD = 1,000,000). Arithmetic on it is
// integer arithmetic; ratios go through the functions of this file, which round
// half to even once.
type Money int64

// Sats is an amount of bitcoin in satoshi.
type Sats int64

// EnergyPrice is the price of energy in micro-USD per MWh. It may be negative.
type EnergyPrice int64

// Hashprice is what one PH/s earns in one day, in micro-USD.
type Hashprice int64

// Common magnitudes.
const (
	Kilowatt Watts = 1000
	Megawatt Watts = 1000 * Kilowatt
	USD      Money = 1_000_000
)

// KW returns the power in kilowatts.
func (w Watts) KW() float64 { return float64(w) / 1000 }

// WattsOfKW converts kilowatts, rounding to the watt.
func WattsOfKW(kw float64) Watts { return Watts(math.Round(kw * 1000)) }

// Over returns the energy that the power delivers in d, rounded half to even.
func (w Watts) Over(d time.Duration) WattHours {
	return WattHours(mulDiv(int64(w), int64(d), int64(time.Hour)))
}

// MWh returns the energy in megawatt-hours.
func (e WattHours) MWh() float64 { return float64(e) / 1e6 }

// Cost returns what the energy costs at the price: Wh · µUSD/MWh ÷ 10⁶.
func (e WattHours) Cost(p EnergyPrice) Money {
	return Money(mulDiv(int64(e), int64(p), 1_000_000))
}

// USD returns the amount in dollars, for display and estimates only.
func (m Money) USD() float64 { return float64(m) / 1e6 }

// MoneyOfUSD converts dollars, rounding half to even to the micro-dollar.
func MoneyOfUSD(usd float64) Money { return Money(math.RoundToEven(usd * 1e6)) }

// USDPerMWh returns the price in $/MWh.
func (p EnergyPrice) USDPerMWh() float64 { return float64(p) / 1e6 }

// EnergyPriceOf converts $/MWh, rounding half to even to the micro-dollar.
func EnergyPriceOf(usdPerMWh float64) EnergyPrice {
	return EnergyPrice(math.RoundToEven(usdPerMWh * 1e6))
}

// USDPerPHDay returns the hashprice in $ per PH/s and day.
func (h Hashprice) USDPerPHDay() float64 { return float64(h) / 1e6 }

// HashpriceFromUSD converts $ per PH/s and day.
func HashpriceFromUSD(usd float64) Hashprice { return Hashprice(math.RoundToEven(usd * 1e6)) }

// String prints the amount in dollars to the cent, for people.
func (m Money) String() string {
	if m < 0 {
		return fmt.Sprintf("-$%.2f", -m.USD())
	}
	return fmt.Sprintf("$%.2f", m.USD())
}

// String prints the power with the unit a person would choose.
func (w Watts) String() string {
	switch a := math.Abs(float64(w)); {
	case a >= 1e6:
		return fmt.Sprintf("%.2f MW", float64(w)/1e6)
	case a >= 1e3:
		return fmt.Sprintf("%.1f kW", float64(w)/1e3)
	}
	return fmt.Sprintf("%d W", int64(w))
}

// MulDiv returns a·b/c rounded half to even, exact for any int64 operands whose
// result fits into an int64; it panics when the result does not (a defect in the
// caller: no settlement of a real site comes near 9·10¹² dollars) or c is 0.
func MulDiv(a, b, c int64) int64 { return mulDiv(a, b, c) }

func mulDiv(a, b, c int64) int64 {
	neg := (a < 0) != (b < 0) != (c < 0)
	hi, lo := bits.Mul64(abs(a), abs(b))
	d := abs(c)
	if hi >= d {
		panic(fmt.Sprintf("sluice: %d·%d/%d does not fit into 64 bits", a, b, c))
	}
	q, r := bits.Div64(hi, lo, d)
	// Compare 2r with d without overflow: r > d-r.
	if r > d-r || (r == d-r && q&1 == 1) {
		q++
	}
	if q > math.MaxInt64 {
		panic(fmt.Sprintf("sluice: %d·%d/%d does not fit into 64 bits", a, b, c))
	}
	if neg {
		return -int64(q)
	}
	return int64(q)
}

func abs(a int64) uint64 {
	if a < 0 {
		return uint64(-(a + 1)) + 1
	}
	return uint64(a)
}

// Split divides total into shares proportional to the weights by the largest
// remainder, so that the shares always add up to total. Negative weights count
// as zero; with no positive weight everything goes to the first share. It
// returns nil for no weights.
func Split(total int64, weights []int64) []int64 {
	if len(weights) == 0 {
		return nil
	}
	out := make([]int64, len(weights))
	sum := new(big.Int)
	for _, w := range weights {
		if w > 0 {
			sum.Add(sum, big.NewInt(w))
		}
	}
	if sum.Sign() == 0 {
		out[0] = total
		return out
	}
	sign := int64(1)
	t := new(big.Int).SetInt64(total)
	if total < 0 {
		sign = -1
		t.Neg(t)
	}
	rest := make([]*big.Int, len(weights))
	left := new(big.Int).Set(t)
	for i, w := range weights {
		rest[i] = new(big.Int)
		if w <= 0 {
			continue
		}
		q := new(big.Int).Mul(t, big.NewInt(w))
		q.QuoRem(q, sum, rest[i])
		out[i] = sign * q.Int64()
		left.Sub(left, q)
	}
	for n := left.Int64(); n > 0; n-- {
		best := -1
		for i := range rest {
			if rest[i].Sign() > 0 && (best < 0 || rest[i].Cmp(rest[best]) > 0) {
				best = i
			}
		}
		out[best] += sign
		rest[best].SetInt64(0)
	}
	return out
}
