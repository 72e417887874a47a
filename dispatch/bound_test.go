package dispatch

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// stretch makes a stretch of history up as a backtest looks back at it: prices
// and hashprice are known, switches are free, and each job has until some time
// after its arrival. 12 classes of miners stand beside one of GPUs.
func stretch(seed uint64, T, jobs, gpus int) (*Instance, []int) {
	r := rand.New(rand.NewPCG(seed, 5))
	in := tinySite{step: 60, intervals: T, limit: 0.7}.site(r)
	price, hash := make([]float64, T), make([]float64, T)
	level, spike := 1.0, 0
	for t := range price {
		level *= 1 + 0.01*r.NormFloat64()
		hash[t] = min(max(level, 0.5), 1.6)
		if spike--; spike < 0 && r.Float64() < 0.01 {
			spike = 1 + r.IntN(6)
		}
		price[t] = 26 + 14*math.Sin(2*math.Pi*float64(t)/24) + 6*r.NormFloat64()
		if spike >= 0 {
			price[t] += 40 + 300*r.Float64()
		}
	}
	in.PriceUSDPerMW = Values(price)
	for c := range in.Classes {
		k := &in.Classes[c]
		k.Switches = nil
		for m := range k.Modes {
			v := make([]float64, T)
			for t := range v {
				v[t] = k.Modes[m].USDPerHour.At(0) * hash[t]
			}
			k.Modes[m].USDPerHour, k.Modes[m].MinIntervals = Values(v), 1
		}
	}
	if jobs == 0 {
		return in, nil
	}
	in.Classes = append(in.Classes, Class{
		Name: "gpu", Node: "feeder0", Count: gpus, Initial: map[string]int{"idle": gpus},
		Modes: []Mode{{Name: "idle", PowerKW: 0.06, USDPerHour: Const(0)}},
	})
	until := make([]int, jobs)
	for i := range jobs {
		need := int(math.Ceil(2 * math.Exp(1.2*r.NormFloat64())))
		at := r.IntN(T)
		in.Jobs = append(in.Jobs, Job{
			Name: fmt.Sprintf("job%05d", i), Class: "gpu", Units: 1 << r.IntN(4), Intervals: need, Earliest: at,
			USDPerUnitHour: 0.8 + 1.8*r.Float64(), PowerKW: 0.7,
		})
		until[i] = at + 2*need + 48 + r.IntN(200)
	}
	return in, until
}

// bounded bounds, and fails where that cannot be done.
func bounded(t tester, in *Instance, opt BoundOptions) *Relaxed {
	t.Helper()
	b, err := Bound(in, opt)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPropertyBoundHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := tinyShape(t).random(rapid.Uint64Range(0, 1<<40).Draw(t, "seed"))
		p := solved(t, in, soon(200))
		if !p.Feasible {
			return
		}
		opt := BoundOptions{Steps: rapid.IntRange(1, 60).Draw(t, "steps"), FreeStart: rapid.Bool().Draw(t, "free start")}
		if rapid.Bool().Draw(t, "ends") {
			opt.Until = make([]int, len(in.Jobs))
			for i := range in.Jobs {
				for _, r := range p.Runs {
					if r.Job == in.Jobs[i].Name {
						opt.Until[i] = max(opt.Until[i], r.End)
					}
				}
			}
		}
		exact := rapid.SampledFrom([]int{0, exactSteps}).Draw(t, "exact")
		b, err := bound(in, opt, exact)
		if err != nil {
			t.Fatal(err)
		}
		if b.USD < p.ObjectiveUSD-1e-6*math.Max(1, math.Abs(p.ObjectiveUSD)) {
			t.Fatalf("a plan is worth %v, over the bound %v", p.ObjectiveUSD, b.USD)
		}
		for i, n := range b.Ran {
			if j := &in.Jobs[i]; n < 0 || j.RestartIntervals == 0 && n > float64(min(j.Intervals, in.Intervals)) {
				t.Fatalf("%s runs in %v intervals of %d", j.Name, n, j.Intervals)
			}
		}
		again, _ := bound(in, opt, exact)
		if again.USD != b.USD || !slices.Equal(again.Ran, b.Ran) {
			t.Fatalf("bounds %v and %v of one instance", b.USD, again.USD)
		}
	})
}

func TestPropertyTop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOf(rapid.SampledFrom([]float64{-2, -1, 0, 0.5, 1, 1, 2, 3, 7})).Draw(t, "values")
		k := rapid.IntRange(1, 12).Draw(t, "k")
		want := slices.Clone(v)
		slices.SortFunc(want, func(a, b float64) int { return int(b - a) })
		slices.SortFunc(want, func(a, b float64) int {
			switch {
			case a > b:
				return -1
			case a < b:
				return 1
			}
			return 0
		})
		sum, got := 0.0, 0.0
		for _, x := range want[:min(k, len(want))] {
			sum += math.Max(0, x)
		}
		least, equal := topOf(slices.Clone(v), k)
		for _, x := range v {
			if x > least {
				got += x
			}
		}
		if got += least * float64(equal); math.Abs(got-sum) > 1e-9 {
			t.Fatalf("the %d best of %v come to %v, not %v: above %v, %d equal", k, v, sum, got, least, equal)
		}
	})
}

