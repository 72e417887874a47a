package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/config"
	"sluice/pivot"
)

const smallSite = `
site: {name: small, region: US-TX, overhead: 1.04}
nodes: [{name: grid, limit: 5MW}]
classes:
  - name: s19kpro
    node: grid
    count: 1500
    modes: [{name: sleep, power: 20W}, {name: mine, power: 2760W, hashrate_ths: 120}]
history:
  series:
    - {quantity: real_time_usd_per_mwh, file: prices.csv}
    - {quantity: hashprice_usd_per_ph_day, file: network.csv}
`

// pivotFolder is a folder with a site and ten weeks of made history.
func pivotFolder(t *testing.T, more string) (dir, site string) {
	t.Helper()
	dir = t.TempDir()
	var prices, network strings.Builder
	prices.WriteString("ts_utc,price\n")
	network.WriteString("date_utc,hashprice\n")
	start := time.Date(2021, 5, 3, 0, 0, 0, 0, time.UTC)
	for i := range 10 * 168 {
		p := 35 + 20*math.Sin(float64(i)/24*2*math.Pi)
		if i%211 == 0 {
			p = 2500
		}
		fmt.Fprintf(&prices, "%s,%.2f\n", start.Add(time.Duration(i)*time.Hour).Format(time.RFC3339), p)
		if i%24 == 0 {
			fmt.Fprintf(&network, "%s,%.2f\n", start.Add(time.Duration(i)*time.Hour).Format(time.DateOnly), 60+10*math.Sin(float64(i)/500))
		}
	}
	for name, text := range map[string]string{"site.yaml": smallSite + more, "prices.csv": prices.String(), "network.csv": network.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, filepath.Join(dir, "site.yaml")
}

func runPlan(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := planCmd()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

// A configuration with nothing but what is needed has a plan, in every form.
func TestPlanPivot(t *testing.T) {
	dir, site := pivotFolder(t, "")
	page, table := filepath.Join(dir, "p.html"), filepath.Join(dir, "p.csv")
	text, err := runPlan(t, "pivot", "--config", site, "--steps", "2", "--scenarios", "20", "--html", page, "--csv", table)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"gpu: the present value is best at", "hosting: the present value is best at", "discount_rate", "assumption", "site.yaml"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing from\n%s", want, text)
		}
	}
	for path, want := range map[string]string{page: "Net present value by share", table: "conversion,share,mining_mw"} {
		b, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %.80s (%v)", path, b, err)
		}
	}
	args := []string{"pivot", "--config", site, "--steps", "2", "--scenarios", "20", "--json"}
	first, err := runPlan(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	second, err := runPlan(t, args...)
	if err != nil || first != second {
		t.Errorf("the same plan comes out differently (%v)", err)
	}
	other, err := runPlan(t, append(args, "--seed", "2")...)
	if err != nil || other == first {
		t.Errorf("another seed changes nothing (%v)", err)
	}
	var r pivot.Result
	if err := json.Unmarshal([]byte(first), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Steps) != 6 || len(r.Best) != 2 || r.Years != 10 || r.Scenarios != 20 || math.Abs(r.PowerMW-4.95) > 1e-9 {
		t.Errorf("%d steps, %d best, %d years, %d scenarios, %v MW", len(r.Steps), len(r.Best), r.Years, r.Scenarios, r.PowerMW)
	}
}

// What the file says is used, with its place; hosts that stand already leave less
// to convert; --data is looked at first.
func TestPlanPivotTakesTheFile(t *testing.T) {
	dir, site := pivotFolder(t, `
hosts:
  - {name: there, node: grid, driver: virtual, count: 10, slots: 8, idle_power: 2kW, slot_power: 1kW}
pivot:
  hashprice_usd_per_ph_day: 43.34
  capture: 93%
  contract: {block: 2MW, block_usd_per_mwh: 41}
  connection: {firm_share: 60%, curtail_hours: 80}
  fleet: [{class: s19kpro, book_usd: 500, resale: 60%}]
  conversions:
    - {name: own, gpu: H100, host_power: 10.2kW, reserved_usd_per_gpu_hour: 1.9, renew: "no"}
    - {name: rent, kind: hosting, usd_per_kw_month: 130, energy_paid_by: site}
`)
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "prices.csv"), filepath.Join(data, "prices.csv")); err != nil {
		t.Fatal(err)
	}
	out, err := runPlan(t, "pivot", "--config", site, "--data", data, "--steps", "1", "--scenarios", "5", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var r pivot.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	got := map[string]pivot.Input{}
	for _, in := range r.Inputs {
		got[in.Name] = in
	}
	line := func(what string) string {
		b, err := os.ReadFile(site)
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range strings.Split(string(b), "\n") {
			if strings.Contains(l, what) {
				return fmt.Sprintf("%s:%d", site, i+1)
			}
		}
		return "nowhere"
	}
	for name, want := range map[string]pivot.Input{
		"hashprice_usd_per_ph_day":                  {Value: 43.34, Source: line("43.34")},
		"capture":                                   {Value: 0.93, Source: line("93%")},
		"contract.block":                            {Value: 2000.0, Source: line("2MW")},
		"contract.block_usd_per_mwh":                {Value: 41.0, Source: line("2MW")},
		"connection.firm_share":                     {Value: 0.6, Source: line("firm_share")},
		"fleet.s19kpro.book_usd":                    {Value: 500.0, Source: line("book_usd")},
		"conversions.own.host_power":                {Value: 10.2, Source: line("H100")},
		"conversions.own.reserved_usd_per_gpu_hour": {Value: 1.9, Source: line("H100")},
		"conversions.own.gpu":                       {Value: "H100", Source: line("H100")},
		"conversions.own.renew":                     {Value: "no", Source: line("H100")},
		"conversions.rent.energy_paid_by":           {Value: "site", Source: line("hosting")},
		"conversions.rent.usd_per_kw_month":         {Value: 130.0, Source: line("hosting")},
	} {
		if in := got[name]; in.Value != want.Value || in.Source != want.Source {
			t.Errorf("%s is %v from %q, want %v from %q", name, in.Value, in.Source, want.Value, want.Source)
		}
	}
	// 5 MW less 1 %, less ten hosts of 10 kW at an overhead of 1.04
	if want := 4.95 - 0.104; math.Abs(r.PowerMW-want) > 1e-9 {
		t.Errorf("%v MW to convert, want %v", r.PowerMW, want)
	}
}

