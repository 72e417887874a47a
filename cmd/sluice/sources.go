package main

import (
	"fmt"
	"time"

	"sluice"
	"sluice/config"
	"sluice/feed"
	"sluice/feed/bitcoind"
	"sluice/feed/constant"
	"sluice/feed/csv"
	"sluice/feed/energycharts"
	"sluice/feed/ercot"
	"sluice/feed/mempool"
	"sluice/feed/mqtt"
	"sluice/feed/orders"
)

// feedSource makes the source of one feed.
func feedSource(c *config.Config, f config.Feed, fac *facility) (feed.Source, error) {
	password, err := f.Password.Reveal()
	if err != nil {
		return nil, fmt.Errorf("feed %s: %w", f.Name, err)
	}
	switch f.Type {
	case "csv":
		o := csv.Options{Path: f.Path, Interval: f.Interval.Duration(), USDPer: c.Site.USDPer, Columns: map[feed.Quantity]string{}}
		for q, column := range f.Columns {
			o.Columns[feed.Quantity(q)] = column
		}
		at, err := time.Parse("15:04", f.PublishAt)
		if err != nil {
			return nil, sluice.Errorf(sluice.Invalid, "write it as 18:00", "feed %s: publish_at %q is no time", f.Name, f.PublishAt)
		}
		o.Lead = 24*time.Hour - time.Duration(at.Hour())*time.Hour - time.Duration(at.Minute())*time.Minute
		return csv.New(o), nil
	case "constant":
		values := make(map[feed.Quantity]float64, len(f.Values))
		for q, v := range f.Values {
			values[feed.Quantity(q)] = v
		}
		return constant.New(values, "constant "+f.Name+" of the configuration"), nil
	case "mempool":
		return mempool.New(f.URL), nil
	case "bitcoind":
		return bitcoind.New(bitcoind.Options{URL: f.URL, User: f.User, Password: password, CookieFile: f.CookieFile}), nil
	case "ercot":
		return ercot.New(f.Zone, f.URL), nil
	case "energy-charts":
		return energycharts.New(f.URL, f.Zone, energycharts.Rate{USDPerEUR: c.Site.USDPer, AsOf: c.Site.USDPerAt}), nil
	case "mqtt":
		return mqtt.New(fac.brokers[f.Device], mqtt.Options{Topic: f.Topic, Node: f.Node, Hold: f.Hold.Duration()})
	case "orders":
		return orders.New(orders.Options{Path: f.Path, URL: f.URL, User: f.User, Password: password}), nil
	}
	return nil, noSource(f.Type)
}
