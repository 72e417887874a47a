package pivot

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice/dispatch"
)

// madePlan is a site of two classes with two conversions over a made history.
func madePlan(seed uint64, weeks int) Plan {
	return Plan{
		Site: Site{
			Name: "made", KW: given(10_000), Overhead: given(1.05), PoolFee: given(0.02),
			Nodes: []Node{{Name: "grid"}, {Name: "hall", Parent: "grid", KW: 8000}},
			Classes: []Class{
				{
					Name: "old", Node: "hall", Count: 1500, CountSource: "a test", WakeMinutes: 3, Book: given(400), Resale: given(0.5),
					Modes: []Mode{{"sleep", 0.02, 0}, {"eco", 1.2, 60}, {"mine", 2.8, 120}},
				},
				{Name: "new", Node: "grid", Count: 1400, CountSource: "a test", WakeMinutes: 2, Modes: []Mode{{"sleep", 0.02, 0}, {"mine", 3.5, 200}}},
			},
		},
		Terms: Terms{FirmShare: given(0.5), CurtailHours: given(200)},
		Conversions: []Conversion{
			{Name: "gpu", Kind: GPU, BackupShare: given(0.3), Lead: given(6)},
			{Name: "hosting", Kind: Hosting, Lead: given(6)},
		},
		History: madeHistory(seed, weeks, 60),
		Steps:   5, Scenarios: 12, Years: 3, Seed: seed,
	}
}

// madeTable is the table of a plan without its cells.
func madeTable(t testing.TB, p Plan, levels ...float64) *table {
	t.Helper()
	p, err := p.complete()
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMarket(p.History, &p.Terms)
	if err != nil {
		t.Fatal(err)
	}
	return &table{p: &p, m: m, plants: p.plants(), levels: levels}
}

// Where a plan is found without solving it keeps the limits, and no plan of the
// optimiser is worth more than it and its gap.
func TestFitIsOptimal(t *testing.T) {
	loose, shed, down := 0, 0, 0
	check := func(rt *rapid.T) {
		p := madePlan(rapid.Uint64Range(1, 1000).Draw(rt, "seed"), minWeeks)
		p.Terms.FirmShare = given(rapid.Float64Range(0.02, 1).Draw(rt, "firm"))
		p.Terms.CurtailHours = given(rapid.Float64Range(0, 600).Draw(rt, "hours"))
		p.Conversions[0].SLACredit = given(rapid.Float64Range(0, 20).Draw(rt, "credit"))
		p.Conversions[0].BackupShare = given(rapid.Float64Range(0, 1).Draw(rt, "backup"))
		p.Conversions[0].ReservedShare = given(rapid.Float64Range(0, 1).Draw(rt, "reserved"))
		level := rapid.Float64Range(5, 250).Draw(rt, "hashprice")
		tab := madeTable(t, p, 0, level)
		w := &tab.m.weeks[rapid.IntRange(0, len(tab.m.weeks)-1).Draw(rt, "week")]
		var r solverReport
		f, err := tab.freely(w, &r)
		if err != nil {
			rt.Fatal(err)
		}
		at := &tab.plants[rapid.IntRange(0, len(tab.plants)-1).Draw(rt, "share")]
		ci := rapid.IntRange(0, 1).Draw(rt, "conversion")
		l := tab.p.Conversions[ci].load(at.aiKW)
		var parts []part
		var serving [][]float64
		if at.aiKW > 0 {
			parts = l.parts(w)
			serving = f.serving(ci, parts)
		}
		x, ok := tab.fit(w, at, f.miners[1], parts, serving, at.kw)
		if !ok {
			return
		}
		switch {
		case x.modes == nil:
			loose++
		case slices.ContainsFunc(x.modes, func(m [][]float64) bool { return m != nil }):
			down++
		default:
			shed++
		}
		for h := range hoursPerWeek {
			load := 0.0
			for i, n := range at.kept {
				s := x.settled(i, &f.miners[1][i], w)
				load += float64(n) * s.kw[h]
			}
			for i := range parts {
				load += parts[i].kwAt(x.serve[i][h])
			}
			if limit := tab.p.limit(w, at.kw, h); load > limit+1e-3 {
				rt.Fatalf("hour %d draws %v of %v", h, load, limit)
			}
		}
		in := tab.p.bound(w, level, at.kept, parts, at.kw)
		plan, err := dispatch.Solve(in, dispatch.Options{})
		if err != nil {
			rt.Fatal(err)
		}
		got := tab.value(w, at, f.miners[1], parts, &x)
		tolerance := 1e-6 * math.Abs(got)
		if plan.ObjectiveUSD > got+x.gap+tolerance {
			rt.Fatalf("worth %v without solving, with a gap of %v; %v with", got, x.gap, plan.ObjectiveUSD)
		}
		// In the problem machines and loads come in units; here any share of them may
		// step down.
		unit := (l.firmUSD + l.creditUSD + l.spotUSD + at.aiKW) / loadUnits * float64(w.calls)
		for i := range at.kept {
			unit += 10 * p.Site.Classes[i].strongest().KW * float64(w.calls)
		}
		if plan.BoundUSD != nil && got > *plan.BoundUSD+tolerance+unit {
			rt.Fatalf("worth %v without solving, and no plan is worth more than %v", got, *plan.BoundUSD)
		}
		if x.gap < -tolerance {
			rt.Fatalf("a gap of %v", x.gap)
		}
	}
	rapid.Check(t, check)
	for more := 0; more < 10 && (loose == 0 || shed == 0 || down == 0) && !t.Failed(); more++ {
		rapid.Check(t, check) // one case is rare: go on until it was there
	}
	if loose == 0 || shed == 0 || down == 0 {
		t.Errorf("%d loose plans, %d that shed AI, %d in which machines step down: one case was not seen", loose, shed, down)
	}
}

