package site

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"sluice"
)

// Actions of a FleetOrder.
const (
	FleetSleep   = "sleep"   // pin to sleep
	FleetSet     = "set"     // pin to a mode
	FleetLock    = "lock"    // lock for maintenance, as they are
	FleetWake    = "wake"    // give those that sleep by somebody's hand to the plan, which wakes them
	FleetRelease = "release" // give pinned and locked ones back to the plan
)

// NoMode begins why a machine is left alone whose class has no such mode.
const NoMode = "its class has no mode "

// FleetOrder is a person's hand on many machines at once.
type FleetOrder struct {
	Selector string
	Action   string
	Mode     string // of FleetSet
	By, Why  string
	Token    string // of the preview that the person has seen
}

// FleetPreview is what an order to many machines would do.
type FleetPreview struct {
	Selector   string         `json:"selector"`
	Action     string         `json:"action"`
	Mode       string         `json:"mode,omitempty"`
	Machines   int            `json:"machines"` // that it would touch
	Skipped    map[string]int `json:"skipped"`  // why → machines that were selected and stay as they are
	NowKW      float64        `json:"now_kw"`   // at the meter, of those that it would touch
	AfterKW    float64        `json:"after_kw"`
	USDPerHour float64        `json:"usd_per_hour"` // change of the margin at the present prices
	Sample     []string       `json:"sample"`       // names of the first of them
	Note       string         `json:"note,omitempty"`
	Token      string         `json:"token"` // to be given back with the order
	ValidUntil time.Time      `json:"valid_until"`
}

// FleetResult is what an order to many machines has done.
type FleetResult struct {
	FleetPreview
	Commanded int `json:"commanded"` // told at once; the rest follows under limits and ramp, or needs no command
}

// shown is a preview that somebody has seen.
type shown struct {
	FleetPreview
	names map[string]bool
}

const (
	shownFor    = 10 * time.Minute // wall time
	shownMost   = 64
	shownSample = 20
)

