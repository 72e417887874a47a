package site

import (
	"context"
	"sort"
	"time"

	"sluice"
)

// node is one limit of the power tree at run time.
type node struct {
	spec    NodeSpec
	parent  *node
	meter   sluice.Watts // as last read
	meterAt time.Time
	pending sluice.Watts // increases under way that the meter may not show yet
	resid   sluice.Watts // meter less the sum of readings, smoothed, when all is quiet
	drift   drift        // of what nobody accounts for
}

// path calls f for the node and all above it.
func (n *node) path(f func(*node)) {
	for ; n != nil; n = n.parent {
		f(n)
	}
}

// under says whether n is a or stands below it.
func (n *node) under(a *node) bool {
	for ; n != nil; n = n.parent {
		if n == a {
			return true
		}
	}
	return false
}

// class is a group of interchangeable miners at run time. Its modes are ordered
// by power, sleep first.
type class struct {
	spec   ClassSpec
	node   *node
	modes  []sluice.Mode // as plans use them: measured where that is known
	plate  []sluice.Mode // as configured
	miners []*miner
}

func (c *class) order() error {
	c.modes = append([]sluice.Mode(nil), c.spec.Modes...)
	sort.SliceStable(c.modes, func(i, j int) bool { return c.modes[i].Power < c.modes[j].Power })
	if len(c.modes) < 2 || c.modes[0].Name != sluice.ModeSleep {
		return sluice.Errorf(sluice.Invalid, "give sleep and at least one mode that draws more", "class %s lacks modes", c.spec.Name)
	}
	c.plate = append([]sluice.Mode(nil), c.modes...)
	return nil
}

func (c *class) mode(name string) (sluice.Mode, bool) {
	for _, m := range c.modes {
		if m.Name == name {
			return m, true
		}
	}
	return sluice.Mode{}, false
}

// full is the mode of most power: what a machine does when nobody says else.
func (c *class) full() sluice.Mode { return c.modes[len(c.modes)-1] }

// phase is where a machine is between a command and its proof.
type phase int

const (
	settled    phase = iota // nothing asked
	commanding              // a call to the device is under way
	verifying               // the device said yes; its readings must show it
)

// miner is one mining machine at run time.
type miner struct {
	spec  MinerSpec
	class *class

	read     sluice.Reading // the newest
	readErr  error
	says     string // the firmware that it named last
	firmware string // what its response times go by; "": only its driver is known
	fails    int    // reads in a row that failed
	polling  bool

	prior     []byte // as stored; nil: not known yet, so nothing may be changed
	want      string // the setpoint; "" before the first reading
	since     time.Time
	recovered bool      // known from an earlier process and not read yet
	asleep    bool      // Sluice put it to sleep and will wake it
	lateUntil time.Time // a sleep that Sluice asked for and did not see may come until then
	phase     phase
	gen       int // of the act, so that a late reply of an older one is dropped
	cancel    context.CancelFunc
	act       act
	outcome   sluice.Outcome
	badUntil  time.Time // not to be relied upon until then: it ignored or refused
	pin       *Pin
	cut       bool            // Sluice has switched its outlet off and will switch it on
	times     map[lane]*times // how soon it answered lately
	steadyAt  time.Time       // when it last added to its class's curve
}

// act is a change of mode under way.
type act struct {
	from, to  string
	before    sluice.Watts // power before it
	expect    sluice.Watts // power to be expected after it
	first     time.Time    // when it was decided
	issued    time.Time    // the same of the newest try
	sent      time.Time    // the first command; zero: not yet, or its time was taken down
	resend    time.Time    // when to ask again for want of an answer
	overdue   time.Time    // from then on it counts as what it is seen to do
	unheard   int          // commands without an answer
	outlet    bool         // by its outlet, as it did not obey
	hurry     bool         // by the sleep that hurries
	cold      bool         // it is without power and starts when its outlet is switched on
	nextCheck time.Time
	deadline  time.Time // of the proof
	tries     int
	decision  int64
	move      int
	order     *curtailment // for which it was shed, if any
	limit     bool         // a limit needs it: it does not wait for the disk
	pending   sluice.Watts // increase held back on the nodes above until proven
}

// fresh says whether the machine has been heard of recently.
func (m *miner) fresh(now time.Time, maxAge time.Duration) bool {
	return !m.read.At.IsZero() && now.Sub(m.read.At) <= maxAge
}

