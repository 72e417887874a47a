package pivot

import (
	"math"
	"testing"
)

// Every week of 52 stands in one month of the year.
func TestCalendar(t *testing.T) {
	next, hours := 0, 0.0
	for m := range 36 {
		from, to, scale := calendar(m, 3*seasons+2)
		if from != next || (to-from != 4 && to-from != 5) {
			t.Fatalf("month %d has the weeks from %d to %d, after %d", m, from, to, next)
		}
		next = to
		hours += scale * float64(to-from) * hoursPerWeek
	}
	if next != 3*seasons || math.Abs(hours-3*hoursPerYear) > 1e-6 {
		t.Errorf("three years have %d weeks and %v hours", next, hours)
	}
}

// steady is a table in which every week is the same, and one that nothing calls.
func steady(t testing.TB, change func(*Plan)) *table {
	t.Helper()
	p := madePlan(1, minWeeks)
	p.Terms.FirmShare, p.Years, p.Steps = given(1), 4, 2
	change(&p)
	tab := madeTable(t, p, 0, 60)
	cells := len(tab.plants) * len(tab.m.weeks) * 2
	tab.alone = make([]tally, cells)
	for range p.Conversions {
		tab.mix = append(tab.mix, make([]tally, cells))
	}
	for s, at := range tab.plants {
		for w := range tab.m.weeks {
			for l := range 2 {
				mine := tally{mineUSD: at.minerKW * float64(l), mineEnergyUSD: at.minerKW * 0.25 * float64(l), mineMWh: at.minerKW * 0.168}
				tab.alone[tab.cell(s, w, l)] = mine
				for ci := range tab.mix {
					both := mine
					if at.aiKW > 0 {
						both.served, both.spot, both.aiEnergyUSD = hoursPerWeek, hoursPerWeek, at.aiKW
					}
					tab.mix[ci][tab.cell(s, w, l)] = both
				}
			}
		}
	}
	return tab
}

func steadyScenario(tab *table) *scenario {
	months := 12 * tab.p.Years
	s := &scenario{week: make([]int, months*5), hashprice: make([]float64, months*5), walk: make([]float64, months)}
	for i := range s.hashprice {
		s.hashprice[i] = 60
	}
	return s
}

// The months of a plan bring what its terms say, from the order to the end.
func TestLedger(t *testing.T) {
	tab := steady(t, func(p *Plan) {
		p.Terms.MiningOpex, p.Terms.Demand, p.Terms.Capture = given(0), given(2), given(0.9)
		p.Conversions = p.Conversions[:1]
		c := &p.Conversions[0]
		c.Lead, c.Standstill, c.Life, c.ResidualShare, c.Term, c.RateDecay = given(6), given(2), given(2), given(0.2), given(12), given(0.5)
		c.OpexShare, c.FacilityLife, c.Volatility = given(0.12), given(20), given(0)
	})
	c := &tab.p.Conversions[0]
	s := steadyScenario(tab)
	firm, spot := c.rates(s, 48)
	g := tab.run(0, 1, s, firm, spot)
	at, all := &tab.plants[1], &tab.plants[0]
	l := c.load(at.aiKW)
	week := hoursPerMonth / hoursPerWeek
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-6*max(1, math.Abs(want)) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	mining := func(p *plant) float64 { return 0.9*0.75*p.minerKW*week - 2*p.minerKW }
	near("mining before the works", g.mining[3], mining(all))
	near("mining during the works", g.mining[4], mining(at))
	near("mining in service", g.mining[20], mining(at))
	near("AI before its service", g.ai[5], 0)
	installed := l.firmKW + l.backedKW + l.spotKW
	costs := func() float64 { return at.aiKW*week + 2*installed + 0.12/12*(l.hostsUSD+l.buildUSD) }
	near("AI at first", g.ai[6], (l.firmUSD+l.spotUSD)*hoursPerMonth-costs())
	halved := math.Pow(0.5, 7.0/12)
	near("AI in its eighth month", g.ai[13], (l.firmUSD+l.spotUSD*halved)*hoursPerMonth-costs())
	near("AI in its second contract", g.ai[18], (l.firmUSD+l.spotUSD)*0.5*hoursPerMonth-costs())
	near("AI with new hosts", g.ai[30], (l.firmUSD+l.spotUSD)*hoursPerMonth-costs())
	near("the building, month by month", g.capital[2], -l.buildUSD/6)
	fetched, off := tab.p.gone(all, at)
	near("machines that go", g.capital[4], fetched-l.buildUSD/6)
	near("hosts", g.capital[6], -l.hostsUSD)
	near("new hosts", g.capital[30], -0.8*l.hostsUSD)
	// At the end hosts are 18 months old of 24, and the building 3.5 years of 20.
	near("residual", g.residual, l.buildUSD*(1-3.5/20)+l.hostsUSD*(1-0.8*18/24))
	sold := float64(all.kept[0]-at.kept[0]) * 400
	near("proceeds", fetched, sold/2)
	near("write-off", off, sold/2)
	f := g.whole()
	near("the last month", f[48], g.mining[47]+g.ai[47]+g.residual)
	near("today", f[0], -l.buildUSD/6)
}