// PreviewFleet says what an order would do, and changes nothing.
func (s *Site) PreviewFleet(_ context.Context, o FleetOrder) (FleetPreview, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.stamp()
	v, ms, err := s.fleet(o, now)
	if err != nil {
		return FleetPreview{}, err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%d", o.Selector, o.Action, o.Mode, now.UnixNano())
	x := &shown{FleetPreview: v, names: map[string]bool{}}
	for _, m := range ms {
		fmt.Fprintf(h, "\x00%s", m.spec.Name)
		x.names[m.spec.Name] = true
	}
	x.Token = hex.EncodeToString(h.Sum(nil)[:12])
	x.ValidUntil = now.Add(time.Duration(s.o.Speed * float64(shownFor))).UTC()
	for token, y := range s.previews {
		if now.After(y.ValidUntil) {
			delete(s.previews, token)
		}
	}
	for len(s.previews) >= shownMost {
		oldest := ""
		for token, y := range s.previews {
			if oldest == "" || y.ValidUntil.Before(s.previews[oldest].ValidUntil) {
				oldest = token
			}
		}
		delete(s.previews, oldest)
	}
	if s.previews == nil {
		s.previews = map[string]*shown{}
	}
	s.previews[x.Token] = x
	return x.FleetPreview, nil
}

// fleet finds the machines of an order and what it would do to them. The caller
// holds s.mu.
func (s *Site) fleet(o FleetOrder, now time.Time) (FleetPreview, []*miner, error) {
	v := FleetPreview{Selector: o.Selector, Action: o.Action, Mode: o.Mode, Skipped: map[string]int{}, Sample: []string{}}
	sel, err := ParseSelector(o.Selector)
	if err != nil {
		return v, nil, err
	}
	switch o.Action {
	case FleetSleep, FleetLock, FleetWake, FleetRelease:
		if o.Mode != "" {
			return v, nil, sluice.Errorf(sluice.Invalid, "leave mode out", "%s takes no mode", o.Action)
		}
	case FleetSet:
		if o.Mode == "" || o.Mode == PinLocked {
			return v, nil, sluice.Errorf(sluice.Invalid, "a mode of the machines' class", "set needs a mode")
		}
	default:
		return v, nil, sluice.Errorf(sluice.Invalid, "sleep, wake, set, lock or release", "%q is no action", clipped(o.Action, 40))
	}
	hp := sluice.HashpriceFromUSD(s.o.Feeds.Hashprice(now).Value)
	price := s.prices(now, 1)[0]
	var out []*miner
	selected := 0
	for _, m := range s.miners {
		if !sel.matches(s.traits(m, now)) {
			continue
		}
		selected++
		to, why := s.fleetMode(o, m)
		if why != "" {
			v.Skipped[why]++
			continue
		}
		out = append(out, m)
		if len(v.Sample) < shownSample {
			v.Sample = append(v.Sample, m.spec.Name)
		}
		p, _ := m.power()
		after, kw := p, s.atMeter(p).KW()
		v.NowKW += kw
		if to != nil {
			after = to.Power
			hash := sluice.HashRate(0)
			if m.read.HasHashRate && m.read.Mode != sluice.ModeSleep {
				hash = m.read.HashRate
			}
			rev := func(h sluice.HashRate) float64 { return sluice.MiningRevenue(h, hp, s.o.PoolFee, time.Hour).USD() }
			v.USDPerHour += rev(to.HashRate) - rev(hash) - (s.atMeter(after).KW()-kw)/1000*price
		}
		v.AfterKW += s.atMeter(after).KW()
	}
	v.Machines = len(out)
	switch {
	case selected == 0:
		return v, nil, sluice.Errorf(sluice.NotFound, "`sluice machine list` shows what there is", "no miner matches %q", clipped(o.Selector, 200))
	case o.Action == FleetWake:
		v.Note = "the plan wakes them as it pays, under the limits and the ramp"
	case v.AfterKW > v.NowKW:
		v.Note = "they come up as the limits and the ramp allow"
	}
	return v, out, nil
}

// fleetMode is the mode that an order takes a machine to, nil where it stays in
// its own; or why it is left alone. The caller holds s.mu.
func (s *Site) fleetMode(o FleetOrder, m *miner) (to *sluice.Mode, why string) {
	locked := m.pin != nil && m.pin.Mode == PinLocked
	switch o.Action {
	case FleetRelease:
		if m.pin == nil {
			return nil, "neither pinned nor locked"
		}
		return nil, ""
	case FleetLock:
		if locked {
			return nil, "locked already"
		}
		return nil, ""
	}
	name := o.Mode
	if o.Action == FleetSleep {
		name = sluice.ModeSleep
	}
	switch {
	case locked:
		return nil, "locked"
	case !s.mayAct(m.class):
		return nil, "only observed"
	case m.prior == nil && !m.asleep:
		return nil, "how it is set has not been read yet"
	case o.Action == FleetWake && m.pin != nil && m.pin.Mode != sluice.ModeSleep:
		return nil, "pinned to " + m.pin.Mode
	case o.Action == FleetWake && m.want != sluice.ModeSleep && m.pin == nil:
		return nil, "awake already"
	case o.Action == FleetWake && m.asleep && m.pin == nil:
		return nil, "asleep by the plan"
	case o.Action == FleetWake:
		full := m.class.full()
		return &full, ""
	}
	mode, ok := m.class.mode(name)
	if !ok {
		return nil, NoMode + clipped(name, 40)
	}
	if m.pin != nil && m.pin.Mode == name {
		return nil, "pinned so already"
	}
	return &mode, ""
}

// ActFleet does what a preview has shown, to the machines that it counted and no
// others. Where they, or the power, have changed too much since, it is a
// Conflict.
func (s *Site) ActFleet(ctx context.Context, o FleetOrder) (FleetResult, error) {
	r, err := s.actFleet(ctx, o)
	if s.o.Sync {
		s.ops.Wait()
	}
	return r, err
}

func (s *Site) actFleet(ctx context.Context, o FleetOrder) (FleetResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.By == "" || o.Why == "" {
		return FleetResult{}, sluice.Errorf(sluice.Invalid, "say who and why: --by and --why", "an order to many machines needs a name and a reason")
	}
	const again = "preview it again and look"
	if o.Token == "" {
		return FleetResult{}, sluice.Errorf(sluice.Invalid, "preview it, and give its token", "an order to many machines needs the token of its preview")
	}
	now := s.stamp()
	was := s.previews[o.Token]
	if was == nil || now.After(was.ValidUntil) || was.Selector != o.Selector || was.Action != o.Action || was.Mode != o.Mode {
		return FleetResult{}, sluice.Errorf(sluice.Conflict, again, "there is no such preview of this order, or it is too old")
	}
	v, ms, err := s.fleet(o, now)
	if err != nil {
		return FleetResult{}, err
	}
	var known []*miner
	for _, m := range ms {
		if was.names[m.spec.Name] {
			known = append(known, m)
		}
	}
	changed := len(ms) + len(was.names) - 2*len(known)
	kw := math.Abs((v.AfterKW - v.NowKW) - (was.AfterKW - was.NowKW))
	if 50*changed > was.Machines || kw > 10+0.1*math.Abs(was.AfterKW-was.NowKW) {
		return FleetResult{}, sluice.Errorf(sluice.Conflict, again,
			"the site has changed since the preview: %d machines are others, and the power by %.0f kW", changed, kw)
	}
	delete(s.previews, o.Token)
	v.Token, v.ValidUntil = o.Token, was.ValidUntil
	n, err := s.handsOn(ctx, o, known, now)
	v.Machines = len(known)
	return FleetResult{FleetPreview: v, Commanded: n}, err
}

// handsOn keeps the pins or their end in one transaction, then acts. The caller
// holds s.mu.
func (s *Site) handsOn(ctx context.Context, o FleetOrder, ms []*miner, now time.Time) (commanded int, err error) {
	mode := map[string]string{FleetSleep: sluice.ModeSleep, FleetSet: o.Mode, FleetLock: PinLocked}[o.Action]
	t := Turn{Now: now}
	for _, m := range ms {
		if mode == "" {
			t.Released = append(t.Released, m.spec.Name)
		} else {
			t.Pins = append(t.Pins, Pin{Machine: m.spec.Name, Mode: mode, By: o.By, Why: o.Why, At: now})
		}
	}
	if t.Empty() {
		return 0, nil
	}
	if err := s.saveHand(ctx, t); err != nil {
		return 0, fmt.Errorf("%s %s: %w", o.Action, o.Selector, err)
	}
	for i, m := range ms {
		if mode == "" {
			delete(s.pins, m.spec.Name)
			s.given(m)
			continue
		}
		p := t.Pins[i]
		m.pin = &p
		s.pins[p.Machine] = p
		if mode == PinLocked {
			s.letGo(m, now)
			continue
		}
		to, _ := m.class.mode(mode)
		if w, _ := m.power(); m.want != mode && to.Power <= w {
			s.issue(m, mode, now, 0, -1, nil)
			commanded++
		} // what goes up is brought there by hold, as there is room
	}
	s.log.Info("fleet order", "action", o.Action, "mode", o.Mode, "selector", o.Selector, "machines", len(ms), "by", o.By, "why", o.Why)
	s.need("pin")
	if err := s.keep(s.life(ctx), now); err != nil {
		s.log.Error("what the order changed could not be stored yet", "err", err)
	}
	s.Kick()
	return commanded, nil
}

// given makes a machine the plan's, after a person's hand has left it. The caller
// holds s.mu.
func (s *Site) given(m *miner) {
	m.pin = nil
	m.badUntil = time.Time{}
	if (m.phase == settled || m.want == sluice.ModeSleep) && m.read.Mode == sluice.ModeSleep && m.prior != nil {
		// A person released it to the plan: it is Sluice's to wake.
		m.want, m.asleep = sluice.ModeSleep, true
		s.unsaved[m.spec.Name] = m.row()
	}
}