// A load that is served in full, or not at all, comes to what its terms say.
func TestTallyOfALoad(t *testing.T) {
	tab := madeTable(t, madePlan(5, minWeeks), 0, 60)
	w := &tab.m.weeks[0]
	l := tab.p.Conversions[0].load(4000)
	all, nothing := make([]float64, hoursPerWeek), make([]float64, hoursPerWeek)
	for h := range all {
		all[h] = 1
	}
	var on, off tally
	for _, p := range l.parts(w) {
		on.ai(&p, all, w)
		off.ai(&p, nothing, w)
	}
	want := tally{served: hoursPerWeek, spot: hoursPerWeek, aiMWh: (l.firmKW + l.backedKW + l.spotKW) / 1000 * hoursPerWeek}
	for _, x := range w.price {
		want.aiEnergyUSD += x * (l.firmKW + l.backedKW + l.spotKW) / 1000
	}
	near(t, "served", on, want)
	off.aiEnergyUSD = 0
	near(t, "dropped", off, tally{cut: 0.7 * hoursPerWeek, backed: 0.3 * hoursPerWeek, backupMWh: l.backedKW / 1000 * hoursPerWeek, aiMWh: l.spotIdleKW / 1000 * hoursPerWeek})
	// 4 MW at the meter are 3.2 MW of hosts, 223.8 of them; 1.98 USD a reserved
	// GPU-hour for four fifths of 1,790 GPUs.
	if math.Abs(l.gpus-4000/1.25/14.3*8) > 1e-6 || math.Abs(l.firmUSD-l.gpus*0.8*1.98) > 1e-6 {
		t.Errorf("%+v", l)
	}
	if got, want := l.sold(&on, 1, 0.5), hoursPerWeek*(l.firmUSD+l.spotUSD/2)-on.aiEnergyUSD; math.Abs(got-want) > 1e-6 {
		t.Errorf("it leaves %v, want %v", got, want)
	}
}

func near(t *testing.T, what string, got, want tally) {
	t.Helper()
	d := got
	d.add(&want, -1)
	for _, x := range []float64{d.mineUSD, d.mineEnergyUSD, d.mineMWh, d.served, d.backed, d.cut, d.spot, d.aiMWh, d.aiEnergyUSD, d.backupMWh} {
		if math.Abs(x) > 1e-6 {
			t.Errorf("%s: %+v, want %+v", what, got, want)
			return
		}
	}
}
