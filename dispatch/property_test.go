package dispatch

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// tiny is a shape that is solved in a few milliseconds.
func tinyShape(t *rapid.T) shape {
	return shape{
		intervals: rapid.IntRange(2, 10).Draw(t, "intervals"), miners: rapid.IntRange(0, 3).Draw(t, "miners"), minerCount: 15,
		gpus: 1, gpuCount: rapid.IntRange(1, 16).Draw(t, "gpus"), jobs: rapid.IntRange(0, 4).Draw(t, "jobs"), feeders: 2, step: 15,
		reserves: rapid.IntRange(0, 2).Draw(t, "reserves"), demand: rapid.Bool().Draw(t, "demand"),
		running: 0.4, tight: rapid.SampledFrom([]float64{0.02, 0.2, 0.6, 0.9}).Draw(t, "tight"),
	}
}

// over is the share of the time that is up: none, or all of it.
func over(up bool) float64 {
	if up {
		return 1
	}
	return 0
}

// soon stops after so many questions: short, and still the same every time.
func soon(n int) Options {
	return Options{Spent: func() float64 { n--; return over(n < 0) }}
}

func TestPropertyLimitsAreKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := tinyShape(t).random(rapid.Uint64Range(0, 1<<40).Draw(t, "seed"))
		// solved has Evaluate go over the plan: it refuses one that breaks a limit
		// which could be kept, or calls itself infeasible without need.
		solved(t, in, soon(rapid.IntRange(0, 120).Draw(t, "questions")))
	})
}

func TestPropertyLooserIsBoundedAbove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := tinyShape(t).random(rapid.Uint64Range(0, 1<<40).Draw(t, "seed"))
		p := solved(t, in, soon(100))
		if !p.Feasible {
			return
		}
		looser := *in
		looser.Nodes = slices.Clone(in.Nodes)
		if rapid.Bool().Draw(t, "more power") {
			for i, n := range looser.Nodes {
				if n.LimitKW != nil {
					more := make([]float64, in.Intervals)
					for k := range more {
						more[k] = n.LimitKW.At(k) * 1.2
					}
					v := Values(more)
					looser.Nodes[i].LimitKW = &v
				}
			}
		} else {
			looser.Reserves = append(slices.Clone(in.Reserves), Reserve{Name: "free", USDPerMWh: Const(3)})
		}
		q := solved(t, &looser, soon(100))
		if p.ObjectiveUSD > *q.BoundUSD+1e-6*math.Max(1, math.Abs(p.ObjectiveUSD)) {
			t.Fatalf("a plan is worth %v, over the bound %v of a looser instance", p.ObjectiveUSD, *q.BoundUSD)
		}
	})
}

func TestPropertyOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64Range(0, 1<<40).Draw(t, "seed")
		in := tinyShape(t).random(seed)
		p := solved(t, in, soon(60))
		r := rand.New(rand.NewPCG(seed, 1))
		r.Shuffle(len(in.Classes), func(i, j int) { in.Classes[i], in.Classes[j] = in.Classes[j], in.Classes[i] })
		r.Shuffle(len(in.Jobs), func(i, j int) { in.Jobs[i], in.Jobs[j] = in.Jobs[j], in.Jobs[i] })
		r.Shuffle(len(in.Nodes), func(i, j int) { in.Nodes[i], in.Nodes[j] = in.Nodes[j], in.Nodes[i] })
		r.Shuffle(len(in.Reserves), func(i, j int) { in.Reserves[i], in.Reserves[j] = in.Reserves[j], in.Reserves[i] })
		q := solved(t, in, soon(60))
		if p.ObjectiveUSD != q.ObjectiveUSD || p.Feasible != q.Feasible || p.Feasible && *p.BoundUSD != *q.BoundUSD {
			t.Fatalf("worth %v and %v", p.ObjectiveUSD, q.ObjectiveUSD)
		}
	})
}

func TestPropertyReflexKeepsLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := tinyShape(t).random(rapid.Uint64Range(0, 1<<40).Draw(t, "seed"))
		stand := solved(t, in, soon(5))
		at := rapid.IntRange(0, in.Intervals-1).Draw(t, "t")
		kw := rapid.Float64Range(0, 300).Draw(t, "kw")
		p, err := Reflex(in, stand, at, map[string]float64{"site": kw})
		if err != nil {
			t.Fatal(err)
		}
		// The rest of the horizon is cut off: what stands at the interval is judged.
		least, load := 0.0, 0.0
		runs := map[string]bool{}
		for _, r := range p.Runs {
			runs[r.Job] = true
		}
		for i := range in.Classes {
			c := &in.Classes[i]
			count := stand.Counts(in, c.Name)[at]
			for _, m := range p.Moves {
				if m.Class == c.Name {
					count[m.From] -= m.Units
					count[m.To] += m.Units
				}
			}
			floor, held := math.Inf(1), 0
			for _, m := range c.Modes {
				floor = math.Min(floor, m.PowerKW)
				load += float64(count[m.Name]) * m.PowerKW
			}
			least += floor * float64(c.Count)
			for _, j := range in.Jobs {
				if j.Class == c.Name && runs[j.Name] {
					held += j.Units
					load += float64(j.Units) * j.PowerKW
				}
			}
			if count[JobMode] != held {
				t.Fatalf("%d units of %s in job where jobs hold %d", count[JobMode], c.Name, held)
			}
			for m, n := range count {
				if n < 0 {
					t.Fatalf("%d units of %s in %s", n, c.Name, m)
				}
			}
		}
		if load > math.Max(kw, least)+1e-3 {
			t.Fatalf("load %v over the limit %v, least %v", load, kw, least)
		}
	})
}

// againLoss is what the search may miss, as a share of what could turn over.
const againLoss = 0.005
