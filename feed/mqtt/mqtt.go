// Package mqtt is a feed of curtailment orders that arrive as messages under a
// topic of an MQTT broker: a plain limit in kW, or JSON that says more.
//
//	1500                                              the site's limit is 1,500 kW
//	{"limit_kw": 1500, "node": "hall-1", "until": "2026-01-31T18:00:00Z"}
//	{"id": "dso-17", "limit_kw": 0, "from": "…", "to": "…"}
//	[{…}, {…}]                                        several at once
//	off, null, {}, [] or an empty message             nothing is ordered any more
//
// A message replaces what the one before it ordered. Without an end an order holds
// for Options.Hold after its message, so that a signal whose sender dies does not
// hold a site down for ever; a sender repeats it to go on. What the broker kept
// from before the first connection counts as having just arrived.
package mqtt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/broker"
	"sluice/feed"
)

// DefaultHold is how long an order without an end holds after its message.
const DefaultHold = 15 * time.Minute

const maxOrders = 100

// Options describe a signal.
type Options struct {
	Topic string
	Node  string        // of orders that name none; empty: the site
	Hold  time.Duration // 0: DefaultHold
}

// Source is one topic of orders.
type Source struct {
	o     Options
	topic *broker.Topic

	mu     sync.Mutex
	orders []feed.Order
	err    error // the newest message could not be read
	last   []byte
}

// New watches the topic. The connection is the caller's, who closes it.
func New(c *broker.Conn, o Options) (*Source, error) {
	if o.Hold <= 0 {
		o.Hold = DefaultHold
	}
	s := &Source{o: o}
	var err error
	if s.topic, err = c.Watch(o.Topic, s.take); err != nil {
		return nil, err
	}
	return s, nil
}

// Fetch returns no series.
func (s *Source) Fetch(ctx context.Context, _ time.Time) (map[feed.Quantity][]feed.Point, error) {
	return nil, ctx.Err()
}

// FetchOrders returns what the newest message orders. Without a connection it
// returns what was ordered last, and the error: it holds until its end.
func (s *Source) FetchOrders(ctx context.Context, now time.Time) ([]feed.Order, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []feed.Order{}
	for _, o := range s.orders {
		if !now.Before(o.To) {
			continue
		}
		if o.Published.After(now) {
			o.Published = now
		}
		out = append(out, o)
	}
	return out, errors.Join(s.topic.Err(), s.err)
}

// take takes in a message. One that cannot be read changes nothing: what was
// ordered before holds until its end, and the error is shown.
func (s *Source) take(m broker.Message) {
	orders, err := parse(m.Payload, s.o, m.At)
	s.mu.Lock()
	defer s.mu.Unlock()
	// After a break the broker gives again what it kept: that is no new signal, and
	// must not make a dead sender's order last.
	if m.Retained && s.last != nil && bytes.Equal(m.Payload, s.last) {
		return
	}
	s.last = append([]byte{}, m.Payload...)
	if err != nil {
		s.err = sluice.Errorf(sluice.Unavailable, "", "a message under %s is not obeyed: %v", s.o.Topic, err)
		return
	}
	s.err = nil
	for i := range orders {
		s.name(&orders[i], m.At)
	}
	s.orders = orders
}

// name gives an order that has no ID one: that of the order of the same node that
// it goes on with, or a new one.
func (s *Source) name(o *feed.Order, at time.Time) {
	if o.ID != "" {
		return
	}
	// An ID stands in the paths of the API: without slashes.
	prefix := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || (r >= '0' && r <= '9') || (r >= 'A' && r <= 'Z') || (r >= 'a' && r <= 'z') {
			return r
		}
		return '.'
	}, "mqtt-"+s.o.Topic+"-"+o.Node) + "-"
	for _, was := range s.orders {
		if strings.HasPrefix(was.ID, prefix) && was.Node == o.Node && at.Before(was.To) && !was.From.After(at) && !o.From.After(at) {
			o.ID, o.From = was.ID, was.From
			return
		}
	}
	o.ID = prefix + strconv.FormatInt(at.UnixMilli(), 36)
}

// order is an order as it is written.
type order struct {
	ID      string       `json:"id"`
	Node    string       `json:"node"`
	LimitKW *json.Number `json:"limit_kw"`
	From    string       `json:"from"`
	Until   string       `json:"until"`
	To      string       `json:"to"`
}

// parse reads a message that arrived at the time.
func parse(payload []byte, o Options, at time.Time) ([]feed.Order, error) {
	text := strings.TrimSpace(string(payload))
	switch strings.ToLower(text) {
	case "", "off", "none", "null", "{}", "[]":
		return nil, nil
	}
	var raw []order
	switch text[0] {
	case '[':
		if err := strict([]byte(text), &raw); err != nil {
			return nil, err
		}
	case '{':
		raw = make([]order, 1)
		if err := strict([]byte(text), &raw[0]); err != nil {
			return nil, err
		}
	default:
		n := json.Number(text)
		raw = []order{{LimitKW: &n}}
	}
	if len(raw) > maxOrders {
		return nil, fmt.Errorf("%d orders are more than %d", len(raw), maxOrders)
	}
	var out []feed.Order
	for _, r := range raw {
		x, err := r.order(o, at)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(y feed.Order) bool {
			return (x.ID != "" && x.ID == y.ID) || (x.ID == "" && y.ID == "" && x.Node == y.Node)
		}) {
			return nil, errors.New("two of its orders cannot be told apart: give each an id")
		}
		out = append(out, x)
	}
	return out, nil
}

// strict reads JSON; a field that is not known is a mistake, as it may be the one
// that matters.
func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more follows after its JSON")
	}
	return nil
}

func (r order) order(opt Options, at time.Time) (feed.Order, error) {
	o := feed.Order{ID: r.ID, Node: r.Node, From: at, To: at.Add(opt.Hold), Published: at, Origin: "mqtt topic " + opt.Topic}
	if o.Node == "" {
		o.Node = opt.Node
	}
	if len(o.ID) > 200 || len(o.Node) > 200 {
		return o, errors.New("its id or node is longer than 200 characters")
	}
	if r.LimitKW == nil {
		return o, errors.New("it has no limit_kw")
	}
	var err error
	o.LimitKW, err = strconv.ParseFloat(string(*r.LimitKW), 64)
	if err != nil || !(o.LimitKW >= 0) || math.IsInf(o.LimitKW, 0) || o.LimitKW > 1e9 {
		return o, fmt.Errorf("%.40q is no limit in kW", string(*r.LimitKW))
	}
	if r.Until != "" && r.To != "" {
		return o, errors.New("it has both until and to")
	}
	if r.From != "" {
		if o.From, err = when("from", r.From); err != nil {
			return o, err
		}
		o.To = o.From.Add(opt.Hold)
	}
	if end := r.Until + r.To; end != "" {
		if o.To, err = when("until", end); err != nil {
			return o, err
		}
	}
	if !o.From.Before(o.To) {
		if r.From == "" {
			return o, errors.New("it is over already")
		}
		return o, errors.New("it ends before it begins")
	}
	return o, nil
}

func when(name, text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(text))
	if err != nil {
		return t, fmt.Errorf("%s %.40q is no time such as 2026-01-31T17:00:00Z", name, text)
	}
	return t.UTC(), nil
}
