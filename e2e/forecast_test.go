package e2e_test

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"testing"
)

// A year of ERCOT West, learned from four years before: the forecast loses clearly
// less than the last price.
func TestForecastOnRecordedPrices(t *testing.T) {
	rt := "../../shared/data/ercot_rt_hourly_lz.csv.gz"
	if _, err := os.Stat(rt); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("needs the recorded series")
	}
	out, err := exec.Command(binary, "forecast", "evaluate", "--real-time", rt, "--day-ahead", "../../shared/data/ercot_da_hourly_lz.csv.gz", "--column", "lz_west_usd_per_mwh",
		"--strike", "30,80", "--from", "2019-01-01", "--to", "2020-01-01", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Strike float64  `json:"strike"`
		Ratio  *float64 `json:"regret_ratio"`
	}
	if err := json.Unmarshal(out, &all); err != nil || len(all) != 2 {
		t.Fatalf("%v in %.200s", err, out)
	}
	for _, m := range all {
		t.Logf("strike %g: %.3f", m.Strike, *m.Ratio)
		if math.IsNaN(*m.Ratio) || *m.Ratio > 0.88 {
			t.Errorf("strike %g: the forecast's regret is %.3f of the last price's", m.Strike, *m.Ratio)
		}
	}
}
