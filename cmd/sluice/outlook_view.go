package main

import (
	"time"

	"sluice/feed"
	"sluice/site"
)

// expected is the newest forecast, and what it was learned from. It is never
// changed once it is shown.
type expected struct {
	why  string    // why there is none; empty: there is
	at   time.Time // when it was made
	from time.Time // start of the interval of the market that at lies in
	step time.Duration
	mean []float64 // USD/MWh, of each interval from then on

	days        float64
	first, last time.Time // of the known prices; zero: none
}

func (l *outlook) show(e expected) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.newer = e
}

// showNone says why there is no forecast; what was learned stays.
func (l *outlook) showNone(why string) {
	e := l.shown()
	e.why, e.mean = why, nil
	l.show(e)
}

func (l *outlook) shown() expected {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newer
}

// usable is the newest forecast where plans may use it now; else why not. Where
// the price in force is stale or a fallback, the site's rule knows what to do.
func (l *outlook) usable(now time.Time) expected {
	e := l.shown()
	switch v := l.book.At(feed.RealTimePrice, now); {
	case e.why != "":
	case !v.Known || v.Stale:
		e.why = "the real-time price is stale"
	case now.Before(e.from) || now.After(e.at.Add(2*e.step+time.Minute)):
		e.why = "it is being made anew" // it learns, or the clock was set
	}
	return e
}

// Expect is site.Options.Expect: what each of n intervals of the site is expected
// to cost, as many as are known; none while there is no forecast.
func (l *outlook) Expect(now time.Time, n int) []float64 {
	e := l.usable(now)
	if e.why != "" {
		return nil
	}
	from := now.Truncate(l.siteStep)
	prices := append([]float64(nil), e.mean...)
	// What has been published since, or of intervals to come.
	for _, p := range l.book.Points(feed.RealTimePrice, e.from, e.from.Add(time.Duration(len(prices))*e.step), now) {
		if k := p.From.Sub(e.from) / e.step; p.To.Sub(p.From) == e.step && p.From.Sub(e.from)%e.step == 0 && k >= 0 {
			prices[k] = p.Value
		}
	}
	out := make([]float64, 0, n)
	for t := range n {
		at := from.Add(time.Duration(t) * l.siteStep)
		v, ok := e.over(prices, at, at.Add(l.siteStep))
		if !ok {
			break
		}
		out = append(out, v)
	}
	return out
}

// over is the mean price over [from, to), of what of it lies in the forecast; false
// where the forecast ends before.
func (e *expected) over(prices []float64, from, to time.Time) (float64, bool) {
	if to.After(e.from.Add(time.Duration(len(prices)) * e.step)) {
		return 0, false
	}
	if from.Before(e.from) {
		from = e.from
	}
	var sum, whole float64
	for at := from; at.Before(to); {
		k := at.Sub(e.from) / e.step
		end := e.from.Add((k + 1) * e.step)
		if end.After(to) {
			end = to
		}
		d := end.Sub(at).Seconds()
		sum, whole = sum+d*prices[k], whole+d
		at = end
	}
	if whole == 0 {
		return 0, false
	}
	return sum / whole, true
}

// Forecast is site.Options.Forecast: what people see of it.
func (l *outlook) Forecast(now time.Time) site.Forecast {
	e := l.usable(now)
	f := site.Forecast{Ready: e.why == "", LearnedDays: e.days, Note: e.why}
	if !e.last.IsZero() {
		f.LearnedFrom, f.LearnedTo = &e.first, &e.last
	}
	if next := l.Expect(now, 2); len(next) == 2 {
		f.NextUSDPerMWh = next[1]
	}
	return f
}
