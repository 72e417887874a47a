package dispatch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The bars of the optimiser, measured in one run from outside: the command
// reads each instance from a file and writes its plan to another, the judge
// goes over every plan, and the oracle says what there is to be had.
//
//	go test ./dispatch -run '^$' -bench '^BenchmarkBars$' -benchtime 1x -timeout 3h -seeds 100
var (
	seeds        = flag.Int("seeds", 20, "bars: so many small instances, and a quarter as many middle ones")
	firstSeed    = flag.Uint64("first-seed", 1, "bars: the first seed")
	smallOracle  = flag.Duration("small-oracle", 30*time.Second, "bars: the oracle's time for a small instance")
	middleOracle = flag.Duration("middle-oracle", time.Minute, "bars: the oracle's time for a middle instance")
	answers      = flag.String("answers", "", "bars: keep the oracle's answers in this folder, and take them from there")
	binary       = flag.String("sluice", "", "bars: measure this binary (default: build it)")
)

var once sync.Once

func BenchmarkBars(b *testing.B) {
	needShared(b)
	// It runs for minutes and has a table for a result: once is enough,
	// however long the other benchmarks run.
	once.Do(func() {
		m := &bars{b: b, dir: b.TempDir(), bin: *binary}
		if m.bin == "" {
			m.bin = filepath.Join(m.dir, "sluice")
			if out, err := exec.Command("go", "build", "-o", m.bin, "sluice/cmd/sluice").CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
		}
		m.small()
		m.middle()
		m.large()
		m.growth()
		m.reflex()
	})
}

type bars struct {
	b        *testing.B
	dir, bin string
}

// say prints a line of the table at once: the run is long.
func (m *bars) say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// solution is what came of one call of the command.
type solution struct {
	plan      *Plan
	wall, cpu time.Duration
	mb        float64 // resident memory at its highest
}

func (s solution) gap() float64 {
	return (*s.plan.BoundUSD - s.plan.ObjectiveUSD) / math.Max(1e-9, math.Abs(*s.plan.BoundUSD))
}

// solve has the command solve the instance, and the judge go over the plan.
func (m *bars) solve(in *Instance, args ...string) solution {
	m.b.Helper()
	from, to := filepath.Join(m.dir, "in.json"), filepath.Join(m.dir, "plan.json")
	write(m.b, from, in)
	cmd := exec.Command(m.bin, append([]string{"dispatch", "solve", from, "--out", to}, args...)...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	s := solution{wall: time.Since(start), plan: new(Plan)}
	if err != nil {
		m.b.Fatalf("%v\n%s", err, out)
	}
	s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	s.mb = float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024
	f, err := os.ReadFile(to)
	if err != nil {
		m.b.Fatal(err)
	}
	if err := json.Unmarshal(f, s.plan); err != nil {
		m.b.Fatal(err)
	}
	judge(m.b, in, s.plan)
	return s
}

// oracle returns the worth of the plan that the oracle finds, by the judge's
// reckoning and not its own; false where it finds none.
func (m *bars) oracle(in *Instance, limit time.Duration) (float64, bool) {
	m.b.Helper()
	path := filepath.Join(m.dir, "oracle.json")
	write(m.b, path, in)
	out := m.answer(path, limit)
	p := new(Plan)
	if err := json.Unmarshal(out, p); err != nil || !p.Feasible {
		return 0, false
	}
	usd, err := in.Evaluate(p)
	if err != nil {
		m.say("the oracle's plan is none: %v", err)
		return 0, false
	}
	return usd, true
}

func (m *bars) answer(path string, limit time.Duration) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		m.b.Fatal(err)
	}
	sum := sha256.Sum256(append(b, limit.String()...))
	kept := filepath.Join(*answers, hex.EncodeToString(sum[:8])+".json")
	if *answers != "" {
		if out, err := os.ReadFile(kept); err == nil {
			return out
		}
	}
	// It ends with status 1 where it finds no plan.
	out, err := exec.Command(python, filepath.Join(shared, "oracle.py"), path, "--presolve", "--gap", "1e-5",
		"--time", strconv.FormatFloat(limit.Seconds(), 'f', -1, 64)).Output()
	if err != nil && !bytes.Contains(out, []byte("status")) {
		m.b.Fatalf("the oracle: %v\n%s", err, out)
	}
	if *answers != "" {
		if err := os.WriteFile(kept, out, 0o600); err != nil {
			m.b.Fatal(err)
		}
	}
	return out
}

// tally sums up a figure of many instances.
type tally struct {
	n            int
	sum, worst   float64
	under, below int // gaps of less than a hundredth; figures below zero
}

func (t *tally) add(x float64) {
	if t.n == 0 || x > t.worst {
		t.worst = x
	}
	t.n++
	t.sum += x
	if x < 0.01 {
		t.under++
	}
	if x < 0 {
		t.below++
	}
}

func (t *tally) String() string {
	return fmt.Sprintf("%.3f %% on average, %.3f %% at worst", 100*t.sum/math.Max(1, float64(t.n)), 100*t.worst)
}

