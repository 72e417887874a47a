package feed

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"sluice"
)

// At returns the quantity at the site time now: the fresh value of the first
// feed that has one; else the youngest stale one, if it is younger than four
// maximum ages or no feed states a fallback; else the first fallback. What was
// not published by now is not used.
func (b *Book) At(q Quantity, now time.Time) Value {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at(q, now)
}

// Known returns the value that was in force at the instant t with what is known
// at now: a price that was restated since counts as restated.
func (b *Book) Known(q Quantity, t, now time.Time) Value {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.feeds {
		if p, age, ok := pick(e.points[q], t, now); ok && age == 0 {
			return p.value(q)
		}
	}
	return Value{Quantity: q}
}

func (b *Book) at(q Quantity, now time.Time) Value {
	var stale, old, fall Value
	var staleAge, oldAge time.Duration
	for _, e := range b.feeds {
		if p, age, ok := e.at(q, now); ok {
			v := p.value(q)
			switch max := e.spec.MaxAge; {
			case age <= max:
				return v
			case age <= staleFactor*max:
				if !stale.Known || age < staleAge {
					stale, staleAge = v, age
				}
			default:
				if !old.Known || age < oldAge {
					old, oldAge = v, age
				}
			}
		}
		if f, ok := e.fallback(q, now); ok && !fall.Known {
			fall = f
		}
	}
	for _, v := range []Value{stale, fall, old} {
		if v.Known {
			v.Stale = true
			return v
		}
	}
	return Value{Quantity: q}
}

func (e *entry) fallback(q Quantity, now time.Time) (Value, bool) {
	x, ok := e.spec.Fallback[q]
	if !ok {
		return Value{}, false
	}
	return Value{Quantity: q, Value: x, AsOf: now, Origin: "fallback of " + e.spec.Name, Stale: true, Estimated: true, Known: true}, true
}

func (p Point) value(q Quantity) Value {
	asOf := p.Published
	if asOf.Before(p.From) {
		asOf = p.From
	}
	return Value{Quantity: q, Value: p.Value, AsOf: asOf, Origin: p.Origin, Estimated: p.Estimated, Known: true}
}

// at returns the point that counts at now and its age: 0 within its interval.
func (e *entry) at(q Quantity, now time.Time) (Point, time.Duration, bool) {
	return pick(e.points[q], now, now)
}

// pick returns the point that counts at t with what was published by now, and
// how long ago it held. A point in force wins over one that has ended, the later
// start over the earlier, and the later publication over the one it restates.
func pick(ps []Point, t, now time.Time) (Point, time.Duration, bool) {
	// The first point that starts after t; what counts is before it.
	n := sort.Search(len(ps), func(i int) bool { return ps[i].From.After(t) })
	var best Point
	var bestAge time.Duration
	found := false
	for i := n - 1; i >= 0; i-- {
		p := ps[i]
		if p.Published.After(now) || (found && p.From.Equal(best.From) && !p.Published.After(best.Published)) {
			continue
		}
		age := p.age(t)
		if !found || age < bestAge {
			best, bestAge, found = p, age, true
		}
		// Nothing earlier can be younger than 0, and series are not nested: a
		// few steps back from a point that has ended find what still holds.
		if bestAge == 0 || n-i > 64 {
			break
		}
	}
	return best, bestAge, found
}

func (p Point) age(t time.Time) time.Duration {
	if p.To.IsZero() {
		return max(0, t.Sub(p.Published))
	}
	if t.Before(p.To) {
		return 0
	}
	return t.Sub(p.To)
}

// Series returns what is known at now of the quantity for each of n intervals of
// length step from now: the value in force at the interval's start. The first is
// At(q, now). Of the later ones known are those that lie in a published interval
// (a day-ahead price), or that an observation reaches before its maximum age;
// there are no fallbacks for the future.
func (b *Book) Series(q Quantity, now time.Time, step time.Duration, n int) []Value {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Value, max(0, n))
	for i := range out {
		if i == 0 {
			out[i] = b.at(q, now)
			continue
		}
		out[i] = b.ahead(q, now.Add(time.Duration(i)*step), now)
	}
	return out
}

func (b *Book) ahead(q Quantity, t, now time.Time) Value {
	for _, e := range b.feeds {
		p, age, ok := pick(e.points[q], t, now)
		if !ok || (p.To.IsZero() && age > e.spec.MaxAge) || (!p.To.IsZero() && !t.Before(p.To)) {
			continue
		}
		return p.value(q)
	}
	return Value{Quantity: q}
}

// Points returns what was published by now of the quantity for times in
// [from, to), by start: the newest of each start. They are of one feed, the first
// whose value is fresh at now, which is the one that At takes; where none is fresh
// there are none.
func (b *Book) Points(q Quantity, from, to, now time.Time) []Point {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.feeds {
		if _, age, ok := e.at(q, now); ok && age <= e.spec.MaxAge {
			return between(e.points[q], from, to, now)
		}
	}
	return nil
}

// between returns the points published by now that overlap [from, to), the newest
// of each start.
func between(ps []Point, from, to, now time.Time) []Point {
	i := sort.Search(len(ps), func(i int) bool { return !ps[i].From.Before(from) })
	for i > 0 && ps[i-1].To.After(from) { // series are not nested
		i--
	}
	var out []Point
	for ; i < len(ps) && ps[i].From.Before(to); i++ {
		switch n := len(out); {
		case ps[i].Published.After(now):
		case n > 0 && out[n-1].From.Equal(ps[i].From):
			out[n-1] = ps[i] // published later
		default:
			out = append(out, ps[i])
		}
	}
	return out
}

// Hashprice returns the hashprice at now: a fresh one from a feed, else the
// formula of sluice.NetworkHashprice from bitcoin's price, the difficulty, the
// subsidy and the fees per block, else a stale one or a fallback. Fees that are
// not known are taken as sluice.AssumedFeeShare of the subsidy; the value is
// then an estimate and its origin says so.
func (b *Book) Hashprice(now time.Time) Value {
	b.mu.Lock()
	defer b.mu.Unlock()
	direct := b.at(Hashprice, now)
	if direct.Known && !direct.Stale {
		return direct
	}
	btc, diff, sub := b.at(BTCPrice, now), b.at(Difficulty, now), b.at(Subsidy, now)
	if !btc.Known || !diff.Known || !sub.Known || diff.Value <= 0 {
		return direct
	}
	v := Value{Quantity: Hashprice, Known: true, AsOf: btc.AsOf}
	in := []Value{btc, diff, sub}
	var parts []string
	fees := b.at(Fees, now)
	feeBTC := fees.Value
	if fees.Known {
		in = append(in, fees)
	} else {
		feeBTC = sub.Value * sluice.AssumedFeeShare
		v.Estimated = true
	}
	for _, x := range in {
		parts = append(parts, fmt.Sprintf("%s from %s", x.Quantity, x.Origin))
		v.Stale = v.Stale || x.Stale
		v.Estimated = v.Estimated || x.Estimated
	}
	if !fees.Known {
		parts = append(parts, fmt.Sprintf("fees taken as %g %% of the subsidy", sluice.AssumedFeeShare*100))
	}
	v.Value = sluice.NetworkHashprice(btc.Value, diff.Value, sub.Value, feeBTC).USDPerPHDay()
	v.Origin = "formula: " + strings.Join(parts, ", ")
	return v
}