// doubt remembers a command to sleep that was not seen to be obeyed and may be
// yet: the machine is Sluice's to wake if it is found asleep after all.
func (m *miner) doubt(at time.Time) {
	m.asleep = true
	m.lateUntil = at.Add(timeOut)
}

// power is the best figure for what the machine draws at its plug: its own
// reading, else the nameplate of the mode that it was last seen in.
func (m *miner) power() (sluice.Watts, sluice.Source) {
	if m.read.HasPower {
		return m.read.Power, m.read.PowerSource
	}
	if m.read.At.IsZero() {
		return 0, ""
	}
	// Without a figure of its own, hashing or not tells which mode it is in.
	if m.read.Mode == sluice.ModeSleep || (m.read.HasHashRate && m.read.HashRate == 0) {
		return m.class.modes[0].Power, sluice.SourceNameplate
	}
	if mode, ok := m.class.mode(m.read.Mode); ok {
		return mode.Power, sluice.SourceNameplate
	}
	return m.class.full().Power, sluice.SourceNameplate
}

// in says whether the reading shows the machine in the mode.
func (m *miner) in(mode string) bool {
	asleep := m.read.Mode == sluice.ModeSleep
	if mode == sluice.ModeSleep || asleep {
		return asleep == (mode == sluice.ModeSleep)
	}
	// Firmwares without profiles know only that they mine.
	return m.read.Mode == mode || m.read.Mode == sluice.ModeMine || mode == sluice.ModeMine
}

// proven says whether the newest reading proves that the act took effect: the
// device reports the mode and, where it measures, its power moved there.
func (m *miner) proven() bool {
	if !m.in(m.act.to) {
		return false
	}
	if !m.read.HasPower {
		return !m.read.HasHashRate || (m.read.HashRate == 0) == (m.act.to == sluice.ModeSleep)
	}
	p := m.read.Power
	switch {
	case m.act.to == sluice.ModeSleep:
		full := m.class.full().Power
		return p <= m.class.modes[0].Power+full/10
	case m.act.expect < m.act.before:
		return p <= m.act.expect+m.act.expect/20
	}
	return p >= m.act.expect-m.act.expect/5
}

// modelled is the mode in which the plan counts the machine.
func (m *miner) modelled() string {
	if m.want != "" {
		return m.want
	}
	return m.class.full().Name
}

// available says whether the plan may move the machine. What somebody else has
// put to sleep is not ours to wake.
func (m *miner) available(now time.Time, maxAge time.Duration) bool {
	return m.pin == nil && !m.late(now) && (m.asleep || m.want != sluice.ModeSleep) && m.prior != nil && m.want != "" &&
		!now.Before(m.badUntil) && m.fresh(now, maxAge)
}

// late says whether the machine was told to draw less and has had its time.
func (m *miner) late(now time.Time) bool {
	return m.phase != settled && m.act.expect < m.act.before && now.After(m.act.overdue)
}

// state is the word that people read.
func (m *miner) state(now time.Time, maxAge time.Duration) string {
	switch {
	case m.pin != nil && m.pin.Mode == PinLocked:
		return StateLocked
	case m.act.cold && m.phase != settled:
		return StateWaking // it has no power yet, or starts
	case !m.fresh(now, maxAge):
		return StateSilent
	case now.Before(m.badUntil):
		return StateFault
	case m.phase != settled && m.act.expect < m.act.before:
		return StateStopping
	case m.phase != settled:
		return StateWaking
	case m.read.Mode == sluice.ModeSleep:
		return StateSleeping
	}
	return StateMining
}

// States of a machine.
const (
	StateMining   = "mining"
	StateSleeping = "sleeping"
	StateStopping = "stopping" // told to draw less, not proven yet
	StateWaking   = "waking"   // told to draw more, not proven yet
	StateIdle     = "idle"     // a host without jobs
	StateBusy     = "busy"     // a host with jobs
	StateSilent   = "silent"   // not heard of within the maximum age
	StateFault    = "fault"    // ignored or refused a command
	StateLocked   = "locked"   // out for maintenance
)

// hostClass is a group of compute hosts at run time.
type hostClass struct {
	spec  HostClass
	node  *node
	units int
	idle  sluice.Watts // of all hosts together
	unitW sluice.Watts // more for a unit in use
}
