package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/server"
	"sluice/site"

	"github.com/spf13/cobra"
)

// cli is a site on a real socket and the commands that talk to it.
type cli struct {
	t     *testing.T
	site  *cliSite
	jobs  *cliJobs
	books *cliBooks
	url   string
}

func newCLI(t *testing.T, token string) *cli {
	t.Helper()
	t.Setenv("SLUICE_TOKEN_FILE", "")
	six, one := 6, 1
	c := &cli{t: t, books: &cliBooks{}, site: &cliSite{newest: 3, decided: make(chan site.Event, 10)}, jobs: &cliJobs{jobs: map[string]compute.Job{
		"j-ok":  {ID: "j-ok", Name: "digits", Tenant: "ann", State: compute.Succeeded, Class: "local", Units: 2, Host: "local", Runs: 3, Preemptions: 2, RunSeconds: 95, RateUSDHour: 1.2, BilledUSD: 63_333, SubmittedAt: cliTime, ExitCode: new(int)},
		"j-bad": {ID: "j-bad", Name: "breaks", State: compute.Failed, Why: "exit status 6", Class: "local", Units: one, ExitCode: &six, SubmittedAt: cliTime},
	}}}
	c.site.status = site.Status{
		Name: "west", Demo: true, Speed: 60, Now: cliTime, Mode: "control", LimitKW: 14000, ConnectionKW: 14000, LoadKW: 13200.5, LoadSource: sluice.SourceMeter,
		MiningKW: 11000, AIKW: 2100, OtherKW: 100.5, PriceUSDPerMWh: 61.25, HashpriceUSDPerPHDay: 62, HashratePHs: 400, MarginUSDPerHour: -1812.5,
		MiningMarginUSDHour: 312.5, AIMarginUSDHour: 500, GPUs: 1920, GPUsBusy: 1500, Machines: map[string]int{"mining": 3900, "sleeping": 100, "fault": 0}, Jobs: map[string]int{"running": 12},
		Feeds:    []site.Feed{{Name: "price", Value: 61.25, Unit: "USD/MWh", AsOf: cliTime.Add(-time.Minute), Origin: "ercot.csv:17"}, {Name: "btc", Unit: "USD", Stale: true, Note: "no value yet"}},
		Alarms:   []site.Alarm{{At: cliTime.Add(-5 * time.Minute), Severity: sluice.Critical, Name: "machine-silent", Subject: "m-1", Text: "no answer\x1b]0;x\a"}},
		Reserves: []site.Reserve{{Name: "rrs", PlannedKW: 6000, ReadyKW: 5800, USDPerMWh: 12, USDPerHour: 69.6}, {Name: "ecrs\x1b", PlannedKW: 500}},
		Plan:     &site.PlanInfo{At: cliTime.Add(-30 * time.Second), Decision: 5, SolveMS: 12.5, Feasible: true},
		Strikes:  []site.Strike{{Class: "s19", Division: sluice.Mining, Mode: "mine", Units: 1200, Running: 1100, KW: 3575, StrikeUSDPerMWh: 55.1}, {Class: "h100", Division: sluice.AI, Mode: "job", Units: 1920, Running: 1500, KW: 2100, StrikeUSDPerMWh: 2101}},
	}
	for i := range 1500 {
		m := site.Machine{Name: fmt.Sprintf("m-%04d", i), Kind: sluice.Miner, Class: "s19", Node: "feeder-a", State: "mining", Mode: "mine", Want: "mine", PowerKW: 3.25, HashrateTHs: 110, SeenAt: cliTime}
		if i == 7 {
			m.State = "silent"
		}
		c.site.machines = append(c.site.machines, m)
	}
	srv, err := server.New(server.Options{
		Site: c.site, Jobs: c.jobs, Books: c.books, Now: func() time.Time { return cliTime }, Token: token, TempDir: t.TempDir(),
		Backup: func(_ context.Context, dest string) error { return os.WriteFile(dest, []byte("the whole site"), 0o600) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(srv.Handler())
	t.Cleanup(ts.Close)
	c.url = ts.URL
	return c
}

// run executes a command line as main does.
func (c *cli) run(ctx context.Context, args ...string) (string, error) {
	root := &cobra.Command{Use: "sluice", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(statusCmd(), curtailCmd(), jobCmd(), machineCmd(), ledgerCmd(), decisionsCmd(), alarmsCmd(), backupCmd())
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(io.Discard)
	root.SetArgs(args)
	c.t.Setenv("SLUICE_SERVER", c.url)
	err := root.ExecuteContext(ctx)
	return out.String(), err
}

// prints runs a command that must succeed and print exactly this.
func (c *cli) prints(want string, args ...string) {
	c.t.Helper()
	got, err := c.run(c.t.Context(), args...)
	if err != nil {
		c.t.Fatalf("sluice %s: %v", strings.Join(args, " "), err)
	}
	if got != want {
		c.t.Errorf("sluice %s printed\n%s\nwant\n%s", strings.Join(args, " "), got, want)
	}
}

// fails runs a command that must fail with the exit status and this in its line.
func (c *cli) fails(code int, text string, args ...string) {
	c.t.Helper()
	out, err := c.run(c.t.Context(), args...)
	if err == nil || exitCode(err) != code || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
		c.t.Errorf("sluice %s: exit %d, %v, want %d and one line with %q; printed %q", strings.Join(args, " "), exitCode(err), err, code, text, out)
	}
}

func TestStatusCommand(t *testing.T) {
	c := newCLI(t, "")
	c.prints(`DEMO: replayed history and virtual machines, at 60 times the speed of the wall clock
west  2023-08-25 20:00:00 UTC  control

  load          13.20 MW  ████████████████████████████▎·  94.3 % of the limit of 14.00 MW
  mining        11.00 MW  ███████████████████████▋······  400.0 PH/s
  AI             2.10 MW  ████▌·························  1,500 of 1,920 GPUs busy
  other          0.10 MW  ▎·····························  load from meter

  price            61.25 $/MWh   hashprice 62.00 $/PH/day
  margin       -1,812.50 $/h     mining 312.50, AI 500.00
  reserves       5.80 MW  rrs, ready of 6.00 MW planned, at 12.00 $/MW·h: 69.60 $/h
                 0.00 MW  ecrs?, ready of 0.50 MW planned, at 0.00 $/MW·h: 0.00 $/h
  machines  3,900 mining, 100 sleeping
  jobs      12 running
  plan      decision 5, 30s ago, solved in 12 ms

ALARMS
  critical  machine-silent  m-1  no answer?]0;x?  5m ago

FEEDS
  price  61.25 USD/MWh  60s old       ercot.csv:17
  btc    0.00 USD       never, STALE                no value yet

MERIT ORDER  what stops first when power is dear or short
  CLASS  MODE  DIVISION  STRIKE $/MWh  RUNNING       LOAD
  s19    mine  mining    55.1          1100 of 1200  3.58 MW  below the price
  h100   job   ai        2,101.0       1500 of 1920  2.10 MW  firm
`, "status")
	got, err := c.run(t.Context(), "status", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var st site.Status
	if err := json.Unmarshal([]byte(got), &st); err != nil || st.LoadKW != 13200.5 || !strings.Contains(got, `"price_usd_per_mwh": 61.25`) {
		t.Errorf("--json: %v %s", err, got)
	}
	for range 20 {
		c.site.status.Alarms = append(c.site.status.Alarms, site.Alarm{Severity: sluice.Warning, Name: "feed-stale", Text: strings.Repeat("é", 200)})
	}
	if got, err := c.run(t.Context(), "status"); err != nil || !strings.Contains(got, "  and 11 more: sluice alarms\n") || !strings.Contains(got, strings.Repeat("é", 99)+"…") {
		t.Errorf("many alarms: %v\n%s", err, got)
	}
	// --watch ends without an error when the person ends it.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.run(ctx, "status", "--watch"); err != nil {
		t.Errorf("status --watch after Ctrl-C: %v", err)
	}
}

func TestCurtailCommands(t *testing.T) {
	c := newCLI(t, "")
	c.prints("curtailment c-3: site under 4.00 MW until 2023-08-25 20:30:00 UTC, active, 30m to go (grid)\n",
		"curtail", "--limit", "4MW", "--for", "30m", "--why", "grid", "--by", "ann", "--id", "g-1", "--node", "site")
	if want := (site.CurtailmentOrder{ID: "g-1", Node: "site", Limit: 4 * sluice.Megawatt, Until: cliTime.Add(30 * time.Minute), For: 30 * time.Minute, By: "ann", Why: "grid"}); c.site.made[0] != want {
		t.Errorf("ordered %+v, want %+v", c.site.made[0], want)
	}
	c.prints(`site from 13.20 MW to 3.99 MW, limit 4.00 MW: 2,900 machines and 1 job, 1,156.10 $ of margin
The limit cannot be kept by what may be stopped.
CLASS  FROM  TO     UNITS  SHED     $/h     $/kWh   JOBS
s19    mine  sleep  2,900  9.20 MW  312.20  0.0339  j-1
`, "curtail", "--limit", "4 MW", "--for", "30m", "--preview")
	if len(c.site.made) != 1 {
		t.Error("a preview ordered it")
	}
	c.prints(`curtailment c-3: site under 0.90 MW until 2023-08-25 20:01:00 UTC, active, 60s to go
      12.5 s   2,900 machines     9.20 MW confirmed gone
under the limit after 12.5 s (0.21 s wall)
`, "curtail", "--limit", "900kW", "--for", "1m", "--by", "ann", "--follow")
	c.site.orders = c.site.orders[:1]
	c.prints(`ID   STATE   NODE  LIMIT    FROM                 UNTIL                MET AFTER             PROMISED  COST $  BY   WHY
c-3  active  site  0.90 MW  2023-08-25 20:00:00  2023-08-25 20:01:00  12.5 s (0.21 s wall)  -         0.00    ann
`, "curtail", "list")
	c.prints("curtailment c-2 is cancelled\n", "curtail", "cancel", "c-2")
	c.fails(2, "has ended", "curtail", "cancel", "c-9")
	c.fails(2, "--limit is missing", "curtail", "--for", "30m")
	c.fails(2, "--for is missing", "curtail", "--limit", "4MW")
	c.fails(2, "no power", "curtail", "--limit", "4", "--for", "30m")
	c.fails(2, "no length", "curtail", "--limit", "4MW", "--for", "-3m")
	c.fails(2, "31 days", "curtail", "--limit", "4MW", "--for", "1000h")
	c.fails(2, "invalid argument", "curtail", "--limit", "4MW", "--for", "soon")
	c.fails(2, "did you mean cancel", "curtail", "cancle", "c-2")
}

func TestMachineCommands(t *testing.T) {
	c := newCLI(t, "")
	c.prints("NAME    CLASS  NODE      STATE   MODE  WANT  POWER    WORK        PIN\nm-0007  s19    feeder-a  silent  mine  mine  3.25 kW  110.0 TH/s\n",
		"machine", "list", "--state", "silent")
	got, err := c.run(t.Context(), "machine", "list", "--json")
	var page server.Page[site.Machine]
	if err != nil || json.Unmarshal([]byte(got), &page) != nil || len(page.Items) != 1500 || page.Next != "" {
		t.Errorf("all machines: %d, next %q, %v", len(page.Items), page.Next, err)
	}
	c.prints("m-0001 is pinned: locked by ann: fan\n", "machine", "lock", "m-0001", "--why", "fan", "--by", "ann")
	c.prints("m-0001 is released\n", "machine", "release", "m-0001")
	c.fails(2, "not pinned", "machine", "release", "m-0001")
	c.prints("m-0001 is pinned: sleep by ann: noise\n", "machine", "pin", "m-0001", "sleep", "--why", "noise", "--by", "ann")
	if want := (site.Pin{Machine: "m-0001", Mode: "sleep", By: "ann", Why: "noise", At: cliTime}); c.site.pins[0] != want {
		t.Errorf("pinned %+v, want %+v", c.site.pins[0], want)
	}
	c.prints(`name        m-0001
is          miner, -, class s19, under feeder-a
reached by  - at -
state       mining
mode        mine, wanted mine
power       3.25 kW (-)
work        110.0 TH/s
pinned      sleep by ann: noise since 2023-08-25 20:00:00 UTC
last seen   2023-08-25 20:00:00 UTC
`, "machine", "show", "m-0001")
	c.fails(2, "there is no machine m-9 (sluice machine list shows them)", "machine", "show", "m-9")
	c.fails(2, "there is no machine ../site", "machine", "show", "../site")
	c.fails(2, "--why is missing", "machine", "lock", "m-0001")
	c.fails(2, "MODE is missing", "machine", "pin", "m-0001")
	c.fails(2, `"x" is too much`, "machine", "show", "m-0001", "x")
	c.fails(2, "has no command", "machine", "explode")
	c.fails(2, "kind", "machine", "list", "--kind", "toaster")
}

func TestJobCommands(t *testing.T) {
	c := newCLI(t, "")
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	task := write("task.yaml", "name: digits\nworkdir: src\nrun: go run .\n")
	write("src/main.go", "package main")
	t.Setenv("OWN", "mine")
	c.prints("job j-ok (digits) is queued: waits for room\nepoch 1\njob j-ok succeeded\n", "job", "submit", task, "--name", "digits", "-e", "A=b=c", "--env", "OWN", "--follow")
	got := c.jobs.got
	if got.Task != "name: digits\nworkdir: src\nrun: go run .\n" || got.File != "task.yaml" || got.Env["A"] != "b=c" || got.Env["OWN"] != "mine" || got.ID == "" {
		t.Errorf("submitted %+v", got)
	}
	to := t.TempDir()
	if err := got.UnpackWorkdir(to); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(to, "main.go")); err != nil || string(b) != "package main" {
		t.Errorf("the working folder came as %q, %v", b, err)
	}
	c.fails(1, "job j-bad failed: exit status 6", "job", "submit", task, "--name", "breaks", "--follow")
	c.fails(2, "two.yaml:1:12: num_nodes 2 cannot be honoured (write num_nodes: 1)", "job", "submit", write("two.yaml", "num_nodes: 2\nrun: x\n"))
	if _, err := c.run(t.Context(), "job", "submit", write("three.yaml", "num_nodes: 3\nrun: x\n")); err == nil || err.Error() != "a.yaml:1:1: first\na.yaml:2:1: sec?ond" {
		t.Errorf("many mistakes: %v", err)
	}
	c.fails(2, "reading the task", "job", "submit", filepath.Join(dir, "none.yaml"))
	c.fails(2, "working folder", "job", "submit", write("lost.yaml", "workdir: none\nrun: x\n"))
	c.fails(2, "not set here", "job", "submit", task, "--env", "SURELY_NOT_SET")
	c.fails(2, "names no variable", "job", "submit", task, "--env", "=x")
	c.fails(2, "larger than 256 KiB", "job", "submit", write("big.yaml", strings.Repeat("#", maxTask+1)))
	c.fails(2, "FILE is missing", "job", "submit")

	c.prints(`ID     NAME    TENANT  STATE      UNITS    HOST   RAN  PREEMPTED  BILLED  WHY
j-ok   digits  ann     succeeded  2 local  local  95s  2          $0.06
j-bad  breaks  -       failed     1 local  -      0s   0          $0.00   exit status 6
`, "job", "list")
	c.prints(`job          j-ok
name         digits
tenant       ann
state        succeeded
needs        2 of local, sold firm
runs on      local
submitted    2023-08-25 20:00:00 UTC
started      -
ended        -
exit status  0
ran          95s in 3 runs, preempted 2 times
checkpoint   -
billed       $0.06 at 1.20 $ per unit and hour
cost so far  $0.06
energy       not measured
`, "job", "show", "j-ok")
	c.prints("epoch 1\n", "job", "logs", "j-ok")
	c.prints("job j-bad is failed: exit status 6\n", "job", "cancel", "j-bad")
	c.fails(2, "there is no job j-9", "job", "logs", "j-9")
	c.fails(2, "state", "job", "list", "--state", "tired")
}

func TestLedgerCommands(t *testing.T) {
	c := newCLI(t, "")
	c.prints(`      1,234,567.89 USD  assets:receivable:pool
     -1,234,567.89 USD  revenue:mining:hashrate
------------------
              0.00 USD
`, "ledger", "balance")
	c.books.off = 1
	c.fails(1, "do not balance: 1 micro-USD", "ledger", "balance")
	if got, err := c.run(t.Context(), "ledger", "export", "--format", "hledger"); err != nil || strings.Count(got, "\n") != 20_000 {
		t.Errorf("export of %d lines, %v", strings.Count(got, "\n"), err)
	}
	c.fails(2, "format", "ledger", "export", "--format", "xls")

	dir := t.TempDir()
	whole, half := filepath.Join(dir, "whole.journal"), filepath.Join(dir, "half.journal")
	c.prints("", "ledger", "export", "--out", whole)
	if b, err := os.ReadFile(whole); err != nil || strings.Count(string(b), "\n") != 20_000 {
		t.Errorf("the exported file: %d bytes, %v", len(b), err)
	}
	c.books.broken = true
	c.fails(1, "broke off", "ledger", "export", "--out", half)
	if names, _ := filepath.Glob(filepath.Join(dir, "*half*")); len(names) > 0 {
		t.Errorf("half an export stays as %v", names)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, ".*")); len(names) > 0 {
		t.Errorf("left over: %v", names)
	}
}

func TestBackupCommand(t *testing.T) {
	c := newCLI(t, "")
	file := filepath.Join(t.TempDir(), "site.backup")
	c.prints("the site is in "+file+"\n", "backup", "--out", file)
	if b, err := os.ReadFile(file); err != nil || string(b) != "the whole site" {
		t.Errorf("backup %q, %v", b, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the backup: %v %v", info, err)
	}
	c.fails(2, "exists", "backup", "--out", file)
	c.fails(2, "--out is missing", "backup")
	c.fails(2, "can be written", "backup", "--out", filepath.Join(file, "below", "x"))
}

func TestDecisionsAndAlarms(t *testing.T) {
	c := newCLI(t, "")
	c.prints(`1  2023-08-25 20:00:00  price: price 212.40 $/MWh, limit 14.00 MW, only observed
    s19  1200 × mine → sleep  -3,900 kW  strike 55.1 < price 212.4 $/MWh
    j-1  start digits         local      firm
2  2023-08-25 20:00:00  price: price 212.40 $/MWh, limit 14.00 MW
    s19  1200 × mine → sleep  -3,900 kW  strike 55.1 < price 212.4 $/MWh
    j-1  start digits         local      firm
3  2023-08-25 20:00:00  price: price 212.40 $/MWh, limit 14.00 MW
    s19  1200 × mine → sleep  -3,900 kW  strike 55.1 < price 212.4 $/MWh
    j-1  start digits         local      firm
`, "decisions")
	if got, err := c.run(t.Context(), "decisions", "-n", "1"); err != nil || !strings.HasPrefix(got, "3  ") {
		t.Errorf("the newest: %q, %v", got, err)
	}
	c.site.newest = 4
	c.site.decided <- site.Event{Kind: "decision", Data: site.Decision{ID: 4}}
	close(c.site.decided) // the site ends the stream
	var out bytes.Buffer
	cl, err := (&remote{server: c.url}).open()
	if err != nil {
		t.Fatal(err)
	}
	if err := followDecisions(t.Context(), cl, &out, 3); exitCode(err) != 1 || !strings.HasPrefix(out.String(), "4  ") || strings.Contains(out.String(), "\n3  ") {
		t.Errorf("followed: %v\n%s", err, out.String())
	}
	c.prints("no alarms\n", "alarms")
	c.prints(`SINCE                CLEARED              SEVERITY  ALARM       SUBJECT  WHAT         HINT
2023-08-25 20:00:00  2023-08-25 20:00:00  warning   feed-stale  btc      36h old?[2J  is the file there?
`, "alarms", "--all")
}

func TestWhereTheSiteIs(t *testing.T) {
	c := newCLI(t, "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + l.Addr().String()
	l.Close()
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"machine", "list"}, {"job", "list"}, {"decisions"}, {"alarms"}, {"ledger", "balance"}, {"curtail", "--limit", "1MW", "--for", "1m"}} {
		c.fails(1, "no site answers at "+dead+" (start one with sluice up --demo", append(args, "--server", dead)...)
	}
	for _, bad := range []string{"localhost:8420", "ftp://x", "http://", "http://me:secret@127.0.0.1:1", "::"} {
		c.fails(2, "no address of a site", "status", "--server", bad)
	}
	other := httptest.NewServer(http.RedirectHandler(c.url, http.StatusFound))
	defer other.Close()
	c.fails(2, "is this the address of a site?", "status", "--server", other.URL)
	c.fails(2, "unknown flag", "status", "--token", "x") // no token on the command line
}

func TestToken(t *testing.T) {
	const token = "0123456789abcdef-token"
	c := newCLI(t, token)
	c.fails(2, "asks for a token", "status")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.run(t.Context(), "status", "--token-file", file); err != nil {
		t.Error(err)
	}
	t.Setenv("SLUICE_TOKEN_FILE", file)
	if _, err := c.run(t.Context(), "status"); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	c.fails(2, "can be read by others", "status")
}

func TestExitCode(t *testing.T) {
	for err, want := range map[error]int{
		nil: 0, errors.New("x"): 1, sluice.Errorf(sluice.Internal, "", "x"): 1, sluice.Errorf(sluice.Unavailable, "", "x"): 1,
		sluice.Errorf(sluice.Invalid, "", "x"): 2, fmt.Errorf("y: %w", sluice.Errorf(sluice.NotFound, "", "x")): 2, sluice.Errorf(sluice.Conflict, "", "x"): 2,
	} {
		if got := exitCode(err); got != want {
			t.Errorf("exitCode(%v) = %d, want %d", err, got, want)
		}
	}
}

func TestParseWatts(t *testing.T) {
	for s, want := range map[string]sluice.Watts{"4MW": 4_000_000, "4 MW": 4_000_000, "0MW": 0, "2.5kW": 2500, "3250W": 3250} {
		if got, err := parseWatts(s); err != nil || got != want {
			t.Errorf("parseWatts(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "4", "MW", "-4MW", "4mw", "4MWh", "NaNMW", "InfMW", "1e30MW", "4 M W"} {
		if got, err := parseWatts(s); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("parseWatts(%q) = %d, %v, want Invalid", s, got, err)
		}
	}
}

// FuzzReadEvents holds that no stream breaks the reader, and that what the
// server writes is read as it was meant.
func FuzzReadEvents(f *testing.F) {
	f.Add("status", `{"a":1}`, ": still here\n\n")
	f.Add("decision", "null", "event: x\n\n")
	f.Add("", "", "data")
	f.Fuzz(func(t *testing.T, kind, data, noise string) {
		_ = readEvents(strings.NewReader(noise+kind+data), func(string, []byte) error { return nil })
		if strings.ContainsAny(kind+data, "\r\n") {
			return
		}
		n := 0
		err := readEvents(strings.NewReader(": still here\n\nevent: "+kind+"\ndata: "+data+"\n\n"), func(k string, d []byte) error {
			if n++; k != kind || string(d) != data {
				t.Errorf("read %q %q, written %q %q", k, d, kind, data)
			}
			return nil
		})
		if err != nil || n != 1 {
			t.Errorf("%d events, %v", n, err)
		}
	})
}

// A site of one host is not a site of nothing.
func TestSmallPowersAreKilowatts(t *testing.T) {
	for kw, want := range map[float64]string{0: "0.00 MW", 0.26: "0.3 kW", -42: "-42.0 kW", 100: "100.0 kW", 130: "0.13 MW", 13821: "13.82 MW"} {
		if got := mw(kw); got != want {
			t.Errorf("%g kW are printed as %s, want %s", kw, got, want)
		}
	}
	if got := count(1, "job") + ", " + count(2900, "machine"); got != "1 job, 2,900 machines" {
		t.Error(got)
	}
}
