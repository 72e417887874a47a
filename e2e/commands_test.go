package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// problem is a small one for the optimiser.
const problem = `{"start":"2026-01-01T00:00:00Z","step_minutes":5,"intervals":2,"price_usd_per_mwh":[40,50],
	"nodes":[{"name":"site","parent":null,"limit_kw":100}],
	"classes":[{"name":"m","node":"site","count":3,"initial":{"sleep":3},
		"modes":[{"name":"sleep","power_kw":0,"usd_per_hour":0,"min_intervals":1},{"name":"mine","power_kw":3,"usd_per_hour":1,"min_intervals":1}],
		"switches":[]}],"jobs":[]}`

// Bad input for the optimiser is one line that names the field, status 2.
func TestDispatchSolve(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "in.json")
	solve := func(text string) result {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return run(t, "dispatch", "solve", file)
	}
	r := solve(problem)
	var plan map[string]any
	if err := json.Unmarshal([]byte(r.out), &plan); r.status != 0 || err != nil {
		t.Fatalf("a good problem: status %d, %v\n%s", r.status, err, r.err)
	}
	if again := solve(problem); again.out != r.out {
		t.Error("the same problem has two plans")
	}
	for _, c := range []struct{ from, to, field string }{
		{`"step_minutes":5`, `"step_minutes":-5`, "step_minutes"},
		{`"intervals":2`, `"intervals":0`, "intervals"},
		{`[40,50]`, `[40]`, "price_usd_per_mwh"},
		{`"node":"site"`, `"node":"nowhere"`, "node"},
		{`"count":3`, `"count":-3`, "count"},
		{`"power_kw":3`, `"power_kw":"three"`, "power_kw"},
		{`"limit_kw":100`, `"limit_kw":-1`, "limit_kw"},
		{`"initial":{"sleep":3}`, `"initial":{"sleep":2}`, "initial"},
		{`"jobs":[]}`, `"jobs":[]`, "JSON"},
	} {
		if !strings.Contains(problem, c.from) {
			t.Fatalf("%s is not in the problem", c.from)
		}
		r := solve(strings.Replace(problem, c.from, c.to, 1))
		if r.status != 2 || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, c.field) || r.out != "" {
			t.Errorf("%s: status %d, stdout %q, stderr %q", c.to, r.status, r.out, r.err)
		}
	}
	if r := run(t, "dispatch", "solve", filepath.Join(dir, "none")); r.status != 2 || strings.Count(r.err, "\n") != 1 {
		t.Errorf("no file: status %d, %q", r.status, r.err)
	}
}

// pivotSite is a site with ten weeks of history, to plan over.
func pivotSite(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	b.WriteString("ts_utc,price,hash\n")
	at := time.Date(2023, 1, 2, 0, 0, 0, 0, time.UTC)
	for h := range 24 * 70 {
		fmt.Fprintf(&b, "%s,%d,%d\n", at.Add(time.Duration(h)*time.Hour).Format(time.RFC3339), 20+h%24*3, 70+h%7)
	}
	site := `site: {name: mine}
nodes:
  - {name: grid, limit: 3MW}
classes:
  - name: s19
    node: grid
    count: 900
    modes: [{name: sleep, power: 20W}, {name: mine, power: 3250W, hashrate_ths: 110}]
history:
  series:
    - {quantity: real_time_usd_per_mwh, file: past.csv, column: price}
    - {quantity: hashprice_usd_per_ph_day, file: past.csv, column: hash}
pivot:
  conversions:
    - {name: b200, gpu: B200}
`
	for name, text := range map[string]string{"past.csv": b.String(), "site.yaml": site} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "site.yaml")
}

