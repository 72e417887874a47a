package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/dispatch"
)

const twoHours = `{"step_minutes": 60, "intervals": 2, "price_usd_per_mwh": [20, 200], "nodes": [{"name": "site", "limit_kw": 15}],
 "classes": [{"name": "m", "node": "site", "count": 10, "initial": {"off": 10},
  "modes": [{"name": "off", "power_kw": 0, "usd_per_hour": 0}, {"name": "on", "power_kw": 3, "usd_per_hour": 0.3}]}]}`

// runDispatch runs the command and returns what it wrote to standard output.
func runDispatch(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := rootCmd()
	var out bytes.Buffer
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append([]string{"dispatch"}, args...))
	err := cmd.Execute()
	return out.String(), err
}

func TestDispatchSolve(t *testing.T) {
	dir := t.TempDir()
	file, to := filepath.Join(dir, "in.json"), filepath.Join(dir, "plan.json")
	if err := os.WriteFile(file, []byte(twoHours), 0o600); err != nil {
		t.Fatal(err)
	}
	piped, err := runDispatch(t, twoHours, "solve", "-")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runDispatch(t, "", "solve", file, "--out", to); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	if piped != string(written) {
		t.Errorf("standard output has\n%s\nthe file\n%s", piped, written)
	}
	var p dispatch.Plan
	if err := json.Unmarshal(written, &p); err != nil {
		t.Fatal(err)
	}
	if want := 5 * 0.24; p.ObjectiveUSD < want-1e-9 || p.ObjectiveUSD > want+1e-9 || !p.Feasible {
		t.Errorf("worth %v, want %v", p.ObjectiveUSD, want)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := runDispatch(t, twoHours, "solve", "-", "--budget", "50ms"); err != nil {
		t.Error(err)
	}
}

func TestDispatchSolveRefuses(t *testing.T) {
	out := filepath.Join(t.TempDir(), "plan.json")
	for name, args := range map[string][]string{
		"bad input":       {"solve", "-", "--out", out},
		"no such file":    {"solve", filepath.Join(t.TempDir(), "none.json"), "--out", out},
		"negative budget": {"solve", "-", "--budget", "-1s", "--out", out},
		"no file named":   {"solve", "--out", out},
		"two files":       {"solve", "-", "-", "--out", out},
		"a folder":        {"solve", t.TempDir(), "--out", out},
	} {
		_, err := runDispatch(t, strings.Replace(twoHours, `"count": 10`, `"count": 9`, 1), args...)
		if err == nil || sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a plan was written")
	}
	nowhere := filepath.Join(t.TempDir(), "no", "plan.json")
	if _, err := runDispatch(t, twoHours, "solve", "-", "--out", nowhere); exitCode(err) != 2 || !strings.Contains(err.Error(), filepath.Dir(nowhere)) || strings.Contains(err.Error(), ".plan-") {
		t.Errorf("a plan to a folder that is not there: %v", err)
	}
	if _, err := runDispatch(t, twoHours, "solve", "-", "--json"); err != nil {
		t.Error(err)
	}
}

// steady is a reader that takes as long for each read as it is told to.
type steady struct {
	io.Reader
	take func()
}

func (s steady) Read(b []byte) (int, error) {
	s.take()
	return s.Reader.Read(b)
}

// A budget is spent by the clock: what input has it wait for is gone, and three
// times what decoding took is kept for the end.
func TestTimerKeepsTheBudget(t *testing.T) {
	at := time.Unix(0, 0)
	c := newTimer(500*time.Millisecond, func() time.Time { return at })
	pass := func(ms int) { at = at.Add(time.Duration(ms) * time.Millisecond) }
	if _, err := c.reader(steady{strings.NewReader("{}"), func() { pass(40) }}).Read(make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	pass(30)
	c.wasRead() // 70 ms are gone; 20 + 3 × 30 are kept: 390 are the end
	for _, w := range []struct {
		ms    int
		spent float64
	}{{0, 70. / 390}, {125, 0.5}, {194, 389. / 390}, {1, 1}, {1000, 1}} {
		pass(w.ms)
		if got := c.spent(); math.Abs(got-w.spent) > 1e-9 {
			t.Errorf("at %v: %v is spent, want %v", at.Sub(c.from), got, w.spent)
		}
	}
	c = newTimer(20*time.Millisecond, func() time.Time { return at })
	if c.wasRead(); c.spent() != 1 {
		t.Error("a budget that is less than what is kept is not spent at once")
	}
}
