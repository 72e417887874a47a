package site

import (
	"context"
	"strings"
	"time"

	"sluice"
	"sluice/feed"
)

// withdrawn is what the record of an order says that its feed has taken back.
const withdrawn = "withdrawn by the feed"

// feedOrders takes in the orders that feeds carry. The caller holds s.mu.
func (s *Site) feedOrders(ctx context.Context, now time.Time) {
	live := map[string]bool{}
	for _, o := range s.o.Feeds.Orders(now) {
		id := "feed-" + o.ID
		live[id] = true
		if c := s.standing(id); c != nil {
			s.amend(ctx, c, o, now)
			continue
		}
		if s.seenOrders[id] {
			continue
		}
		c, err := s.newOrder(CurtailmentOrder{
			ID: id, Node: o.Node, Limit: sluice.WattsOfKW(o.LimitKW),
			From: o.From, Until: o.To, By: "feed", Why: o.Origin,
		}, now)
		if err != nil {
			s.alarm(now, sluice.Critical, "order-refused", id, "an order of a feed cannot be obeyed: "+err.Error(), "mend the feed or order it by hand with sluice curtail")
			continue
		}
		s.clearAlarm(now, "order-refused", id)
		s.seenOrders[id] = true
		s.orders = append(s.orders, c)
		s.limitGen++
		if c.State == Active {
			s.enforce(ctx, now, c, nil)
		}
	}
	if s.ordersSaid(now) {
		s.withdraw(live, now)
	}
}

// ordersSaid says whether the feeds of orders have all been heard: what a feed
// that is silent since the start, or whose list cannot be read in full, does not
// carry is not withdrawn.
func (s *Site) ordersSaid(now time.Time) bool {
	for _, f := range s.o.Feeds.Status(now) {
		if f.Unit == "orders" && (f.AsOf.IsZero() || f.Error != "") {
			return false
		}
	}
	return true
}

// withdraw ends what the feeds no longer carry.
func (s *Site) withdraw(live map[string]bool, now time.Time) {
	for _, c := range s.orders {
		if c.By == "feed" && !live[c.ID] && (c.State == Active || c.State == Pending) && now.Before(c.Until) {
			t := now
			c.State, c.EndedAt, c.dirty = Cancelled, &t, true
			c.Why = joinWhy(c.Why, withdrawn)
			delete(s.seenOrders, c.ID) // given again, it is obeyed again
			s.limitGen++
			s.need("curtailment cancelled")
		}
	}
	for _, a := range s.openAlarms() {
		if a.Name == "order-refused" && !live[a.Subject] {
			s.clearAlarm(now, a.Name, a.Subject)
		}
	}
}

// amend follows an order that its feed has changed under the same ID.
func (s *Site) amend(ctx context.Context, c *curtailment, o feed.Order, now time.Time) {
	limit := sluice.WattsOfKW(o.LimitKW)
	begins := c.State == Pending && !c.From.Equal(o.From)
	if limit == c.limit && o.To.Equal(c.Until) && !begins {
		return
	}
	stricter := limit < c.limit
	c.limit, c.LimitKW, c.Until, c.dirty = limit, limit.KW(), o.To.UTC(), true
	if begins {
		c.From = later(o.From, now).UTC()
	}
	s.limitGen++
	s.need("curtailment")
	if c.State == Active && stricter {
		s.enforce(ctx, now, c, nil)
	}
}

// standing finds an order that is in force or to come.
func (s *Site) standing(id string) *curtailment {
	for _, c := range s.orders {
		if c.ID == id && (c.State == Active || c.State == Pending) {
			return c
		}
	}
	return nil
}

// recoverOrders learns which orders of feeds a person has cancelled, so that they
// stay so.
func (s *Site) recoverOrders(ctx context.Context, now time.Time) error {
	known, err := s.o.Store.Curtailments(ctx, knownOrders)
	if err != nil {
		return err
	}
	for _, c := range known {
		if c.By == "feed" && now.Before(c.Until) && !strings.HasSuffix(c.Why, withdrawn) {
			s.seenOrders[c.ID] = true
		}
	}
	return nil
}

// knownOrders is how many past orders are looked at for one with the same ID.
const knownOrders = 1000

// ended finds the record of an order that is over: a client that asks again has
// perhaps not heard of it. Where the store does not answer, an order is obeyed
// rather than doubted.
func (s *Site) ended(ctx context.Context, id string) (Curtailment, bool) {
	if id == "" {
		return Curtailment{}, false
	}
	rctx, cancel := context.WithTimeout(s.life(ctx), storeWait)
	defer cancel()
	known, err := s.o.Store.Curtailments(rctx, knownOrders)
	if err != nil {
		return Curtailment{}, false
	}
	for _, c := range known {
		if c.ID == id && (c.State == Ended || c.State == Cancelled) {
			return c, true
		}
	}
	return Curtailment{}, false
}
