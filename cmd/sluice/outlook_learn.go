package main

import (
	"context"
	"slices"
	"time"

	"sluice/feed"
	"sluice/store"
)

// published is what the feed that counts has published by now of the last days and
// of what lies ahead.
func (l *outlook) published(q feed.Quantity, now time.Time) []store.Price {
	from := now.Add(-readBack)
	if len(l.known) > 0 {
		newest := time.Unix(0, l.known[len(l.known)-1])
		if recent := now.Add(-restatedFor); newest.After(recent) {
			newest = recent
		}
		if newest.After(from) {
			from = newest
		}
	}
	var out []store.Price
	for _, p := range l.book.Points(q, from, now.Add(readAhead), now) {
		if !p.To.IsZero() {
			out = append(out, store.Price{Quantity: string(q), From: p.From, To: p.To, Published: p.Published, Value: p.Value})
		}
	}
	return out
}

// usualLength is the most frequent length of an interval, the shorter of two; 0
// where there is none.
func usualLength(ps []store.Price) time.Duration {
	count := map[time.Duration]int{}
	best := time.Duration(0)
	for _, p := range ps {
		d := p.To.Sub(p.From)
		count[d]++
		if best == 0 || count[d] > count[best] || (count[d] == count[best] && d < best) {
			best = d
		}
	}
	return best
}

// fits says whether a real-time price is of an interval of the market's grid.
func (l *outlook) fits(p store.Price) bool {
	return p.To.Sub(p.From) == l.step && p.From.UnixNano()%int64(l.step) == 0
}

// fresh are those that were not told yet, or with another value.
func (l *outlook) fresh(ps []store.Price) []store.Price {
	var out []store.Price
	for _, p := range ps {
		if v, ok := l.told[keyOf(p)]; !ok || v != p.Value {
			out = append(out, p)
		}
	}
	return out
}

func keyOf(p store.Price) priceKey { return priceKey{p.Quantity, p.From.UnixNano()} }

// tell tells the forecaster prices in the order in which they became known; those
// of real are by start. An error is that of ctx.
func (l *outlook) tell(ctx context.Context, real, ahead []store.Price) error {
	ahead = slices.Clone(ahead)
	slices.SortStableFunc(ahead, func(a, b store.Price) int { return a.Published.Compare(b.Published) })
	publish := func(p store.Price) {
		l.f.Publish(p.From, p.To.Sub(p.From), p.Value)
		l.told[keyOf(p)] = p.Value
	}
	for i, p := range real {
		if i%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		// A restatement was no price of its own: it does not move what came after.
		known := p.Published
		if known.After(p.To) {
			known = p.To
		}
		for len(ahead) > 0 && !ahead[0].Published.After(known) {
			publish(ahead[0])
			ahead = ahead[1:]
		}
		l.f.Observe(p.From, p.Value)
		l.told[keyOf(p)] = p.Value
		if at := p.From.UnixNano(); len(l.known) == 0 || at > l.known[len(l.known)-1] {
			l.known = append(l.known, at)
		}
	}
	for _, p := range ahead {
		publish(p)
	}
	return nil
}

// save keeps what was told. What cannot be written now is tried again.
func (l *outlook) save(ctx context.Context, now time.Time) {
	if len(l.unsaved) == 0 {
		return
	}
	wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := l.keep.KeepPrices(wctx, l.unsaved, now.Add(-learnFrom)); err != nil {
		if !l.failing { // once, not in each second
			l.failing = true
			l.log.Warn("prices could not be kept yet; it is tried again", "err", err)
		}
		if over := len(l.unsaved) - maxUnsaved; over > 0 {
			l.unsaved = slices.Delete(l.unsaved, 0, over)
		}
		return
	}
	l.unsaved, l.failing = nil, false
	l.forget(now)
}

// forget drops from told what is not read again.
func (l *outlook) forget(now time.Time) {
	for k := range l.told {
		if k.from < now.Add(-readBack-day).UnixNano() {
			delete(l.told, k)
		}
	}
}

// maxUnsaved bounds what waits for a disk that does not answer.
const maxUnsaved = 100_000
