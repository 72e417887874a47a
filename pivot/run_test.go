package pivot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"testing"

	"sluice"
)

func run(t testing.TB, p Plan) *Result {
	t.Helper()
	r, err := Run(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The miners and the AI together are worth no less than each behind a connection
// of its own, and the grid's calls cost the AI no more.
func TestTogetherIsNoLess(t *testing.T) {
	some := false
	for seed := range uint64(3) {
		p := madePlan(seed+1, 10)
		p.Terms.FirmShare = given(0.2 + 0.2*float64(seed))
		r := run(t, p)
		for _, s := range r.Steps {
			// A week's plan may fall short of the best by the gap.
			slack := 1 + r.Solver.WorstGap*math.Abs(s.AIProfitUSD+s.MiningProfitUSD)
			if s.FlexibilityUSD < -slack {
				t.Errorf("seed %d, %s at %v: together %v less", seed, s.Conversion, s.Share, -s.FlexibilityUSD)
			}
			if s.CutHours > s.CutAloneHours+0.5 {
				t.Errorf("seed %d, %s at %v: %v hours are cut, alone %v", seed, s.Conversion, s.Share, s.CutHours, s.CutAloneHours)
			}
			if (s.Share == 0 || s.Share == 1) && math.Abs(s.FlexibilityUSD) > slack {
				t.Errorf("seed %d, %s at %v: one use alone is worth %v together", seed, s.Conversion, s.Share, s.FlexibilityUSD)
			}
			some = some || s.FlexibilityUSD > 1000
		}
		if r.Solver.WorstGap > 0.01 {
			t.Errorf("solver: %+v", r.Solver)
		}
	}
	if !some {
		t.Error("no flexibility is worth anything: the test shows nothing")
	}
}

// A change that can only help, or only hurt, moves the median of the present value
// that way at every share that it touches.
func TestMoreIsWorthMore(t *testing.T) {
	base := run(t, madePlan(2, 9))
	for name, c := range map[string]struct {
		change func(*Plan)
		mining bool // it touches the miners
		up     bool
	}{
		"a higher reserved rate": {func(p *Plan) { p.Conversions[0].ReservedRate = given(2.2); p.Conversions[1].HostingRate = given(130) }, false, true},
		"dearer buildings":       {func(p *Plan) { p.Conversions[0].FacilityUSD = given(9e6); p.Conversions[1].FacilityUSD = given(9e6) }, false, false},
		"dearer upkeep":          {func(p *Plan) { p.Conversions[0].OpexShare = given(0.06); p.Conversions[1].OpexShare = given(0.06) }, false, false},
		"a higher hashprice":     {func(p *Plan) { p.Terms.Hashprice = given(2 * base.input(t, "hashprice_usd_per_ph_day")) }, true, true},
		"half is captured":       {func(p *Plan) { p.Terms.Capture = given(0.5) }, true, false},
		"dearer power":           {func(p *Plan) { p.Terms.Adder = given(10) }, true, false},
		"a charge on peaks":      {func(p *Plan) { p.Terms.Demand = given(5) }, true, false},
		"more of it is firm":     {func(p *Plan) { p.Terms.FirmShare = given(0.9) }, true, true},
	} {
		p := madePlan(2, 9)
		c.change(&p)
		r := run(t, p)
		for i, s := range r.Steps {
			was := base.Steps[i].NPVUSD.P50
			diff := s.NPVUSD.P50 - was
			slack := 1e-3 * math.Abs(was)
			touched := s.Share > 0 || c.mining
			if s.Share == 1 && (name == "a higher hashprice" || name == "half is captured") {
				touched = false
			}
			switch {
			case !touched && math.Abs(diff) > slack:
				t.Errorf("%s moves %s at %v by %v", name, s.Conversion, s.Share, diff)
			case touched && c.up && diff < -slack, touched && !c.up && diff > slack:
				t.Errorf("%s: %s at %v moves by %v", name, s.Conversion, s.Share, diff)
			}
		}
	}
}

func (r *Result) input(t testing.TB, name string) float64 {
	t.Helper()
	for _, in := range r.Inputs {
		if in.Name == name {
			return in.Value.(float64)
		}
	}
	t.Fatalf("no input %s", name)
	return 0
}

// The result is the same however many workers there are, and holds together.
func TestRunIsOneAndTheSame(t *testing.T) {
	p := madePlan(4, 10)
	one := run(t, p)
	p.Workers = 3
	three := run(t, p)
	a, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(three)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("with three workers\n%s\nwith one\n%s", b, a)
	}
	if len(one.Steps) != 2*6 || len(one.Best) != 2 {
		t.Fatalf("%d steps, %d best", len(one.Steps), len(one.Best))
	}
	for i, s := range one.Steps {
		if s.AIMW+s.MiningMW > one.PowerMW+1e-9 {
			t.Errorf("%v MW and %v MW behind %v", s.AIMW, s.MiningMW, one.PowerMW)
		}
		sum := 0.0
		for _, y := range s.ByYear {
			sum += y.MiningUSD + y.AIUSD + y.CapitalUSD
		}
		if len(s.ByYear) != 3 || s.ProfitUSD.P5 > s.ProfitUSD.P50 || s.ProfitUSD.P50 > s.ProfitUSD.P95 || s.CashAtRiskUSD < 0 {
			t.Errorf("step %d: %+v", i, s)
		}
		if s.Share == 0 && (s.NPVGainUSD != Quantiles{} || s.IRR != nil || s.Payback != nil || s.CapexUSD != 0 || s.AIProfitUSD != 0) {
			t.Errorf("nothing is built, and yet %+v", s)
		}
		if s.Share == 1 && s.MiningProfitUSD != 0 {
			t.Errorf("no miner is left, and yet mining brings %v", s.MiningProfitUSD)
		}
	}
	for _, want := range []string{"old", "new"} {
		if n := one.input(t, "classes."+want+".count"); n <= 0 {
			t.Errorf("%s: %v", want, n)
		}
	}
}

// A site with nothing but what is needed has a plan, and every input says where
// it comes from.
func TestDefaultsAreEnough(t *testing.T) {
	p := madePlan(6, minWeeks)
	p.Terms, p.Conversions, p.Steps, p.Years, p.Scenarios = Terms{}, nil, 2, 0, 5
	for i := range p.Site.Classes {
		p.Site.Classes[i].Book, p.Site.Classes[i].Resale = Number{}, Number{}
	}
	r := run(t, p)
	if r.Years != 10 || len(r.Best) != 2 || r.History.CalledHoursYear != 0 {
		t.Errorf("%d years, %d conversions, %v hours called", r.Years, len(r.Best), r.History.CalledHoursYear)
	}
	seen := map[string]bool{}
	for _, in := range r.Inputs {
		if in.Name == "" || in.Source == "" || in.Value == nil || seen[in.Name] {
			t.Errorf("input %+v", in)
		}
		if _, number := in.Value.(float64); number && in.Unit == "" {
			t.Errorf("%s has no unit", in.Name)
		}
		seen[in.Name] = true
	}
	terms, gpu := Names(GPU)
	_, hosting := Names(Hosting)
	for _, n := range terms {
		if !seen[n] && n != "connection.curtail_above_usd_per_mwh" {
			t.Errorf("%s is no input", n)
		}
	}
	for _, n := range gpu {
		if !seen["conversions.gpu."+n] {
			t.Errorf("%s is no input", n)
		}
	}
	for _, n := range hosting {
		if !seen["conversions.hosting."+n] {
			t.Errorf("%s is no input", n)
		}
	}
	for _, s := range r.Steps {
		if s.FlexibilityUSD != 0 || s.CutHours != 0 {
			t.Errorf("nothing is called, and yet %+v", s)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for name, change := range map[string]func(*Plan){
		"no power":             func(p *Plan) { p.Site.KW = Number{} },
		"no miners":            func(p *Plan) { p.Site.Classes = nil },
		"too many steps":       func(p *Plan) { p.Steps = 101 },
		"no scenarios":         func(p *Plan) { p.Scenarios = -1 },
		"too long":             func(p *Plan) { p.Years = 41 },
		"late":                 func(p *Plan) { p.Conversions[0].Lead = given(30) },
		"a longer standstill":  func(p *Plan) { p.Conversions[0].Standstill = given(7) },
		"an unknown kind":      func(p *Plan) { p.Conversions[0].Kind = "fusion" },
		"a share over all":     func(p *Plan) { p.Terms.FirmShare = given(1.1) },
		"no number":            func(p *Plan) { p.Terms.Adder = given(math.NaN()) },
		"less than no capital": func(p *Plan) { p.Conversions[0].HostUSD = given(-1) },
		"no history":           func(p *Plan) { p.History = History{} },
	} {
		p := madePlan(1, 9)
		change(&p)
		if _, err := Run(t.Context(), p, nil); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRunIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, err := Run(ctx, madePlan(1, 30), func(p Progress) {
		if calls++; p.Done < 1 || p.Done > p.Total || p.Unit == "" {
			t.Errorf("%+v", p)
		}
		cancel()
	})
	if !errors.Is(err, context.Canceled) || calls == 0 || calls > 3 {
		t.Errorf("after %d calls: %v", calls, err)
	}
}

// Between two levels a week is worth nearly what solving it there gives, and never
// less.
func TestInterpolation(t *testing.T) {
	p := madePlan(3, minWeeks)
	p.Terms.FirmShare = given(1)
	lo, hi := 12.0, 12*levelRatio
	mid := math.Sqrt(lo * hi)
	tab := madeTable(t, p, 0, lo, mid, hi)
	worst := 0.0
	for wi := range tab.m.weeks {
		w := &tab.m.weeks[wi]
		var r solverReport
		f, err := tab.freely(w, &r)
		if err != nil {
			t.Fatal(err)
		}
		for i := range tab.p.Site.Classes {
			v := func(l int) float64 { return f.miners[l][i].usd - f.miners[l][i].energyUSD }
			k := (mid - lo) / (hi - lo)
			line := v(1)*(1-k) + v(3)*k
			if line < v(2)-1e-6*math.Abs(v(2)) {
				t.Errorf("week %d: %v between the levels, %v there", wi, line, v(2))
			}
			worst = max(worst, line/v(2)-1)
		}
	}
	if worst > 0.02 || worst == 0 {
		t.Errorf("at most %.2f %% too much", 100*worst)
	}
	t.Logf("between two levels a week is worth at most %.2f %% too much", 100*worst)
}
