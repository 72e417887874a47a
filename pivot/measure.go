package pivot

import "math"

// sums gathers what is reported of a share over the scenarios.
type sums struct {
	npv, gain, profit     []float64
	months, worstQuarters []float64 // cash of every month of the year, and its worst quarters
	mining, ai            float64   // of the year
	flexible, lossAlone   float64
	cut, cutAlone         float64
	backup, energy        float64
	extra                 Flow // mean cash over that of share 0, with the residual
	extraCash             Flow // the same without it
	years                 []YearCash
	n                     float64
}

func newSums(months, scenarios int) *sums {
	return &sums{
		npv: make([]float64, 0, scenarios), gain: make([]float64, 0, scenarios), profit: make([]float64, 0, scenarios),
		extra: make(Flow, months+1), extraCash: make(Flow, months+1), years: make([]YearCash, months/12), n: float64(scenarios),
	}
}

// add takes a scenario in: g at the share, base at share 0.
func (s *sums) add(g, base *ledger, discount float64, lead int) {
	whole, without := g.whole(), base.whole()
	npv := whole.NPV(discount)
	s.npv = append(s.npv, npv)
	s.gain = append(s.gain, npv-without.NPV(discount))
	s.extra.add(whole, 1/s.n)
	s.extra.add(without, -1/s.n)
	s.extraCash.add(g.flow(), 1/s.n)
	s.extraCash.add(base.flow(), -1/s.n)
	year, worst := 0.0, math.Inf(1)
	for q := range 4 {
		quarter := 0.0
		for m := lead + 3*q; m < lead+3*q+3; m++ {
			cash := g.mining[m] + g.ai[m]
			s.months = append(s.months, cash)
			quarter += cash
			s.mining += g.mining[m] / s.n
			s.ai += g.ai[m] / s.n
			s.flexible += g.flexible[m] / s.n
			s.lossAlone += g.lossAlone[m] / s.n
			s.cut += g.cutHours[m] / s.n
			s.cutAlone += g.cutAlone[m] / s.n
			s.backup += g.backupMWh[m] / s.n
			s.energy += g.energyMWh[m] / s.n
		}
		year += quarter
		worst = min(worst, quarter)
	}
	s.profit = append(s.profit, year)
	s.worstQuarters = append(s.worstQuarters, worst)
	for m := range g.mining {
		y := &s.years[m/12]
		y.Year = m/12 + 1
		y.MiningUSD += g.mining[m] / s.n
		y.AIUSD += g.ai[m] / s.n
		y.CapitalUSD += g.capital[m] / s.n
	}
}

// step reports what was gathered.
func (t *table) step(ci, si int, s *sums) Step {
	c, at := &t.p.Conversions[ci], &t.plants[si]
	l := c.load(at.aiKW)
	fetched, off := t.p.gone(&t.plants[0], at)
	out := Step{
		Conversion: c.Name, Share: at.share, MiningMW: at.minerKW / 1000, AIMW: at.aiKW / 1000, AIITMW: l.itKW / 1000,
		Hosts: l.hosts, GPUs: l.gpus, CapexUSD: l.buildUSD + l.hostsUSD, SoldUSD: fetched, WriteOffUSD: off,
		MiningProfitUSD: s.mining, AIProfitUSD: s.ai, ProfitUSD: quantiles(s.profit),
		NPVUSD: quantiles(s.npv), NPVGainUSD: quantiles(s.gain), WorstQuarterUSD: quantiles(s.worstQuarters).P5,
		FlexibilityUSD: cents(s.flexible), CalledAloneUSD: cents(s.lossAlone), CutHours: s.cut, CutAloneHours: s.cutAlone,
		BackupMWh: s.backup, EnergyMWh: s.energy, ByYear: s.years,
	}
	if at.aiKW > 0 {
		out.IRR = orNil(s.extra.IRR())
		out.Payback = orNil(s.extraCash.Payback())
	}
	mean, sd := spread(s.months)
	out.MeanMonthUSD = mean
	out.CashAtRiskUSD = mean - quantiles(s.months).P5
	out.CashCV = orNil(sd/mean, mean > 0)
	return out
}

// cents rounds to them: differences of large sums leave dust.
func cents(usd float64) float64 { return math.Round(usd*100)/100 + 0 }
