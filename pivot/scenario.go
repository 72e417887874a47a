package pivot

import (
	"math"
	"math/rand/v2"
	"time"
)

// scenario is one way the years may go: which week of the history each week is
// like, where the hashprice stands, and what the market pays for AI.
type scenario struct {
	week      []int     // index into market.weeks
	hashprice []float64 // the week's mean, USD per PH/s and day
	walk      []float64 // by month: standard normal steps of the market's rate, one a month
}

// seasonReach is how many weeks a drawn week may be off the season that it stands
// for, at first; where the history has none so near, the reach grows.
const seasonReach = 3

// draw makes the scenarios: blocks of weeks of the same season, prices and
// hashprice together, from the week after the history on. Each scenario depends
// on the seed and its own number alone.
func (m *market) draw(p *Plan) []scenario {
	weeks := int(math.Ceil(float64(p.Years) * weeksPerYear))
	months := 12 * p.Years
	near := m.bySeason()
	block := int(math.Round(p.Terms.BlockWeeks.Value))
	out := make([]scenario, p.Scenarios)
	for n := range out {
		r := rand.New(rand.NewPCG(p.Seed, uint64(n)))
		s := scenario{week: make([]int, weeks), hashprice: make([]float64, weeks), walk: make([]float64, months)}
		at, left, x := 0, 0, 0.0
		for j := range s.week {
			if left == 0 || at+1 >= len(m.weeks) {
				c := near[season(m.end.Add(time.Duration(j)*hoursPerWeek*time.Hour))]
				at, left = c[r.IntN(len(c))], block
			} else {
				at++
			}
			left--
			x = m.keep*x + m.weeks[at].shock
			s.week[j] = at
			s.hashprice[j] = m.level * math.Pow(m.growth, float64(j)) * math.Exp(x-m.variance(j+1)/2)
		}
		for i := range s.walk {
			s.walk[i] = r.NormFloat64()
		}
		out[n] = s
	}
	return out
}

// variance is that of the deviation of the hashprice's logarithm after so many
// weeks. Half of it is taken off, so that the mean over the scenarios, and not
// their median, is the trend.
func (m *market) variance(weeks int) float64 {
	k := m.keep * m.keep
	return m.shockSD * m.shockSD * (1 - math.Pow(k, float64(weeks))) / (1 - k)
}

// bySeason returns the weeks that may stand for each week of a year.
func (m *market) bySeason() [][]int {
	out := make([][]int, seasons)
	for s := range out {
		for reach := seasonReach; len(out[s]) == 0; reach++ {
			for i, w := range m.weeks {
				if apart(w.season, s) <= reach {
					out[s] = append(out[s], i)
				}
			}
		}
	}
	return out
}

// hashRange returns the least and the greatest hashprice of all scenarios.
func hashRange(ss []scenario) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, s := range ss {
		for _, h := range s.hashprice {
			lo, hi = min(lo, h), max(hi, h)
		}
	}
	return lo, hi
}

// rates returns what the contracts of a conversion pay in each month of service,
// as multiples of today's rates: firm for what is sold in advance, spot for the
// rest. The market's rate falls as the hosts age, starts anew with new hosts, and
// wanders at random around that; a contract holds the rate of the month in which
// it was made, the first that of today.
func (c *Conversion) rates(s *scenario, months int) (firm, spot []float64) {
	firm, spot = make([]float64, months), make([]float64, months)
	sd := c.Volatility.Value / math.Sqrt(12)
	lead := c.leadMonths()
	life, term := months+1, max(1, int(math.Round(c.Term.Value)))
	if c.Kind == GPU {
		life = max(1, int(math.Round(12*c.Life.Value)))
	}
	b := 0.0
	for m := range months {
		if m > 0 {
			b += sd * s.walk[m]
		}
		if m < lead {
			continue
		}
		age := m - lead
		if c.NoRenewal && age >= life {
			break
		}
		inLife := age % life
		level := math.Exp(b - sd*sd*float64(m)/2)
		market := level * math.Pow(1-c.RateDecay.Value, float64(inLife)/12)
		spot[m] = market
		switch {
		case age == 0:
			firm[m] = 1
		case inLife%term == 0:
			firm[m] = market
		default:
			firm[m] = firm[m-1]
		}
	}
	return firm, spot
}
