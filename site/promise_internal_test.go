package site

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func drawBets(t *rapid.T) ([]bet, []luck) {
	groups := make([]luck, rapid.IntRange(1, 4).Draw(t, "groups"))
	for i := range groups {
		groups[i] = luck{rapid.Float64Range(0, 1).Draw(t, "share"), rapid.Float64Range(0, 600).Draw(t, "acts")}
	}
	bets := make([]bet, rapid.IntRange(0, 60).Draw(t, "machines"))
	for i := range bets {
		g := rapid.IntRange(0, len(groups)-1).Draw(t, "group")
		p := min(1, groups[g].share*rapid.Float64Range(0.5, 1.5).Draw(t, "own"))
		bets[i] = bet{rapid.Float64Range(0, 10).Draw(t, "kw"), p, g}
	}
	return bets, groups
}

// A promise never exceeds what runs nor what is to be expected, and never falls
// when any chance grows.
func TestPromiseIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bets, groups := drawBets(t)
		was := atLeast(bets, groups, 0.95)
		sum, mean := 0.0, 0.0
		for _, b := range bets {
			sum += b.kw
			mean += b.kw * b.p
		}
		if was < 0 || was > sum+1e-9 || was > mean+1e-9 {
			t.Fatalf("%g promised of %g that run, %g expected", was, sum, mean)
		}
		// More time: every share and every chance is the same or better.
		for i := range groups {
			more := rapid.Float64Range(1, 3).Draw(t, "more")
			if groups[i].share*more > 1 {
				more = 1 / max(groups[i].share, 1e-12)
			}
			groups[i].share *= more
		}
		for i := range bets {
			bets[i].p += (1 - bets[i].p) * rapid.Float64Range(0, 1).Draw(t, "better")
		}
		if now := atLeast(bets, groups, 0.95); now < was-1e-9 {
			t.Fatalf("with better chances %g is promised, before %g", now, was)
		}
		// A stricter confidence promises no more.
		if strict := atLeast(bets, groups, 0.99); strict > atLeast(bets, groups, 0.95)+1e-9 {
			t.Fatalf("at 99 %% %g", strict)
		}
	})
}

// What is known grows with time alone: the promise of a whole history does too.
func TestDistributionsGrowWithTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := &times{}
		for i := range rapid.IntRange(0, 40).Draw(t, "n") {
			s := float32(rapid.Float64Range(0, 100).Draw(t, "s"))
			if rapid.IntRange(0, 9).Draw(t, "never") == 0 {
				s = never
			}
			x.add(s, int32(i/3), 24)
		}
		if x.n() > 24 {
			t.Fatalf("%d samples of at most 24", x.n())
		}
		d := mixed(x, spread(10))
		last := 0.0
		for s := 0.0; s < 200; s += 3 {
			p := doneBy(d, s)
			if p < last-1e-12 || p > 1 {
				t.Fatalf("after %g s %g, before %g", s, p, last)
			}
			last = p
		}
		if a, b := quantile(d, 0.5), quantile(d, 0.95); a > b {
			t.Fatalf("p50 %g, p95 %g", a, b)
		}
		if e := x.effective(); x.n() > 0 && (e <= 0 || e > float64(x.n())+1e-9) {
			t.Fatalf("%d samples count for %g", x.n(), e)
		}
		b, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		var y times
		if err := json.Unmarshal(b, &y); err != nil || y.n() != x.n() || (x.n() > 0 && (!reflect.DeepEqual(y.seconds, x.seconds) || y.next != x.next)) {
			t.Fatalf("%s became %+v, %v", b, y, err)
		}
	})
}

// Few samples: the dialect's own figure stands first, then gives way.
func TestShrinkage(t *testing.T) {
	if p := quantile(mixed(nil, spread(8)), 0.95); p != 16 {
		t.Errorf("p95 by the dialect's figure of 8 s is %g", p)
	}
	x := &times{}
	for i := range 200 {
		x.add(2, int32(i), firmwareSamples)
	}
	if p := quantile(mixed(x, spread(30)), 0.95); p != 2 {
		t.Errorf("200 acts in 2 s and a figure of 30: p95 %g", p)
	}
	for i := range 40 {
		x.add(never, int32(i), firmwareSamples)
	}
	if p := quantile(mixed(x, spread(30)), 0.95); !math.IsInf(p, 1) || x.failed() != 40 {
		t.Errorf("a sixth never obeys: p95 %g, failed %d", p, x.failed())
	}
}

