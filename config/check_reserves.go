package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sluice/feed"
)

// reservePattern is that of the price of a reserve: the quantity's beginning and
// the reserve's name.
var reservePattern = "^" + feed.ReservePrices + strings.TrimPrefix(namePattern, "^")

var reserveForm = regexp.MustCompile(reservePattern)

func isReservePrice(q string) bool { return reserveForm.MatchString(q) }

// isQuantity says whether a series can be of the quantity.
func isQuantity(q string) bool { return slices.Contains(quantities(), q) || isReservePrice(q) }

// nearQuantity is the quantity that was probably meant.
func nearQuantity(got string) string {
	head, name, ok := strings.Cut(got, "/")
	if near := nearest(head, []string{strings.TrimSuffix(feed.ReservePrices, "/")}); near != "" {
		if !ok || !forms["name"].ok(name) {
			name = "NAME"
		}
		return near + "/" + name
	}
	return nearest(got, quantities())
}

// checkReserves finds reserves that nothing can stand ready for or that nothing
// pays, and prices of reserves that are not there.
func (d *decoder) checkReserves(c *Config, classes []string) {
	names := d.names("reserves", len(c.Reserves), func(i int) string { return c.Reserves[i].Name })
	priced := map[string]bool{}
	price := func(path, quantity string) {
		name := feed.Quantity(quantity).Reserve()
		if name == "" || !isReservePrice(quantity) {
			return
		}
		priced[name] = true
		if !slices.Contains(names, name) && !d.broken["reserves"] {
			d.warn(path, "there is no reserve %q: its price is of no use; name it under reserves", name)
		}
	}
	files := false // that may have a column of the quantity's own name
	for i, f := range c.Feeds {
		p := fmt.Sprintf("feeds[%d].", i)
		files = files || f.Type == "csv"
		for _, q := range slices.Sorted(maps.Keys(f.Columns)) {
			price(p+"columns."+q, q)
		}
		for _, q := range slices.Sorted(maps.Keys(f.Values)) {
			price(p+"values."+q, q)
		}
		for _, q := range slices.Sorted(maps.Keys(f.Fallback)) {
			price(p+"fallback."+q, q)
		}
	}
	for i, r := range c.History.Series {
		price(fmt.Sprintf("history.series[%d].quantity", i), r.Quantity)
	}
	for i, r := range c.Reserves {
		p := fmt.Sprintf("reserves[%d]", i)
		seen := map[string]bool{}
		for j, k := range r.Classes {
			at := fmt.Sprintf("%s.classes[%d]", p, j)
			d.ref(at, "class", k, classes)
			if seen[k] {
				d.bad(at, "", "%s: the class %s stands there a second time", at, k)
			}
			seen[k] = true
		}
		if len(c.Classes) == 0 && !d.broken["classes"] {
			d.warn(p, "there are no classes of miners: nothing can stand ready for %s", r.Name)
		}
		if r.Name != "" && r.USDPerMWh == 0 && !d.broken[p+".usd_per_mw_h"] && !priced[r.Name] && !files {
			d.warn(p, "no feed gives %s and it has no usd_per_mw_h: the reserve %s earns nothing", feed.ReservePrice(r.Name), r.Name)
		}
	}
}
