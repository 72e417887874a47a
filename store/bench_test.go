package store

import (
	"fmt"
	"testing"
	"time"

	"sluice"
	"sluice/ledger"
)

// One interval of a site with 250 jobs of 20 tenants, settled and stored: what
// the control loop pays for its books every five minutes.
func BenchmarkSettleInterval(b *testing.B) {
	db, err := Open(b.Context(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	in := ledger.Interval{
		MeterWh: 1_100_000, MiningWh: 900_000, AIWh: 190_000, EnergyPrice: sluice.EnergyPriceOf(31.7),
		TeraHashes: 180_000_000, Hashprice: sluice.HashpriceFromUSD(58), PoolFeePPM: 20_000,
	}
	for i := range 250 {
		in.Jobs = append(in.Jobs, ledger.JobUse{
			JobID: fmt.Sprint(i), Tenant: fmt.Sprint("tenant", i%20), Class: "h100",
			UnitMilliseconds: 8 * 300_000, RatePerUnitHour: 2_100_000,
		})
	}
	at := day
	for b.Loop() {
		in.From, in.To = at, at.Add(5*time.Minute)
		at = in.To
		es, err := ledger.Settle("west", in)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := appendAll(b.Context(), db, es...); err != nil {
			b.Fatal(err)
		}
	}
}

// A single small posting that reaches the disk.
func BenchmarkCommit(b *testing.B) {
	db, err := Open(b.Context(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for n := 1; b.Loop(); n++ {
		if _, err := appendAll(b.Context(), db, entry("b", n)); err != nil {
			b.Fatal(err)
		}
	}
}