// Two firmwares with true rates that nobody knows, each event with its own luck:
// what is promised from their history is shed in the next event in 95 % of cases
// or more. And the promise is no empty one.
func TestPromiseIsKept(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	beta := func(mean, sum float64) float64 {
		a, b := gamma(r, mean*sum), gamma(r, (1-mean)*sum)
		if a+b == 0 {
			return mean
		}
		return a / (a + b)
	}
	for _, c := range []struct {
		rates    [2]float64
		machines [2]int
		events   int
		most     float64 // of what runs, promised on average at least
	}{
		{[2]float64{0.99, 0.95}, [2]int{300, 100}, 12, 0.80},
		{[2]float64{0.90, 0.60}, [2]int{40, 200}, 6, 0.40},
		{[2]float64{0.999, 0.999}, [2]int{20, 5}, 30, 0.55},
		{[2]float64{0.97, 0.20}, [2]int{500, 500}, 3, 0.35},
	} {
		kept, tried, share := 0, 400, 0.0
		for range tried {
			var groups []luck
			var bets []bet
			var rate [2]float64
			total, shed := 0.0, 0.0
			for g, n := range c.machines {
				x := &times{}
				for e := range int32(c.events) {
					now := beta(c.rates[g], 1/sameEvent-1)
					for range n {
						s := never
						if r.Float64() < now {
							s = 3
						}
						x.add(s, e, firmwareSamples)
					}
				}
				p := doneBy(mixed(x, spread(3)), 3.5)
				groups = append(groups, luck{p, x.effective() + priorWeight})
				rate[g] = beta(c.rates[g], 1/sameEvent-1)
				for range n {
					kw := 2.5 + r.Float64()
					bets = append(bets, bet{kw, p, g})
					total += kw
					if r.Float64() < rate[g] {
						shed += kw
					}
				}
			}
			p := atLeast(bets, groups, 0.95)
			share += p / total / float64(tried)
			if shed >= p {
				kept++
			}
		}
		t.Logf("rates %v, %v machines, %d events: %.2f of what runs is promised, kept in %.2f %%", c.rates, c.machines, c.events, share, 100*float64(kept)/float64(tried))
		if float64(kept) < 0.95*float64(tried) || share < c.most {
			t.Errorf("rates %v, %v machines, %d events: kept %d of %d, %.2f of what runs promised", c.rates, c.machines, c.events, kept, tried, share)
		}
	}
}

// gamma draws from a gamma distribution of scale 1 (Marsaglia and Tsang, 2000).
func gamma(r *rand.Rand, k float64) float64 {
	if k < 1 {
		return gamma(r, k+1) * math.Pow(r.Float64(), 1/k)
	}
	d := k - 1.0/3
	for {
		x := r.NormFloat64()
		v := math.Pow(1+x/math.Sqrt(9*d), 3)
		if v > 0 && math.Log(1-r.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

// Whatever is written as a selector, it is read or refused, and what is read
// never selects by nothing.
func FuzzSelector(f *testing.F) {
	for _, s := range []string{"", "all", "class=s19k", "class=s19k,node=a state!=locked|fault", `name="a b"`, "all class=x", "firmware=*2025.4*", "name=[a", `name=\`, "=", "node=", "a=b=c", "'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSelector(text)
		if err != nil {
			return
		}
		if !s.all && len(s.terms) == 0 {
			t.Fatalf("%q selects by nothing", text)
		}
		s.matches(func(string) []string { return []string{"s19k/x", text} })
	})
}

func TestSelector(t *testing.T) {
	have := map[string]string{"name": "s19k-007", "class": "s19k", "firmware": "luxos LUXminer 2025/4.8", "state": "mining", "pin": "none"}
	of := func(key string) []string {
		if key == "node" {
			return []string{"feeder-a", "site"}
		}
		return []string{have[key]}
	}
	for text, want := range map[string]bool{
		"all": true, "ALL": true, "class=s19k": true, "class=S19K": true, "class=s21": false, "class!=s21": true, "class=s21|s19k": true,
		"name=s19k-0*": true, "name=s19k-00?": true, "name=s19k-0": false, "node=site": true, "node=feeder-a,class=s19k": true, "node!=site": false,
		"firmware=*2025*": true, "firmware='luxos LUXminer*'": true, "firmware!=*2024*": true, "state=mining|waking pin=none": true,
		"class=s19k state=sleeping": false, "name=[s]19k-007": false, "name=*": true,
	} {
		s, err := ParseSelector(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := s.matches(of); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "  ,, ", "s19k", "all class=x", "class=", "class=|x", "colour=red", `name="x`, "class==x!y z"} {
		if s, err := ParseSelector(text); err == nil {
			t.Errorf("%q is read as %+v", text, s)
		}
	}
}
