package site_test

import (
	"context"
	"testing"
	"time"

	"sluice"
	"sluice/site"
)

// Pins between two turns share the room under the limit: what one of them has
// taken the next does not have.
func TestPinsShareTheRoom(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true, price: flat(400)})
	w.run(20*time.Minute, 15*time.Second) // all asleep
	_, err := w.site.Curtail(ctx, site.CurtailmentOrder{Limit: 12 * sluice.Kilowatt, For: time.Hour})
	w.must(err)
	ok := 0
	for _, name := range []string{"s21-000", "s21-001", "s21-002", "s21-003", "s21-004"} {
		if w.site.Pin(ctx, site.Pin{Machine: name, Mode: sluice.ModeMine, By: "ann", Why: "burn-in"}) == nil {
			ok++
		}
	}
	w.run(2*time.Minute, 15*time.Second)
	if kw := w.power("site").KW(); kw > 12 || ok == 0 {
		t.Errorf("%d pins were taken, and the load is %.1f kW under an order of 12", ok, kw)
	}
}
