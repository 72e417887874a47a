package site

import (
	"context"
	"sync"
	"time"

	"sluice"
	"sluice/device"
)

// Poll asks the next n miners that are not busy for their state, the longest
// unheard first, and waits for the answers. now stamps the readings' requests;
// each reading carries stamp's time of its arrival. A silent machine costs its
// own deadline and nobody else's.
func (s *Site) Poll(ctx context.Context, stamp func() time.Time, n int) {
	if !s.o.Sync {
		s.ask(ctx, stamp, n)()
		return
	}
	for _, a := range s.next(n) { // nothing goes on meanwhile, and nothing is gained by asking at once
		s.poll(ctx, stamp, a.m, a.gen)
	}
}

// asked is a miner that is to be polled, and its act at that time.
type asked struct {
	m   *miner
	gen int
}

// next picks the miners to poll.
func (s *Site) next(n int) []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	var batch []asked
	for i := 0; i < len(s.miners) && len(batch) < n; i++ {
		m := s.miners[(s.pollNext+i)%len(s.miners)]
		if m.phase == settled && !m.polling {
			m.polling = true
			batch = append(batch, asked{m, m.gen})
		}
		if i == len(s.miners)-1 || len(batch) == n {
			s.pollNext = (s.pollNext + i + 1) % len(s.miners)
		}
	}
	return batch
}

// ask sends the next n polls out as lines come free, and returns what waits for their
// answers.
func (s *Site) ask(ctx context.Context, stamp func() time.Time, n int) (wait func()) {
	var wg sync.WaitGroup
	for _, a := range s.next(n) {
		s.standAside(ctx)
		hangUp := s.line()
		wg.Go(func() {
			defer hangUp()
			s.poll(ctx, stamp, a.m, a.gen)
		})
	}
	return wg.Wait
}

