package site

import (
	"context"
	"math"
	"sort"
	"time"

	"sluice"
	"sluice/device"
)

// Confidence of promises: what is promised is shed in at least so many of a
// hundred cases.
const confidence = 0.95

// DefaultWithin is the time by which an order counts as due that names none.
const DefaultWithin = time.Minute

// Promise is how much load can be shed within a time: GET /api/v1/fleet/promise.
type Promise struct {
	WithinS    float64        `json:"within_s"` // site seconds from the order
	Selector   string         `json:"selector,omitempty"`
	Confidence float64        `json:"confidence"`
	ShedKW     float64        `json:"shed_kw"`     // at the meter, with that confidence or more
	ExpectedKW float64        `json:"expected_kw"` // on average
	RunningKW  float64        `json:"running_kw"`  // that could be shed if time were no matter
	DelayS     float64        `json:"delay_s"`     // Sluice's own part of the time
	Machines   int            `json:"machines"`    // that count
	Excluded   map[string]int `json:"excluded"`    // why → machines that do not
	Groups     []PromiseGroup `json:"groups"`
	Record     Calibration    `json:"record"` // how earlier promises were kept
}

// PromiseGroup is what a Promise is made of: the machines of a firmware and the
// way in which they would be brought down.
type PromiseGroup struct {
	Firmware string  `json:"firmware"`
	Lane     string  `json:"lane"`
	Machines int     `json:"machines"`
	KW       float64 `json:"kw"`
	P50S     float64 `json:"p50_s,omitempty"` // absent where half never do
	P95S     float64 `json:"p95_s,omitempty"` // absent where that many never do
	Share    float64 `json:"share"`           // of acts that are done in time, by what is known
	Counted  float64 `json:"counted_share"`   // that is counted upon, should the firmware fail together
	Samples  int     `json:"samples"`
}

// Calibration is how promises made to orders were kept.
type Calibration struct {
	Scored     int     `json:"scored"` // orders that asked for something and lasted to their deadline
	Kept       int     `json:"kept"`
	KeptShare  float64 `json:"kept_share,omitempty"`
	WorstRatio float64 `json:"worst_ratio,omitempty"` // shed over promised
}

// Promised is what was promised of an order when it came into force, and what
// became of it.
type Promised struct {
	WithinS    float64    `json:"within_s"`
	AskedKW    float64    `json:"asked_kw"`        // load above the limit when it came
	CanKW      float64    `json:"can_kw"`          // the most that could be promised
	PromisedKW float64    `json:"promised_kw"`     // the lesser of the two
	ShedKW     float64    `json:"shed_kw"`         // of miners, confirmed gone in that time
	Ratio      float64    `json:"ratio,omitempty"` // shed over promised, once it is scored
	Kept       *bool      `json:"kept,omitempty"`  // absent until the time is over
	ScoredAt   *time.Time `json:"scored_at,omitempty"`
}

// bet is a machine that may be shed: its load, the chance that it is gone in
// time, and the firmware that it shares its luck with.
type bet struct {
	kw, p float64
	group int
}

// luck is what is known of a group: the share that is done in time, and for how
// many independent acts that stands.
type luck struct{ share, acts float64 }

// atLeast is the load that is shed with the confidence at least, of bets that run
// M kW on average. Three fifths of the risk are spent on what the machines of a
// firmware have in common, the rest on the luck of each:
//
//   - the group's true share may be lower than what was seen (Wilson's bound), and
//     in one event lower than usual, as machines of a firmware fail together (a
//     share that varies from event to event with intra-class correlation
//     sameEvent). What each of these takes off is independent of the others, so
//     the root of the sum of their squares is taken off M;
//   - with that mean, the sum of independent loads stays above the better of
//     Hoeffding's bound of what is shed and Chernoff's of what is left.
//
// Nothing of this falls when a chance grows, so the promise never falls with
// time.
func atLeast(bets []bet, groups []luck, confidence float64) float64 {
	commonly := 0.6 * (1 - confidence)
	mean := make([]float64, len(groups))
	total, most, all := 0.0, 0.0, 0.0
	for _, b := range bets {
		mean[b.group] += b.kw * b.p
		total += b.kw * b.p
		all += b.kw
		most = max(most, b.kw)
	}
	off := 0.0
	for i, g := range groups {
		off += square(mean[i] * (1 - counted(g, commonly)))
	}
	return min(max(0, luckless(total-math.Sqrt(off), all, most, len(bets), 1-confidence-commonly)), all)
}

func square(x float64) float64 { return x * x }

// counted is the part of a group's mean that is counted upon in one event with
// the risk given.
func counted(g luck, risk float64) float64 {
	p, n := min(g.share, 1), g.acts
	if p <= 0 || n <= 0 {
		return 0
	}
	z := math.Sqrt2 * math.Erfinv(1-2*risk)
	seen := (p + z*z/(2*n) - z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))) / (1 + z*z/n)
	event := max(0, p-z*math.Sqrt(sameEvent*p*(1-p)))
	return max(0, 1-math.Hypot(1-min(seen/p, 1), 1-event/p))
}

