package site_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/feed"
	"sluice/site"
)

// deaf is a feed of orders that may fail.
type deaf struct {
	orderBook
	fails atomic.Bool
}

func (d *deaf) FetchOrders(ctx context.Context, now time.Time) ([]feed.Order, error) {
	if d.fails.Load() {
		return nil, errors.New("no route to host")
	}
	return d.orderBook.FetchOrders(ctx, now)
}

func isoOrder(id string, kw float64) feed.Order {
	return feed.Order{ID: id, LimitKW: kw, From: t0.Add(10 * time.Minute), To: t0.Add(3 * time.Hour), Published: t0, Origin: "iso"}
}

// An order of a feed stands when Sluice starts again while the feed is silent.
func TestFeedOrderOutlivesASilentFeed(t *testing.T) {
	d := &deaf{}
	d.orders = []feed.Order{isoOrder("iso-1", 50)}
	w := newWorld(t, worldSpec{miners: 20, limit: sluice.Megawatt, meters: true, orders: d})
	w.run(20*time.Minute, 15*time.Second)
	d.fails.Store(true)
	w.lenient = true
	w.crash()
	w.run(20*time.Minute, 15*time.Second)
	if kw := w.power("site").KW(); kw > 50 {
		t.Errorf("%.1f kW under an order of 50 whose feed does not answer", kw)
	}
}

// An order that a person has cancelled stays so after a restart; one that the
// feed takes back and gives again is obeyed again.
func TestFeedOrderCancelledOrGivenAgain(t *testing.T) {
	ctx := context.Background()
	o := &deaf{}
	o.orders = []feed.Order{isoOrder("iso-2", 50)}
	w := newWorld(t, worldSpec{miners: 20, limit: sluice.Megawatt, meters: true, orders: o})
	w.run(15*time.Minute, 15*time.Second)
	_, err := w.site.CancelCurtailment(ctx, "feed-iso-2", "ann")
	w.must(err)
	w.run(time.Minute, 15*time.Second)
	w.crash()
	w.run(5*time.Minute, 15*time.Second)
	if st := w.site.Status(); len(st.Curtailments) != 0 {
		t.Fatalf("cancelled by a person, it is back after a restart: %+v", st.Curtailments)
	}
	give := func(list ...feed.Order) {
		o.mu.Lock()
		o.orders = list
		o.mu.Unlock()
		w.run(3*time.Minute, 15*time.Second)
	}
	give(isoOrder("iso-3", 50))
	give()
	if st := w.site.Status(); len(st.Curtailments) != 0 {
		t.Errorf("withdrawn, it stands: %+v", st.Curtailments)
	}
	give(isoOrder("iso-3", 50))
	if kw := w.power("site").KW(); kw > 50 {
		t.Errorf("%.1f kW under an order of 50 that the feed has given again", kw)
	}
	give(isoOrder("iso-3", 30)) // stricter, under the same name
	if kw := w.power("site").KW(); kw > 30 {
		t.Errorf("%.1f kW under an order that the feed has lowered to 30", kw)
	}
	bad := isoOrder("iso-4", 30)
	bad.Node = "nowhere"
	give(isoOrder("iso-3", 30), bad)
	if !hasAlarm(w, "order-refused") {
		t.Error("an order for an unknown node is no alarm")
	}
	give(isoOrder("iso-3", 30))
	if hasAlarm(w, "order-refused") {
		t.Error("the alarm of an order that is gone stays")
	}
}

// A client that asks again with the same ID after the order has ended gets its
// record, not a second order.
func TestEndedOrderIsNotRepeated(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, worldSpec{miners: 10, limit: sluice.Megawatt, meters: true})
	w.run(6*time.Minute, 15*time.Second)
	o := site.CurtailmentOrder{ID: "grid-1", Limit: 20 * sluice.Kilowatt, For: 2 * time.Minute}
	_, err := w.site.Curtail(ctx, o)
	w.must(err)
	w.run(10*time.Minute, 15*time.Second)
	c, err := w.site.Curtail(ctx, o)
	w.must(err)
	if c.State != site.Ended || len(w.site.Status().Curtailments) != 0 && w.site.Status().Curtailments[0].State == site.Active {
		t.Errorf("asked again, the ended order is %s", c.State)
	}
}