// Every command that has --json prints JSON with it.
func TestJSON(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := up(t, demoArgs(dir)...)
	running(t, s)
	must(t, s.on("curtail", "--limit", "13MW", "--for", "1h", "--id", "one")...)
	ms, err := s.machines()
	if err != nil {
		t.Fatal(err)
	}
	miner := slices.IndexFunc(ms, func(m machine) bool { return m.Kind == "miner" })
	js, err := s.jobs()
	if err != nil || len(js) == 0 || miner < 0 {
		t.Fatalf("jobs: %v, %v", js, err)
	}
	var miners []string
	for _, m := range ms {
		if m.Kind == "miner" {
			miners = append(miners, m.Name)
		}
	}
	task := filepath.Join(t.TempDir(), "task.yaml")
	if err := os.WriteFile(task, []byte("run: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(config, []byte("site: {name: mine}\nnodes:\n  - {name: grid, limit: 1MW}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	instance := filepath.Join(t.TempDir(), "in.json")
	if err := os.WriteFile(instance, []byte(problem), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, s.on("tenant", "add", "acme")...)
	var token struct{ ID string }
	if err := json.Unmarshal([]byte(must(t, s.on("tenant", "token", "acme", "--json")...)), &token); err != nil || token.ID == "" {
		t.Fatalf("a token: %+v, %v", token, err)
	}
	done := s.submit(t, "", "run: echo x > x\n")
	eventually(t, 2*patience, func() error {
		j, err := s.job(done)
		if err == nil && j.State != "succeeded" {
			err = fmt.Errorf("%s is %s", done, j.State)
		}
		return err
	})
	cases := map[string][]string{
		"job files":      s.on(done),
		"job wipe":       s.on(done),
		"job wipes":      s.on(),
		"job why":        s.on(done),
		"tenant add":     s.on("bolt", "--region", "eu-de", "--label", "cert=iso27001", "--spend-limit", "500USD"),
		"tenant disable": s.on("acme"),
		"tenant enable":  s.on("acme"),
		"tenant list":    s.on(),
		"tenant revoke":  s.on(token.ID),
		"tenant set":     s.on("acme", "--max-units", "4"),
		"tenant show":    s.on("acme"),
		"tenant token":   s.on("acme"),
		"tenant tokens":  s.on("acme"),
		"vault rotate":   s.on(),
		"status":         s.on(),
		"curtail":        s.on("--limit", "12MW", "--for", "10m", "--preview"),
		"curtail list":   s.on(),
		"job check":      s.on(task),
		"job submit":     s.on(task),
		"job list":       s.on(),
		"job show":       s.on(js[0].ID),
		"machine list":   s.on(),
		"machine show":   s.on(ms[0].Name),
		"fleet promise":  s.on("--within", "30s", "--selector", "class!=none"),
		"fleet response": s.on(),
		"fleet curves":   s.on(),
		"fleet sleep":    s.on("--selector", "name="+miners[0], "--why", "test", "--yes"),
		"fleet wake":     s.on("--selector", "name="+miners[1]),
		"fleet set":      s.on("sleep", "--selector", "name="+miners[1], "--why", "test", "--yes"),
		"fleet lock":     s.on("--selector", "name="+miners[2], "--why", "test", "--yes"),
		"fleet release":  s.on("--selector", "name="+miners[2]),
		"decisions":      s.on(),
		"alarms":         s.on("--all"),
		"ledger balance": s.on(),
		"config check":   {config},
		"backtest":       {"--config", "../examples/two-weeks/site.yaml", "--from", "2023-08-16", "--to", "2023-08-18"},
		"forecast evaluate": {
			"--real-time", "../sim/replay/data/ercot_west_2023-08.csv", "--column", "real_time_usd_per_mwh",
			"--strike", "50", "--from", "2023-08-16", "--to", "2023-08-18",
		},
		"dispatch solve": {instance},
		"plan pivot":     {"--config", pivotSite(t), "--scenarios", "20"},
		"sim placement":  {"--nodes", "testdata/nodes.csv", "--pods", "testdata/pods.csv"},
		"device probe":   {ms[miner].Address},
		"device scan":    {"127.0.0.1", "--ports", ms[miner].Address[strings.LastIndex(ms[miner].Address, ":")+1:]},
	}
	// What needs a GPU's driver is tried with a stand-in for it, in cmd/sluice, and what
	// needs other machines where some join.
	elsewhere := []string{"gpu list", "gpu idle", "host list", "host show", "host token"}
	for _, name := range jsonCommands(t, nil) {
		if slices.Contains(elsewhere, name) {
			continue
		}
		args, ok := cases[name]
		if !ok {
			t.Errorf("sluice %s has --json and is not tried here", name)
			continue
		}
		delete(cases, name)
		r := run(t, append(append(strings.Fields(name), args...), "--json")...)
		var v any
		if err := json.Unmarshal([]byte(r.out), &v); r.status != 0 || err != nil {
			t.Errorf("sluice %s --json: status %d, %v\n%.300s%s", name, r.status, err, r.out, r.err)
		}
		if r.err != "" {
			t.Errorf("sluice %s --json complains: %s", name, r.err)
		}
	}
	for name := range cases {
		t.Errorf("sluice %s has no --json", name)
	}
	// What is asked of a site that is not there fails in one line.
	if r := run(t, "status", "--json", "--server", fmt.Sprintf("http://127.0.0.1:%d", freePort(t))); r.status != 1 || r.out != "" || strings.Count(r.err, "\n") != 1 {
		t.Errorf("without a site: status %d, %q, %q", r.status, r.out, r.err)
	}
	for _, path := range []string{"/openapi.json", "/healthz"} {
		b, err := s.raw("GET", path, nil)
		var v any
		if err != nil || path == "/openapi.json" && json.Unmarshal(b, &v) != nil {
			t.Errorf("%s: %v\n%.200s", path, err, b)
		}
	}
	if b, err := s.raw("GET", "/metrics", nil); err != nil || !strings.Contains(string(b), "\nsluice_") {
		t.Errorf("/metrics: %v\n%.200s", err, b)
	}
}

var command = regexp.MustCompile(`(?m)^  ([a-z-]+) +\S`)

// jsonCommands finds the commands that know --json by the help of each.
func jsonCommands(t testing.TB, path []string) []string {
	t.Helper()
	help := must(t, append(slices.Clone(path), "--help")...)
	var out []string
	if regexp.MustCompile(`(?m)^ +--json\b`).MatchString(help) {
		out = append(out, strings.Join(path, " "))
	}
	// Commands stand in groups between the usage and the flags, examples too.
	_, list, _ := strings.Cut(help, "\nUsage:\n")
	list, _, _ = strings.Cut(list, "\nFlags:\n")
	for i, group := range strings.Split(list, "\n\n") {
		if i == 0 || strings.HasPrefix(group, "Examples:") || strings.HasPrefix(group, "Aliases:") {
			continue
		}
		for _, m := range command.FindAllStringSubmatch(group, -1) {
			if m[1] != "help" && m[1] != "completion" && len(path) < 3 {
				out = append(out, jsonCommands(t, append(slices.Clone(path), m[1]))...)
			}
		}
	}
	return out
}
