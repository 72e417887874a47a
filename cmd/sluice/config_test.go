package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sluice/config"
	"sluice/feed"
)

func runConfig(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var b bytes.Buffer
	cmd := configCmd()
	cmd.SetOut(&b)
	cmd.SetErr(&b)
	cmd.SetArgs(args)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err = cmd.Execute()
	return b.String(), err
}

func TestConfigCheck(t *testing.T) {
	out, err := runConfig(t, "check", "../../examples/site/sluice.yaml")
	if err != nil || !strings.Contains(out, "OK: site pecos-1 in mode observe: 5.00 MW at the connection, 3 nodes, 2 classes, 400 machines") {
		t.Errorf("%q, %v", out, err)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("site: {name: a, stp: 5m}\nnodes: [{name: n, limit: 14mw}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = runConfig(t, "check", bad)
	want := bad + `:1:17: unknown field "stp" in site (did you mean "step"?)` + "\n" + bad + `:2:26: nodes[0].limit: "mw" is no unit of power (did you mean "14MW"?)` + "\n"
	if out != want || exitCode(err) != 2 || !strings.Contains(err.Error(), "2 mistakes") {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
	out, err = runConfig(t, "check", "--json", bad)
	var r checked
	if e := json.Unmarshal([]byte(out), &r); e != nil || r.OK || len(r.Mistakes) != 2 || r.Mistakes[0].Line != 1 || r.Mistakes[1].Suggestion != "14MW" || exitCode(err) != 2 {
		t.Errorf("%s (%v), %v", out, e, err)
	}
	if _, err := runConfig(t, "check", bad+".absent"); exitCode(err) != 2 {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestConfigSchema(t *testing.T) {
	out, err := runConfig(t, "schema")
	if err != nil || !json.Valid([]byte(out)) || !strings.Contains(out, "2020-12/schema") {
		t.Errorf("%.100s, %v", out, err)
	}
}

// Every type of feed that a configuration may name becomes its source.
func TestFeedSources(t *testing.T) {
	t.Setenv("SLUICE_TEST_PASSWORD", "x")
	c, err := config.Parse([]byte(`
site: {name: a, currency: EUR, usd_per_currency: 1.1, usd_per_currency_as_of: 2026-01-31}
nodes: [{name: n, limit: 1MW}]
feeds:
  - {name: a, type: csv, path: x, columns: {btc_usd: price}, publish_at: "00:00"}
  - {name: b, type: constant, values: {real_time_usd_per_mwh: 5}, fallback: {btc_usd: 7}}
  - {name: c, type: mempool}
  - {name: d, type: bitcoind, url: "http://127.0.0.1:8332", user: u, password: env:SLUICE_TEST_PASSWORD}
  - {name: e, type: ercot, zone: LZ_WEST}
  - {name: f, type: energy-charts, zone: DE-LU}
  - {name: g, type: orders, path: x}
  - {name: h, type: mqtt, device: b, topic: x}
devices: [{name: b, driver: mqtt, address: "127.0.0.1:1"}]
`), "x")
	if err != nil {
		t.Fatal(err)
	}
	fac, err := newFacility(c)
	if err != nil {
		t.Fatal(err)
	}
	defer fac.close()
	specs, err := feedSpecs(c, fac)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range specs {
		got = append(got, fmt.Sprintf("%T", s.Source))
	}
	want := []string{"*csv.Source", "*constant.Source", "*mempool.Source", "*bitcoind.Source", "*ercot.Source", "*energycharts.Source", "*orders.Source", "*mqtt.Source"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if specs[1].Fallback[feed.BTCPrice] != 7 || specs[1].MaxAge == 0 || specs[1].Refresh == 0 {
		t.Errorf("%+v", specs[1])
	}
	c.Feeds[3].Password = "env:SLUICE_NO_SUCH_VARIABLE"
	if _, err := feedSpecs(c, nil); err == nil || !strings.Contains(err.Error(), "feed d: ") {
		t.Errorf("a secret that is not there: %v", err)
	}
}
