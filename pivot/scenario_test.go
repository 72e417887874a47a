package pivot

import (
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func madeMarket(t testing.TB, seed uint64, weeks int) (*market, *Plan) {
	t.Helper()
	terms := madeTerms()
	h := madeHistory(seed, weeks, 60)
	m, err := newMarket(h, &terms)
	if err != nil {
		t.Fatal(err)
	}
	return m, &Plan{Terms: terms, Scenarios: 50, Years: 4, Seed: 7}
}

// A scenario runs through the history week by week within a block, begins each
// block in the season that it stands for, and brings a week's step of the
// hashprice together with that week's prices.
func TestScenariosKeepWeeksTogether(t *testing.T) {
	m, p := madeMarket(t, 1, 160)
	ss := m.draw(p)
	block := int(p.Terms.BlockWeeks.Value)
	for _, s := range ss {
		x, run := 0.0, 0
		for j, w := range s.week {
			run++
			if j > 0 && w != s.week[j-1]+1 {
				run = 1
			}
			if run == 1 {
				if d := apart(m.weeks[w].season, season(m.end.AddDate(0, 0, 7*j))); d > seasonReach {
					t.Fatalf("week %d stands for a season that is %d weeks away", j, d)
				}
			}
			x = m.keep*x + m.weeks[w].shock
			want := m.level * math.Pow(m.growth, float64(j)) * math.Exp(x-m.variance(j+1)/2)
			if math.Abs(s.hashprice[j]-want) > 1e-9*want {
				t.Fatalf("week %d: %v, want %v", j, s.hashprice[j], want)
			}
		}
	}
	if block < 2 {
		t.Fatal("blocks of one week show nothing")
	}
	again := m.draw(p)
	if !reflect.DeepEqual(ss, again) {
		t.Error("the same seed gives other scenarios")
	}
	p.Scenarios = 10
	if !reflect.DeepEqual(ss[:10], m.draw(p)) {
		t.Error("a scenario depends on how many there are")
	}
	p.Seed++
	if reflect.DeepEqual(ss[:10], m.draw(p)) {
		t.Error("another seed gives the same scenarios")
	}
}

// The mean of the hashprice over the scenarios is the trend.
func TestScenariosFollowTheTrend(t *testing.T) {
	m, p := madeMarket(t, 2, 300)
	p.Scenarios = 3000
	ss := m.draw(p)
	for _, j := range []int{0, 26, 104, 207} {
		sum := 0.0
		for _, s := range ss {
			sum += s.hashprice[j] / float64(len(ss))
		}
		want := m.level * math.Pow(1/1.15, float64(j)/weeksPerYear)
		if math.Abs(sum/want-1) > 0.05 {
			t.Errorf("in week %d the mean is %.2f, the trend %.2f", j, sum, want)
		}
	}
}

func TestEverySeasonHasWeeks(t *testing.T) {
	m, _ := madeMarket(t, 3, minWeeks) // of January and February alone
	for s, near := range m.bySeason() {
		if len(near) == 0 {
			t.Errorf("nothing stands for week %d of a year", s)
		}
	}
}

// Contracts hold the rate of the month in which they are made.
func TestRates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		months := 12 * rapid.IntRange(2, 20).Draw(t, "years")
		c := Conversion{
			Kind: GPU, Lead: given(float64(rapid.IntRange(0, 11).Draw(t, "lead"))), Term: given(float64(rapid.IntRange(1, 60).Draw(t, "term"))),
			Life: given(float64(rapid.IntRange(1, 8).Draw(t, "life"))), RateDecay: given(rapid.Float64Range(0, 0.5).Draw(t, "decay")),
			NoRenewal: rapid.Bool().Draw(t, "no renewal"), Volatility: given(0),
		}
		s := &scenario{walk: make([]float64, months)}
		firm, spot := c.rates(s, months)
		lead, life, term := c.leadMonths(), int(12*c.Life.Value), int(c.Term.Value)
		for m := range months {
			age := m - lead
			gone := age < 0 || (c.NoRenewal && age >= life)
			if gone {
				if firm[m] != 0 || spot[m] != 0 {
					t.Fatalf("month %d of no service pays %v and %v", m, firm[m], spot[m])
				}
				continue
			}
			in := age % life
			want := math.Pow(1-c.RateDecay.Value, float64(in)/12)
			signed := math.Pow(1-c.RateDecay.Value, float64(in/term*term)/12)
			if math.Abs(spot[m]-want) > 1e-9 || math.Abs(firm[m]-signed) > 1e-9 {
				t.Fatalf("month %d: %v and %v, want %v and %v", m, firm[m], spot[m], signed, want)
			}
		}
	})
}

// The market's rate wanders without drifting away.
func TestRatesWander(t *testing.T) {
	m, p := madeMarket(t, 4, 20)
	p.Scenarios, p.Years = 3000, 5
	c := Conversion{Kind: Hosting, Lead: given(0), Term: given(1), RateDecay: given(0), Volatility: given(0.3)}
	var logs []float64
	mean := 0.0
	for _, s := range m.draw(p) {
		_, spot := c.rates(&s, 60)
		mean += spot[48] / 3000
		logs = append(logs, math.Log(spot[48]))
	}
	if _, sd := spread(logs); math.Abs(sd-0.6) > 0.03 || math.Abs(mean-1) > 0.05 {
		t.Errorf("after four years the mean is %.3f and the deviation %.3f, want 1 and 0.6", mean, sd)
	}
}
