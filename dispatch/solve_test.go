package dispatch

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
)

// read makes an instance of JSON that has to be right.
func read(t *testing.T, s string) *Instance {
	t.Helper()
	in, err := ReadInstance(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// solved solves, and checks that the plan's claims are right.
func solved(t tester, in *Instance, opt Options) *Plan {
	t.Helper()
	p, raw, err := solve(in, opt)
	if err != nil {
		t.Fatal(err)
	}
	usd, err := in.Evaluate(p)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(usd-p.ObjectiveUSD) > 1e-6*math.Max(1, math.Abs(usd)) {
		t.Fatalf("claims %v USD, is worth %v", p.ObjectiveUSD, usd)
	}
	if p.Feasible != (p.BoundUSD != nil) {
		t.Fatalf("feasible %v, bound %v", p.Feasible, p.BoundUSD)
	}
	// The plan's bound is never below its worth, even if it was found wrong: the
	// one that was found is the one to look at.
	if p.BoundUSD != nil && raw < usd-1e-6*math.Max(1, math.Abs(usd)) {
		t.Fatalf("bound %v is below the plan's own worth %v", raw, usd)
	}
	return p
}

// site is two intervals of an hour on one node, to which a test adds.
const site = `{"step_minutes": 60, "intervals": 4, "price_usd_per_mwh": [20, 200, 20, 20],
 "nodes": [{"name": "site", "limit_kw": LIMIT}],
 "classes": [{"name": "m", "node": "site", "count": 10, "initial": {"on": 10},
  "modes": [{"name": "off", "power_kw": 0, "usd_per_hour": 0}, {"name": "on", "power_kw": 3, "usd_per_hour": 0.3, "shed_kw": 3}] MORE}] REST}`

func siteWith(t *testing.T, limit, more, rest string) *Instance {
	return read(t, strings.NewReplacer("LIMIT", limit, "MORE", more, "REST", rest).Replace(site))
}

func TestWorthByHand(t *testing.T) {
	// A unit earns 0.3 USD an hour and draws 3 kW: 0.06 at 20 USD/MWh, 0.6 at 200.
	job := `, "jobs": [{"name": "j", "class": "m", "units": 10, "intervals": 2, "usd_per_unit_hour": 1, "power_kw": 1, "earliest": 0, EXTRA}]`
	for _, c := range []struct {
		name, limit, more, rest string
		want                    float64
	}{
		{"stops when power is dear", "null", "", "", 10 * 3 * 0.24},
		{"stays on where stopping costs more", "null", `, "switches": [{"from": "on", "to": "off", "usd": 0.4}]`, "", 10 * (3*0.24 - 0.3)},
		{"coming back costs minutes", "null", `, "switches": [{"from": "off", "to": "on", "lost_minutes": 10}]`, "", 10 * (3*0.24 - 0.05)},
		{"half of the power", "15", "", "", 5 * 3 * 0.24},
		{"a cut in the third hour", "[30, 30, 6, 30]", "", "", (10 + 2 + 10) * 0.24},
		{"dwell", "null", `, "dwell": [{"mode": "on", "units": 10, "left": 2}]`, "", 10 * (3*0.24 - 0.3)},
		{"a reserve pays for staying on", "null", "", `, "reserves": [{"name": "r", "usd_per_mw_h": [0, 200, 0, 0]}]`, 10 * (3*0.24 + 0.3 - 0.6 + 0.6)},
		{"a shortfall", "0", "", `, "reserves": [{"name": "r", "usd_per_mw_h": 0, "committed_kw": 10, "shortfall_usd_per_mw_h": 100}]`, -4},
		{"demand below what a kW earns", "null", "", `, "demand_charges": [{"usd_per_kw": 0.1, "from": 0, "to": 4, "already_kw": 15}]`, 10*3*0.24 - 1.5},
		{"demand above what a kW earns", "null", "", `, "demand_charges": [{"usd_per_kw": 1, "from": 0, "to": 4, "already_kw": 15}]`, 5 * 3 * 0.24},
		{"a job takes the hours that pay least otherwise", "null", "", strings.Replace(job, "EXTRA", `"preempt_usd": 9`, 1), 10*2 - 0.2 - 2 + 10*2*0.24},
		{"a gang that fits only in part does not run", "3", "", strings.Replace(job, "EXTRA", `"preempt_usd": 9`, 1), 1 * 3 * 0.24},
		{"a lease is served in its hours or paid for", "[30, 30, 0, 30]", "", strings.Replace(strings.Replace(job, "EXTRA", `"must_run": true, "unserved_usd_per_interval": 7`, 1), `"earliest": 0`, `"earliest": 2`, 1), 2.4 - 7 + 10 - 0.2},
		{"late", "[0, 0, 30, 30]", "", strings.Replace(job, "EXTRA", `"deadline": 3, "late_usd_per_interval": 4`, 1), 20 - 0.4 - 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := siteWith(t, c.limit, c.more, c.rest)
			p := solved(t, in, Options{Effort: 2})
			if math.Abs(p.ObjectiveUSD-c.want) > 1e-6 {
				b, _ := json.Marshal(p)
				t.Errorf("worth %v, by hand %v\n%s", p.ObjectiveUSD, c.want, b)
			}
			if gap := *p.BoundUSD - c.want; gap > 0.02*math.Max(1, math.Abs(c.want)) {
				t.Errorf("bound %v is %v above the best there is", *p.BoundUSD, gap)
			}
		})
	}
}

func TestPreemptedJobRestarts(t *testing.T) {
	in := read(t, `{"step_minutes": 60, "intervals": 6, "price_usd_per_mwh": 0,
	 "nodes": [{"name": "site", "limit_kw": [10, 10, 0, 10, 10, 10]}],
	 "classes": [{"name": "g", "node": "site", "count": 4, "initial": {"job": 4}, "modes": [{"name": "idle", "power_kw": 0, "usd_per_hour": 0}]}],
	 "jobs": [{"name": "j", "class": "g", "units": 4, "intervals": 4, "usd_per_unit_hour": 1, "power_kw": 1, "running": true, "preempt_usd": 2, "restart_intervals": 1, "restart_left": 1}]}`)
	p := solved(t, in, Options{})
	// Interval 0 is still restart, 1 makes progress, 2 is cut, 3 is lost again: three of four.
	if want := 3*4.0 - 2; math.Abs(p.ObjectiveUSD-want) > 1e-9 {
		t.Errorf("worth %v, by hand %v: %v", p.ObjectiveUSD, want, p.Runs)
	}
	if want := []Run{{"j", 0, 2}, {"j", 3, 6}}; !slices.Equal(p.Runs, want) {
		t.Errorf("runs %v, want %v", p.Runs, want)
	}
}

func TestLimitThatCannotBeKept(t *testing.T) {
	in := siteWith(t, "[30, 30, 30, 30]", "", "")
	in.Classes[0].Modes[0].PowerKW = 1
	in.Nodes = append(in.Nodes, Node{Name: "feeder", Parent: "site"})
	in.Classes[0].Node = "feeder"
	low := Values([]float64{30, 30, 5, 30})
	in.Nodes[1].LimitKW = &low
	p := solved(t, in, Options{})
	if p.Feasible || len(p.Violations) != 1 || p.Violations[0] != (Violation{2, "feeder", 5}) {
		t.Fatalf("feasible %v, violations %v", p.Feasible, p.Violations)
	}
	if c := p.Counts(in, "m"); c[2]["off"] != 10 || c[3]["on"] != 10 {
		t.Errorf("counts %v", c)
	}
}

func TestSamePlanBitForBit(t *testing.T) {
	in := smallShape.random(3)
	a, _ := json.Marshal(solved(t, in, Options{}))
	b, _ := json.Marshal(solved(t, in, Options{}))
	if string(a) != string(b) {
		t.Error("two runs gave two plans")
	}
}

func TestDeadlineStops(t *testing.T) {
	in := middleShape.random(1)
	asked := 0
	p := solved(t, in, Options{Effort: 1000, Spent: func() float64 { asked++; return over(asked > 40) }})
	if asked > 120 {
		t.Errorf("asked %d times after time was up", asked-40)
	}
	if p.ObjectiveUSD <= 0 {
		t.Errorf("worth %v", p.ObjectiveUSD)
	}
}

// However little time there is, prices settle in it: a search that is cut off
// while its steps are long, or whose steps get too short too soon, ends 0.8 to 1.2 %
// off after eight of them.
func TestPricesSettleInTime(t *testing.T) {
	s := largeShape
	s.miners, s.intervals, s.jobs = 150, 96, 20
	p := compile(s.random(1))
	climb := func(steps float64) float64 {
		a, asked := p.newAscent(p.firstPrices()), -1.0
		// Half of the time is for prices.
		a.run(1<<40, 0.3, 0.003, func() float64 { asked++; return asked / (2 * steps) })
		if asked > steps+1 {
			t.Errorf("%v steps in the time for %v", asked, steps)
		}
		return a.bound
	}
	best := climb(1000)
	for _, steps := range []float64{8, 16, 32} {
		off := (climb(steps) - best) / best
		if t.Logf("%v steps: %.2f %% off", steps, 100*off); off > 0.005 {
			t.Errorf("the bound after %v steps is %.2f %% off the best", steps, 100*off)
		}
	}
}

func TestEvaluateRefuses(t *testing.T) {
	in := siteWith(t, "15", "", `, "jobs": [{"name": "j", "class": "m", "units": 2, "intervals": 1, "usd_per_unit_hour": 1, "power_kw": 1, "earliest": 1}]`)
	down := Move{0, "m", "on", "off", 6}
	for name, p := range map[string]*Plan{
		"over the limit":        {Feasible: true},
		"units that are not":    {Feasible: true, Moves: []Move{down, {1, "m", "off", "on", 7}}},
		"no such mode":          {Feasible: true, Moves: []Move{down, {1, "m", "off", "up", 1}}},
		"no such class":         {Feasible: true, Moves: []Move{down, {1, "x", "off", "on", 1}}},
		"job without units":     {Feasible: true, Moves: []Move{down}, Runs: []Run{{"j", 1, 2}}},
		"too early":             {Feasible: true, Moves: []Move{down, {0, "m", "on", "job", 2}, {1, "m", "job", "on", 2}}, Runs: []Run{{"j", 0, 1}}},
		"runs on":               {Feasible: true, Moves: []Move{down, {1, "m", "on", "job", 2}}, Runs: []Run{{"j", 1, 4}}},
		"no such reserve":       {Feasible: true, Moves: []Move{down}, Reserves: []ReserveKW{{"r", make([]float64, 4)}}},
		"violation not there":   {Feasible: false, Moves: []Move{down}},
		"violation that is not": {Feasible: false, Violations: []Violation{{0, "site", 15}}},
	} {
		if usd, err := in.Evaluate(p); err == nil {
			t.Errorf("%s: is worth %v", name, usd)
		}
	}
	if _, err := in.Evaluate(&Plan{Feasible: true, Moves: []Move{down}}); err != nil {
		t.Error(err)
	}
}

func TestReflexShedsLeastMoneyFirst(t *testing.T) {
	in := read(t, `{"step_minutes": 60, "intervals": 1, "price_usd_per_mwh": 20, "nodes": [{"name": "site"}, {"name": "f", "parent": "site"}],
	 "classes": [
	  {"name": "old", "node": "site", "count": 10, "initial": {"on": 10}, "modes": [{"name": "off", "power_kw": 0, "usd_per_hour": 0}, {"name": "low", "power_kw": 2, "usd_per_hour": 0.2}, {"name": "on", "power_kw": 3, "usd_per_hour": 0.25}]},
	  {"name": "new", "node": "f", "count": 10, "initial": {"on": 10}, "modes": [{"name": "off", "power_kw": 0, "usd_per_hour": 0}, {"name": "on", "power_kw": 3, "usd_per_hour": 0.6}]},
	  {"name": "gpu", "node": "f", "count": 6, "initial": {"job": 6}, "modes": [{"name": "idle", "power_kw": 0, "usd_per_hour": 0}]}],
	 "jobs": [
	  {"name": "lease", "class": "gpu", "units": 2, "intervals": 5, "usd_per_unit_hour": 0, "power_kw": 1, "running": true, "must_run": true},
	  {"name": "cheap", "class": "gpu", "units": 2, "intervals": 5, "usd_per_unit_hour": 1, "power_kw": 1, "running": true, "preempt_usd": 1},
	  {"name": "dear", "class": "gpu", "units": 2, "intervals": 5, "usd_per_unit_hour": 1, "power_kw": 1, "running": true, "preempt_usd": 99}]}`)
	stand := &Plan{Runs: []Run{{"lease", 0, 1}, {"cheap", 0, 1}, {"dear", 0, 1}}}
	for _, c := range []struct {
		limits map[string]float64
		moves  []Move
		runs   int
	}{
		{nil, []Move{}, 3},
		{map[string]float64{"site": 62}, []Move{{0, "old", "on", "low", 4}}, 3},
		{map[string]float64{"site": 50}, []Move{{0, "old", "on", "low", 7}, {0, "old", "on", "off", 3}}, 3}, // 66 kW: ten steps of 1 kW, then three of 2
		{map[string]float64{"f": 33}, []Move{{0, "new", "on", "off", 1}}, 3},
		{map[string]float64{"f": 4}, []Move{{0, "gpu", "job", "idle", 2}, {0, "new", "on", "off", 10}}, 2},
		{map[string]float64{"f": 2.5}, []Move{{0, "gpu", "job", "idle", 4}, {0, "new", "on", "off", 10}}, 1},
	} {
		p, err := Reflex(in, stand, 0, c.limits)
		if err != nil {
			t.Fatal(err)
		}
		if !p.Feasible || !slices.Equal(p.Moves, c.moves) || len(p.Runs) != c.runs {
			t.Errorf("limits %v: feasible %v, moves %v, runs %v; want %v and %d runs", c.limits, p.Feasible, p.Moves, p.Runs, c.moves, c.runs)
		}
	}
	p, err := Reflex(in, stand, 0, map[string]float64{"f": 0})
	if err != nil || !p.Feasible || len(p.Runs) != 0 {
		t.Errorf("limit 0: %+v, %v", p, err)
	}
	if _, err := Reflex(in, stand, 0, map[string]float64{"x": 0}); err == nil || !strings.Contains(err.Error(), "x") {
		t.Errorf("a node that is not there: %v", err)
	}
	if _, err := Reflex(in, stand, 1, nil); err == nil {
		t.Error("an interval outside the horizon is taken")
	}
}
