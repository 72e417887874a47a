// Package ercot is a feed of ERCOT's settlement point prices, real-time (15
// minutes) and day-ahead (hours).
//
// It reads two shapes of JSON and tells them apart by their content: the one of
// ERCOT's public dashboard, which needs no account and knows hubs and load
// zones, and the one of the reports NP6-905-CD and NP4-190-CD of its public API,
// which needs an account, so that it is usually read through a proxy that adds
// the key. ERCOT turns away many networks outside the United States.
package ercot

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // Central time must be known on machines without zone files too

	"sluice"
	"sluice/feed"
)

// Dashboard is the public page's data.
const Dashboard = "https://www.ercot.com/api/1/services/read/dashboards/systemWidePrices.json"

// Source asks one or more addresses for one settlement point.
type Source struct {
	urls   []string
	point  string
	client *feed.Client
}

// New makes a source for a settlement point such as LZ_WEST or HB_NORTH. The URLs
// are asked one after the other and each gives what it has; none means Dashboard.
func New(point string, urls ...string) *Source {
	if len(urls) == 0 {
		urls = []string{Dashboard}
	}
	return &Source{urls: urls, point: point, client: feed.NewClient()}
}

// Fetch returns the prices that the addresses give and that were known by now.
func (s *Source) Fetch(ctx context.Context, now time.Time) (map[feed.Quantity][]feed.Point, error) {
	out := map[feed.Quantity][]feed.Point{}
	for _, u := range s.urls {
		data, err := s.client.Get(ctx, u)
		if err != nil {
			return nil, err
		}
		got, err := parse(data, s.point, feed.Bare(u), now)
		if err != nil {
			return nil, sluice.Errorf(sluice.Unavailable, "", "%s: %v", feed.Bare(u), err)
		}
		for q, ps := range got {
			out[q] = append(out[q], ps...)
		}
	}
	for q, ps := range out {
		slices.SortStableFunc(ps, func(a, b feed.Point) int { return a.From.Compare(b.From) })
		out[q] = ps
	}
	return out, nil
}

