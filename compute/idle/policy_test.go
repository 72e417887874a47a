package idle_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/compute/idle"
)

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	terms = idle.Terms{Fee: 0.02, Overhead: 1.1, Margin: 0.1, MaxAge: 24 * time.Hour, MinOn: 10 * time.Minute, MinOff: 5 * time.Minute}
	rig   = idle.Rig{MHs: 100, Power: 320, Idle: 40}
)

func value(usd float64) idle.Value {
	return idle.Value{Algorithm: "kawpow", USDPerDay: usd, AsOf: noon.Add(-time.Hour)}
}

func price(usd float64) *sluice.EnergyPrice {
	p := sluice.EnergyPriceOf(usd)
	return &p
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name   string
		value  idle.Value
		price  *sluice.EnergyPrice
		mining bool
		since  time.Time
		mine   bool
		why    string
	}{
		// 100 MH/s at 0.005 USD/day each: 0.0204 USD/h; 280 W × 1.1 at 68: 0.0209.
		{"usually", value(0.005), price(68), false, time.Time{}, false, "mining earns 0.020 USD/h; 0.31 kW at 68 $/MWh costs 0.021: it does not pay"},
		{"cheap power", value(0.005), price(20), false, time.Time{}, true, "it pays"},
		{"negative price", value(0.00001), price(-30), false, time.Time{}, true, "it pays"},
		{"within the margin", value(0.0054), price(68), false, time.Time{}, false, "less than the margin of 10 %"},
		{"within the margin, and it mines", value(0.0054), price(68), true, noon.Add(-time.Hour), true, "it pays"},
		{"dearer now, but it has just begun", value(0.005), price(68), true, noon.Add(-time.Minute), true, "it stops in 9m0s"},
		{"dearer now", value(0.005), price(68), true, noon.Add(-time.Hour), false, "it does not pay"},
		{"it has just ended", value(0.005), price(20), false, noon.Add(-time.Minute), false, "it begins in 4m0s"},
		{"stale", idle.Value{Algorithm: "kawpow", USDPerDay: 9, AsOf: noon.Add(-25 * time.Hour)}, price(20), true, noon, false, "is of 2026-02-28 11:00"},
		{"undated", idle.Value{Algorithm: "kawpow", USDPerDay: 9}, price(20), true, noon, false, "it does not mine"},
		{"from the future", idle.Value{USDPerDay: 9, AsOf: noon.Add(48 * time.Hour)}, price(20), true, noon, false, "it does not mine"},
		{"no price", value(9), nil, true, noon, false, "the price of power is not known"},
		{"no value", value(0), price(20), true, noon, false, "is not known"},
	} {
		v := idle.Judge(3, rig, c.value, c.price, terms, c.mining, c.since, noon)
		if v.Mine != c.mine || !strings.Contains(v.Why, c.why) || v.GPU != 3 {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
}

// Whatever comes: who does not mine and begins does so at a gain, nothing unknown
// mines, and a worse price never makes it begin.
func TestJudgeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := idle.Rig{MHs: rapid.Float64Range(0, 1e4).Draw(t, "mhs"), Power: sluice.Watts(rapid.IntRange(0, 1000).Draw(t, "w")), Idle: sluice.Watts(rapid.IntRange(0, 100).Draw(t, "idle"))}
		val := value(rapid.Float64Range(-1, 1).Draw(t, "usd"))
		val.AsOf = noon.Add(-time.Duration(rapid.IntRange(0, 48).Draw(t, "age")) * time.Hour)
		mining := rapid.Bool().Draw(t, "mining")
		since := noon.Add(-time.Duration(rapid.IntRange(0, 30).Draw(t, "since")) * time.Minute)
		p := rapid.Float64Range(-500, 5000).Draw(t, "price")
		v := idle.Judge(0, r, val, price(p), terms, mining, since, noon)
		if v.Why == "" || math.IsNaN(v.EarnUSD) || math.IsNaN(v.CostUSD) {
			t.Fatalf("%+v", v)
		}
		if v.Mine && (!v.Known || noon.Sub(val.AsOf) > terms.MaxAge) {
			t.Fatalf("it mines and knows nothing: %+v", v)
		}
		if v.Mine && !mining && v.Net() <= 0 {
			t.Fatalf("it begins at a loss: %+v", v)
		}
		if v.Mine && mining && v.Net() <= 0 && noon.Sub(since) >= terms.MinOn {
			t.Fatalf("it goes on at a loss: %+v", v)
		}
		worse := idle.Judge(0, r, val, price(p+rapid.Float64Range(0, 1000).Draw(t, "worse")), terms, mining, since, noon)
		if worse.Mine && !v.Mine {
			t.Fatalf("a higher price makes it mine: %+v, %+v", v, worse)
		}
	})
}
