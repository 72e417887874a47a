// Package orders is a feed of curtailment orders that another system writes: a
// CSV file with the columns id, node, limit_kw, from, to, or a JSON list of the
// same fields over HTTP.
//
// An order that cannot be read does not hide the others: they are returned
// together with an error that names it.
package orders

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/feed"
)

// Options say where the orders are: a Path or a URL.
type Options struct {
	Path           string
	URL            string
	User, Password string // of the URL; empty: none
}

// Source reads one list of orders.
type Source struct {
	o      Options
	client *feed.Client

	mu   sync.Mutex
	seen map[string]time.Time // when an order was first read: its publication, where it does not say
}

const maxOrders = 1000

// New makes a source.
func New(o Options) *Source {
	s := &Source{o: o, client: feed.NewClient(), seen: map[string]time.Time{}}
	if o.User != "" || o.Password != "" {
		s.client.Auth = func(r *http.Request) error { r.SetBasicAuth(o.User, o.Password); return nil }
	}
	return s
}

// Fetch returns no series.
func (s *Source) Fetch(ctx context.Context, _ time.Time) (map[feed.Quantity][]feed.Point, error) {
	return nil, ctx.Err()
}

// FetchOrders returns the orders of the list as it stands.
func (s *Source) FetchOrders(ctx context.Context, now time.Time) ([]feed.Order, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var list []feed.Order
	var err error
	if s.o.URL != "" {
		var data []byte
		if data, err = s.client.Get(ctx, s.o.URL); err != nil {
			return nil, err
		}
		list, err = parseJSON(data, feed.Bare(s.o.URL))
	} else {
		var data []byte
		if data, err = read(s.o.Path); err != nil {
			return nil, err
		}
		list, err = parseCSV(data, s.o.Path)
	}
	if list == nil && err != nil {
		return nil, err
	}
	s.date(list, now)
	return list, err
}

// date gives the orders that do not say when they were published the time when
// they were first seen.
func (s *Source) date(list []feed.Order, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[string]time.Time, len(list))
	for i := range list {
		o := &list[i]
		first, ok := s.seen[o.ID]
		if !ok || first.After(now) {
			first = now
		}
		seen[o.ID] = first
		if o.Published.IsZero() || o.Published.After(now) {
			o.Published = first
		}
	}
	s.seen = seen
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, sluice.Errorf(sluice.Unavailable, "", "the file of orders: %v", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, feed.MaxBody+1))
	if err != nil {
		return nil, sluice.Errorf(sluice.Unavailable, "", "the file of orders: %v", err)
	}
	if len(data) > feed.MaxBody {
		return nil, sluice.Errorf(sluice.Unavailable, "", "the file of orders %s is longer than %d MiB", path, feed.MaxBody>>20)
	}
	return data, nil
}

// row is an order as it is written.
type row struct {
	ID        string      `json:"id"`
	Node      string      `json:"node"`
	LimitKW   json.Number `json:"limit_kw"`
	From      string      `json:"from"`
	To        string      `json:"to"`
	Published string      `json:"published"`
}

func (r row) order(origin string) (feed.Order, error) {
	o := feed.Order{ID: strings.TrimSpace(r.ID), Node: strings.TrimSpace(r.Node), Origin: origin}
	if o.ID == "" || len(o.ID) > 200 || len(o.Node) > 200 {
		return o, errors.New("it has no id of up to 200 characters")
	}
	var err error
	o.LimitKW, err = strconv.ParseFloat(strings.TrimSpace(string(r.LimitKW)), 64)
	if err != nil || !(o.LimitKW >= 0) || math.IsInf(o.LimitKW, 0) || o.LimitKW > 1e9 {
		return o, fmt.Errorf("limit_kw %.40q is no limit in kW", r.LimitKW)
	}
	for _, t := range []struct {
		name, text string
		into       *time.Time
	}{{"from", r.From, &o.From}, {"to", r.To, &o.To}, {"published", r.Published, &o.Published}} {
		if t.name == "published" && t.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, strings.TrimSpace(t.text))
		if err != nil {
			return o, fmt.Errorf("%s %.40q is no time such as 2026-01-31T17:00:00Z", t.name, t.text)
		}
		*t.into = at.UTC()
	}
	if !o.From.Before(o.To) {
		return o, errors.New("it ends before it begins")
	}
	return o, nil
}

