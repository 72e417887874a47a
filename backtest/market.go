package backtest

import (
	"context"
	"math"
	"path/filepath"
	"time"

	"sluice"
	"sluice/feed"
	"sluice/history"
)

// moment is what is true of one step, whoever knows it.
type moment struct {
	at        time.Time
	price     float64 // of power, USD/MWh
	estimated bool    // the price was not recorded
	dayAhead  float64 // USD/MWh, NaN where it is not known
	hash      float64 // hashprice in force, USD/PH/day; 0 without miners
	reserve   []float64
}

// market walks over the recorded series in step. It is the feed of a site, which
// is told what was published by then, and what policies are settled at.
type market struct {
	o     *Options
	step  time.Duration
	now   moment
	ended []moment // the newest that have ended, at most two

	rt       *history.Series
	fill     *history.Filler
	next     history.Row // of rt
	unknown  int         // steps in a row without any price
	dayAhead *ahead
	btc      *slow
	diff     *slow
	subsidy  *slow
	fees     *slow
	hash     *slow
	reserves []*ahead
	origin   string
	hashFrom string

	onPublish func(from time.Time, d time.Duration, usd float64) // of day-ahead prices, as they become known
}

// publishAt is the time of the day before, UTC, from which a day's day-ahead
// prices are known, as with feeds of files.
const publishAt = 18 * time.Hour

// longestHole is for how long prices may be missing before a run is refused: a
// year of guesses is no backtest.
const longestHole = 7 * 24 * time.Hour

// openMarket opens the series; the first step is at from or, where the series
// begins later, there.
func openMarket(o *Options, from time.Time) (_ *market, err error) {
	m := &market{o: o}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	spec := o.Series[feed.RealTimePrice]
	spec.To = o.To
	begins, err := firstOf(spec)
	if err != nil {
		return nil, err
	}
	if begins.After(o.From) {
		return nil, sluice.Errorf(sluice.Invalid, "begin later", "%s begins at %s, after %s", spec.Path, begins.Format(time.RFC3339), o.From.Format(time.RFC3339))
	}
	// From a day earlier, for what a first price that is missing is taken as. What
	// lies before is nothing to this run: not even its faults.
	spec.From = from.Add(-24 * time.Hour)
	if spec.From.Before(begins) {
		spec.From = begins
	}
	if m.rt, err = history.Open(spec); err != nil {
		return nil, err
	}
	m.step = m.rt.Step()
	if m.step > time.Hour || time.Hour%m.step != 0 {
		return nil, sluice.Errorf(sluice.Invalid, "real-time prices are of an hour, or of a part that divides it", "%s: the step of %s", spec.Path, m.step)
	}
	m.fill = history.NewFiller(history.FillRealTime, m.step)
	m.origin = filepath.Base(spec.Path) + ":" + spec.Column
	if m.dayAhead, err = openAhead(o, feed.DayAheadPrice, from); err != nil {
		return nil, err
	}
	for _, x := range []struct {
		to *(*slow)
		q  feed.Quantity
	}{{&m.btc, feed.BTCPrice}, {&m.diff, feed.Difficulty}, {&m.subsidy, feed.Subsidy}, {&m.fees, feed.Fees}, {&m.hash, feed.Hashprice}} {
		if *x.to, err = openSlow(o, x.q); err != nil {
			return nil, err
		}
	}
	for _, name := range o.reserves() {
		a, err := openAhead(o, feed.ReservePrice(name), from)
		if err != nil {
			return nil, err
		}
		m.reserves = append(m.reserves, a)
	}
	for {
		if m.next, err = m.rt.Next(); err != nil {
			return nil, err
		}
		if !m.next.At.Before(from) {
			break
		}
		m.fill.Fill(m.next.Value*o.USDPer, math.NaN())
	}
	if o.From.Sub(m.next.At)%m.step != 0 {
		return nil, sluice.Errorf(sluice.Invalid, "give a start on the grid of the prices", "%s does not begin a step of %s: its steps are of %s", o.From.Format(time.RFC3339), spec.Path, m.step)
	}
	return m, nil
}

// firstOf is the time of a series' first row.
func firstOf(spec history.Spec) (time.Time, error) {
	s, err := history.Open(spec)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = s.Close() }()
	r, err := s.Next()
	return r.At, err
}

func (m *market) close() {
	for _, s := range []*slow{m.btc, m.diff, m.subsidy, m.fees, m.hash} {
		if s != nil {
			_ = s.in.Close()
		}
	}
	for _, a := range append([]*ahead{m.dayAhead}, m.reserves...) {
		if a != nil {
			_ = a.in.Close()
		}
	}
	if m.rt != nil {
		_ = m.rt.Close()
	}
}

// at is the time of the step that comes next.
func (m *market) at() time.Time { return m.next.At }