func TestLedgerWithoutRenewal(t *testing.T) {
	tab := steady(t, func(p *Plan) {
		c := &p.Conversions[0]
		c.Life, c.NoRenewal, c.RenewSource, c.ResidualShare = given(2), true, "a test", given(0.1)
	})
	c := &tab.p.Conversions[0]
	s := steadyScenario(tab)
	firm, spot := c.rates(s, 48)
	g := tab.run(0, 1, s, firm, spot)
	l := c.load(tab.plants[1].aiKW)
	if g.ai[29] <= 0 || g.ai[30] != 0 || math.Abs(g.capital[30]-0.1*l.hostsUSD) > 1e-6 {
		t.Errorf("after their life hosts bring %v, %v and %v", g.ai[29], g.ai[30], g.capital[30])
	}
	if want := l.buildUSD * (1 - 3.5/20); math.Abs(g.residual-want) > 1e-6 {
		t.Errorf("at the end %v is left, want %v", g.residual, want)
	}
}

// A block is worth the real-time price less its own, whoever uses it.
func TestBlock(t *testing.T) {
	with := func(change func(*Plan)) *ledger {
		tab := steady(t, change)
		s := steadyScenario(tab)
		firm, spot := tab.p.Conversions[0].rates(s, 48)
		return tab.run(0, 1, s, firm, spot)
	}
	without := with(func(*Plan) {})
	block := with(func(p *Plan) { p.Terms.BlockKW, p.Terms.BlockPrice = given(5000), given(20) })
	tab := steady(t, func(*Plan) {})
	mean := tab.m.weeks[0].sum / hoursPerWeek
	want := 5 * (mean - 20) * hoursPerMonth
	for _, m := range []int{0, 7, 40} {
		got := block.mining[m] + block.ai[m] - without.mining[m] - without.ai[m]
		if math.Abs(got-want) > 1e-6*math.Abs(want) {
			t.Errorf("month %d: the block brings %v, want %v", m, got, want)
		}
		if m == 0 && block.ai[m] != 0 {
			t.Errorf("before its service the AI has %v of the block", block.ai[m])
		}
	}
	if block.ai[7] == without.ai[7] {
		t.Error("the AI has no part of the block")
	}
}

// A client that pays its energy pays the charges on it too.
func TestClientPays(t *testing.T) {
	month := func(pays bool) float64 {
		tab := steady(t, func(p *Plan) {
			p.Terms.Demand = given(3)
			p.Conversions[1].ClientPays, p.Conversions[1].PaysSource, p.Conversions[1].OpexShare = pays, "a test", given(0)
		})
		s := steadyScenario(tab)
		firm, spot := tab.p.Conversions[1].rates(s, 48)
		return tab.run(1, 1, s, firm, spot).ai[7]
	}
	tab := steady(t, func(*Plan) {})
	l := tab.p.Conversions[1].load(tab.plants[1].aiKW)
	if got, want := month(true), l.firmUSD*hoursPerMonth; math.Abs(got-want) > 1e-6*want {
		t.Errorf("a client that pays brings %v, want %v", got, want)
	}
	if got, want := month(true)-month(false), tab.plants[1].aiKW*(hoursPerMonth/hoursPerWeek+3); math.Abs(got-want) > 1e-6*want {
		t.Errorf("it pays %v more, want %v", got, want)
	}
}

// What stays is the most efficient that fits beside the conversion.
func TestPlants(t *testing.T) {
	tab := madeTable(t, madePlan(1, minWeeks), 60)
	for i, at := range tab.plants {
		if want := float64(i) / 5; at.share != want || at.aiKW != want*10_000 {
			t.Errorf("step %d: %+v", i, at)
		}
		if at.minerKW+at.aiKW > at.kw+1e-6 {
			t.Errorf("step %d draws %v of %v", i, at.minerKW+at.aiKW, at.kw)
		}
		// old: 2.94 kW and 23.3 J/TH; new: 3.675 kW and 17.5 J/TH, kept first
		room := at.kw - at.aiKW
		fresh := min(1400, int(room/3.675))
		old := min(1500, int((room-float64(fresh)*3.675)/2.94))
		if at.kept[1] != fresh || at.kept[0] != old {
			t.Errorf("step %d keeps %v, want %d and %d", i, at.kept, old, fresh)
		}
	}
}
