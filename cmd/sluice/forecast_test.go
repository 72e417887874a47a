package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func runForecast(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := rootCmd()
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(append([]string{"forecast", "evaluate"}, args...))
	err := c.Execute()
	return out.String(), err
}

// handPrices are three days by hand: 20, but 90 from 17:00 on each day.
func handPrices(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("ts_utc,price_eur_per_mwh,other\n")
	at := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	for h := range 72 {
		p := 20.0
		if h%24 >= 17 {
			p = 90
		}
		if h != 40 { // a gap
			fmt.Fprintf(&b, "%s,%g,1\n", at.Add(time.Duration(h)*time.Hour).Format(time.RFC3339), p)
		}
	}
	path := filepath.Join(t.TempDir(), "prices.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The figures of a load by hand: two days, one hour of them without a price.
func TestForecastEvaluateByHand(t *testing.T) {
	out, err := runForecast(t, "--real-time", handPrices(t), "--column", "price_eur_per_mwh", "--strike", "50", "--from", "2024-05-02", "--to", "2024-05-04", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Always    float64  `json:"always_usd_per_mw"`
		LastPrice float64  `json:"last_price_usd_per_mw"`
		Forecast  float64  `json:"forecast_usd_per_mw"`
		Hindsight float64  `json:"hindsight_usd_per_mw"`
		Ratio     *float64 `json:"regret_ratio"`
		Currency  string   `json:"currency"`
		Intervals int      `json:"intervals"`
		Missing   int      `json:"intervals_missing"`
		Findings  []any    `json:"findings"`
	}
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	// 34 hours at 20 less the one without a price, 14 at 90; the last price errs at
	// 17:00 (pays 40 too much) and at 0:00 (misses 30), on both days.
	const cheap, dear = 33, 14
	hindsight := 30.0 * cheap
	if m.Always != 30*cheap-40*dear || m.Hindsight != hindsight || m.LastPrice != hindsight-2*40-2*30 || m.Forecast != m.LastPrice {
		t.Errorf("%+v", m)
	}
	if m.Ratio == nil || *m.Ratio != 1 || m.Currency != "EUR" || m.Intervals != cheap+dear || m.Missing != 1 || len(m.Findings) == 0 {
		t.Errorf("%+v", m)
	}
}

func TestForecastEvaluateRefuses(t *testing.T) {
	path := handPrices(t)
	good := map[string]string{"--real-time": path, "--column": "price_eur_per_mwh", "--strike": "50", "--from": "2024-05-02", "--to": "2024-05-04"}
	for _, x := range []struct{ flag, value, want string }{
		{"--column", "price_usd", "price_eur_per_mwh"},
		{"--real-time", path + "x", path + "x"},
		{"--day-ahead", path + "y", path + "y"},
		{"--from", "yesterday", "--from"},
		{"--from", "2030-01-01", "is empty"},
		{"--from", "2020-01-01", "2024-05-01T00:00:00Z"},
		{"--strike", "NaN", "--strike"},
		{"--strike", "", "--strike"},
	} {
		args := []string{}
		for k, v := range good {
			if k != x.flag {
				args = append(args, k, v)
			}
		}
		if x.value != "" {
			args = append(args, x.flag, x.value)
		}
		out, err := runForecast(t, args...)
		if err == nil || !strings.Contains(err.Error(), x.want) || exitCode(err) != 2 {
			t.Errorf("%s %s: %v (status %d), wanted %q; output %s", x.flag, x.value, err, exitCode(err), x.want, out)
		}
	}
}

// Columns: the only one needs no name, and its own says the currency; day-ahead
// prices are taken from the column of the same name, else from the only one, else
// from the one that is named.
func TestForecastEvaluateFindsColumns(t *testing.T) {
	dir := t.TempDir()
	put := func(name, header, values string) string {
		var b strings.Builder
		b.WriteString(header + "\n")
		for h := range 72 {
			fmt.Fprintf(&b, "%s,%s\n", time.Date(2024, 5, 1, h, 0, 0, 0, time.UTC).Format(time.RFC3339), values)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two := put("one.csv", "ts_utc,price_aud_per_mwh", "20"), put("two.csv", "ts_utc,a_usd_per_mwh,b_usd_per_mwh", "20,30")
	for _, c := range []struct {
		args []string
		want string // the currency, or what the error says
	}{
		{[]string{"--real-time", one}, "AUD"},
		{[]string{"--real-time", one, "--day-ahead", one}, "AUD"},
		{[]string{"--real-time", two, "--column", "b_usd_per_mwh", "--day-ahead", two}, "USD"},
		{[]string{"--real-time", two, "--column", "b_usd_per_mwh", "--day-ahead", one}, "USD"},
		{[]string{"--real-time", one, "--day-ahead", two, "--day-ahead-column", "a_usd_per_mwh"}, "AUD"},
		{[]string{"--real-time", one, "--day-ahead", two}, "--day-ahead-column"},
		{[]string{"--real-time", one, "--day-ahead", two, "--day-ahead-column", "c"}, "a_usd_per_mwh"},
	} {
		out, err := runForecast(t, append(c.args, "--strike", "50", "--from", "2024-05-02", "--to", "2024-05-03", "--json")...)
		switch {
		case err != nil:
			if !strings.Contains(err.Error(), c.want) || exitCode(err) != 2 {
				t.Errorf("%v: %v (status %d)", c.args, err, exitCode(err))
			}
		case !strings.Contains(out, `"currency": "`+c.want+`"`):
			t.Errorf("%v: no currency %s in %s", c.args, c.want, out)
		}
	}
	if out, err := runForecast(t, "--help"); err != nil || strings.Contains(out, "[]") {
		t.Errorf("help: %v, %s", err, out)
	}
}