// luckless is what a sum of n independent loads, none above most and all together
// all, exceeds with the risk given, if its mean is at least mean.
func luckless(mean, all, most float64, n int, risk float64) float64 {
	if mean <= 0 || most <= 0 {
		return 0
	}
	need := -math.Log(risk) * most
	// Hoeffding: P(S ≤ s) ≤ exp(−n·KL(s/N ‖ mean/N)), N = n·most.
	top := max(float64(n)*most, mean)
	shed := root(0, mean, func(s float64) bool { return xlog(s, mean)+xlog(top-s, top-mean) >= need })
	// And of what is left, F, which is next to nothing where all are good:
	// P(F ≥ f) ≤ exp(−(f·ln(f/u) − f + u) / most), with u its mean.
	u := max(0, all-mean)
	left := all
	if u < all {
		left = root(all, u, func(f float64) bool { return xlog(f, u)-f+u >= need })
	}
	return max(shed, all-left)
}

func xlog(x, m float64) float64 {
	switch {
	case x <= 0:
		return 0
	case m <= 0:
		return math.Inf(1)
	}
	return x * math.Log(x/m)
}

// root is the value nearest to bad for which ok still holds, of those from good
// on; good where it holds for none.
func root(good, bad float64, ok func(float64) bool) float64 {
	for range 60 {
		if mid := (good + bad) / 2; ok(mid) {
			good = mid
		} else {
			bad = mid
		}
	}
	return good
}

// Promise says how much of the machines selected can be shed within the time.
func (s *Site) Promise(ctx context.Context, within time.Duration, selector string) (Promise, error) {
	if within <= 0 || within > 24*time.Hour {
		return Promise{}, sluice.Errorf(sluice.Invalid, "such as 10s", "%s is no time for a promise", within)
	}
	sel := Selector{all: true}
	if selector != "" {
		var err error
		if sel, err = ParseSelector(selector); err != nil {
			return Promise{}, err
		}
	}
	s.mu.Lock()
	now := s.stamp()
	out := s.promise(now, within, func(m *miner) bool { return sel.matches(s.traits(m, now)) })
	s.mu.Unlock()
	out.Selector = selector
	past, err := s.Curtailments(ctx, 1000)
	if err != nil {
		return Promise{}, err
	}
	out.Record = calibration(past)
	return out, nil
}

func calibration(past []Curtailment) Calibration {
	var c Calibration
	for _, x := range past {
		if p := x.Promise; p != nil && p.Kept != nil {
			if c.Scored++; *p.Kept {
				c.Kept++
			}
			if c.Scored == 1 || p.Ratio < c.WorstRatio {
				c.WorstRatio = p.Ratio
			}
		}
	}
	if c.Scored > 0 {
		c.KeptShare = float64(c.Kept) / float64(c.Scored)
	}
	return c
}

// promise is the better of two ways to shed all that counts: everything to sleep,
// or each machine as far down as the fastest lane of its class goes. The caller
// holds s.mu.
func (s *Site) promise(now time.Time, within time.Duration, counts func(*miner) bool) Promise {
	off := func(c *class, _ string) sluice.Mode { return c.modes[0] }
	out := s.promiseBy(now, within, counts, off, false)
	better := func(p Promise) {
		if p.ShedKW > out.ShedKW {
			p.RunningKW = out.RunningKW
			out = p
		}
	}
	better(s.promiseBy(now, within, counts, s.fastest(), false))
	if s.anyHurries() {
		better(s.promiseBy(now, within, counts, off, true))
	}
	return out
}

// anyHurries says whether any firmware has a sleep that hurries. The caller holds s.mu.
func (s *Site) anyHurries() bool {
	for _, l := range s.learned.lanes {
		if _, can := l[device.LaneHurry]; can {
			return true
		}
	}
	return false
}

// fastest finds for a class and firmware the mode of least power on the lane on
// which nearly all are down the soonest. The caller holds s.mu.
func (s *Site) fastest() func(*class, string) sluice.Mode {
	type key struct {
		c  *class
		fw string
	}
	known := map[key]sluice.Mode{}
	return func(c *class, fw string) sluice.Mode {
		k := key{c, fw}
		if m, ok := known[k]; ok {
			return m
		}
		best, soonest := c.modes[0], s.nearlyAll(fw, lane{device.LaneSleep, false})
		for _, m := range c.modes[1:] {
			if t := s.nearlyAll(fw, laneOf(c.full().Name, m.Name, false)); t < soonest {
				best, soonest = m, t
			}
		}
		known[k] = best
		return best
	}
}

