package sim

import (
	"math"
	"net"
	"sync"
	"time"

	"sluice"
)

// machine is the physics and the memory of one virtual miner.
type machine struct {
	spec  *MinerSpec
	index int
	sleep uint8 // index of sleep in spec.Modes

	mu      sync.Mutex
	fault   Fault
	profile uint8 // index of the mode it mines in
	asleep  bool
	// The last change and what it started from; zero: long ago.
	changed   time.Time
	woke      bool // the last change was a wake
	fromW     float32
	fromTH    float32
	conf      []byte // stock firmware's configuration, nil: as delivered
	session   string // LuxOS
	sessionAt time.Time
	sessions  uint32

	listener net.Listener
}

// Shares of a wake, by dialect: when power and hashrate begin and end to rise.
type ramp struct{ w0, w1, h0, h1 float64 }

// A machine that was paused draws full power after the wake time and tunes its chips
// for as long again twice. Other firmware first restarts its mining program.
func rampOf(dialect string) ramp {
	if pauses(dialect) {
		return ramp{0, 1, 0.5, 3}
	}
	return ramp{1. / 3, 0.9, 0.5, 1}
}

// pauses says whether the firmware's sleep leaves its mining program running.
func pauses(dialect string) bool { return dialect == LuxOS || dialect == VNish || dialect == Braiins }

// wakeTime and fallTime in site time.
func (f *Fleet) wakeTime(m *machine) time.Duration {
	switch {
	case f.opt.Wake > 0:
		return f.opt.Wake
	case pauses(m.spec.Dialect):
		return 10 * time.Second
	}
	return time.Minute + time.Duration(m.spec.Seed%121)*time.Second
}

func (f *Fleet) fallTime() time.Duration {
	if f.opt.Fall > 0 {
		return f.opt.Fall
	}
	return 5 * time.Second
}

// away says whether a machine that Restarts is doing so. The caller holds m.mu.
func (m *machine) away(now time.Time) bool {
	if m.fault != Restarts {
		return false
	}
	phase := time.Duration(m.spec.Seed%97) * restartEvery / 97
	return time.Duration(now.UnixNano()+int64(phase))%restartEvery < restartAway
}

// at returns power and hashrate without noise. The caller holds m.mu.
func (f *Fleet) at(m *machine, now time.Time) (watts, ths float64) {
	if m.away(now) {
		return float64(m.spec.Modes[m.sleep].Power), 0
	}
	target := m.spec.Modes[m.mode()]
	w, h := float64(target.Power), float64(target.HashRate)
	if f.opt.Instant || m.changed.IsZero() {
		return w, h
	}
	dt := max(now.Sub(m.changed).Seconds(), 0)
	w0, h0 := float64(m.fromW), float64(m.fromTH)
	if !m.asleep && m.woke {
		r, full := rampOf(m.spec.Dialect), f.wakeTime(m).Seconds()
		return w0 + (w-w0)*part(dt/full, r.w0, r.w1), h0 + (h-h0)*part(dt/full, r.h0, r.h1)
	}
	share := part(dt/f.fallTime().Seconds(), 0, 1)
	return w0 + (w-w0)*share, h0 + (h-h0)*share
}

// part is where x stands between from and to, in [0, 1].
func part(x, from, to float64) float64 { return min(max((x-from)/(to-from), 0), 1) }

// restarting reports whether stock firmware's mining program is down. The
// caller holds m.mu.
func (f *Fleet) restarting(m *machine, now time.Time) bool {
	return !f.opt.Instant && m.woke && !m.asleep &&
		now.Sub(m.changed) < f.wakeTime(m)/3
}

// mode is the index of the mode it is in. The caller holds m.mu.
func (m *machine) mode() uint8 {
	if m.asleep {
		return m.sleep
	}
	return m.profile
}

// noise is a smooth wobble of at most ±1 %, the same for the same seed and
// time.
func noise(seed uint64, now time.Time) float64 {
	t := float64(now.UnixMilli()%(1000*3600*24)) / 1000
	a := float64(seed%997) / 997 * 2 * math.Pi
	b := float64(seed%991) / 991 * 2 * math.Pi
	// Periods that divide a day, so that midnight makes no step.
	return 1 + 0.006*math.Sin(2*math.Pi*t/48+a) + 0.004*math.Sin(2*math.Pi*t/320+b)
}

// measured returns what instruments show: power and hashrate with noise. The
// caller holds m.mu.
func (f *Fleet) measured(m *machine, now time.Time) (watts, ths float64) {
	w, h := f.at(m, now)
	n := noise(m.spec.Seed, now)
	return w * n, h * n
}

// set moves the machine to a state and stores it. The caller holds m.mu.
func (f *Fleet) set(m *machine, asleep bool, profile uint8) error {
	if asleep == m.asleep && profile == m.profile {
		return nil
	}
	now := f.now()
	w, h := f.at(m, now)
	moves := asleep != m.asleep || !asleep
	wasAsleep := m.asleep
	m.asleep, m.profile = asleep, profile
	if moves {
		// A profile that changes during the wake does not end the wake.
		m.woke = !asleep && (wasAsleep || (m.woke && now.Sub(m.changed) < f.wakeTime(m)))
		m.changed, m.fromW, m.fromTH = now, float32(w), float32(h)
	}
	if asleep && m.fault == ForgetsPools && m.spec.Dialect == Antminer {
		m.conf = []byte(`{"pools":[]}`)
	}
	return f.store(m)
}

// asleepBit marks sleep in a machine's byte of the state file; the other bits
// are the profile's index.
const asleepBit = 0x80

func (f *Fleet) store(m *machine) error {
	if f.state == nil {
		return nil
	}
	b := m.profile
	if m.asleep {
		b |= asleepBit
	}
	if _, err := f.state.WriteAt([]byte{b}, int64(m.index)); err != nil {
		return &sluice.Error{Kind: sluice.Internal, Msg: "storing the state of the virtual miner " + m.spec.Name, Cause: err}
	}
	return nil
}
