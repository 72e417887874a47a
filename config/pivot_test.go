package config

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// A ratio written as a share and as a number is the same.
func TestRatioBothWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		percent := rapid.IntRange(-200, 500).Draw(t, "percent")
		a, errA := parseRatio(fmt.Sprintf("%d%%", percent))
		b, errB := parseRatio(fmt.Sprintf("%g", float64(percent)/100))
		if errA != nil || errB != nil || math.Abs(float64(a-b)) > 1e-12 {
			t.Fatalf("%d %%: %v (%v) and %v (%v)", percent, a, errA, b, errB)
		}
	})
	for _, s := range []string{"", "%", "x", "NaN", "Inf%", "5%%", "1e999"} {
		if x, err := parseRatio(s); err == nil {
			t.Errorf("%q is read as %v", s, x)
		}
	}
}

// What the file gives is known by its place, and nothing else is.
func TestPivotGiven(t *testing.T) {
	c, err := Load("testdata/pivot-full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for path, line := range map[string]int{
		"hashprice_usd_per_ph_day": 8, "contract.block": 12, "connection.firm_share": 13,
		"fleet[0].resale": 14, "conversions[1].energy_paid_by": 17,
	} {
		if got, want := c.Pivot.Given[path], fmt.Sprintf("testdata/pivot-full.yaml:%d", line); got != want {
			t.Errorf("%s stands at %q, want %q", path, got, want)
		}
	}
	for _, path := range []string{"discount_rate", "conversions[0].host_usd", "conversions[1].kind.x"} {
		if at, given := c.Pivot.Given[path]; given {
			t.Errorf("%s is not in the file, and yet at %s", path, at)
		}
	}
	if c.Pivot.Conversions[0].Kind != "gpu" || c.Pivot.Connection.FirmShare != 0.6 || c.Pivot.Capture != 1 || c.Pivot.BTCGrowth != -0.05 {
		t.Errorf("%+v", c.Pivot)
	}
}
