package pivot

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

func given(v float64) Number { return Number{v, "a test"} }

// madeHistory makes so many weeks of hours: prices that swing over the day with
// rare spikes, and a hashprice that wanders about level.
func madeHistory(seed uint64, weeks int, level float64) History {
	r := rand.New(rand.NewPCG(seed, 0))
	h := History{Start: time.Date(2021, 1, 4, 0, 0, 0, 0, time.UTC), Source: "made", HashFrom: "made"}
	x := 0.0
	for i := range weeks * hoursPerWeek {
		p := 30 + 20*math.Sin(float64(i%24)/24*2*math.Pi) + 10*r.NormFloat64()
		if r.Float64() < 0.004 {
			p += 4000 * r.Float64()
		}
		if i%hoursPerWeek == 0 {
			x = 0.9*x + 0.1*r.NormFloat64()
		}
		h.Price = append(h.Price, p)
		h.Hashprice = append(h.Hashprice, level*math.Exp(x+0.01*r.NormFloat64()))
	}
	return h
}

func madeTerms() Terms {
	var t Terms
	for _, q := range termQuantities {
		if !math.IsNaN(q.def) {
			*q.of(&t) = given(q.def)
		}
	}
	t.FirmShare, t.CurtailHours = given(0.5), given(200)
	return t
}

func TestWeeks(t *testing.T) {
	h := madeHistory(1, 20, 60)
	for i := range 30 { // in the third week more is unknown than may be
		h.Price[2*hoursPerWeek+5*i] = math.NaN()
	}
	for i := range 5 { // in the fourth little enough
		h.Hashprice[3*hoursPerWeek+i] = math.NaN()
	}
	terms := madeTerms()
	terms.PowerLevel, terms.Adder = given(2), given(7)
	terms.Coincident, terms.CoincidentHours = given(60), given(300)
	m, err := newMarket(h, &terms)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.weeks) != 19 || m.leftOut != 1 || m.held != 5 {
		t.Errorf("%d weeks, %d left out, %d hours held", len(m.weeks), m.leftOut, m.held)
	}
	w := m.weeks[2] // the fourth
	if want := h.Start.Add(3 * hoursPerWeek * time.Hour); !w.start.Equal(want) {
		t.Errorf("it begins at %s, want %s", w.start, want)
	}
	calls, peaks, mean := 0, 0, 0.0
	for i := range hoursPerWeek {
		raw := h.Price[3*hoursPerWeek+i]
		if w.spot[i] != 2*raw {
			t.Fatalf("hour %d: spot %v of %v", i, w.spot[i], raw)
		}
		switch extra := w.price[i] - w.spot[i]; {
		case math.Abs(extra-7) < 1e-9:
		case math.Abs(extra-7-200) < 1e-9: // 60 USD/kW over 300 hours is 200 USD/MWh
			peaks++
		default:
			t.Fatalf("hour %d: %v is added", i, extra)
		}
		mean += w.shape[i] / hoursPerWeek
	}
	for _, w := range m.weeks {
		calls += w.calls
	}
	if want := 200 * 20 * hoursPerWeek / float64(hoursPerYear); math.Abs(float64(calls)-want) > 12 {
		t.Errorf("the grid calls in %d hours, want about %v", calls, want)
	}
	if peaks == 0 || math.Abs(mean-1) > 1e-9 {
		t.Errorf("%d peaks, the shape's mean is %v", peaks, mean)
	}
	if terms.Hashprice.Value != h.Hashprice[len(h.Hashprice)-1] || !strings.Contains(terms.Hashprice.Source, "latest") {
		t.Errorf("today's level is %+v", terms.Hashprice)
	}
}

// The most expensive hours are called, and no others.
func TestRank(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		price := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(-100, 9000), rapid.Just(math.NaN())), 1, 3*hoursPerYear/100).Draw(t, "price")
		hours := rapid.Float64Range(0, hoursPerYear).Draw(t, "hours")
		called := (&market{}).rank(price, hours)
		n, least, most := 0, math.Inf(1), math.Inf(-1)
		known := 0
		for i, p := range price {
			switch {
			case math.IsNaN(p):
				if called[i] {
					t.Fatal("an unknown hour is called")
				}
				continue
			case called[i]:
				n, least = n+1, min(least, p)
			default:
				most = max(most, p)
			}
			known++
		}
		if want := min(known, int(math.Round(hours*float64(len(price))/hoursPerYear))); n != want {
			t.Fatalf("%d of %d hours are called, want %d", n, len(price), want)
		}
		if least < most {
			t.Fatalf("%v is called, %v is not", least, most)
		}
	})
}

func TestCalledAbove(t *testing.T) {
	h := madeHistory(2, 10, 60)
	terms := madeTerms()
	terms.CurtailAbove, terms.CurtailHours, terms.PowerLevel = given(300), Number{}, given(0.5)
	m, err := newMarket(h, &terms)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, w := range m.weeks {
		for i, c := range w.called {
			if c != (w.spot[i] > 300) {
				t.Fatalf("at %v: called is %v", w.spot[i], c)
			}
			if c {
				n++
			}
		}
	}
	if n == 0 {
		t.Error("no hour is called")
	}
	terms.FirmShare = given(1)
	if m, err = newMarket(h, &terms); err != nil || m.calledHours() != 0 {
		t.Errorf("a firm connection is called in %v hours a year (%v)", m.calledHours(), err)
	}
}

// What is known of a made hashprice is found again: how fast deviations fade.
func TestFitFindsTheHalfLife(t *testing.T) {
	h := madeHistory(3, 600, 60)
	terms := madeTerms()
	m, err := newMarket(h, &terms)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(m.keep-0.9) > 0.03 || math.Abs(m.shockSD-0.1) > 0.01 {
		t.Errorf("a share of %.3f is left after a week, with steps of %.3f; want 0.9 and 0.1", m.keep, m.shockSD)
	}
	if want := math.Log(0.5) / math.Log(m.keep); terms.HalfLife.Value != want {
		t.Errorf("the half-life is %v, want %v", terms.HalfLife.Value, want)
	}
	terms = madeTerms()
	terms.HalfLife = given(10)
	if m, err = newMarket(h, &terms); err != nil || math.Abs(math.Pow(m.keep, 10)-0.5) > 1e-12 {
		t.Errorf("with a half-life of 10 weeks %v is left after one (%v)", m.keep, err)
	}
}

func TestMarketRefuses(t *testing.T) {
	short := madeHistory(1, minWeeks-1, 60)
	none := madeHistory(1, 20, 60)
	none.Hashprice = nil
	for name, h := range map[string]History{"too short": short, "no hashprice": none, "nothing": {}} {
		terms := madeTerms()
		if _, err := newMarket(h, &terms); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	terms := madeTerms()
	terms.Hashprice = given(50)
	if _, err := newMarket(none, &terms); err != nil {
		t.Errorf("a level is enough: %v", err)
	}
}
