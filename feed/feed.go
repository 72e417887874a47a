// Package feed owns what the site knows of the world outside it: prices, the
// bitcoin network, curtailment orders. A folder below it holds a source for each
// origin; this package caches them, watches their age, falls back where a source
// is silent, and says of each value where it comes from.
package feed

import (
	"context"
	"strings"
	"time"
)

// Quantity is what a series measures, with its unit in the name.
type Quantity string

// Quantities. Besides these each reserve has a price of its own, ReservePrice.
const (
	RealTimePrice Quantity = "real_time_usd_per_mwh"
	DayAheadPrice Quantity = "day_ahead_usd_per_mwh"
	BTCPrice      Quantity = "btc_usd"
	Difficulty    Quantity = "difficulty"
	Subsidy       Quantity = "subsidy_btc_per_block"
	Fees          Quantity = "fees_btc_per_block"
	Hashprice     Quantity = "hashprice_usd_per_ph_day"
	GPURate       Quantity = "gpu_usd_per_hour"
	Carbon        Quantity = "carbon_gco2_per_kwh"
)

// ReservePrices begins the quantity of each reserve's price; the reserve's name
// follows it.
const ReservePrices = "reserve_usd_per_mw_h/"

// ReservePrice returns the quantity of what the reserve pays for a MW that stands
// ready for an hour.
func ReservePrice(name string) Quantity { return Quantity(ReservePrices + name) }

// Reserve returns the name of the reserve whose price the quantity is, "" for any
// other quantity.
func (q Quantity) Reserve() string {
	name, ok := strings.CutPrefix(string(q), ReservePrices)
	if !ok {
		return ""
	}
	return name
}

// DayAhead says whether the quantity is settled at an auction of the day before:
// day-ahead energy, and reserves.
func (q Quantity) DayAhead() bool { return q == DayAheadPrice || q.Reserve() != "" }

// Unit returns the unit of the quantity, for people.
func (q Quantity) Unit() string {
	switch q {
	case RealTimePrice, DayAheadPrice:
		return "USD/MWh"
	case BTCPrice:
		return "USD/BTC"
	case Subsidy, Fees:
		return "BTC/block"
	case Hashprice:
		return "USD/PH/s/day"
	case GPURate:
		return "USD/GPU/h"
	case Carbon:
		return "gCO2/kWh"
	}
	if q.Reserve() != "" {
		return "USD/MW/h"
	}
	return ""
}

// Quantities returns all quantities but those of reserves, in the order in which
// people see them.
func Quantities() []Quantity {
	return []Quantity{RealTimePrice, DayAheadPrice, BTCPrice, Difficulty, Subsidy, Fees, Hashprice, GPURate, Carbon}
}

// Point is one value of a series, in force over [From, To). A zero To is an
// observation of an instant (a ticker, a difficulty): it holds until the next
// one, and ages from the moment it was published.
type Point struct {
	From, To  time.Time
	Value     float64
	Published time.Time // when the origin made it known; nothing may use it earlier
	Estimated bool
	Origin    string // "csv ercot_west.csv:17", "mempool.example /api/v1/prices"
}

// Order is a curtailment order that a feed carries: the node's load must not
// exceed LimitKW in [From, To). Its ID is the origin's own and makes it idempotent.
type Order struct {
	ID        string
	Node      string // empty: the site
	LimitKW   float64
	From, To  time.Time
	Published time.Time
	Origin    string
}

// Source fetches series from one origin. Fetch returns all points that the
// origin has published by now and that matter from now on (and the recent past,
// where it gives it), per quantity, sorted by From. It obeys ctx.
type Source interface {
	Fetch(ctx context.Context, now time.Time) (map[Quantity][]Point, error)
}

// OrderSource is a Source that carries curtailment orders. FetchOrders may return
// orders together with an error: those that could be read are obeyed, and the
// error is shown.
type OrderSource interface {
	FetchOrders(ctx context.Context, now time.Time) ([]Order, error)
}

// Value is a quantity at an instant, with its provenance.
type Value struct {
	Quantity  Quantity  `json:"quantity"`
	Value     float64   `json:"value"`
	AsOf      time.Time `json:"as_of"`  // when the value was published or began to hold
	Origin    string    `json:"origin"` // where it comes from
	Stale     bool      `json:"stale"`  // older than its maximum age, or a fallback
	Estimated bool      `json:"estimated"`
	Known     bool      `json:"known"` // false: there is no value, not even a fallback
}