// parse reads either shape.
func parse(data []byte, point, origin string, now time.Time) (map[feed.Quantity][]feed.Point, error) {
	var doc struct {
		RT     []map[string]any        `json:"rtSppData"`
		DAM    []map[string]any        `json:"damSppData"`
		Fields []struct{ Name string } `json:"fields"`
		Data   [][]any                 `json:"data"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("not the JSON of a dashboard or a report: %w", err)
	}
	c := collector{origin: origin, now: now, out: map[feed.Quantity][]feed.Point{}}
	switch {
	case doc.RT != nil || doc.DAM != nil:
		key, err := dashboardKey(point)
		if err != nil {
			return nil, err
		}
		if err := c.dashboard(doc.RT, key, feed.RealTimePrice, 15*time.Minute); err != nil {
			return nil, err
		}
		if err := c.dashboard(doc.DAM, key, feed.DayAheadPrice, time.Hour); err != nil {
			return nil, err
		}
	case doc.Fields != nil:
		var names []string
		for _, f := range doc.Fields {
			names = append(names, strings.ToLower(f.Name))
		}
		if err := c.report(names, doc.Data, point); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("neither a dashboard (rtSppData, damSppData) nor a report (fields, data)")
	}
	if len(c.out) == 0 {
		return nil, fmt.Errorf("no price of %s is known in it", point)
	}
	return c.out, nil
}

// dashboardKey turns LZ_WEST into lzWest, HB_HUBAVG into hbHubAvg.
func dashboardKey(point string) (string, error) {
	p := strings.ToUpper(point)
	switch p {
	case "HB_HUBAVG":
		return "hbHubAvg", nil
	case "HB_BUSAVG":
		return "hbBusAvg", nil
	}
	kind, name, ok := strings.Cut(p, "_")
	if !ok || (kind != "LZ" && kind != "HB") || name == "" {
		return "", fmt.Errorf("the dashboard knows hubs (HB_…) and load zones (LZ_…), and %q is neither", point)
	}
	return strings.ToLower(kind) + name[:1] + strings.ToLower(name[1:]), nil
}

type collector struct {
	origin string
	now    time.Time
	out    map[feed.Quantity][]feed.Point
}

// add notes a price over [end−d, end). What lies after now and cannot be known is
// dropped; what came was published by now, at the latest.
func (c *collector) add(q feed.Quantity, end time.Time, d time.Duration, v float64) error {
	if !feed.Plausible(q, v) {
		return fmt.Errorf("a price of %g $/MWh makes no sense", v)
	}
	from := end.Add(-d).UTC()
	known := end // real-time: settled when the interval is over
	if q == feed.DayAheadPrice {
		known = dayAheadKnown(from)
	}
	if q == feed.RealTimePrice && from.After(c.now) {
		return nil
	}
	if known.After(c.now) {
		known = c.now
	}
	c.out[q] = append(c.out[q], feed.Point{From: from, To: end.UTC(), Value: v, Published: known.UTC(), Origin: "ERCOT " + c.origin})
	return nil
}

// dayAheadKnown is 13:30 Central on the day before the operating day, by which
// ERCOT posts the results.
func dayAheadKnown(from time.Time) time.Time {
	y, m, d := from.In(central()).Date()
	return time.Date(y, m, d-1, 13, 30, 0, 0, central())
}

// dashboard reads rows whose timestamp is the interval's end with its offset.
func (c *collector) dashboard(rows []map[string]any, key string, q feed.Quantity, d time.Duration) error {
	for i, row := range rows {
		text, _ := row["timestamp"].(string)
		end, err := time.Parse("2006-01-02 15:04:05-0700", text)
		if err != nil {
			return fmt.Errorf("row %d of %s has no timestamp", i+1, q)
		}
		switch v := row[key].(type) {
		case float64:
			if err := c.add(q, end, d, v); err != nil {
				return fmt.Errorf("row %d of %s: %w", i+1, q, err)
			}
		case nil: // not given, or not yet
		default:
			return fmt.Errorf("row %d of %s: %s is no number", i+1, q, key)
		}
	}
	return nil
}

// report reads rows by the names of their fields: deliveryDate with hourEnding
// ("01:00" to "24:00") day-ahead, with deliveryHour (1 to 24) and
// deliveryInterval (1 to 4) real-time, in local time.
func (c *collector) report(names []string, rows [][]any, point string) error {
	at := func(name string) int { return slices.Index(names, name) }
	date, price, sp, dst := at("deliverydate"), at("settlementpointprice"), at("settlementpoint"), at("dstflag")
	hour, quarter := at("deliveryhour"), at("deliveryinterval")
	ending := at("hourending")
	if sp < 0 {
		sp = at("settlementpointname")
	}
	if date < 0 || price < 0 || sp < 0 || (ending < 0 && (hour < 0 || quarter < 0)) {
		return fmt.Errorf("a report of other fields: %s", strings.Join(names, ", "))
	}
	for i, row := range rows {
		if len(row) != len(names) {
			return fmt.Errorf("row %d has %d values for %d fields", i+1, len(row), len(names))
		}
		if name, _ := row[sp].(string); !strings.EqualFold(name, point) {
			continue
		}
		v, ok := row[price].(float64)
		if !ok {
			continue // not known
		}
		q, d := feed.DayAheadPrice, time.Hour
		day, err := time.Parse(time.DateOnly, str(row[date]))
		if err != nil {
			return fmt.Errorf("row %d: %q is no date", i+1, str(row[date]))
		}
		var h, n int
		if ending >= 0 {
			if _, err := fmt.Sscanf(str(row[ending]), "%d:00", &h); err != nil {
				return fmt.Errorf("row %d: %q is no hour", i+1, str(row[ending]))
			}
		} else {
			q, d = feed.RealTimePrice, 15*time.Minute
			h, n = whole(row[hour]), whole(row[quarter])
			if n < 1 || n > 4 {
				return fmt.Errorf("row %d: the interval %v is not 1 to 4", i+1, row[quarter])
			}
		}
		if h < 1 || h > 24 {
			return fmt.Errorf("row %d: the hour %d is not 1 to 24", i+1, h)
		}
		second := dst >= 0 && (row[dst] == true || str(row[dst]) == "Y")
		begin, ok := utc(day, h-1, second)
		if !ok {
			return fmt.Errorf("row %d: the hour ending %d does not exist on %s", i+1, h, str(row[date]))
		}
		end := begin.Add(time.Hour)
		if q == feed.RealTimePrice {
			end = begin.Add(time.Duration(n) * d)
		}
		if err := c.add(q, end, d, v); err != nil {
			return fmt.Errorf("row %d: %w", i+1, err)
		}
	}
	return nil
}

func str(v any) string { s, _ := v.(string); return s }

func whole(v any) int {
	switch x := v.(type) {
	case float64:
		if x == float64(int(x)) {
			return int(x)
		}
	case string:
		var n int
		if _, err := fmt.Sscan(x, &n); err == nil {
			return n
		}
	}
	return -1
}

func central() *time.Location {
	loc, err := time.LoadLocation("America/Chicago")
	if err != nil {
		panic("ercot: the zone data is part of the program: " + err.Error())
	}
	return loc
}

// utc returns the instant of the local hour of the day. In autumn the hour from
// 01:00 exists twice, and second chooses; in spring the one from 02:00 not at all.
func utc(day time.Time, hour int, second bool) (time.Time, bool) {
	wall := day.Add(time.Duration(hour) * time.Hour)
	var found []time.Time
	for _, offset := range []time.Duration{5 * time.Hour, 6 * time.Hour} { // daylight, standard
		t := wall.Add(offset)
		l := t.In(central())
		if l.Hour() == hour && l.Day() == day.Day() {
			found = append(found, t)
		}
	}
	switch {
	case len(found) == 0:
		return time.Time{}, false
	case second:
		return found[len(found)-1], true
	}
	return found[0], true
}
