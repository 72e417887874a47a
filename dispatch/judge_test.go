package dispatch

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// shared is where the judge and the oracle lie, beside the repository; python3
// with scipy runs them.
const (
	shared = "../../shared/dispatch"
	python = "/usr/bin/python3"
)

// needShared skips at a user's machine, which has no judge beside the
// repository; where CI=true it has to be there.
func needShared(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(shared, "check_plan.py")); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func write(t testing.TB, path string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// judge has the judge go through the plan, and returns what it is worth.
func judge(t testing.TB, in *Instance, p *Plan) float64 {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "in.json"), in)
	write(t, filepath.Join(dir, "plan.json"), p)
	out, err := exec.Command(python, filepath.Join(shared, "check_plan.py"), filepath.Join(dir, "in.json"), filepath.Join(dir, "plan.json")).Output()
	var verdict struct {
		OK     bool     `json:"ok"`
		Errors []string `json:"errors"`
		USD    float64  `json:"objective_usd"`
	}
	if e := json.Unmarshal(out, &verdict); e != nil {
		t.Fatalf("the judge said %q: %v, %v", out, e, err)
	}
	if !verdict.OK {
		t.Fatalf("the judge: %v", verdict.Errors)
	}
	return verdict.USD
}

func TestJudge(t *testing.T) {
	needShared(t)
	t.Parallel()
	shapes := map[string]shape{"small": smallShape, "cut": smallShape, "live": liveShape, "middle": middleShape}
	cut := smallShape
	cut.tight = 0.02 // below what the least power needs, at times
	shapes["cut"] = cut
	for name, s := range shapes {
		seeds := uint64(8)
		if s.intervals > 24 {
			seeds = 2
		}
		for seed := range seeds {
			t.Run(name+strconv.Itoa(int(seed)), func(t *testing.T) {
				in := s.random(100 + seed)
				p := solved(t, in, Options{})
				if usd := judge(t, in, p); math.Abs(usd-p.ObjectiveUSD) > 1e-6*math.Max(1, math.Abs(usd)) {
					t.Errorf("the judge finds %v USD, Evaluate %v", usd, p.ObjectiveUSD)
				}
			})
		}
	}
}

func TestJudgeOnTheExample(t *testing.T) {
	needShared(t)
	f, err := os.Open(filepath.Join(shared, "small.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in, err := ReadInstance(f)
	if err != nil {
		t.Fatal(err)
	}
	p := solved(t, in, Options{Effort: 3})
	judge(t, in, p)
	if gap := (*p.BoundUSD - p.ObjectiveUSD) / *p.BoundUSD; gap > 0.01 {
		t.Errorf("certified gap %.2f %%", 100*gap)
	}
}

// The oracle is stopped early on a busy machine, and its claims are not always
// right: its plan is judged too. The plan, worth what Evaluate says, lies between ours (or little
// above it) and our bound.
func TestOracle(t *testing.T) {
	needShared(t)
	t.Parallel()
	s := smallShape
	s.intervals, s.miners, s.minerCount, s.jobs = 10, 2, 60, 3
	below, found := 0.0, 0.0
	const seeds = 6
	for seed := range uint64(seeds) {
		in := s.random(500 + seed)
		path := filepath.Join(t.TempDir(), "in.json")
		write(t, path, in)
		out, err := exec.Command(python, filepath.Join(shared, "oracle.py"), path, "--presolve", "--time", "3", "--gap", "1e-4").Output()
		if err != nil {
			t.Logf("seed %d: the oracle found no plan: %s", seed, out)
			continue
		}
		oracle := new(Plan)
		if err := json.Unmarshal(out, oracle); err != nil {
			t.Fatal(err)
		}
		usd, err := in.Evaluate(oracle)
		if err != nil {
			t.Fatalf("seed %d: the oracle's plan: %v", seed, err)
		}
		p := solved(t, in, Options{Effort: 5})
		size := math.Max(1, math.Abs(usd))
		if *p.BoundUSD < usd-1e-6*size {
			t.Errorf("seed %d: bound %v is below the oracle's plan of %v", seed, *p.BoundUSD, usd)
		}
		t.Logf("seed %d: oracle %.4f, ours %.4f, bound %.4f", seed, usd, p.ObjectiveUSD, *p.BoundUSD)
		lag := (usd - p.ObjectiveUSD) / size
		below += math.Max(0, lag)
		found++
		if lag > 0.01 {
			t.Errorf("seed %d: %.3f %% below the oracle", seed, 100*lag)
		}
	}
	if below /= math.Max(1, found); found == 0 {
		t.Fatal("the oracle found no plan at all")
	}
	t.Logf("%.4f %% below the oracle on average", 100*below)
	if below > 0.003 {
		t.Errorf("%.3f %% below the oracle on average", 100*below)
	}
}
