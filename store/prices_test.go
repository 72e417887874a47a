package store

import (
	"reflect"
	"testing"
	"time"
)

func TestPricesOutliveARestart(t *testing.T) {
	const rt, da = "real_time_usd_per_mwh", "day_ahead_usd_per_mwh"
	t0 := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	hour := func(q string, h int, v float64) Price {
		from := t0.Add(time.Duration(h) * time.Hour)
		return Price{Quantity: q, From: from, To: from.Add(time.Hour), Published: from.Add(-time.Minute), Value: v}
	}
	dir := t.TempDir()
	db := open(t, dir, Options{})
	keep := func(forget time.Time, ps ...Price) {
		t.Helper()
		if err := db.KeepPrices(t.Context(), ps, forget); err != nil {
			t.Fatal(err)
		}
	}
	keep(t0, hour(rt, 2, -7.25), hour(rt, 0, 30), hour(da, 0, 31), hour(da, 1, 32))
	restated := hour(rt, 0, 35.5)
	restated.Published = t0.Add(5 * time.Hour)
	keep(t0, restated, hour(rt, 1, 40))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir, Options{})
	want := func(q string, from time.Time, ps ...Price) {
		t.Helper()
		got, err := db.Prices(t.Context(), q, from)
		if err != nil || !reflect.DeepEqual(got, ps) {
			t.Errorf("%s from %s:\n%+v, %v, want\n%+v", q, from, got, err, ps)
		}
	}
	want(rt, t0, restated, hour(rt, 1, 40), hour(rt, 2, -7.25))
	want(rt, t0.Add(time.Hour), hour(rt, 1, 40), hour(rt, 2, -7.25))
	want(da, t0, hour(da, 0, 31), hour(da, 1, 32))
	want("btc_usd", t0)
	// What is too old goes with the next that comes of its quantity.
	keep(t0.Add(2*time.Hour), hour(rt, 3, 41))
	want(rt, t0, hour(rt, 2, -7.25), hour(rt, 3, 41))
	want(da, t0, hour(da, 0, 31), hour(da, 1, 32))
}

// A disk that is full keeps none of the prices that it was given, and all before.
func TestPricesOnAFullDisk(t *testing.T) {
	db := open(t, t.TempDir(), Options{maxPageCount: 60})
	t0 := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	kept := 0
	for day := range 1000 {
		var ps []Price
		for h := range 24 {
			from := t0.AddDate(0, 0, day).Add(time.Duration(h) * time.Hour)
			ps = append(ps, Price{Quantity: "real_time_usd_per_mwh", From: from, To: from.Add(time.Hour), Published: from, Value: 30})
		}
		if err := db.KeepPrices(t.Context(), ps, t0); err != nil {
			wantStorageError(t, err, Full)
			got, err := db.Prices(t.Context(), "real_time_usd_per_mwh", t0)
			if err != nil || len(got) != kept || kept == 0 {
				t.Errorf("%d prices are there, %d were confirmed, %v", len(got), kept, err)
			}
			return
		}
		kept += len(ps)
	}
	t.Fatal("the disk never gets full")
}