// advance moves to the next step.
func (m *market) advance() (moment, error) {
	if !m.now.at.IsZero() {
		if len(m.ended) == 2 {
			m.ended[0] = m.ended[1]
			m.ended = m.ended[:1]
		}
		m.ended = append(m.ended, m.now)
	}
	x := moment{at: m.next.At, dayAhead: math.NaN()}
	if err := m.publish(x.at); err != nil {
		return x, err
	}
	if m.dayAhead != nil {
		x.dayAhead = m.dayAhead.value(x.at)
	}
	raw := m.next.Value * m.o.USDPer
	x.price, x.estimated = m.fill.Fill(raw, x.dayAhead)
	if !m.next.Known() {
		m.unknown++
	} else {
		m.unknown = 0
	}
	inRange := !x.at.Before(m.o.From)
	if inRange && time.Duration(m.unknown)*m.step > longestHole {
		return x, sluice.Errorf(sluice.Invalid, "choose a range without such a hole", "%s has no price for more than %s up to %s",
			m.o.Series[feed.RealTimePrice].Path, longestHole, x.at.Format(time.RFC3339))
	}
	if math.IsNaN(x.price) {
		if inRange {
			return x, sluice.Errorf(sluice.Invalid, "begin where prices are known", "%s has no price at %s, and nothing that could stand in for it is known", m.o.Series[feed.RealTimePrice].Path, x.at.Format(time.RFC3339))
		}
		x.price = 0
		x.estimated = true
	}
	if inRange {
		var err error
		if x.hash, err = m.hashprice(x.at); err != nil {
			return x, err
		}
		for i, r := range m.reserves {
			x.reserve = append(x.reserve, r.paid(x.at.Add(m.step-time.Nanosecond), m.o.Site.Reserves[i].USDPerMWh))
		}
	}
	m.now = x
	row, err := m.rt.Next()
	if err != nil {
		row = history.Row{At: x.at.Add(m.step), Value: math.NaN()}
		if e := m.rt.Err(); e != nil {
			return x, e
		}
	}
	m.next = row
	return x, nil
}

// hashprice is what holds over the step that begins at t: with bitcoin's price of
// the last hour that ended and the network as it stands. Difficulty and subsidy are
// facts of the chain at every instant; where a series gives their mean of a day,
// the day of an adjustment is told some hours early.
func (m *market) hashprice(t time.Time) (float64, error) {
	if len(m.o.Site.Classes) == 0 {
		return 0, nil
	}
	if m.hash != nil {
		at := t.Add(-m.hash.in.Step()) // a day's mean is known when the day has ended
		v, ok := m.hash.value(at)
		if !ok {
			return 0, m.hash.missing(at)
		}
		m.hashFrom = m.hash.origin
		return v, nil
	}
	var v [3]float64
	for i, s := range []*slow{m.btc, m.diff, m.subsidy} {
		q := []feed.Quantity{feed.BTCPrice, feed.Difficulty, feed.Subsidy}[i]
		if s == nil {
			return 0, sluice.Errorf(sluice.Invalid, "give a series of hashprice_usd_per_ph_day, or of btc_usd, difficulty and subsidy_btc_per_block",
				"what miners earn is not known: history.series has no %s", q)
		}
		at := t
		if s == m.btc {
			at = t.Add(-s.in.Step()) // a close is known when its interval has ended
		}
		var ok bool
		if v[i], ok = s.value(at); !ok {
			return 0, s.missing(at)
		}
	}
	fees := sluice.AssumedFeeShare * v[2]
	m.hashFrom = m.btc.origin + ", fees taken as 2 % of the subsidy"
	if m.fees != nil {
		if f, ok := m.fees.value(t); ok {
			fees, m.hashFrom = f, m.btc.origin
		}
	}
	return sluice.NetworkHashprice(v[0], v[1], v[2], fees).USDPerPHDay(), nil
}

// publish reads what is published by t.
func (m *market) publish(t time.Time) error {
	if m.dayAhead != nil {
		if m.dayAhead.until(t, m.onPublish); m.dayAhead.err != nil {
			return m.dayAhead.err
		}
	}
	for _, r := range m.reserves {
		if r == nil {
			continue
		}
		if r.until(t, nil); r.err != nil {
			return r.err
		}
	}
	return nil
}

// Fetch makes the market a feed: what has been published by now, now being the
// start of the step that m stands at.
func (m *market) Fetch(_ context.Context, now time.Time) (map[feed.Quantity][]feed.Point, error) {
	out := map[feed.Quantity][]feed.Point{}
	for _, e := range m.ended {
		if to := e.at.Add(m.step); !to.After(now) {
			out[feed.RealTimePrice] = append(out[feed.RealTimePrice], feed.Point{From: e.at, To: to, Value: e.price, Published: to, Estimated: e.estimated, Origin: m.origin})
		}
	}
	if m.dayAhead != nil {
		out[feed.DayAheadPrice] = m.dayAhead.points
	}
	for i, r := range m.reserves {
		if r != nil {
			out[feed.ReservePrice(m.o.reserves()[i])] = r.points
		}
	}
	if len(m.o.Site.Classes) > 0 {
		for _, e := range append(m.ended, m.now) {
			if !e.at.After(now) && e.hash != 0 {
				out[feed.Hashprice] = append(out[feed.Hashprice], feed.Point{From: e.at, To: e.at.Add(m.step), Value: e.hash, Published: e.at, Origin: m.hashFrom})
			}
		}
	}
	return out, nil
}

// findings are those of all series.
func (m *market) findings() []history.Finding {
	out := m.rt.Findings()
	for _, a := range append([]*ahead{m.dayAhead}, m.reserves...) {
		if a != nil {
			out = append(out, a.in.Findings()...)
		}
	}
	for _, s := range []*slow{m.btc, m.diff, m.subsidy, m.fees, m.hash} {
		if s != nil {
			out = append(out, s.in.Findings()...)
		}
	}
	return out
}