// poll reads one miner, and its prior state where that is not known yet.
func (s *Site) poll(ctx context.Context, stamp func() time.Time, m *miner, gen int) {
	if !s.o.Sync { // there nothing can be waited for
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.callTimeout())
		defer cancel()
	}
	r, err := s.look(ctx, m)
	s.mu.Lock()
	needPrior := err == nil && m.prior == nil && !m.asleep
	s.mu.Unlock()
	var prior []byte
	if needPrior {
		// A machine whose prior state cannot be read is never touched.
		if p, perr := m.spec.Device.Prior(ctx); perr == nil {
			prior = p
		}
	}
	if x, ok := m.spec.Device.(device.Reporter); ok && err == nil && !s.o.Bare {
		s.mu.Lock()
		fw := s.firmwareAs(m, r.Firmware)
		s.mu.Unlock()
		s.askLanes(fw, func() (map[string]device.Lane, error) {
			rep, err := x.Report(ctx)
			return rep.Capabilities.Lanes, err
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.polling = false
	if m.gen != gen {
		return // asked before a command that was given meanwhile
	}
	s.observe(m, r, err, stamp())
	if prior != nil && m.prior == nil {
		m.prior = prior
		s.unsaved[m.spec.Name] = m.row()
		if s.replan == "" {
			s.replan = "discovery"
		}
	}
}

// callTimeout is the wall time that a device call may take: 45 s of site time,
// since slow firmware answers a command after 20, but at least 2 s of the wall's.
func (s *Site) callTimeout() time.Duration {
	return max(s.o.Wall(45*time.Second), 2*time.Second)
}

// observe takes in a reading. The caller holds s.mu.
func (s *Site) observe(m *miner, r sluice.Reading, err error, at time.Time) {
	if err != nil {
		m.readErr = err
		if m.act.cold && m.phase != settled {
			return // it starts
		}
		m.fails++
		if m.fails == 3 {
			s.alarm(at, sluice.Warning, "machine-silent", m.spec.Name,
				"does not answer: "+err.Error(), "look at its network and power; it is left out of the plan until it answers")
		}
		return
	}
	s.clearAlarm(at, "machine-silent", m.spec.Name) // perhaps of an earlier process
	m.fails, m.readErr = 0, nil
	r.At = at
	m.read = r
	s.runs(m, r.Firmware)
	if m.recovered {
		// An act of an earlier process may have happened or not: what the
		// machine does now is where the plan goes on from.
		m.recovered = false
		told := m.asleep && m.want == sluice.ModeSleep
		m.want = m.nearest(r)
		m.asleep = m.asleep && m.want == sluice.ModeSleep
		if told && !m.asleep {
			m.doubt(at) // slow firmware obeys after 20 s
		}
		s.unsaved[m.spec.Name] = m.row()
	}
	if m.want == "" {
		// The machine's own state is the first setpoint; what somebody else
		// has put to sleep is left alone.
		m.want = m.nearest(r)
		m.since = at.Add(-24 * time.Hour) // no dwell of ours holds it
	}
	if m.phase != settled || m.want == "" || at.Before(m.badUntil) {
		return
	}
	if m.asleep && m.want != sluice.ModeSleep && r.Mode != sluice.ModeSleep && at.After(m.lateUntil) {
		m.asleep = false
		s.unsaved[m.spec.Name] = m.row()
	}
	s.steady(m, at)
	if m.pin == nil {
		s.watch(m, at)
	} else {
		s.hold(m, at)
	}
}

// hold brings a pinned machine back to its mode: it went elsewhere by itself, did
// not obey, or was never told before a restart. The caller holds s.mu.
func (s *Site) hold(m *miner, at time.Time) {
	to, ok := m.class.mode(m.pin.Mode) // a lock is none
	if !ok || m.prior == nil || !s.mayAct(m.class) || (m.want == to.Name && m.in(to.Name)) {
		return
	}
	if m.in(to.Name) {
		m.want, m.since = to.Name, at
		s.unsaved[m.spec.Name] = m.row()
		return
	}
	if p, _ := m.power(); to.Power > p {
		s.rise(at)
		more := s.atMeter(to.Power - p)
		if s.rampLeft < more && s.rampLeft < s.o.Ramp || s.headroom(m.class.node, at, s.sum()) < more {
			return
		}
		s.rampLeft -= more
	}
	s.issue(m, to.Name, at, 0, -1, nil)
}

// nearest is the class's mode that the reading fits best.
func (m *miner) nearest(r sluice.Reading) string {
	if r.Mode == sluice.ModeSleep {
		return sluice.ModeSleep
	}
	if mode, ok := m.class.mode(r.Mode); ok {
		return mode.Name
	}
	best := m.class.full()
	if r.HasPower {
		for _, mode := range m.class.modes[1:] {
			if dist(mode.Power, r.Power) < dist(best.Power, r.Power) {
				best = mode
			}
		}
	}
	return best.Name
}

func dist(a, b sluice.Watts) sluice.Watts {
	if a > b {
		return a - b
	}
	return b - a
}

// watch notes when a settled machine is no longer in the mode that it was put
// in: one that came back in the middle of a curtailment is put down again, one
// that a person has changed by hand is left as that person wants it.
func (s *Site) watch(m *miner, at time.Time) {
	if m.in(m.want) {
		return
	}
	if m.want == sluice.ModeSleep && m.asleep {
		s.alarm(at, sluice.Warning, "machine-came-back", m.spec.Name,
			"woke although Sluice had put it to sleep", "it is put down again; look for a second controller or a reboot")
		if s.mayAct(m.class) {
			s.issue(m, sluice.ModeSleep, at, 0, -1, nil)
		}
		return
	}
	// What a person has changed by hand is theirs, and theirs to undo; what was
	// read before of how the machine was no longer holds.
	m.want = m.nearest(m.read)
	m.since = at
	if !m.asleep {
		m.prior = nil
	}
	s.unsaved[m.spec.Name] = m.row()
}

// readMeters reads the meters of all nodes. The caller does not hold s.mu.
func (s *Site) readMeters(ctx context.Context, now time.Time) {
	type result struct {
		n   *node
		r   sluice.Reading
		err error
	}
	var asked int
	out := make(chan result, len(s.nodes))
	for _, n := range s.nodes {
		if n.spec.Meter == nil {
			continue
		}
		asked++
		go func() {
			mctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			r, err := n.spec.Meter.Read(mctx)
			out <- result{n, r, err}
		}()
	}
	for range asked {
		x := <-out
		s.mu.Lock()
		switch {
		case x.err != nil || !x.r.HasPower:
			if now.Sub(x.n.meterAt) > s.o.MaxReadingAge {
				text := "has no reading"
				if x.err != nil {
					text += ": " + x.err.Error()
				}
				s.alarm(now, sluice.Warning, "meter-silent", x.n.spec.Name, text,
					"until it answers the load is the sum of the machines' own readings")
			}
		default:
			x.n.meter, x.n.meterAt = x.r.Power, now
			s.clearAlarm(now, "meter-silent", x.n.spec.Name)
		}
		s.mu.Unlock()
	}
}

// sums of readings over the machines below a node, at the meter.
type sums struct {
	mining, ai sluice.Watts
	hash       sluice.HashRate
	load       map[*node]sluice.Watts // by readings, with overhead
}

// sum adds up what is drawn by readings. The caller holds s.mu.
func (s *Site) sum() sums {
	out := sums{load: make(map[*node]sluice.Watts, len(s.nodes))}
	add := func(n *node, w sluice.Watts) { n.path(func(x *node) { out.load[x] += w }) }
	for _, c := range s.classes {
		var w sluice.Watts
		for _, m := range c.miners {
			p, _ := m.power()
			w += p
			if m.read.HasHashRate && m.read.Mode != sluice.ModeSleep {
				out.hash += m.read.HashRate
			}
		}
		w = s.atMeter(w)
		out.mining += w
		add(c.node, w)
	}
	use := s.o.Compute.HostUse()
	for _, h := range s.hosts {
		var w sluice.Watts
		for _, host := range h.spec.Hosts {
			w += use[host.Name].PowerW
		}
		w = s.atMeter(w)
		out.ai += w
		add(h.node, w)
	}
	return out
}

func (s *Site) atMeter(w sluice.Watts) sluice.Watts {
	return sluice.Watts(float64(w) * s.o.Overhead)
}

// load is what a node draws: its meter where that is fresh, else the sum of
// readings. The caller holds s.mu.
func (s *Site) load(n *node, by sums, now time.Time) (sluice.Watts, sluice.Source) {
	if n.spec.Meter != nil && !n.meterAt.IsZero() && now.Sub(n.meterAt) <= s.o.MaxReadingAge {
		return n.meter, sluice.SourceMeter
	}
	return by.load[n], sluice.SourceDevice
}
