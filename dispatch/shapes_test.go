package dispatch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// shape says what instance to make up.
type shape struct {
	intervals, miners, minerCount int // classes and units in each
	gpus, gpuCount                int
	jobs, feeders                 int
	step                          float64
	reserves                      int
	demand                        bool
	running                       float64 // share of jobs that run at the start
	tight                         float64 // limits as a share of full load
	gangs                         []int   // sizes of jobs; nil: 1 to 8
	strict                        bool    // an early move costs what it costs by default
}

var (
	liveShape   = shape{intervals: 36, miners: 10, minerCount: 400, gpus: 2, gpuCount: 1000, jobs: 300, feeders: 2, step: 5, running: 0.8, tight: 0.85}
	smallShape  = shape{intervals: 24, miners: 3, minerCount: 120, gpus: 1, gpuCount: 32, jobs: 5, feeders: 2, step: 15, reserves: 2, demand: true, running: 0.2, tight: 0.8}
	middleShape = shape{intervals: 96, miners: 5, minerCount: 200, gpus: 1, gpuCount: 64, jobs: 12, feeders: 2, step: 15, reserves: 2, demand: true, running: 0.2, tight: 0.8}
	largeShape  = shape{intervals: 288, miners: 1997, minerCount: 20, gpus: 3, gpuCount: 300, jobs: 300, feeders: 20, step: 5, reserves: 2, running: 0.2, tight: 0.85}
)

// random makes an instance of the shape up; the same seed makes the same one.
func (s shape) random(seed uint64) *Instance {
	r := rand.New(rand.NewPCG(seed, 7))
	T := s.intervals
	round := func(x float64) float64 { return math.Round(x*1e4) / 1e4 }
	vary := func(f func() float64) Series {
		v := make([]float64, T)
		for t := range v {
			v[t] = round(f())
		}
		return Values(v)
	}
	in := &Instance{Start: "2026-01-05T00:00:00Z", StepMinutes: s.step, Intervals: T}
	in.PriceUSDPerMW = vary(func() float64 {
		if r.Float64() < 0.05 {
			return 100 + 200*r.Float64()
		}
		return max(-10, 30+12*r.NormFloat64())
	})
	in.Nodes = []Node{{Name: "site"}}
	leaf := []string{}
	for f := range s.feeders {
		up := "site"
		if s.feeders > 4 { // three levels
			if up = fmt.Sprintf("hall%d", f/5); f%5 == 0 {
				in.Nodes = append(in.Nodes, Node{Name: up, Parent: "site"})
			}
		}
		n := fmt.Sprintf("feeder%d", f)
		in.Nodes = append(in.Nodes, Node{Name: n, Parent: up})
		leaf = append(leaf, n)
	}
	full := map[string]float64{}
	for i := range s.miners {
		kw, jth := 3+0.8*r.Float64(), 15+14*r.Float64()
		usd := kw * 1000 / jth * (44 + 10*r.Float64()) / 24 / 1000
		n := 1 + r.IntN(2*s.minerCount)
		on := r.IntN(n + 1)
		early := 0.05
		c := Class{
			Name: fmt.Sprintf("m%04d", i), Node: leaf[r.IntN(len(leaf))], Count: n,
			Modes: []Mode{
				{Name: "off", PowerKW: 0.02, USDPerHour: Const(0), MinIntervals: 1 + r.IntN(3), EarlyUSD: &early},
				{Name: "low", PowerKW: round(kw * 0.72), USDPerHour: Const(round(usd * 0.78)), ShedKW: round(kw*0.72 - 0.02)},
				{Name: "normal", PowerKW: round(kw), USDPerHour: Const(round(usd)), ShedKW: round(kw - 0.02), MinIntervals: 1 + r.IntN(3)},
			},
			Initial: map[string]int{"off": n - on, "normal": on},
			Switches: []Switch{
				{"off", "normal", 0.01, 8},
				{"off", "low", 0.01, 8},
				{"normal", "low", 0, 1},
				{"low", "normal", 0, 1},
				{"normal", "off", 0.005, 0},
				{"low", "off", 0.005, 0},
			},
		}
		if s.strict {
			c.Modes[0].EarlyUSD = nil
		}
		if on > 2 && r.IntN(3) == 0 {
			c.Dwell = []Dwell{{"normal", on / 2, 1 + r.IntN(3)}}
		}
		in.Classes = append(in.Classes, c)
		full[c.Node] += float64(n) * kw
	}
	gangs := s.gangs
	if gangs == nil {
		gangs = []int{1, 1, 2, 4, 8}
	}
	held := make([]int, s.gpus)
	for i := range s.jobs {
		g := r.IntN(s.gpus)
		units := gangs[r.IntN(len(gangs))]
		need := 2 + r.IntN(T)
		j := Job{
			Name: fmt.Sprintf("job%04d", i), Class: fmt.Sprintf("gpu%d", g), Units: units, Intervals: need,
			USDPerUnitHour: round(0.3 + 1.7*r.Float64()), PowerKW: 1.1, Earliest: r.IntN(T), PreemptUSD: round(5 * r.Float64()), RestartIntervals: r.IntN(3),
		}
		switch {
		case r.Float64() < s.running && held[g]+units <= s.gpuCount:
			held[g] += units
			j.Running, j.Started, j.Earliest = true, true, 0
			if r.IntN(3) == 0 {
				j.PreemptUSD = 500
			}
		case r.IntN(6) == 0:
			j.MustRun, j.UnservedUSDPerInterval = true, round(3*r.Float64()*float64(units))
		}
		if !j.MustRun && r.IntN(3) == 0 {
			d := j.Earliest + need + r.IntN(8)
			j.Deadline, j.LateUSDPerInterval = &d, round(2*r.Float64())
		}
		in.Jobs = append(in.Jobs, j)
	}
	for g := range s.gpus {
		c := Class{
			Name: fmt.Sprintf("gpu%d", g), Node: leaf[g%len(leaf)], Count: s.gpuCount,
			Modes:   []Mode{{Name: "idle", PowerKW: 0.05, USDPerHour: Const(0)}, {Name: "mine", PowerKW: 0.3, USDPerHour: Const(0.0193), ShedKW: 0.25}},
			Initial: map[string]int{"idle": s.gpuCount - held[g], JobMode: held[g]},
		}
		in.Classes = append(in.Classes, c)
		full[c.Node] += float64(s.gpuCount) * 1.1
	}
	total := 0.0
	for _, n := range leaf {
		total += full[n]
	}
	limit := make([]float64, T)
	cutFrom, cutTo := T/3, T/3+T/8
	for t := range limit {
		limit[t] = round(total * s.tight * 0.95)
		if t >= cutFrom && t < cutTo {
			limit[t] *= 0.5
		}
	}
	for i := range in.Nodes {
		l := Values(limit)
		if n := in.Nodes[i].Name; full[n] > 0 {
			l = Const(round(full[n] * max(0.01, s.tight+0.2*r.Float64()-0.05)))
		} else if n != "site" {
			continue
		}
		in.Nodes[i].LimitKW = &l
	}
	for i := range s.reserves {
		most := Const(round(total * (0.1 + 0.3*r.Float64())))
		x := Reserve{Name: fmt.Sprintf("reserve%d", i), USDPerMWh: vary(func() float64 { return max(0, 8+6*r.NormFloat64()) }), MaxKW: &most}
		if i == 1 {
			x.CommittedKW, x.ShortfallUSDPerMW = Const(round(most.all/4)), 200
		}
		in.Reserves = append(in.Reserves, x)
	}
	if s.demand {
		in.DemandCharges = []DemandCharge{{USDPerKW: 0.15, From: T / 2, To: T, AlreadyKW: round(total * 0.4)}}
	}
	return in
}

