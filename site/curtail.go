package site

import (
	"context"
	"fmt"
	"sort"
	"time"

	"sluice"
)

// States of a curtailment.
const (
	Pending   = "pending"
	Active    = "active"
	Ended     = "ended"
	Cancelled = "cancelled"
)

// curtailment is an order at run time.
type curtailment struct {
	Curtailment
	node  *node
	limit sluice.Watts
	wall  time.Time // when it came into force, for the reaction time
	dirty bool
	seq   int
}

// gone notes load that is confirmed gone, by the second.
func (c *curtailment) gone(at time.Time, w sluice.Watts, o sluice.Outcome) {
	after := at.Sub(c.From).Truncate(time.Second).Seconds()
	c.dirty = true
	if n := len(c.Shed); n > 0 && c.Shed[n-1].AfterS == after && c.Shed[n-1].Outcome == o {
		c.Shed[n-1].Machines++
		c.Shed[n-1].KW += w.KW()
		return
	}
	c.Shed = append(c.Shed, Shed{AfterS: after, Machines: 1, KW: w.KW(), Outcome: o})
}

// view is what people see of it.
func (c *curtailment) view() Curtailment {
	v := c.Curtailment
	v.Shed = append([]Shed{}, c.Shed...)
	if c.Promise != nil {
		p := *c.Promise
		v.Promise = &p
	}
	return v
}

// limitAt is the limit of a node at an instant, 0 for none: its own, or that of
// the strictest order in force.
func (s *Site) limitAt(n *node, t time.Time) sluice.Watts {
	limit := n.spec.Limit
	for _, c := range s.orders {
		if c.node == n && (c.State == Active || c.State == Pending) && !t.Before(c.From) && t.Before(c.Until) {
			if limit == 0 || c.limit < limit {
				// An order of 0 kW is an order: the smallest limit that is one.
				limit = max(c.limit, 1)
			}
		}
	}
	return limit
}

// Curtail takes an order and obeys it at once: it does not wait for the next
// interval nor for a plan. An order whose ID is known changes nothing.
func (s *Site) Curtail(ctx context.Context, o CurtailmentOrder) (Curtailment, error) {
	c, err := s.order(ctx, o)
	if s.o.Sync {
		s.ops.Wait()
	}
	return c, err
}

