package site

import (
	"math"
	"slices"
	"time"

	"sluice"
	"sluice/dispatch"
	"sluice/feed"
)

// ReserveSpec is a reserve that the site may sell: load that the grid pays to be
// able to drop. Miners that run stand ready for it.
type ReserveSpec struct {
	Name      string
	Max       sluice.Watts // the most that is offered, at the meter; 0: all that can be dropped
	USDPerMWh float64      // of readiness, USD/MW·h, where no feed knows the price
	Classes   []string     // of miners that may stand ready; empty: all
}

// buildReserves checks the reserves. Site.build calls it after the classes.
func (s *Site) buildReserves() error {
	seen := map[string]bool{}
	for _, r := range s.o.Reserves {
		switch {
		case seen[r.Name] || r.Name == "":
			return sluice.Errorf(sluice.Invalid, "", "the reserve %q is there twice or has no name", r.Name)
		case r.Max < 0 || !feed.Plausible(feed.ReservePrice(r.Name), r.USDPerMWh):
			return sluice.Errorf(sluice.Invalid, "", "the reserve %s offers %v at %g $/MW·h", r.Name, r.Max, r.USDPerMWh)
		}
		seen[r.Name] = true
		for _, k := range r.Classes {
			if s.classBy[k] == nil {
				return sluice.Errorf(sluice.Invalid, "", "the reserve %s is of an unknown class %s", r.Name, k)
			}
		}
	}
	return nil
}

// takes says whether machines of the class may stand ready for the reserve.
func (r *ReserveSpec) takes(c *class) bool {
	return len(r.Classes) == 0 || slices.Contains(r.Classes, c.spec.Name)
}

// sheds is what a machine of the class at the plug's power p could drop at a
// reserve's notice, at the meter; 0 where the class stands ready for none.
func (s *Site) sheds(c *class, p sluice.Watts) sluice.Watts {
	for i := range s.o.Reserves {
		if s.o.Reserves[i].takes(c) {
			return max(0, s.atMeter(p-c.modes[0].Power))
		}
	}
	return 0
}

// reservePrice is what a reserve pays in the interval of the instant t, as it is
// known at now: what a feed knows afresh, else the rate of the configuration, else
// what the feed knew last. What cannot be a price is none.
func (s *Site) reservePrice(name string, t, now time.Time) feed.Value {
	q := feed.ReservePrice(name)
	v := s.o.Feeds.At(q, t)
	if k := s.o.Feeds.Known(q, t, now); k.Known {
		v = k
	}
	if !feed.Plausible(q, v.Value) {
		v = feed.Value{Quantity: q}
	}
	if v.Known && !v.Stale {
		return v
	}
	for _, r := range s.o.Reserves {
		if r.Name == name && r.USDPerMWh > 0 {
			return feed.Value{
				Quantity: q, Value: r.USDPerMWh, Origin: "usd_per_mw_h of the reserve " + name,
				Known: true, Estimated: v.Known, // a feed should have told
			}
		}
	}
	return v
}

// addReserves tells the plan what load that stands ready earns: the price in
// force, and of later intervals what is published, else the same. The caller
// holds s.mu.
func (s *Site) addReserves(in *dispatch.Instance, now time.Time) {
	for _, r := range s.o.Reserves {
		first := s.reservePrice(r.Name, now, now)
		if !first.Known {
			continue // nobody pays for it
		}
		usd := make([]float64, in.Intervals)
		ahead := s.o.Feeds.Series(feed.ReservePrice(r.Name), now, s.o.Step, in.Intervals)
		for t := range usd {
			usd[t] = first.Value
			if v := ahead[t]; t > 0 && v.Known && feed.Plausible(v.Quantity, v.Value) {
				usd[t] = v.Value
			}
		}
		d := dispatch.Reserve{Name: r.Name, USDPerMWh: dispatch.Values(usd)}
		if most := s.most(&r, in); !math.IsInf(most, 1) {
			kw := dispatch.Const(most)
			d.MaxKW = &kw
		}
		in.Reserves = append(in.Reserves, d)
	}
}

// most is the most that may be kept ready for a reserve, kW. The plan knows of
// each unit only how much it can drop, not for which reserve: of one that is
// narrowed to some classes no more is planned than these could ever drop, and what
// they really can is seen by the readings.
func (s *Site) most(r *ReserveSpec, in *dispatch.Instance) float64 {
	most := math.Inf(1)
	if r.Max > 0 {
		most = r.Max.KW()
	}
	if len(r.Classes) == 0 {
		return most
	}
	could := 0.0
	for i := range in.Classes {
		if c := s.classBy[in.Classes[i].Name]; c != nil && r.takes(c) {
			could += float64(in.Classes[i].Count) * s.sheds(c, c.full().Power).KW()
		}
	}
	return min(most, could)
}

// adoptReserves keeps ready what the plan's first interval says. While an order
// holds load down that stood ready, what was promised when it came stays promised:
// it is being delivered. The caller holds s.mu.
func (s *Site) adoptReserves(p *dispatch.Plan, now time.Time) {
	called := len(s.calls(now)) > 0
	for i := range s.o.Reserves {
		r := s.acc.reserve(s.o.Reserves[i].Name)
		held := r.PlannedW
		r.PlannedW = 0
		for _, x := range p.Reserves {
			if x.Name == r.Name && len(x.KW) > 0 {
				r.PlannedW = sluice.WattsOfKW(x.KW[0])
			}
		}
		if called {
			r.PlannedW = max(r.PlannedW, held)
		}
	}
}

// bestReserve is the best paid reserve for which the plan keeps load ready in its
// first interval and for which the class may stand, with its price.
func (s *Site) bestReserve(c *class, pic *picture, p *dispatch.Plan) (name string, usd float64) {
	if p == nil {
		return "", 0
	}
	for _, d := range pic.in.Reserves {
		i := slices.IndexFunc(s.o.Reserves, func(r ReserveSpec) bool { return r.Name == d.Name && r.takes(c) })
		sold := slices.ContainsFunc(p.Reserves, func(x dispatch.ReserveKW) bool { return x.Name == d.Name && len(x.KW) > 0 && x.KW[0] > 0 })
		if at := d.USDPerMWh.At(0); i >= 0 && sold && at > usd {
			name, usd = d.Name, at
		}
	}
	return name, usd
}