// The oracle's plans are judged, and not believed, before they are held against
// the bound.
func TestBoundHoldsTheOracle(t *testing.T) {
	needShared(t)
	t.Parallel()
	s := smallShape
	s.intervals, s.miners, s.minerCount, s.jobs = 6, 2, 30, 3
	found := 0
	for seed := range uint64(4) {
		in := s.random(900 + seed)
		path := filepath.Join(t.TempDir(), "in.json")
		write(t, path, in)
		out, err := exec.Command(python, filepath.Join(shared, "oracle.py"), path, "--time", "2", "--gap", "1e-4").Output()
		if err != nil {
			continue // no plan in time
		}
		oracle := new(Plan)
		if err := json.Unmarshal(out, oracle); err != nil {
			t.Fatal(err)
		}
		usd, err := in.Evaluate(oracle)
		if err != nil {
			t.Fatal(err)
		}
		found++
		for _, free := range []bool{false, true} {
			b := bounded(t, in, BoundOptions{FreeStart: free})
			t.Logf("seed %d: oracle %.4f, bound %.4f, free start %v", seed, usd, b.USD, free)
			if b.USD < usd-1e-6*math.Max(1, math.Abs(usd)) {
				t.Errorf("seed %d: the oracle's plan is worth %v, over the bound %v", seed, usd, b.USD)
			}
			if b.USD > usd+0.15*math.Abs(usd) {
				t.Errorf("seed %d: the bound %v is far above the oracle's plan of %v", seed, b.USD, usd)
			}
		}
	}
	if found == 0 {
		t.Fatal("the oracle found no plan at all")
	}
}

// Jobs without fees, as a backtest looks back at them: the plan made at the
// bound's own kind of prices is all but worth it.
func TestBoundIsTightWithJobs(t *testing.T) {
	in, _ := stretch(3, 96, 40, 24)
	p := solved(t, in, Options{})
	b := bounded(t, in, BoundOptions{FreeStart: true})
	if gap := b.USD/p.ObjectiveUSD - 1; gap < -1e-9 || gap > 0.002 {
		t.Errorf("bound %v, plan %v: %.4f %% apart", b.USD, p.ObjectiveUSD, 100*gap)
	}
}

// Where nothing ties intervals or units together the bound is the best plan.
func TestBoundIsTight(t *testing.T) {
	in, _ := stretch(1, 168, 0, 0)
	p := solved(t, in, Options{})
	b := bounded(t, in, BoundOptions{FreeStart: true})
	if gap := b.USD/p.ObjectiveUSD - 1; gap < -1e-9 || gap > 0.0005 {
		t.Errorf("bound %v, plan %v: %.4f %% apart", b.USD, p.ObjectiveUSD, 100*gap)
	}
}

func TestBoundByHand(t *testing.T) {
	in := siteWith(t, "null", `, "switches": [{"from": "off", "to": "on", "usd": 0.2}]`, `, "jobs": [
	 {"name": "j", "class": "m", "units": 10, "intervals": 2, "usd_per_unit_hour": 1, "power_kw": 1, "earliest": 0},
	 {"name": "k", "class": "m", "units": 10, "intervals": 1, "usd_per_unit_hour": 0.1, "power_kw": 1, "earliest": 0}]`)
	in.Classes[0].Initial = map[string]int{"off": 10}
	// An hour on brings 0.24, but for the second; j does best then, and in one more.
	for _, c := range []struct {
		opt  BoundOptions
		want float64
	}{
		{BoundOptions{FreeStart: true}, 10 * (2*0.24 + 1 - 0.2 + 1 - 0.02)},
		{BoundOptions{FreeStart: true, Until: []int{1, 0}}, 10 * (1 - 0.02 + 2*0.24 - 0.2)},
		{BoundOptions{FreeStart: true, Until: []int{0, 0}}, 10 * (3*0.24 - 0.2)},
	} {
		// The dual of so few intervals comes close from above.
		if b := bounded(t, in, c.opt); b.USD < c.want-1e-9 || b.USD > c.want+0.25 {
			t.Errorf("%+v: bound %v, by hand %v", c.opt, b.USD, c.want)
		}
	}
	if _, err := Bound(in, BoundOptions{Until: []int{1}}); err == nil {
		t.Error("one end for two jobs is taken")
	}
	if _, err := Bound(in, BoundOptions{Until: []int{1, -1}}); err == nil {
		t.Error("a negative end is taken")
	}
}

func benchmarkBound(b *testing.B, T, jobs, gpus int) {
	in, until := stretch(1, T, jobs, gpus)
	usd := 0.0
	for b.Loop() {
		x, err := Bound(in, BoundOptions{FreeStart: true, Until: until})
		if err != nil {
			b.Fatal(err)
		}
		usd = x.USD
	}
	b.ReportMetric(usd, "USD")
}

func BenchmarkBoundBlock(b *testing.B)  { benchmarkBound(b, 672, 400, 64) }
func BenchmarkBoundWeek5m(b *testing.B) { benchmarkBound(b, 2016, 0, 0) }
func BenchmarkBoundYear(b *testing.B)   { benchmarkBound(b, 8760, 5000, 64) }
