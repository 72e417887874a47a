package site

import (
	"cmp"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/device"
)

// How much is remembered of how soon power moves, and how much a general figure
// counts beside it.
const (
	deviceSamples   = 8   // of a machine and lane
	firmwareSamples = 512 // of a firmware and lane
	perEvent        = 32  // of these at most of the same event
	maxFirmwares    = 256 // firmwares told apart; further ones count by their driver
	priorWeight     = 4   // how many acts the general figure counts for
)

// never is the response time of an act that was refused or ignored.
var never = float32(math.Inf(1))

// lane is a way in which a machine's power is moved. Down and up differ: a
// profile may be left in seconds and reached in minutes.
type lane struct {
	name string // of device.Capabilities.Lanes
	up   bool
}

// laneOf is the lane of a change of mode.
func laneOf(from, to string, up bool) lane {
	switch t := device.ParseTarget(to); {
	case t.Lane == device.LaneSleep:
		return lane{device.LaneSleep, false}
	case from == sluice.ModeSleep:
		return lane{device.LaneWake, true}
	case t.Lane == device.LaneWake: // back to how it was, from a profile
		return lane{device.LaneProfile, up}
	default:
		return lane{t.Lane, up}
	}
}

// lane is that of the act.
func (a *act) lane(up bool) lane {
	if a.hurry {
		return lane{device.LaneHurry, false}
	}
	return laneOf(a.from, a.to, up)
}

func (l lane) direction() string {
	if l.up {
		return "up"
	}
	return "down"
}

func (l lane) key() string { return l.name + "/" + l.direction() }

func laneOfKey(key string) (lane, bool) {
	name, dir, ok := strings.Cut(key, "/")
	return lane{name, dir == "up"}, ok && name != ""
}

// times are the newest response times of something, in seconds of site time from
// the first command to the proof that power has moved, never where it did not. An
// event is what was asked for at about the same time: what happened in it may
// have one cause.
type times struct {
	seconds []float32
	event   []int32
	next    int
	seen    map[int32]int // acts of the newest events, of which perEvent at most are remembered
	p50     float64       // with the general figure; 0: not worked out since the last sample
	p95     float64       // the same
}

func (t *times) add(seconds float32, event int32, most int) {
	t.p50, t.p95 = 0, 0
	if t.seen == nil {
		t.seen = map[int32]int{}
	}
	t.seen[event]++
	if n := t.seen[event]; n > perEvent {
		// Each of an event's n acts is remembered with the same chance, so that one
		// of thousands of machines does not drive out all earlier ones.
		if k := rand.IntN(n); k < perEvent {
			for i, e := range t.event {
				if e == event {
					if k == 0 {
						t.seconds[i] = seconds
						return
					}
					k--
				}
			}
		}
		return
	}
	if len(t.seconds) < most {
		t.seconds, t.event = append(t.seconds, seconds), append(t.event, event)
		return
	}
	t.next %= most
	t.seconds[t.next], t.event[t.next] = seconds, event
	t.next++
	if len(t.seen) > most {
		for e := range t.seen {
			if !slices.Contains(t.event, e) {
				delete(t.seen, e)
			}
		}
	}
}

func (t *times) n() int {
	if t == nil {
		return 0
	}
	return len(t.seconds)
}

// within counts those that took no longer.
func (t *times) within(seconds float64) int {
	n := 0
	for _, s := range t.seconds {
		if float64(s) <= seconds {
			n++
		}
	}
	return n
}

// failed counts those that never happened.
func (t *times) failed() int {
	n := 0
	if t != nil {
		for _, s := range t.seconds {
			if s == never {
				n++
			}
		}
	}
	return n
}

// effective is for how many acts the samples count that have nothing to do with
// each other: n over the design effect 1 + (m − 1)·ρ of m acts in an event.
func (t *times) effective() float64 {
	if t.n() == 0 {
		return 0
	}
	seen := map[int32]struct{}{}
	for _, e := range t.event {
		seen[e] = struct{}{}
	}
	n := float64(t.n())
	return n / (1 + (n/float64(len(seen))-1)*sameEvent)
}

