// Package constant is a feed of values that do not change: a fixed-price
// contract, a rate that a person sets.
package constant

import (
	"context"
	"maps"
	"time"

	"sluice/feed"
)

// Source gives each quantity its value, for ever.
type Source struct {
	values map[feed.Quantity]float64
	origin string
}

// New makes a source; origin says where the values come from, for people.
func New(values map[feed.Quantity]float64, origin string) *Source {
	return &Source{values: maps.Clone(values), origin: origin}
}

var (
	began = time.Unix(0, 0).UTC()
	ends  = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC) // the last year that JSON can carry
)

// Fetch returns one endless interval for each quantity.
func (s *Source) Fetch(ctx context.Context, now time.Time) (map[feed.Quantity][]feed.Point, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make(map[feed.Quantity][]feed.Point, len(s.values))
	for q, v := range s.values {
		out[q] = []feed.Point{{From: began, To: ends, Value: v, Published: now, Origin: s.origin}}
	}
	return out, nil
}