func (m *bars) small() {
	var lag, gap tally
	var wall time.Duration
	for i := range *seeds {
		seed := *firstSeed + uint64(i)
		in := smallBar(seed)
		s := m.solve(in)
		gap.add(s.gap())
		wall = max(wall, s.wall)
		if usd, ok := m.oracle(in, *smallOracle); ok {
			l := (usd - s.plan.ObjectiveUSD) / math.Max(1, math.Abs(usd))
			lag.add(l)
			m.say("  small %d: %.0f ms, gap %.3f %%, %.4f %% below the oracle", seed, 1000*s.wall.Seconds(), 100*s.gap(), 100*l)
			if *s.plan.BoundUSD < usd-1e-6*math.Max(1, math.Abs(usd)) {
				m.b.Errorf("small %d: bound %v is below the oracle's plan of %v", seed, *s.plan.BoundUSD, usd)
			}
		} else {
			m.say("  small %d: %.0f ms, gap %.3f %%, the oracle found no plan", seed, 1000*s.wall.Seconds(), 100*s.gap())
		}
	}
	m.say("small: %d of %d seeds feasible by the judge; below the oracle (%v, %d plans) %v; certified gap %v, under 1 %% on %d; %.2f s at most",
		gap.n, *seeds, *smallOracle, lag.n, &lag, &gap, gap.under, wall.Seconds())
}

func (m *bars) middle() {
	var lag, after, gap, gapAfter tally
	var wall, cpu time.Duration
	n := max(1, *seeds/4)
	for i := range n {
		seed := *firstSeed + uint64(i)
		in := middleBar(seed)
		s, two := m.solve(in), m.solve(in, "--budget", "2s")
		gap.add(s.gap())
		gapAfter.add(two.gap())
		wall, cpu = max(wall, s.wall), max(cpu, s.cpu)
		usd, ok := m.oracle(in, *middleOracle)
		found := "the oracle found no plan"
		if ok {
			size := math.Max(1, math.Abs(usd))
			lag.add((usd - s.plan.ObjectiveUSD) / size)
			after.add((usd - two.plan.ObjectiveUSD) / size)
			found = fmt.Sprintf("oracle %.3f", usd)
		}
		m.say("  middle %d: %.0f ms, %.0f of processor time, %.3f, gap %.3f %%; after 2 s %.3f, gap %.3f %%; %s", seed, 1000*s.wall.Seconds(), 1000*s.cpu.Seconds(),
			s.plan.ObjectiveUSD, 100*s.gap(), two.plan.ObjectiveUSD, 100*two.gap(), found)
	}
	m.say("middle: %d seeds, %.2f s at most (%.2f s of processor time); the oracle found %d plans in %v; below it %v; after 2 s %v; certified gap %v, after 2 s %v",
		n, wall.Seconds(), cpu.Seconds(), lag.n, *middleOracle, &lag, &after, &gap, &gapAfter)
}

func (m *bars) large() {
	s := m.solve(largeShape.random(*firstSeed))
	m.say("large: %.2f s (%.2f s of processor time), %.0f MB, certified gap %.3f %%", s.wall.Seconds(), s.cpu.Seconds(), s.mb, 100*s.gap())
	for _, budget := range []time.Duration{500 * time.Millisecond, time.Second, 3 * time.Second} {
		s := m.solve(largeShape.random(*firstSeed), "--budget", budget.String())
		m.say("  large, --budget %v: %.2f s, certified gap %.3f %%", budget, s.wall.Seconds(), 100*s.gap())
	}
}

// growth doubles the classes and the intervals, one at a time.
func (m *bars) growth() {
	sized := func(classes, intervals int) float64 {
		s := largeShape
		s.miners, s.intervals = classes-s.gpus, intervals
		in, best := s.random(*firstSeed), math.Inf(1)
		for range 3 { // the quickest of three: others use the machine too
			best = math.Min(best, m.solve(in).cpu.Seconds())
		}
		return best
	}
	a, b, c := sized(1000, 288), sized(2000, 288), sized(4000, 288)
	m.say("growth: 1,000, 2,000, 4,000 classes in %.2f, %.2f, %.2f s of processor time: times %.2f and %.2f", a, b, c, b/a, c/b)
	d, e := sized(2000, 144), sized(2000, 576)
	m.say("growth: 144, 288, 576 intervals in %.2f, %.2f, %.2f s of processor time: times %.2f and %.2f", d, b, e, b/d, e/b)
}

func (m *bars) reflex() {
	in := largeShape.random(*firstSeed)
	p, err := Solve(in, Options{})
	if err != nil {
		m.b.Fatal(err)
	}
	worst := time.Duration(0)
	n := 0
	for t := 0; t < in.Intervals; t += 24 {
		for _, node := range []string{"site", "hall0", "feeder3"} {
			for _, part := range []float64{0, 0.3, 0.7, 0.95} {
				limit := 1e5
				for _, x := range in.Nodes {
					if x.Name == node && x.LimitKW != nil {
						limit = x.LimitKW.At(t)
					}
				}
				start := time.Now()
				_, err := Reflex(in, p, t, map[string]float64{node: part * limit})
				worst = max(worst, time.Since(start))
				if err != nil {
					m.b.Fatal(err)
				}
				n++
			}
		}
	}
	m.say("reflex: 2,000 classes, %d changed limits, %.1f ms at worst", n, 1000*worst.Seconds())
}