func (s *Site) promiseBy(now time.Time, within time.Duration, counts func(*miner) bool, to func(*class, string) sluice.Mode, hurry bool) Promise {
	delay := s.delay()
	left := (within - delay).Seconds()
	out := Promise{WithinS: within.Seconds(), Confidence: confidence, DelayS: delay.Seconds(), Excluded: map[string]int{}, Groups: []PromiseGroup{}}
	type key struct {
		firmware string
		lane     lane
	}
	index := map[key]int{}
	var bets []bet
	var groups []luck
	for _, m := range s.miners {
		if !counts(m) {
			continue
		}
		if why := s.cannotShed(m, now); why != "" {
			out.Excluded[why]++
			continue
		}
		fw := s.firmwareOf(m)
		mode := to(m.class, fw)
		p, _ := m.power()
		kw := s.atMeter(max(0, p-mode.Power)).KW()
		k := key{fw, laneOf(m.want, mode.Name, false)}
		if hurry {
			k.lane = s.hurried(fw, k.lane)
		}
		i, ok := index[k]
		if !ok {
			i = len(groups)
			index[k] = i
			g := PromiseGroup{Firmware: fw, Lane: k.lane.name}
			t := s.learned.firmware[fw][k.lane]
			d := s.general(fw, k.lane)
			g.P50S, g.P95S, g.Samples = finite(quantile(d, 0.5)), finite(quantile(d, 0.95)), t.n()
			if left > 0 {
				g.Share = doneBy(d, left)
			}
			out.Groups = append(out.Groups, g)
			groups = append(groups, luck{g.Share, t.effective() + priorWeight})
		}
		g := &out.Groups[i]
		g.Machines++
		g.KW += kw
		own := g.Share
		if t := m.times[k.lane]; t != nil && left > 0 {
			own = (float64(t.within(left)) + priorWeight*g.Share) / (float64(t.n()) + priorWeight)
		}
		bets = append(bets, bet{kw, own, i})
		out.Machines++
		out.RunningKW += kw
		out.ExpectedKW += kw * own
	}
	out.ShedKW = atLeast(bets, groups, confidence)
	for i := range out.Groups {
		out.Groups[i].Counted = out.Groups[i].Share * counted(groups[i], 0.6*(1-confidence))
	}
	sort.Slice(out.Groups, func(i, j int) bool { return out.Groups[i].KW > out.Groups[j].KW })
	return out
}

// finite is 0 for what never is: JSON has no infinity.
func finite(x float64) float64 {
	if math.IsInf(x, 0) {
		return 0
	}
	return x
}

// cannotShed says why a machine does not count as load that can be shed; empty
// where it does. The caller holds s.mu.
func (s *Site) cannotShed(m *miner, now time.Time) string {
	switch {
	case !s.mayAct(m.class):
		return "observed"
	case m.pin != nil && m.pin.Mode == PinLocked:
		return "locked"
	case m.pin != nil:
		return "pinned"
	case !m.fresh(now, s.o.MaxReadingAge):
		return "silent"
	case now.Before(m.badUntil):
		return "fault"
	case m.late(now):
		return "late"
	case m.want == sluice.ModeSleep || m.read.Mode == sluice.ModeSleep:
		return "asleep"
	case m.phase != settled && m.act.expect < m.act.before:
		return "stopping"
	case !m.available(now, s.o.MaxReadingAge):
		return "unknown"
	}
	return ""
}

// promiseTo notes what can be promised of an order as it comes into force. The
// caller holds s.mu.
func (s *Site) promiseTo(c *curtailment, load sluice.Watts, now time.Time) {
	if s.o.Bare {
		return
	}
	within := DefaultWithin
	if c.WithinS > 0 {
		within = time.Duration(c.WithinS * float64(time.Second))
	}
	asked := max(0, load-c.limit)
	if asked == 0 {
		return
	}
	p := s.promise(now, within, func(m *miner) bool { return m.class.node.under(c.node) })
	c.Promise = &Promised{WithinS: within.Seconds(), AskedKW: asked.KW(), CanKW: p.ShedKW, PromisedKW: min(asked.KW(), p.ShedKW)}
}

// score compares what was shed of an order by its deadline with what was promised.
// The caller holds s.mu.
func (s *Site) score(c *curtailment, now time.Time) {
	p := c.Promise
	due := time.Duration(0)
	if p != nil {
		due = time.Duration(p.WithinS * float64(time.Second))
	}
	if p == nil || p.Kept != nil || c.State != Active || now.Sub(c.From) <= due || p.PromisedKW <= 0 {
		return
	}
	kept := p.ShedKW >= p.PromisedKW
	at := now.UTC()
	p.Kept, p.Ratio, p.ScoredAt = &kept, p.ShedKW/p.PromisedKW, &at
	c.dirty = true
}

// shedFor adds load that is confirmed gone to what was promised of an order. The
// caller holds s.mu.
func (c *curtailment) shedFor(at time.Time, w sluice.Watts) {
	if p := c.Promise; p != nil && p.Kept == nil && at.Sub(c.From).Seconds() <= p.WithinS {
		p.ShedKW += w.KW()
	}
}
