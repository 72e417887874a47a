package pivot

import (
	"math"
	"testing"
)

// ledgerOf is a ledger of two years with the same cash every month but one, laid
// out at the beginning.
func ledgerOf(month, bad, capital, residual float64) *ledger {
	g := newLedger(24)
	for m := range g.mining {
		g.mining[m] = month / 4
		g.ai[m] = month * 3 / 4
	}
	g.mining[7] += bad
	g.capital[0] = -capital
	g.residual = residual
	return g
}

// What is measured of two scenarios is what a person would work out.
func TestMeasures(t *testing.T) {
	tab := steady(t, func(p *Plan) { p.Terms.Discount = given(0) })
	base := [2]*ledger{ledgerOf(100, 0, 0, 0), ledgerOf(100, 0, 0, 0)}
	built := [2]*ledger{ledgerOf(200, -300, 1000, 50), ledgerOf(240, 0, 1000, 50)}
	s := newSums(24, 2)
	for i := range base {
		s.add(built[i], base[i], 0, 6)
	}
	got := tab.step(0, 1, s)
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9*max(1, math.Abs(want)) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	// The year is months 6 to 17: 12·200 − 300 and 12·240.
	near("profit of the middle scenario", got.ProfitUSD.P50, (2100+2880)/2.0)
	near("mining", got.MiningProfitUSD, (12*50-300+12*60)/2.0)
	near("AI", got.AIProfitUSD, (12*150+12*180)/2.0)
	near("present value at a rate of nothing", got.NPVUSD.P50, (24*200-300-950+24*240-950)/2.0)
	near("over what would be without", got.NPVGainUSD.P50, (24*200-300-950+24*240-950)/2.0-2400)
	near("the mean month", got.MeanMonthUSD, (2100+2880)/24.0)
	// The worst quarters are 600 − 300 and 720; P5 of two lies a twentieth between.
	near("the worst quarter", got.WorstQuarterUSD, 300+0.05*420)
	months := []float64{-100}
	for range 11 {
		months = append(months, 200)
	}
	for range 12 {
		months = append(months, 240)
	}
	near("cash at risk", got.CashAtRiskUSD, got.MeanMonthUSD-quantiles(months).P5)
	_, sd := spread(months)
	near("variation", *got.CashCV, sd/got.MeanMonthUSD)
	// The mean cash over that without is 120 a month, 150 less in the eighth: the
	// 1000 are back when (1000 + 150) / 120 = 9.6 months have passed.
	near("payback", *got.Payback, 10.0/12)
	extra := make(Flow, 25)
	extra[0] = -1000
	for m := range 24 {
		extra[m+1] = 120
	}
	extra[8] -= 150
	extra[24] += 50
	near("nothing is left at the IRR", extra.NPV(*got.IRR)/1000, 0)
	if len(got.ByYear) != 2 || got.ByYear[0].CapitalUSD != -1000 || got.ByYear[1].CapitalUSD != 0 {
		t.Errorf("by year: %+v", got.ByYear)
	}
	near("mining in the first year", got.ByYear[0].MiningUSD, (12*50-300+12*60)/2.0)

	lost := newSums(24, 1)
	lost.add(ledgerOf(-10, 0, 100, 0), ledgerOf(5, 0, 0, 0), 0.1, 6)
	if s := tab.step(0, 1, lost); s.IRR != nil || s.Payback != nil || s.CashCV != nil {
		t.Errorf("a loss has an IRR, a payback or a variation: %+v", s)
	}
}

func TestBest(t *testing.T) {
	step := func(share, p5, p50 float64) Step {
		return Step{Share: share, AIMW: 10 * share, NPVUSD: Quantiles{p5, p50, p50 + 10}}
	}
	got := best("x", []Step{step(0, -8, 5), step(0.5, -2, 7), step(0.8, -1, 6), step(1, -9, -3)})
	if want := (Best{"x", 0.5, 5, 7, 0.8, 8, -1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := best("x", []Step{step(0, -8, -5), step(1, -9, -6)}); got.Share != 0 || got.Careful != 0 || got.NPVP50USD != -5 {
		t.Errorf("where nothing pays: %+v", got)
	}
}
