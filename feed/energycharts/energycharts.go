// Package energycharts is a feed of European day-ahead prices from the API of
// Energy-Charts (Fraunhofer ISE).
//
// Most European contracts settle at the day-ahead price, so it is given as the
// real-time price too, marked as estimated: where a site settles at imbalance
// prices, put a feed of those before this one.
package energycharts

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
	_ "time/tzdata" // the market's day is that of Central European time

	"sluice"
	"sluice/feed"
)

// Public is the API's address.
const Public = "https://api.energy-charts.info"

// Rate converts the prices to US dollars.
type Rate struct {
	USDPerEUR float64
	AsOf      string // the rate's date, for people
}

// Source asks for one bidding zone.
type Source struct {
	base, zone string
	rate       Rate
	client     *feed.Client
}

// New makes a source for a bidding zone such as DE-LU; base "" means Public.
func New(base, zone string, rate Rate) *Source {
	if base == "" {
		base = Public
	}
	return &Source{base: strings.TrimRight(base, "/"), zone: zone, rate: rate, client: feed.NewClient()}
}

// Fetch returns the prices from yesterday to the end of tomorrow, as far as they
// are out.
func (s *Source) Fetch(ctx context.Context, now time.Time) (map[feed.Quantity][]feed.Point, error) {
	u := s.base + "/price?" + url.Values{
		"bzn":   {s.zone},
		"start": {now.UTC().AddDate(0, 0, -1).Format(time.DateOnly)},
		"end":   {now.UTC().AddDate(0, 0, 2).Format(time.DateOnly)},
	}.Encode()
	data, err := s.client.Get(ctx, u)
	if err != nil {
		return nil, err
	}
	origin := fmt.Sprintf("%s %s, at %g USD/EUR of %s", feed.Bare(u), s.zone, s.rate.USDPerEUR, s.rate.AsOf)
	ps, err := parse(data, s.rate, origin, now)
	if err != nil {
		return nil, sluice.Errorf(sluice.Unavailable, "", "%s for %s: %v", feed.Bare(u), s.zone, err)
	}
	rt := make([]feed.Point, len(ps))
	for i, p := range ps {
		p.Estimated = true
		rt[i] = p
	}
	return map[feed.Quantity][]feed.Point{feed.DayAheadPrice: ps, feed.RealTimePrice: rt}, nil
}

func parse(data []byte, rate Rate, origin string, now time.Time) ([]feed.Point, error) {
	var doc struct {
		Seconds []int64    `json:"unix_seconds"`
		Price   []*float64 `json:"price"`
		Unit    string     `json:"unit"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("not the JSON of prices: %w", err)
	}
	if rate.USDPerEUR <= 0 {
		return nil, fmt.Errorf("no rate of US dollars per euro")
	}
	if unit := strings.ReplaceAll(doc.Unit, " ", ""); unit != "EUR/MWh" {
		return nil, fmt.Errorf("the unit is %.40q, not EUR/MWh", doc.Unit)
	}
	if len(doc.Seconds) != len(doc.Price) || len(doc.Price) == 0 {
		return nil, fmt.Errorf("%d times and %d prices", len(doc.Seconds), len(doc.Price))
	}
	step, err := usual(doc.Seconds)
	if err != nil {
		return nil, err
	}
	out := make([]feed.Point, 0, len(doc.Price))
	for i, v := range doc.Price {
		if v == nil {
			continue // not out yet
		}
		usd := *v * rate.USDPerEUR
		if !feed.Plausible(feed.DayAheadPrice, usd) {
			return nil, fmt.Errorf("a price of %g EUR/MWh makes no sense", *v)
		}
		from := time.Unix(doc.Seconds[i], 0).UTC()
		d := step
		if i+1 < len(doc.Seconds) { // the market went from hours to quarters, and may stand on the border
			d = min(d, time.Duration(doc.Seconds[i+1]-doc.Seconds[i])*time.Second)
		}
		known := auction(from)
		if known.After(now) {
			known = now
		}
		out = append(out, feed.Point{From: from, To: from.Add(d), Value: usd, Published: known, Origin: origin})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no price is known in it")
	}
	return out, nil
}

// usual returns the most frequent distance, the shorter of two; the times must
// go upwards.
func usual(seconds []int64) (time.Duration, error) {
	count := map[int64]int{}
	for i, s := range seconds {
		if s < 0 || s > 1<<34 {
			return 0, fmt.Errorf("the time %d makes no sense", s)
		}
		if i == 0 {
			continue
		}
		d := s - seconds[i-1]
		if d <= 0 {
			return 0, fmt.Errorf("the times do not go upwards at %d", s)
		}
		count[d]++
	}
	best := int64(3600)
	for d, n := range count {
		if d <= 3600 && (n > count[best] || (n == count[best] && d < best)) {
			best = d
		}
	}
	return time.Duration(best) * time.Second, nil
}

// auction is 13:00 in Brussels on the day before, when the coupled auction's
// results are out.
func auction(from time.Time) time.Time {
	loc, err := time.LoadLocation("Europe/Brussels")
	if err != nil {
		panic("energycharts: the zone data is part of the program: " + err.Error())
	}
	y, m, d := from.In(loc).Date()
	return time.Date(y, m, d-1, 13, 0, 0, 0, loc).UTC()
}
