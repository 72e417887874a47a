package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"sluice"
	"sluice/feed"
	"sluice/forecast"
	"sluice/history"
	"sluice/site"
	"sluice/store"
)

// outlook is what a running site expects of the price of power. It follows the
// prices that the feeds publish and keeps them, learns from them and from recorded
// ones, and has the newest forecast ready for the next plan: follow works, which
// may take seconds where there is much to learn; Expect only looks up.
//
// Its intervals are those of the market, as the feed gives them, whatever the
// site's step is.
type outlook struct {
	book     *feed.Book
	keep     priceKeeper
	recorded map[feed.Quantity]history.Spec // may be nil
	usdPer   float64                        // of the recorded prices
	siteStep time.Duration
	horizon  time.Duration // of a plan
	strikes  func(now time.Time) []float64
	log      *slog.Logger
	make     func(forecast.Options) (forecaster, error)

	// Of follow alone.
	step    time.Duration // of the market; 0 before it was seen
	f       forecaster    // nil: none for this step
	told    map[priceKey]float64
	known   []int64 // starts of the real-time prices that were told in order, ns
	unsaved []store.Price
	ready   bool

	mu    sync.Mutex
	newer expected // what Expect and Forecast look at
}

// forecaster is what an outlook needs of a forecast.Forecaster.
type forecaster interface {
	Publish(from time.Time, d time.Duration, usdPerMWh float64)
	Observe(from time.Time, usdPerMWh float64)
	Expect(now time.Time, n int) []forecast.Expected
}

// priceKeeper keeps what was observed beyond the end of the process.
type priceKeeper interface {
	KeepPrices(ctx context.Context, ps []store.Price, forget time.Time) error
	Prices(ctx context.Context, quantity string, from time.Time) ([]store.Price, error)
}

type priceKey struct {
	quantity string
	from     int64 // ns
}

// When a forecast counts, and how far back it learns.
const (
	day        = 24 * time.Hour
	learnFrom  = 4 * 365 * day // before now: nothing older is learned from
	enough     = 60 * day      // of known prices must lie
	enoughIn   = 400 * day     // within so long before the newest
	enoughLast = 20 * time.Hour
	// What a feed gives of the past is read from the newest price that is known on,
	// and for so long at least, since prices are restated, and at most.
	restatedFor = 2 * day
	readBack    = 8 * day
	readAhead   = 2 * day
)

func newOutlook(o site.Options, keep priceKeeper, recorded map[feed.Quantity]history.Spec, usdPer float64, log *slog.Logger) *outlook {
	return &outlook{
		book: o.Feeds, keep: keep, recorded: recorded, usdPer: usdPer, siteStep: o.Step, horizon: o.Horizon, log: log,
		strikes: func(now time.Time) []float64 { return strikesOf(o, o.Feeds.Hashprice(now).Value) },
		make:    func(o forecast.Options) (forecaster, error) { return forecast.New(o) },
		newer:   expected{why: "nothing is known of the price yet"},
	}
}

// strikesOf are the prices around which decisions of the site turn: those of each
// mode of its miners.
func strikesOf(o site.Options, usdPerPHDay float64) []float64 {
	var out []float64
	for _, c := range o.Classes {
		for _, m := range c.Modes {
			if m.HashRate > 0 {
				jth := float64(m.Power) / float64(m.HashRate)
				out = append(out, sluice.Strike(sluice.HashpriceFromUSD(usdPerPHDay), o.PoolFee, jth, max(o.Overhead, 1)).USDPerMWh())
			}
		}
	}
	return out
}

// follow tells the forecaster what has become known by now, keeps it, and makes
// the forecast that plans use from now on.
func (l *outlook) follow(ctx context.Context, now time.Time) {
	real := l.published(feed.RealTimePrice, now)
	step := usualLength(real)
	if step == 0 {
		l.showNone("no feed has a fresh real-time price of an interval")
		return
	}
	if step != l.step {
		if err := l.begin(ctx, step, now); err != nil {
			if ctx.Err() == nil {
				l.log.Warn("prices are not forecast", "err", err)
			}
			l.showNone(err.Error())
		}
		real = l.published(feed.RealTimePrice, now)
	}
	if l.f == nil {
		return
	}
	real = l.fresh(slices.DeleteFunc(real, func(p store.Price) bool { return !l.fits(p) || p.From.After(now) }))
	ahead := l.fresh(l.published(feed.DayAheadPrice, now))
	if err := l.tell(ctx, real, ahead); err != nil {
		return
	}
	l.unsaved = append(append(l.unsaved, real...), ahead...)
	l.save(ctx, now)
	l.expect(now, len(real)+len(ahead) > 0)
}

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
		l.log.Warn("prices could not be kept yet", "err", err)
		if over := len(l.unsaved) - maxUnsaved; over > 0 {
			l.unsaved = slices.Delete(l.unsaved, 0, over)
		}
		return
	}
	l.unsaved = nil
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

// expect makes the forecast, where there is enough to make it from.
func (l *outlook) expect(now time.Time, changed bool) {
	e := expected{at: now, step: l.step, from: now.Truncate(l.step), days: l.days()}
	if n := len(l.known); n > 0 {
		e.first, e.last = time.Unix(0, l.known[0]).UTC(), time.Unix(0, l.known[n-1]).Add(l.step).UTC()
	}
	e.why = l.lacks()
	if was := l.shown(); e.why == "" && !changed && was.why == "" && was.from.Equal(e.from) {
		e.mean = was.mean
	} else if e.why == "" {
		for _, x := range l.f.Expect(now, l.intervals()) {
			if math.IsNaN(x.Mean) || math.IsInf(x.Mean, 0) {
				break
			}
			e.mean = append(e.mean, x.Mean)
		}
	}
	l.show(e)
	if ready := e.why == ""; ready != l.ready {
		l.ready = ready
		l.log.Info("the price of power is forecast", "ready", ready, "why", e.why, "days", math.Round(e.days))
	}
}

// intervals is how many a forecast is made of: those that a plan reaches, and two
// more, since it begins in the middle of one and is used after the next has begun.
func (l *outlook) intervals() int { return int((l.horizon+l.step-1)/l.step) + 2 }

// days are the days of known prices that count.
func (l *outlook) days() float64 {
	if len(l.known) == 0 {
		return 0
	}
	return (time.Duration(l.since(enoughIn)) * l.step).Hours() / 24
}

// since counts the known prices of so long before the end of the newest.
func (l *outlook) since(d time.Duration) int {
	from := l.known[len(l.known)-1] + int64(l.step) - int64(d)
	i, _ := slices.BinarySearch(l.known, from)
	return len(l.known) - i
}

// lacks says why there is no forecast yet; empty: there is.
func (l *outlook) lacks() string {
	if d := l.days(); d < enough.Hours()/24 {
		return fmt.Sprintf("%.1f of the %.0f days of prices that it learns from are known", d, enough.Hours()/24)
	}
	if got := time.Duration(l.since(day)) * l.step; got < min(enoughLast, day-l.step) {
		return fmt.Sprintf("of the newest 24 hours of prices %.0f are known, it needs %.0f", got.Hours(), enoughLast.Hours())
	}
	return ""
}
