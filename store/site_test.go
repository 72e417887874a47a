package store

import (
	"database/sql"
	"reflect"
	"testing"
	"time"

	"sluice"
	"sluice/ledger"
	"sluice/site"
)

// What was kept ready for reserves comes back, of the running interval and of
// settled ones.
func TestReservesRoundTrip(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, Options{})
	at := time.Date(2023, 8, 14, 12, 0, 0, 0, time.UTC)
	next := site.Progress{From: at.Add(5 * time.Minute), At: at.Add(6 * time.Minute), MeterWs: 7, Reserves: []site.Ready{
		{Name: "rrs", PlannedW: 6_000_000, ReadyWs: 360_000_000}, {Name: "ecrs"},
	}}
	settled := site.Settled{From: at, To: at.Add(5 * time.Minute), ReserveRev: 6_000_000, Interval: ledger.Interval{
		From: at, To: at.Add(5 * time.Minute),
		Reserves: []ledger.ReserveUse{{Name: "rrs", ReadyWh: 500_000, Price: sluice.EnergyPriceOf(12), PriceOrigin: "auction", PricePublished: at, PriceEstimated: true}},
	}}
	if err := db.Site().Settle(t.Context(), nil, nil, settled, next); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir, Options{})
	saved, err := db.Site().LoadSite(t.Context())
	if err != nil || !reflect.DeepEqual(saved.Progress, next) {
		t.Errorf("the running interval is %+v, %v", saved.Progress, err)
	}
	done, err := db.Site().Settlements(t.Context(), at, at.Add(time.Hour))
	if err != nil || len(done) != 1 || !reflect.DeepEqual(done[0], settled) {
		t.Errorf("settled are %+v, %v", done, err)
	}
}

// A database of a version that knew no reserves is read as it stands: nothing was
// ready then.
func TestARecordWithoutReserves(t *testing.T) {
	db := open(t, t.TempDir(), Options{})
	err := db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO settlements (from_at, corrections, doc) VALUES (?, 0, ?)`, time.Date(2023, 8, 20, 21, 0, 0, 0, time.UTC).UnixNano(),
			`{"from":"2023-08-20T21:00:00Z","to":"2023-08-20T21:05:00Z","meter_wh":8000,"mining_wh":7900,"ai_wh":0,"energy_micro_usd_per_mwh":30000000,"price_origin":"test",`+
				`"estimated":false,"mining_revenue_micro_usd":410000,"ai_revenue_micro_usd":0,"energy_cost_micro_usd":240000,"mining_energy_micro_usd":240000,`+
				`"interval":{"From":"2023-08-20T21:00:00Z","To":"2023-08-20T21:05:00Z","MeterWh":8000,"MeterEstimated":false,"MiningWh":7900,"AIWh":0,"EnergyPrice":30000000,`+
				`"PriceOrigin":"test","PricePublished":"2023-08-20T21:00:00Z","PriceEstimated":false,"TeraHashes":1000,"Hashprice":70000000,"HashpriceOrigin":"test",`+
				`"HashpriceEstimated":false,"PoolFeePPM":20000,"Jobs":null},"corrections":1}`)
		if err != nil {
			return err
		}
		return SetMeta(tx, metaProgress, `{"from":"2023-08-20T21:05:00Z","at":"2023-08-20T21:07:00Z","meter_ws":11,"mining_ws":12,"ai_ws":13,"hash_th":14,"unmetered":true,"estimated":false}`)
	})
	if err != nil {
		t.Fatal(err)
	}
	saved, err := db.Site().LoadSite(t.Context())
	if p := saved.Progress; err != nil || p.Reserves != nil || p.MeterWs != 11 || p.HashTH != 14 || !p.Unmetered {
		t.Errorf("the running interval is %+v, %v", p, err)
	}
	done, err := db.Site().Settlements(t.Context(), time.Time{}.AddDate(1999, 0, 0), time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil || len(done) != 1 {
		t.Fatalf("settled are %+v, %v", done, err)
	}
	r := done[0]
	if r.ReserveRev != 0 || r.Interval.Reserves != nil || r.Interval.EnergyPrice != 30_000_000 || r.Corrections != 1 {
		t.Errorf("settled is %+v", r)
	}
	// A correction of it is one of energy alone.
	iv := r.Interval
	iv.EnergyPrice = 40_000_000
	es, err := ledger.Correct("west", r.Interval, iv, 2)
	if err != nil || len(es) != 1 || es[0].Division() != sluice.Mining {
		t.Errorf("it is corrected by %+v, %v", es, err)
	}
}