// collect gathers the orders and what is wrong with the others.
type collect struct {
	list  []feed.Order
	ids   map[string]bool
	wrong []error
}

func (c *collect) add(r row, origin string) {
	o, err := r.order(origin)
	if err == nil && c.ids[o.ID] {
		err = errors.New("its id stands here a second time")
	}
	if err == nil && len(c.list) >= maxOrders {
		err = fmt.Errorf("it is one of more than %d", maxOrders)
	}
	if err != nil {
		if len(c.wrong) < 10 {
			c.wrong = append(c.wrong, sluice.Errorf(sluice.Unavailable, "", "the order %.60q (%s) is not obeyed: %v", r.ID, origin, err))
		}
		return
	}
	c.ids[o.ID] = true
	c.list = append(c.list, o)
}

func (c *collect) result() ([]feed.Order, error) { return c.list, errors.Join(c.wrong...) }

func newCollect() *collect { return &collect{list: []feed.Order{}, ids: map[string]bool{}} }

// parseJSON reads a list, or an object with the list in items.
func parseJSON(data []byte, origin string) ([]feed.Order, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		var page struct {
			Items *[]json.RawMessage `json:"items"`
		}
		if e := json.Unmarshal(data, &page); e != nil || page.Items == nil {
			return nil, sluice.Errorf(sluice.Unavailable, "", "%s gives no JSON list of orders: %v", origin, err)
		}
		raw = *page.Items
	}
	if raw == nil { // null is not "no orders"
		return nil, sluice.Errorf(sluice.Unavailable, "", "%s gives no JSON list of orders", origin)
	}
	c := newCollect()
	for i, m := range raw {
		var r row
		where := fmt.Sprintf("%s item %d", origin, i+1)
		if err := json.Unmarshal(m, &r); err != nil {
			if len(c.wrong) < 10 {
				c.wrong = append(c.wrong, sluice.Errorf(sluice.Unavailable, "", "an order (%s) is not obeyed: %v", where, err))
			}
			continue
		}
		c.add(r, where)
	}
	return c.result()
}

// parseCSV reads rows below a header.
func parseCSV(data []byte, file string) ([]feed.Order, error) {
	in := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	in.FieldsPerRecord = -1
	in.TrimLeadingSpace = true
	in.Comment = '#'
	header, err := in.Read()
	if err != nil {
		return nil, sluice.Errorf(sluice.Unavailable, "its first line is id,node,limit_kw,from,to", "the file of orders %s has no header: %v", file, err)
	}
	at := map[string]int{}
	for i, h := range header {
		at[strings.ToLower(strings.TrimSpace(h))] = i
	}
	for _, need := range []string{"id", "limit_kw", "from", "to"} {
		if _, ok := at[need]; !ok {
			return nil, sluice.Errorf(sluice.Unavailable, "its first line is id,node,limit_kw,from,to", "the file of orders %s has no column %s", file, need)
		}
	}
	c := newCollect()
	for {
		rec, err := in.Read()
		if err == io.EOF {
			return c.result()
		}
		if err != nil {
			// After broken quoting the rest cannot be trusted to be rows.
			c.wrong = append(c.wrong, sluice.Errorf(sluice.Unavailable, "", "the file of orders %s is broken: %v", file, err))
			return c.result()
		}
		get := func(name string) string {
			if i, ok := at[name]; ok && i < len(rec) {
				return rec[i]
			}
			return ""
		}
		line, _ := in.FieldPos(0)
		c.add(row{get("id"), get("node"), json.Number(get("limit_kw")), get("from"), get("to"), get("published")}, fmt.Sprintf("%s:%d", file, line))
	}
}