// sameEvent is ρ, how alike acts of the same firmware in the same event are
// taken to be.
const sameEvent = 0.02

// MarshalJSON writes the samples, −1 for never.
func (t *times) MarshalJSON() ([]byte, error) {
	out := struct {
		S []float32     `json:"s"`
		E []int32       `json:"e"`
		N int           `json:"n"`
		A map[int32]int `json:"a"`
	}{slices.Clone(t.seconds), t.event, t.next, t.seen}
	for i, s := range out.S {
		if s == never {
			out.S[i] = -1
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *times) UnmarshalJSON(b []byte) error {
	var in struct {
		S []float32     `json:"s"`
		E []int32       `json:"e"`
		N int           `json:"n"`
		A map[int32]int `json:"a"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if len(in.E) != len(in.S) || len(in.S) > firmwareSamples || in.N < 0 {
		return sluice.Errorf(sluice.Invalid, "", "%d response times of %d events", len(in.S), len(in.E))
	}
	for i, s := range in.S {
		if s < 0 {
			in.S[i] = never
		}
	}
	t.seconds, t.event, t.next, t.seen = in.S, in.E, in.N, in.A
	return nil
}

// atom is a share of a distribution of response times.
type atom struct{ seconds, weight float64 }

// spread is what a dialect's own figure stands for while nothing was measured:
// half of the acts are done by then, nearly all by twice the time, and one in
// fifty never.
func spread(seconds float64) []atom {
	return []atom{{seconds, 0.50}, {2 * seconds, 0.45}, {4 * seconds, 0.03}, {math.Inf(1), 0.02}}
}

// mixed is the distribution of what was measured, drawn toward a general one
// that counts for priorWeight acts.
func mixed(t *times, general []atom) []atom {
	n := float64(t.n())
	out := make([]atom, 0, len(general)+t.n())
	for _, a := range general {
		out = append(out, atom{a.seconds, a.weight * priorWeight / (n + priorWeight)})
	}
	if t != nil {
		for _, s := range t.seconds {
			out = append(out, atom{float64(s), 1 / (n + priorWeight)})
		}
	}
	slices.SortFunc(out, func(a, b atom) int { return cmp.Compare(a.seconds, b.seconds) })
	return out
}

// doneBy is the probability of being done within the time.
func doneBy(d []atom, seconds float64) float64 {
	p := 0.0
	for _, a := range d {
		if a.seconds <= seconds && !math.IsInf(a.seconds, 1) {
			p += a.weight
		}
	}
	return math.Min(p, 1)
}

// quantile is the time within which so much of the sorted distribution is done,
// +Inf where that much never is.
func quantile(d []atom, p float64) float64 {
	sum := 0.0
	for _, a := range d {
		if sum += a.weight; sum >= p-1e-9 {
			return a.seconds
		}
	}
	return math.Inf(1)
}

// Defaults of lanes, seconds, where a dialect has no figures of its own.
var laneSeconds = map[string]float64{
	device.LaneSleep: 30, device.LaneWake: 180, device.LaneProfile: 60, device.LanePower: 60, device.LaneThrottle: 20,
}

// responses is what was learned of how soon power moves.
type responses struct {
	firmware  map[string]map[lane]*times
	lanes     map[string]map[string]device.Lane // by firmware: the dialect's figures
	delays    times                             // from an order to the first command of an act, s
	asked     map[string]int                    // by firmware: how often it was asked for them in vain
	newDelays bool
	dirty     map[string]bool // firmwares to be kept
}

func (r *responses) init() {
	r.firmware, r.lanes, r.dirty = map[string]map[lane]*times{}, map[string]map[string]device.Lane{}, map[string]bool{}
	r.asked = map[string]int{}
}

// firmwareOf names what a machine runs: the driver and what the machine says.
func (s *Site) firmwareOf(m *miner) string {
	if m.firmware == "" {
		return m.spec.Driver
	}
	return m.firmware
}

// runs notes the firmware that a reading names; not every reading does.
func (s *Site) runs(m *miner, says string) {
	if says != "" && says != m.says {
		m.says, m.firmware = says, s.firmwareAs(m, says)
	}
}

func (s *Site) firmwareAs(m *miner, says string) string {
	name := m.spec.Driver
	if f := strings.TrimSpace(says); f != "" {
		name += " " + clipped(f, 80)
	}
	if _, ok := s.learned.firmware[name]; !ok && len(s.learned.firmware) >= maxFirmwares {
		return m.spec.Driver
	}
	return name
}

func clipped(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// general is the distribution of a firmware's lane: measured, drawn toward the
// dialect's figure. The caller holds s.mu.
func (s *Site) general(firmware string, l lane) []atom {
	return mixed(s.learned.firmware[firmware][l], spread(s.dialect(firmware, l)))
}

// dialect is the figure of a lane by the firmware's dialect, seconds.
func (s *Site) dialect(firmware string, l lane) float64 {
	if x, ok := s.learned.lanes[firmware][l.name]; ok && x.Seconds > 0 {
		return x.Seconds
	}
	if d, ok := laneSeconds[l.name]; ok {
		return d
	}
	return 60
}

// responded takes in how an act ended: seconds after its first command its power
// had moved, or never. Only what moves power is a sample. The caller holds s.mu.
func (s *Site) responded(m *miner, at time.Time, did bool) {
	a := &m.act
	if s.o.Bare || a.outlet || a.cold || a.sent.IsZero() || dist(a.expect, a.before) < m.class.full().Power/50 {
		return
	}
	seconds := never
	if did {
		seconds = float32(max(0, at.Sub(a.sent).Seconds()))
	}
	l := a.lane(a.expect > a.before)
	event := int32(a.sent.Unix() / int64(5*60))
	fw := s.firmwareOf(m)
	if s.learned.firmware[fw] == nil {
		s.learned.firmware[fw] = map[lane]*times{}
	}
	put := func(to map[lane]*times, most int) {
		if to[l] == nil {
			to[l] = &times{}
		}
		to[l].add(seconds, event, most)
	}
	put(s.learned.firmware[fw], firmwareSamples)
	if m.times == nil {
		m.times = map[lane]*times{}
	}
	put(m.times, deviceSamples)
	s.learned.dirty[fw] = true
	s.unlearned[m] = true
	a.sent = time.Time{} // one act, one sample
}

// delay is the site time that passes between an order and the command of nearly
// every act: the turn, the disk and the wait for a free line. The caller holds
// s.mu.
func (s *Site) delay() time.Duration {
	n := s.learned.delays.n()
	if n < 20 {
		return time.Duration(s.o.Speed * float64(firstDelay))
	}
	t := slices.Clone(s.learned.delays.seconds)
	slices.Sort(t)
	return time.Duration(float64(t[n*95/100]) * float64(time.Second))
}

// firstDelay is that time, of the wall's, while too little of it was measured.
const firstDelay = 500 * time.Millisecond

// proofOf is the site time in which an act of a lane must be proven: the general
// one, or four times what nearly all machines of the firmware need where that is
// known and less. The caller holds s.mu.
func (s *Site) proofOf(m *miner, l lane, general time.Duration) time.Duration {
	fw := s.firmwareOf(m)
	if s.learned.firmware[fw][l].n() < 2*priorWeight {
		return s.proof(general)
	}
	p95 := s.nearlyAll(fw, l)
	if math.IsInf(p95, 1) || p95 > general.Seconds()/4 {
		return s.proof(general)
	}
	return s.proof(max(20*time.Second, time.Duration(4*p95*float64(time.Second))))
}

// nearlyAll is the time within which 95 % of a firmware's acts on a lane are
// done, +Inf where that many never are. The caller holds s.mu.
func (s *Site) nearlyAll(firmware string, l lane) float64 {
	t := s.learned.firmware[firmware][l]
	if t == nil {
		return quantile(s.general(firmware, l), 0.95)
	}
	if t.p95 == 0 {
		t.p95 = max(quantile(s.general(firmware, l), 0.95), 1e-9)
	}
	return t.p95
}
