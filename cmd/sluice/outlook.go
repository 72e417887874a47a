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
// ones, and has the newest forecast ready for the next plan: run works, which may
// take seconds where there is much to learn; Expect only looks up.
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

	// Of run alone.
	step    time.Duration // of the market; 0 before it was seen
	f       forecaster    // nil: none for this step
	told    map[priceKey]float64
	known   []int64 // starts of the real-time prices that were told in order, ns
	unsaved []store.Price
	failing bool // to keep them
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

// run follows the market until ctx ends, with a look each second.
func (l *outlook) run(ctx context.Context, now func() time.Time) {
	every(ctx, time.Second, func() {
		at := now()
		news, ok := l.learn(ctx, at)
		if !ok {
			return
		}
		// Fitting cannot be called off and holds nothing: the program's end does not
		// wait for it.
		done := make(chan struct{})
		go func() { defer close(done); l.expect(at, news) }()
		select {
		case <-done:
		case <-ctx.Done():
		}
	})
}

// follow takes one look: it makes the forecast that plans use from now on.
func (l *outlook) follow(ctx context.Context, now time.Time) {
	if news, ok := l.learn(ctx, now); ok {
		l.expect(now, news)
	}
}

// learn tells the forecaster what has become known by now, and keeps it. It returns
// whether that was anything; false where there is nothing to forecast with.
func (l *outlook) learn(ctx context.Context, now time.Time) (news, ok bool) {
	real := l.published(feed.RealTimePrice, now)
	step := usualLength(real)
	if step == 0 {
		l.showNone("no feed has a fresh real-time price of an interval")
		return false, false
	}
	if step > day {
		l.showNone("the price holds for longer than a day: there is nothing to forecast")
		return false, false
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
		return false, false
	}
	real = l.fresh(slices.DeleteFunc(real, func(p store.Price) bool { return !l.fits(p) || p.From.After(now) }))
	ahead := l.fresh(l.published(feed.DayAheadPrice, now))
	if err := l.tell(ctx, real, ahead); err != nil {
		return false, false
	}
	l.unsaved = append(append(l.unsaved, real...), ahead...)
	l.save(ctx, now)
	return len(real)+len(ahead) > 0, true
}

// expect makes the forecast, where there is enough to make it from.
func (l *outlook) expect(now time.Time, news bool) {
	e := expected{at: now, step: l.step, from: now.Truncate(l.step), days: l.days()}
	if n := len(l.known); n > 0 {
		e.first, e.last = time.Unix(0, l.known[0]).UTC(), time.Unix(0, l.known[n-1]).Add(l.step).UTC()
	}
	e.why = l.lacks()
	if was := l.shown(); e.why == "" && !news && was.why == "" && was.from.Equal(e.from) {
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