func (s *Site) order(ctx context.Context, o CurtailmentOrder) (Curtailment, error) {
	if c, ok := s.ended(ctx, o.ID); ok {
		return c, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.stamp()
	for _, c := range s.orders {
		if o.ID != "" && c.ID == o.ID {
			return c.view(), nil
		}
	}
	c, err := s.newOrder(o, now)
	if err != nil {
		return Curtailment{}, err
	}
	s.orders = append(s.orders, c)
	s.limitGen++
	if c.State == Active {
		s.enforce(s.life(ctx), now, c, nil)
	}
	if err := s.keep(s.life(ctx), now); err != nil {
		// It is obeyed all the same, and stored when that works again.
		s.log.Error("the order could not be stored yet", "id", c.ID, "err", err)
	}
	s.Kick()
	return c.view(), nil
}

// newOrder checks an order and makes it a curtailment. The caller holds s.mu.
func (s *Site) newOrder(o CurtailmentOrder, now time.Time) (*curtailment, error) {
	n := s.root()
	if o.Node != "" {
		if n = s.nodeBy[o.Node]; n == nil {
			return nil, sluice.Errorf(sluice.Invalid, "the nodes are "+s.nodeNames(), "no node is called %q", o.Node)
		}
	}
	if o.From.IsZero() || o.From.Before(now) {
		o.From = now
	}
	if o.For > 0 {
		o.Until = o.From.Add(o.For)
	}
	if o.Limit < 0 {
		return nil, sluice.Errorf(sluice.Invalid, "give 0 or more", "a limit of %v", o.Limit)
	}
	if o.Within < 0 {
		return nil, sluice.Errorf(sluice.Invalid, "such as 10s", "the load cannot be gone within %s", o.Within)
	}
	if !o.Until.After(o.From) {
		return nil, sluice.Errorf(sluice.Invalid, "give a time after its start, or a duration", "the order would end at %s, before it starts", o.Until.Format(time.RFC3339))
	}
	if o.By == "" {
		o.By = "operator"
	}
	c := &curtailment{node: n, limit: o.Limit, wall: time.Now(), dirty: true}
	c.Curtailment = Curtailment{
		ID: o.ID, Node: n.spec.Name, LimitKW: o.Limit.KW(), OrderedAt: now,
		From: o.From.UTC(), Until: o.Until.UTC(), By: o.By, Why: o.Why, State: Pending, Shed: []Shed{}, WithinS: o.Within.Seconds(),
	}
	if c.ID == "" {
		c.ID = s.orderID(now)
	}
	if !o.From.After(now) {
		s.begin(c, now)
	}
	return c, nil
}

func (s *Site) orderID(now time.Time) string {
	for i := 0; ; i++ {
		id := "c-" + now.UTC().Format("20060102-150405")
		if i > 0 {
			id += fmt.Sprintf("-%d", i)
		}
		taken := false
		for _, c := range s.orders {
			taken = taken || c.ID == id
		}
		if !taken {
			return id
		}
	}
}

func (s *Site) nodeNames() string {
	out := ""
	for i, n := range s.nodes {
		if i > 0 {
			out += ", "
		}
		out += n.spec.Name
	}
	return out
}

// begin puts an order in force. The caller holds s.mu.
func (s *Site) begin(c *curtailment, now time.Time) {
	c.State = Active
	c.wall = time.Now()
	load, _ := s.load(c.node, s.sum(), now)
	c.LoadBeforeKW = load.KW()
	s.promiseTo(c, load, now)
	c.dirty = true
	s.need("curtailment")
}

// runOrders begins and ends orders as their time comes, and notes when each is
// met. The caller holds s.mu.
func (s *Site) runOrders(ctx context.Context, now time.Time, by sums) {
	keep := s.orders[:0]
	for _, c := range s.orders {
		if c.State == Pending && !now.Before(c.From) {
			s.begin(c, now)
			s.limitGen++
			s.enforce(ctx, now, c, nil)
		}
		if c.State == Active && c.MetAt == nil {
			if load, _ := s.load(c.node, by, now); load <= max(c.limit, 1) {
				s.met(c, now)
			}
		}
		s.score(c, now)
		if c.State == Active && !now.Before(c.Until) {
			c.State = Ended
			t := c.Until
			c.EndedAt = &t
			c.dirty = true
			s.limitGen++
			s.need("curtailment ended")
		}
		if c.State == Pending || c.State == Active || c.dirty {
			keep = append(keep, c)
		}
	}
	s.orders = keep
}

func (s *Site) met(c *curtailment, now time.Time) {
	t, after, wall := now, now.Sub(c.From).Seconds(), time.Since(c.wall).Seconds()
	c.MetAt, c.MetAfterS, c.MetAfterWallS = &t, &after, &wall
	c.dirty = true
	s.events.send(Event{Kind: "curtailment", Data: c.view()})
}

// CancelCurtailment ends an order before its time.
func (s *Site) CancelCurtailment(ctx context.Context, id, by string) (Curtailment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.stamp()
	for _, c := range s.orders {
		if c.ID != id {
			continue
		}
		if c.State != Active && c.State != Pending {
			return Curtailment{}, sluice.Errorf(sluice.Conflict, "", "the order %s is over: %s", id, c.State)
		}
		c.State = Cancelled
		c.EndedAt = &now
		c.Why = joinWhy(c.Why, "cancelled by "+by)
		c.dirty = true
		s.limitGen++
		s.need("curtailment cancelled")
		if err := s.keep(s.life(ctx), now); err != nil {
			s.log.Error("the end of the order could not be stored yet", "id", c.ID, "err", err)
		}
		s.Kick()
		return c.view(), nil
	}
	return Curtailment{}, sluice.Errorf(sluice.NotFound, "`sluice curtail list` shows them", "no order in force or coming is called %q", id)
}

func joinWhy(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// Curtailments lists the orders, newest first, ended ones from the store.
func (s *Site) Curtailments(ctx context.Context, limit int) ([]Curtailment, error) {
	out, err := s.o.Store.Curtailments(ctx, limit)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := map[string]int{}
	for i, c := range out {
		at[c.ID] = i
	}
	for _, c := range s.orders {
		if i, ok := at[c.ID]; ok {
			out[i] = c.view()
		} else {
			out = append(out, c.view())
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].OrderedAt.After(out[j].OrderedAt) })
	if len(out) > limit {
		out = out[:limit]
	}
	return out, nil
}