func TestPlanPivotRefuses(t *testing.T) {
	dir, site := pivotFolder(t, "")
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	without := func(old string) string { return strings.Replace(smallSite, old, "", 1) }
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no configuration": {[]string{"pivot"}, "--config is missing"},
		"no such file":     {[]string{"pivot", "--config", filepath.Join(dir, "none.yaml")}, "cannot read the configuration"},
		"no steps":         {[]string{"pivot", "--config", site, "--steps", "0"}, "--steps: 0"},
		"too many years":   {[]string{"pivot", "--config", site, "--years", "99"}, "years: 99"},
		"no scenarios":     {[]string{"pivot", "--config", site, "--scenarios", "-3"}, "--scenarios: -3"},
		"no prices":        {[]string{"pivot", "--config", write("a.yaml", without("    - {quantity: real_time_usd_per_mwh, file: prices.csv}\n"))}, "history.series has no real_time_usd_per_mwh"},
		"no hashprice":     {[]string{"pivot", "--config", write("b.yaml", without("    - {quantity: hashprice_usd_per_ph_day, file: network.csv}\n"))}, "there is no hashprice"},
		"no file of it":    {[]string{"pivot", "--config", write("c.yaml", strings.Replace(smallSite, "prices.csv", "gone.csv", 1))}, "gone.csv"},
		"no miners":        {[]string{"pivot", "--config", write("d.yaml", without("    count: 1500\n"))}, "has no miners"},
		"a bad value":      {[]string{"pivot", "--config", write("e.yaml", smallSite+"pivot:\n  capture: 150%\n")}, "e.yaml:14:12: pivot.capture"},
		"an unknown field": {[]string{"pivot", "--config", write("f.yaml", smallSite+"pivot:\n  discont_rate: 10%\n")}, `f.yaml:14:3: unknown field "discont_rate" in pivot (did you mean "discount_rate"?)`},
		"nothing is left":  {[]string{"pivot", "--config", write("g.yaml", smallSite+"hosts: [{name: h, node: grid, driver: virtual, count: 1000, slots: 8, slot_power: 1kW}]\n")}, "nothing is left to convert"},
	} {
		_, err := runPlan(t, c.args...)
		if err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q and exit status 2", name, err, c.want)
		}
	}
}

// Every number of the configuration's section is one that a plan takes, and the
// other way round.
func TestPlanPivotTakesEveryNumber(t *testing.T) {
	var walk func(typ reflect.Type, prefix string) []string
	walk = func(typ reflect.Type, prefix string) []string {
		var out []string
		for i := range typ.NumField() {
			key := typ.Field(i).Tag.Get("yaml")
			switch f := typ.Field(i).Type; f.Kind() {
			case reflect.Struct:
				out = append(out, walk(f, prefix+key+".")...)
			case reflect.Float64, reflect.Int, reflect.Int64:
				out = append(out, prefix+key)
			}
		}
		return out
	}
	terms, gpu := pivot.Names(pivot.GPU)
	_, hosting := pivot.Names(pivot.Hosting)
	conversion := slices.Compact(slices.Sorted(slices.Values(append(gpu, hosting...))))
	for what, pair := range map[string][2][]string{
		"pivot":       {walk(reflect.TypeFor[config.Pivot](), ""), terms},
		"conversions": {walk(reflect.TypeFor[config.Conversion](), ""), conversion},
	} {
		a, b := slices.Sorted(slices.Values(pair[0])), slices.Sorted(slices.Values(pair[1]))
		if !slices.Equal(a, b) {
			t.Errorf("%s: the configuration has\n%v\na plan takes\n%v", what, a, b)
		}
	}
}
