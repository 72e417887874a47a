package sluice_test

import (
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

// The network of 20 August 2023: figures of package replay, hashprice as public
// indices gave it that day, about 60 $/PH/day.
func TestHashprice(t *testing.T) {
	hp := sluice.NetworkHashprice(26_100, 5.239e13, 6.25, 0.02*6.25)
	if got := hp.USDPerPHDay(); got < 63 || got > 65 {
		t.Errorf("hashprice %.2f $/PH/day", got)
	}
	if got := float64(sluice.NetworkHashRate(5.239e13)) / 1e6; math.Abs(got-375) > 1 {
		t.Errorf("network of %.1f EH/s, want 375", got)
	}
	// 64 $ at 30 J/TH: a MWh runs 1e6/30/3600·… TH/s; both ways to reckon agree.
	strike := sluice.Strike(hp, 0.02, 30, 1.05).USDPerMWh()
	rate := sluice.HashRate(1000.0 / 30 * 1000 / 1.05) // TH/s of 1 MW at the meter
	if rev := sluice.MiningRevenue(rate, hp, 0.02, time.Hour).USD(); math.Abs(rev-strike) > 0.01 {
		t.Errorf("a MW at the meter earns %.3f $/h, the strike is %.3f $/MWh", rev, strike)
	}
}

func TestSplitAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Int64().Draw(t, "total")
		weights := rapid.SliceOfN(rapid.Int64(), 1, 9).Draw(t, "weights")
		shares := sluice.Split(total, weights)
		sum := new(big.Int)
		for _, s := range shares {
			sum.Add(sum, big.NewInt(s))
		}
		if len(shares) != len(weights) || sum.Cmp(big.NewInt(total)) != 0 {
			t.Fatalf("shares %v of %d add up to %v", shares, total, sum)
		}
	})
}

func TestMulDivRoundsHalfToEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64Range(-1<<40, 1<<40).Draw(t, "a")
		b := rapid.Int64Range(-1<<40, 1<<40).Draw(t, "b")
		c := rapid.Int64Range(1<<20, 1<<50).Draw(t, "c")
		got := big.NewInt(sluice.MulDiv(a, b, c))
		// |2(got·c − a·b)| ≤ c, and even where it is c.
		d := new(big.Int).Mul(got, big.NewInt(c))
		d.Sub(d, new(big.Int).Mul(big.NewInt(a), big.NewInt(b)))
		d.Abs(d.Lsh(d, 1))
		if cmp := d.Cmp(big.NewInt(c)); cmp > 0 || (cmp == 0 && got.Bit(0) == 1) {
			t.Fatalf("%d·%d/%d = %v", a, b, c, got)
		}
	})
}

func TestEnergyAndCost(t *testing.T) {
	if got := (14 * sluice.Megawatt).Over(5 * time.Minute); got != 1_166_667 {
		t.Errorf("14 MW over 5 minutes is %d Wh", got)
	}
	if got := sluice.WattHours(1_166_667).Cost(sluice.EnergyPriceOf(-20)); got != -23_333_340 {
		t.Errorf("it costs %d µ$", got)
	}
}

func TestClockRunsAtItsSpeed(t *testing.T) {
	start := time.Date(2023, 8, 20, 0, 0, 0, 0, time.UTC)
	c := sluice.NewClock(start, 3600)
	if c.Wall(time.Hour) != time.Second || c.Site(time.Second) != time.Hour {
		t.Errorf("an hour is %v of wall time, a second %v of site time", c.Wall(time.Hour), c.Site(time.Second))
	}
	for c.Now().Before(start.Add(10 * time.Second)) { // ends within 3 ms, or never
	}
}
