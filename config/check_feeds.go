package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/feed"
)

// feedType says which fields mean something to a type of feed, beyond name,
// type, refresh, max_age and fallback, and what its defaults are.
type feedType struct {
	takes           []string
	needs           []string
	url             string
	refresh, maxAge time.Duration
	gives           []feed.Quantity
}

var feedTypes = map[string]feedType{
	"csv": {
		takes: []string{"path", "columns", "interval", "publish_at"}, needs: []string{"path"},
		refresh: time.Minute, maxAge: 15 * time.Minute, gives: feed.Quantities(),
	},
	"constant": {takes: []string{"values"}, needs: []string{"values"}, refresh: time.Minute, maxAge: 15 * time.Minute},
	"mempool": {
		takes: []string{"url"}, url: "https://mempool.space", refresh: 5 * time.Minute, maxAge: 24 * time.Hour,
		gives: []feed.Quantity{feed.BTCPrice, feed.Difficulty, feed.Subsidy, feed.Fees},
	},
	"bitcoind": {
		takes: []string{"url", "user", "password", "cookie_file"}, needs: []string{"url"}, refresh: time.Minute, maxAge: 24 * time.Hour,
		gives: []feed.Quantity{feed.Difficulty, feed.Subsidy, feed.Fees},
	},
	"ercot": {
		takes: []string{"url", "zone"}, needs: []string{"zone"}, url: "https://www.ercot.com/api/1/services/read/dashboards/systemWidePrices.json",
		refresh: 2 * time.Minute, maxAge: 30 * time.Minute, gives: []feed.Quantity{feed.RealTimePrice, feed.DayAheadPrice},
	},
	"energy-charts": {
		takes: []string{"url", "zone"}, needs: []string{"zone"}, url: "https://api.energy-charts.info",
		refresh: 15 * time.Minute, maxAge: 15 * time.Minute, gives: []feed.Quantity{feed.RealTimePrice, feed.DayAheadPrice},
	},
	"mqtt":   {takes: []string{"device", "topic", "node", "hold"}, needs: []string{"device", "topic"}, refresh: time.Second, maxAge: 15 * time.Minute},
	"orders": {takes: []string{"url", "path", "user", "password"}, refresh: time.Minute, maxAge: 15 * time.Minute},
}

// typed are the fields that only some types take.
var typed = []string{"url", "path", "columns", "interval", "publish_at", "values", "zone", "user", "password", "cookie_file", "device", "topic", "node", "hold"}

func (d *decoder) checkFeeds(c *Config) {
	priced := false
	for i, f := range c.Feeds {
		p := fmt.Sprintf("feeds[%d].", i)
		t, ok := feedTypes[f.Type]
		if !ok {
			continue // reported as not one of the types
		}
		for _, key := range typed {
			if d.has(p+key) && !slices.Contains(t.takes, key) {
				d.bad(p+key, "", "%s%s means nothing to a feed of type %s, which takes %s", p, key, f.Type, strings.Join(t.takes, ", "))
			}
		}
		for _, key := range t.needs {
			if !d.has(p+key) && !d.broken[p+key] {
				d.bad(p+key, "", "the field %q in feeds[%d] is missing; a feed of type %s needs it", key, i, f.Type)
			}
		}
		for q, column := range f.Columns {
			if column == "" {
				d.bad(p+"columns."+q, "", "%scolumns.%s: the column's name is empty", p, q)
			}
		}
		switch f.Type {
		case "constant":
			if d.has(p+"values") && !d.broken[p+"values"] && len(f.Values) == 0 {
				d.bad(p+"values", "", "%svalues: give at least one quantity", p)
			}
		case "orders":
			if d.has(p+"url") == d.has(p+"path") {
				d.bad(p+"type", "", "a feed of type orders takes either a path or a url")
			}
		case "bitcoind":
			if !d.has(p+"cookie_file") && !(d.has(p+"user") && d.has(p+"password")) {
				d.bad(p+"type", "", "a feed of type bitcoind needs cookie_file, or user and password")
			}
		case "energy-charts":
			if c.Site.Currency != "EUR" {
				d.bad(p+"type", "", "a feed of type energy-charts gives EUR/MWh: set site.currency to EUR and site.usd_per_currency to its rate")
			}
		}
		if f.Password.clear() {
			d.warn(p+"password", "the password of the feed %s stands in this file; write env:NAME or file:PATH instead", f.Name)
		}
		_, constant := f.Values[string(feed.RealTimePrice)]
		_, fallback := f.Fallback[string(feed.RealTimePrice)]
		priced = priced || constant || fallback || slices.Contains(t.gives, feed.RealTimePrice)
	}
	if !priced {
		d.warn("feeds", "no feed gives %s: nothing can be decided by price", feed.RealTimePrice)
	}
}