func benchmarkShape(b *testing.B, s shape) {
	in := s.random(1)
	if err := in.Validate(); err != nil {
		b.Fatal(err)
	}
	gap, usd := 0.0, 0.0
	for b.Loop() {
		p, err := Solve(in, Options{})
		if err != nil {
			b.Fatal(err)
		}
		gap, usd = (*p.BoundUSD-p.ObjectiveUSD)/math.Abs(*p.BoundUSD), p.ObjectiveUSD
	}
	b.ReportMetric(100*gap, "%gap")
	b.ReportMetric(usd, "USD")
}

func BenchmarkSolveLive(b *testing.B)   { benchmarkShape(b, liveShape) }
func BenchmarkSolveSmall(b *testing.B)  { benchmarkShape(b, smallShape) }
func BenchmarkSolveMiddle(b *testing.B) { benchmarkShape(b, middleShape) }
func BenchmarkSolveLarge(b *testing.B)  { benchmarkShape(b, largeShape) }

func BenchmarkReflex(b *testing.B) {
	in := largeShape.random(1)
	p := new(Plan)
	for b.Loop() {
		if _, err := Reflex(in, p, 0, map[string]float64{"site": in.Nodes[0].LimitKW.At(0) / 2}); err != nil {
			b.Fatal(err)
		}
	}
}

// smallBar makes a small instance up: 24 to 48 intervals, 3 or 4 classes, 4 to
// 6 jobs. In every third one gangs stand in each other's way.
func smallBar(seed uint64) *Instance {
	r := rand.New(rand.NewPCG(seed, 11))
	s := smallShape
	s.intervals = 24 + r.IntN(25)
	s.miners = 2 + r.IntN(2)
	s.jobs = 4 + r.IntN(3)
	s.tight = 0.5 + 0.4*r.Float64()
	s.strict = r.IntN(2) == 0
	if seed%3 == 0 {
		s.gpuCount, s.gangs = 16, []int{2, 4, 7, 8, 12}
	}
	return s.random(seed)
}

// middleBar makes a middle instance up: 96 intervals, 6 classes, 12 jobs.
func middleBar(seed uint64) *Instance {
	r := rand.New(rand.NewPCG(seed, 12))
	s := middleShape
	s.tight = 0.5 + 0.4*r.Float64()
	s.strict = r.IntN(2) == 0
	if seed%3 == 0 {
		s.gpuCount, s.gangs = 24, []int{2, 4, 7, 8, 12}
	}
	return s.random(seed)
}
