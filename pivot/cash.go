package pivot

import "math"

// ledger is the money of a scenario at a share, month by month in USD, before
// discounting. Everything but capital is what the month brought.
type ledger struct {
	mining, ai []float64 // by division, after energy and running costs
	capital    []float64 // by the month at whose beginning it is paid (one more than months): out is negative; what machines fetch is positive
	residual   float64   // what is left at the end
	flexible   []float64 // what miners and AI earn more together than each alone
	cutHours   []float64 // of the firm load, not served
	cutAlone   []float64 // the same, of the AI without miners
	backupMWh  []float64
	lossAlone  []float64 // what being called costs the AI without miners, in USD
	energyMWh  []float64
}

func newLedger(months int) *ledger {
	v := func() []float64 { return make([]float64, months) }
	return &ledger{
		mining: v(), ai: v(), capital: make([]float64, months+1), flexible: v(),
		cutHours: v(), cutAlone: v(), backupMWh: v(), lossAlone: v(), energyMWh: v(),
	}
}

// calendar says which weeks a month has: the 4-4-5 calendar of 52 weeks a year. A
// month is the mean of its weeks times 30.44 days.
func calendar(month, weeks int) (from, to int, scale float64) {
	year, in := month/12, month%12
	length := func(i int) int {
		if i%3 == 2 {
			return 5
		}
		return 4
	}
	from = year * seasons
	for i := range in {
		from += length(i)
	}
	to = min(from+length(in), weeks)
	return from, to, hoursPerMonth / hoursPerWeek / float64(to-from)
}

// margin is what the week's mining leaves after energy. Where it is positive only
// the captured share of it is earned: the plan knew the week's prices.
func (t *table) margin(a *tally) float64 {
	m := a.mineUSD - a.mineEnergyUSD
	return m * captured(m, t.p.Terms.Capture.Value)
}

func captured(margin, capture float64) float64 {
	if margin < 0 {
		return 1
	}
	return capture
}

// sold is what the AI's work of a week leaves after energy and credits, at rates
// that are multiples of today's.
func (l *load) sold(a *tally, firm, spot float64) float64 {
	usd := (a.served+a.backed)*l.firmUSD*firm - a.cut*l.creditUSD*firm + a.spot*l.spotUSD*spot
	usd -= a.backupMWh * l.backupUSDPerMWh
	if !l.clientPays {
		usd -= a.aiEnergyUSD
	}
	return usd
}

// run works out a scenario of a conversion at a share.
func (t *table) run(ci, si int, s *scenario, firm, spot []float64) *ledger {
	p, c, at := t.p, &t.p.Conversions[ci], &t.plants[si]
	months := 12 * p.Years
	out := newLedger(months)
	lead, still := c.leadMonths(), c.standstillFrom()
	if at.aiKW == 0 {
		lead, still = months, months // nothing is built: the miners go on
	}
	l, full := c.load(at.aiKW), c.load(p.Site.KW.Value)
	last := len(t.plants) - 1
	for m := range months {
		from, to, scale := calendar(m, len(s.week))
		serving := m >= lead && firm[m] > 0
		miners, kw := t.alone, at.minerKW
		share := si
		switch {
		case serving:
			miners = t.mix[ci]
		case m < still:
			share, kw = 0, t.plants[0].minerKW
		}
		var spotSum float64
		for j := from; j < to; j++ {
			w, h := s.week[j], s.hashprice[j]
			spotSum += t.m.weeks[w].sum
			a := t.at(miners, share, w, h)
			out.mining[m] += scale * t.margin(&a)
			out.energyMWh[m] += scale * (a.mineMWh + a.aiMWh)
			if !serving {
				continue
			}
			out.ai[m] += scale * l.sold(&a, firm[m], spot[m])
			out.cutHours[m] += scale * a.cut
			out.backupMWh[m] += scale * a.backupMWh
			// The same AI without miners, behind a connection of its own on the same
			// terms, is the whole site's, scaled.
			b, mine := t.at(t.mix[ci], last, w, h), t.at(t.alone, si, w, h)
			own := at.share * full.sold(&b, 1, 1)
			out.cutAlone[m] += scale * b.cut
			out.lossAlone[m] += scale * at.share * full.called(&b)
			out.flexible[m] += scale * (t.margin(&a) + l.sold(&a, 1, 1) - own - t.margin(&mine))
		}
		t.fixed(out, m, c, &l, kw, serving, scale*spotSum)
	}
	t.capital(out, c, at, &l, lead, still, months)
	return out
}

