package ledger

import (
	"fmt"
	"slices"
	"time"

	"sluice"
)

// ReserveUse is what was kept ready for one reserve in an interval.
type ReserveUse struct {
	Name           string
	ReadyWh        sluice.WattHours // load kept ready × time, in W·h; no energy
	ReadyEstimated bool             // some of it was not measured
	// Price is what a MW that stands ready for an hour earns, in micro-USD per
	// MW·h; it is never negative.
	Price          sluice.EnergyPrice
	PriceOrigin    string
	PricePublished time.Time // zero: not known
	PriceEstimated bool
}

// Revenue is what the reserve earned: W·h · µUSD/MW·h ÷ 10⁶.
func (r ReserveUse) Revenue() sluice.Money { return r.ReadyWh.Cost(r.Price) }

func (in Interval) checkReserves(within func(what string, v, lo, hi int64) error) error {
	seen := map[string]bool{}
	for _, r := range in.Reserves {
		if seen[r.Name] {
			return sluice.Errorf(sluice.Invalid, "add it up", "settling %s: the reserve %q is there twice", in.From.UTC().Format(time.RFC3339), r.Name)
		}
		seen[r.Name] = true
		if err := within(fmt.Sprintf("what was ready for the reserve %q (W·h)", r.Name), int64(r.ReadyWh), 0, maxWh); err != nil {
			return err
		}
		if err := within(fmt.Sprintf("the price of the reserve %q (µ$/MW·h)", r.Name), int64(r.Price), 0, maxPrice); err != nil {
			return err
		}
	}
	return nil
}

// reserveNames returns the names of all reserves of the intervals, each once, in
// their order.
func reserveNames(ins ...Interval) []string {
	var out []string
	for _, in := range ins {
		for _, r := range in.Reserves {
			out = append(out, r.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// reservePart is the income of one reserve; it is empty where the interval does
// not have it.
func reservePart(in Interval, name string) part {
	r := ReserveUse{Name: name}
	if i := slices.IndexFunc(in.Reserves, func(x ReserveUse) bool { return x.Name == name }); i >= 0 {
		r = in.Reserves[i]
	}
	meta := map[string]string{
		MetaReserve: text(r.Name), MetaPrice: Decimal(sluice.Money(r.Price)), MetaPriceOrigin: text(r.PriceOrigin),
	}
	if !r.PricePublished.IsZero() {
		meta[MetaPricePublished] = r.PricePublished.UTC().Format(time.RFC3339Nano)
	}
	if s := estimated("ready", r.ReadyEstimated, r.PriceEstimated); s != "" {
		meta[MetaEstimated] = s
	}
	earned := r.Revenue()
	return part{
		name: "reserve/" + Segment(name),
		entry: Entry{Text: "Load kept ready", Meta: meta, Postings: []Posting{
			{Account: AccountGrid, Commodity: USD, Amount: earned},
			{Account: AccountReserve(name), Commodity: USD, Amount: -earned},
		}},
		quantities: map[string]int64{MetaReadyWh: int64(r.ReadyWh)},
	}
}
