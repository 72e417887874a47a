package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/backtest"
)

// pastSite is a small site with a history of ten days beside it.
const pastSite = `
site: {name: small, overhead: 1.05, pool_fee: 2%, horizon: 3h, ramp: 100kW}
nodes: [{name: grid, limit: 160kW}]
classes:
  - name: old
    node: grid
    count: 40
    modes: [{name: sleep, power: 20W}, {name: mine, power: 3250W, hashrate_ths: 95}]
hosts:
  - {name: gpu, node: grid, driver: virtual, count: 2, gpu: H100, slots: 8, idle_power: 2kW, slot_power: 1kW, usd_per_slot_hour: 2.5, spot_usd_per_slot_hour: 1.2}
reserves: [{name: ready, max: 50kW}]
history:
  series:
    - {quantity: real_time_usd_per_mwh, file: prices.csv, column: west}
    - {quantity: day_ahead_usd_per_mwh, file: prices.csv, column: ahead}
    - {quantity: hashprice_usd_per_ph_day, file: hash.csv, column: usd}
    - {quantity: reserve_usd_per_mw_h/ready, file: prices.csv, column: ready}
  jobs: {file: jobs.csv, min_hours: 1, max_hours: 24, interruptible: 50%, slack: 2, patience: 12h}
`

// pastFiles writes the site and its history to a folder.
func pastFiles(t *testing.T) (config, data string) {
	t.Helper()
	data = t.TempDir()
	var prices, hash, jobs bytes.Buffer
	prices.WriteString("ts_utc,west,ahead,ready\n")
	hash.WriteString("date_utc,usd\n")
	jobs.WriteString("submit_s,gpus,duration_s\n")
	from := time.Date(2023, 3, 1, 0, 0, 0, 0, time.UTC)
	for h := range 240 {
		p := 40 + 30*math.Sin(float64(h)/24*2*math.Pi)
		real := p
		if h%37 == 0 {
			real += 400
		}
		line := fmt.Sprintf("%s,%.2f,%.2f,%d\n", from.Add(time.Duration(h)*time.Hour).Format(time.RFC3339), real, p, 3+h%5)
		if h != 150 { // a gap
			prices.WriteString(line)
		}
		if h%24 == 0 {
			fmt.Fprintf(&hash, "%s,70\n", from.Add(time.Duration(h)*time.Hour).Format(time.DateOnly))
		}
		if h%5 == 0 {
			fmt.Fprintf(&jobs, "%d,%d,%d\n", h*3600+600, 1+h%8, 3600*(2+h%9))
		}
	}
	for name, text := range map[string]string{"prices.csv": prices.String(), "hash.csv": hash.String(), "jobs.csv": jobs.String(), "site.yaml": pastSite} {
		if err := os.WriteFile(filepath.Join(data, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(data, "site.yaml"), data
}

func runBacktest(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := backtestCmd()
	var out, errs bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	err := cmd.Execute()
	if errs.Len() > 0 {
		t.Errorf("standard error, which is no terminal, has %q", errs.String())
	}
	return out.String(), err
}

func TestBacktestSideBySide(t *testing.T) {
	file, data := pastFiles(t)
	page, table := filepath.Join(data, "out.html"), filepath.Join(data, "out.csv")
	out, err := runBacktest(t, "--config", file, "--data", data, "--from", "2023-03-05", "--to", "2023-03-09", "--json", "--html", page, "--csv", table)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Site     string
		StepS    float64 `json:"step_s"`
		Policies []map[string]any
		Findings []struct {
			Kind, Path string
			Line       int
		}
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.Site != "small" || r.StepS != 3600 || len(r.Policies) != 5 {
		t.Fatalf("%s", out)
	}
	parts := []string{"energy_mwh", "energy_usd", "mining_usd", "ai_usd", "reserve_usd", "hours_mined", "gpu_hours", "jobs_late", "jobs_lost", "switches"}
	bound := r.Policies[4]["profit_usd"].(float64)
	for i, name := range []string{"always", "static", "last-price", "sluice", "hindsight"} {
		p := r.Policies[i]
		profit, capture := p["profit_usd"].(float64), p["capture"].(float64)
		if p["name"] != name || profit > bound || profit <= 0 || math.Abs(capture-profit/bound) > 1e-12 {
			t.Errorf("%s: %v", name, p)
		}
		for _, k := range parts {
			v, there := p[k]
			if _, number := v.(float64); !there || number == (name == "hindsight") {
				t.Errorf("%s: %s is %v", name, k, v)
			}
		}
		if name != "hindsight" {
			if sum := p["mining_usd"].(float64) + p["ai_usd"].(float64) + p["reserve_usd"].(float64) - p["energy_usd"].(float64); math.Abs(sum-profit) > 1e-6 {
				t.Errorf("%s: the parts sum to %v, the profit is %v", name, sum, profit)
			}
		}
	}
	if len(r.Findings) != 3 || r.Findings[0].Kind != "gap" || r.Findings[0].Path != filepath.Join(data, "prices.csv") || r.Findings[0].Line != 151 {
		t.Errorf("findings: %+v", r.Findings) // of the three columns of the file
	}

	f, err := os.Open(table)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != 6 {
		t.Fatalf("%v, %v", rows, err)
	}
	for _, k := range append([]string{"name", "profit_usd", "capture"}, parts...) {
		if i := slices.Index(rows[0], k); i < 0 || rows[4][i] == "" || (rows[5][i] == "") != slices.Contains(parts, k) {
			t.Errorf("column %s of %v: %v, %v", k, rows[0], rows[4], rows[5])
		}
	}

	html, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<svg", "hindsight", "Profit since the start", "The week of the highest price", "prices.csv:151:"} {
		if !bytes.Contains(html, []byte(want)) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, outside := range []string{"src=\"", "<link", "@import", "url(http", "https://", "<script src"} {
		if bytes.Contains(html, []byte(outside)) {
			t.Errorf("the page is not self-contained: %s", outside)
		}
	}
}

// One policy alone, as text; the data beside the configuration need not be named.
func TestBacktestText(t *testing.T) {
	file, _ := pastFiles(t)
	out, err := runBacktest(t, "--config", file, "--from", "2023-03-05T06:00:00Z", "--to", "2023-03-07", "--policy", "last-price")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"small, 2023-03-05T06:00:00Z to 2023-03-07T00:00:00Z, steps of 1h0m0s", "last-price", "prices.csv:151: 1 hour is missing from 2023-03-07T06:00Z"} {
		if strings.Contains(out, want) == strings.HasPrefix(want, "prices") { // the gap lies after the range
			t.Errorf("%q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "hindsight") {
		t.Errorf("other policies than asked for:\n%s", out)
	}
}

// Each mistake is one error with a hint, exit status 2, and nothing is written.
func TestBacktestRefuses(t *testing.T) {
	file, data := pastFiles(t)
	bare := filepath.Join(data, "bare.yaml")
	head, _, _ := strings.Cut(pastSite, "history:")
	if err := os.WriteFile(bare, []byte(head), 0o600); err != nil {
		t.Fatal(err)
	}
	misspelt := filepath.Join(data, "misspelt.yaml")
	if err := os.WriteFile(misspelt, []byte(strings.Replace(pastSite, "column: west", "column: wets", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	page, table := filepath.Join(data, "out.html"), filepath.Join(data, "out.csv")
	before, err := os.ReadDir(data)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		args []string
		says string
	}{
		"no configuration":   {[]string{"--from", "2023-03-05", "--to", "2023-03-06"}, "--config is missing"},
		"no range":           {[]string{"--config", file}, "--from is missing"},
		"no such file":       {[]string{"--config", file + "x", "--from", "2023-03-05", "--to", "2023-03-06"}, "site.yamlx"},
		"bad date":           {[]string{"--config", file, "--from", "5.3.2023", "--to", "2023-03-06"}, `--from: "5.3.2023"`},
		"bad end":            {[]string{"--config", file, "--from", "2023-03-05", "--to", "soon"}, `--to: "soon"`},
		"the wrong way":      {[]string{"--config", file, "--from", "2023-03-06", "--to", "2023-03-05"}, "is empty"},
		"before the series":  {[]string{"--config", file, "--from", "2022-03-05", "--to", "2022-03-06"}, "begins at 2023-03-01"},
		"after the series":   {[]string{"--config", file, "--from", "2024-03-05", "--to", "2024-03-06"}, "ends at 2023-03-"},
		"past the series":    {[]string{"--config", file, "--from", "2023-03-05", "--to", "2023-04-06"}, "no price for more than 168h"},
		"no such policy":     {[]string{"--config", file, "--from", "2023-03-05", "--to", "2023-03-06", "--policy", "always,sluce"}, `"sluce"`},
		"no history":         {[]string{"--config", bare, "--from", "2023-03-05", "--to", "2023-03-06"}, "has no history.series"},
		"no such column":     {[]string{"--config", misspelt, "--from", "2023-03-05", "--to", "2023-03-06"}, "did you mean west?"},
		"no such data":       {[]string{"--config", file, "--data", filepath.Join(data, "none"), "--from", "2023-03-05", "--to", "2023-03-06"}, ""},
		"no folder to write": {[]string{"--config", file, "--from", "2023-03-05", "--to", "2023-03-06", "--policy", "always", "--html", filepath.Join(data, "none", "x.html")}, "x.html"},
	} {
		args := x.args
		if name != "no folder to write" {
			args = append(args, "--html", page, "--csv", table)
		}
		out, err := runBacktest(t, args...)
		if name == "no such data" { // the files beside the configuration are found all the same
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			os.Remove(page)
			os.Remove(table)
			continue
		}
		if exitCode(err) != 2 || err == nil || !strings.Contains(err.Error(), x.says) || !strings.Contains(err.Error(), "(") || out != "" {
			t.Errorf("%s: %v (exit %d), standard output %q", name, err, exitCode(err), out)
		}
	}
	after, err := os.ReadDir(data)
	if err != nil || len(after) != len(before) {
		t.Errorf("left behind: %v, %v", after, err)
	}
}

// A month of a real market over the site to start from: what is earned lies in the
// order that it should, and close to the bound.
func TestBacktestOfAMonth(t *testing.T) {
	const data = "../../../shared/data"
	if _, err := os.Stat(data); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("the recorded series are not there")
	}
	o, err := backtestOptions("../../examples/site-ercot.yaml", data, "2022-07-01", "2022-08-01")
	if err != nil {
		t.Fatal(err)
	}
	o.Learn = 365 * 24 * time.Hour // of four years, to save time
	r, err := backtest.Run(t.Context(), o, backtest.Policies())
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]backtest.Result{}
	for _, p := range r.Policies {
		at[p.Name] = p
		t.Logf("%s: %.0f USD, %.4f of the bound, %d jobs late, %d lost, %.1f s", p.Name, p.ProfitUSD, *p.Capture, p.JobsLate, p.JobsLost, p.Seconds)
	}
	own := at[backtest.Sluice]
	for _, other := range []string{backtest.Always, backtest.Static, backtest.LastPrice} {
		if at[other].ProfitUSD >= own.ProfitUSD {
			t.Errorf("%s earns %.0f USD, sluice %.0f", other, at[other].ProfitUSD, own.ProfitUSD)
		}
	}
	if own.ProfitUSD > at[backtest.Hindsight].ProfitUSD || *own.Capture < 0.92 || *at[backtest.LastPrice].Capture > 0.84 {
		t.Errorf("sluice earns %.4f of the bound, last-price %.4f", *own.Capture, *at[backtest.LastPrice].Capture)
	}
	if own.ReserveUSD <= 0 || own.Preemptions > 100 || own.JobsLost > 2*at[backtest.Always].JobsLost {
		t.Errorf("%+v", own)
	}
}