// called is what it costs the load that the grid calls: hours that are not served,
// credits, and generators' energy over that of the grid.
func (l *load) called(a *tally) float64 {
	return a.cut*(l.firmUSD+l.creditUSD) + a.backupMWh*l.backupUSDPerMWh
}

// fixed takes off what a month costs whatever is done: running costs, the charge
// on peak load (every month has an hour in which all runs), and adds the block's
// result. What concerns the whole site goes by what is installed.
func (t *table) fixed(out *ledger, m int, c *Conversion, l *load, minerKW float64, serving bool, spotSum float64) {
	terms := &t.p.Terms
	aiKW := 0.0
	if serving {
		aiKW = l.firmKW + l.backedKW + l.spotKW
		out.ai[m] -= (l.hostsUSD + l.buildUSD) * c.OpexShare.Value / 12
		if !c.ClientPays {
			out.ai[m] -= aiKW * terms.Demand.Value
		}
	}
	out.mining[m] -= minerKW/1000*terms.MiningOpex.Value/12 + minerKW*terms.Demand.Value
	// spotSum is over a month of hours: each MWh of the block was bought at its
	// price and is worth the real-time price, whoever uses it.
	block := terms.BlockKW.Value / 1000 * (spotSum - terms.BlockPrice.Value*hoursPerMonth)
	share := 0.0
	if aiKW > 0 && !c.ClientPays {
		share = aiKW / (aiKW + minerKW)
	}
	out.ai[m] += block * share
	out.mining[m] += block * (1 - share)
}

// capital puts in what is built and what is sold: the building evenly over the
// lead time, hosts at its end and again when they are old, machines when they have
// to go.
func (t *table) capital(out *ledger, c *Conversion, at *plant, l *load, lead, still, months int) {
	if at.aiKW == 0 {
		return
	}
	for m := range max(1, lead) {
		out.capital[m] -= l.buildUSD / float64(max(1, lead))
	}
	fetched, _ := t.p.gone(&t.plants[0], at)
	out.capital[still] += fetched
	served := float64(months-lead) / 12
	out.residual = l.buildUSD * max(0, 1-served/c.FacilityLife.Value)
	if c.Kind != GPU {
		return
	}
	out.capital[lead] -= l.hostsUSD
	life := max(1, int(math.Round(12*c.Life.Value)))
	old := l.hostsUSD * c.ResidualShare.Value
	age := months - lead
	for m := lead + life; m < months; m += life {
		out.capital[m] += old
		age = months - m
		if c.NoRenewal {
			return
		}
		out.capital[m] -= l.hostsUSD
	}
	out.residual += l.hostsUSD - (l.hostsUSD-old)*min(1, float64(age)/float64(life))
}

func (c *Conversion) standstillFrom() int {
	return c.leadMonths() - min(c.leadMonths(), int(math.Round(c.Standstill.Value)))
}

// flow is the ledger as cash: a month's result comes at its end, capital goes at
// its beginning. The residual is left out, and added at the end by whole.
func (g *ledger) flow() Flow {
	f := make(Flow, len(g.capital))
	for m := range g.mining {
		f[m+1] += g.mining[m] + g.ai[m]
	}
	f.add(g.capital, 1)
	return f
}

func (g *ledger) whole() Flow {
	f := g.flow()
	f[len(f)-1] += g.residual
	return f
}
