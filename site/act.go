package site

import (
	"context"
	"errors"
	"sync"
	"time"

	"sluice"
	"sluice/device"
)

const (
	tries      = 3                // commands before a machine counts as faulty
	timeOut    = 30 * time.Minute // how long a faulty machine is left alone
	shedProof  = 90 * time.Second // within which a shed must be proven
	bootTime   = 5 * time.Minute  // from power at the plug to an answer
	firstPause = 5 * time.Second  // before a command without an answer is sent again; each further one is twice as long
	proofWall  = 5 * time.Second  // but at least this of wall time, however fast site time runs
)

// proof is the site time within which an act must be proven: the device's own
// time, and what a busy computer needs to look.
func (s *Site) proof(device time.Duration) time.Duration {
	return max(device, time.Duration(s.o.Speed*float64(proofWall)))
}

// mayAct says whether Sluice acts on the class at all.
func (s *Site) mayAct(c *class) bool { return s.o.Control(c.spec.Name) }

// issue makes a mode the machine's setpoint. The command goes out at the end of
// the turn, after the intent is stored. The caller holds s.mu.
func (s *Site) issue(m *miner, to string, now time.Time, decision int64, move int, order *curtailment) {
	mode, ok := m.class.mode(to)
	if !ok {
		return
	}
	if m.cancel != nil {
		m.cancel()
		m.cancel = nil
	}
	before, _ := m.power()
	m.gen++
	m.act = act{
		from: m.want, to: to, before: before, expect: mode.Power, issued: now, first: now,
		decision: decision, move: move, order: order, limit: order != nil,
		cold: m.cut && to != sluice.ModeSleep,
	}
	if to == sluice.ModeSleep && !m.cut {
		m.act.hurry = s.mustHurry(m, order, now)
	}
	within := shedProof
	if to != sluice.ModeSleep {
		within = 2*m.class.spec.WakeTime + time.Minute
	} else if m.read.Mode != sluice.ModeSleep {
		m.asleep = true
	}
	switch {
	case m.act.cold:
		m.act.deadline = now.Add(s.proof(within + bootTime))
	case mode.Power < before:
		m.act.deadline = now.Add(s.proofOf(m, m.act.lane(false), within))
	default:
		m.act.deadline = now.Add(s.proof(within))
	}
	m.act.overdue = m.act.deadline
	if d := m.act.deadline.Sub(now); mode.Power < before && d < s.proof(within) {
		// What others of its firmware have long done is not waited for.
		m.act.overdue = now.Add(d / 2)
	}
	if mode.Power < before {
		s.mindDeadline(m, order, now)
	}
	if mode.Power > before {
		m.act.pending = s.atMeter(mode.Power - before)
	}
	if m.want != to {
		m.since = now
	}
	m.want = to
	m.phase = commanding
	m.outcome = ""
	s.unsaved[m.spec.Name] = m.row()
	s.toLaunch = append(s.toLaunch, m)
}

// row is what is kept of the machine.
func (m *miner) row() MachineRow {
	return MachineRow{Name: m.spec.Name, Prior: m.prior, Want: m.want, Asleep: m.asleep, Since: m.since, Cut: m.cut}
}

// launch starts the commands that the turn has issued, decreases first. When the
// intents could not be stored only those go out that a limit needs: a price can
// wait for the disk, the grid cannot. The caller holds s.mu.
func (s *Site) launch(ctx context.Context, stored bool) {
	var rest []*miner
	for _, down := range []bool{true, false} {
		for _, m := range s.toLaunch {
			if m.phase != commanding || m.cancel != nil || (m.act.expect < m.act.before) != down {
				continue
			}
			if !stored && (m.act.outlet || !(down && m.act.limit)) {
				// An outlet that nobody remembers would never be switched on again.
				rest = append(rest, m)
				continue
			}
			s.command(ctx, m)
		}
	}
	s.toLaunch = rest
}

// command sends the machine's act to the device, in the background.
func (s *Site) command(ctx context.Context, m *miner) {
	gen, do := m.gen, s.doing(m)
	ctx, cancel := context.WithCancel(ctx)
	m.cancel = cancel
	m.act.tries++
	s.inflight++
	s.ops.Add(1)
	go func() {
		hangUp := s.line()
		ctx, stop := context.WithTimeout(ctx, s.callTimeout()) // not counting the wait for the line
		s.mu.Lock()
		s.sends(m, gen)
		s.mu.Unlock()
		outcome, err := do(ctx)
		hangUp()
		s.mu.Lock()
		if m.gen == gen {
			s.answered(m, outcome, err, s.stamp())
		}
		s.mu.Unlock()
		// What follows waits for a line again. It has a goroutine of its own, as the stack
		// of this one has grown with the call: thousands of them would fill the memory.
		go func() {
			defer s.ops.Done()
			finish := sync.OnceFunc(func() { s.finishCall(ctx, m) })
			if outcome == sluice.Accepted {
				s.prove(ctx, m, gen, finish)
			}
			finish()
			stop()
			cancel()
			s.mu.Lock()
			defer s.mu.Unlock()
			s.inflight--
			s.endWave()
			if m.gen == gen {
				m.cancel = nil
			}
		}()
	}()
}

// finishCall lets the device's driver end what the command has left open, in the
// background. It queues behind the commands and proofs of all other machines.
func (s *Site) finishCall(ctx context.Context, m *miner) {
	if f, ok := m.spec.Device.(device.Finisher); ok {
		s.ops.Add(1)
		go func() {
			defer s.ops.Done()
			defer s.line()()
			f.Finish(ctx)
		}()
	}
}

// prove reads a machine right after it said yes: firmware that answers at once
// is proven at once, most of the rest within seconds. What takes longer is left
// to the turns of the loop. Where Step waits for the calls, time stands still
// meanwhile and one look is enough. finish is called before the first pause.
func (s *Site) prove(ctx context.Context, m *miner, gen int, finish func()) {
	for _, pause := range []time.Duration{0, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
		if pause > 0 {
			finish()
			t := time.NewTimer(max(s.o.Wall(pause), 100*time.Millisecond))
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
		}
		hangUp := s.line()
		r, err := s.look(ctx, m)
		hangUp()
		s.mu.Lock()
		if m.gen != gen || m.phase != verifying {
			s.mu.Unlock()
			return
		}
		if err == nil {
			s.seen(m, r, s.stamp())
		}
		done := m.phase == settled
		s.mu.Unlock()
		if done || s.o.Sync {
			return
		}
	}
}

// doing is the call that carries out the machine's act. The caller holds s.mu.
func (s *Site) doing(m *miner) func(context.Context) (sluice.Outcome, error) {
	to, prior := m.act.to, device.Prior(m.prior)
	switch {
	case m.act.outlet:
		return func(ctx context.Context) (sluice.Outcome, error) { return m.spec.Outlet.Switch(ctx, false) }
	case m.act.cold:
		return func(ctx context.Context) (sluice.Outcome, error) { return m.spec.Outlet.Switch(ctx, true) }
	case m.cut: // it has no power: there is nobody to talk to
		return func(context.Context) (sluice.Outcome, error) { return sluice.Accepted, nil }
	}
	if h, can := m.spec.Device.(device.Hurrier); can && m.act.hurry {
		return func(ctx context.Context) (sluice.Outcome, error) { return h.Hurry(ctx, prior) }
	}
	return func(ctx context.Context) (sluice.Outcome, error) { return m.spec.Device.Set(ctx, to, prior) }
}

// sends notes when the first command of an act goes out. The caller holds s.mu.
func (s *Site) sends(m *miner, gen int) {
	if m.gen != gen || !m.act.sent.IsZero() || m.act.tries > 1 {
		return
	}
	m.act.sent = s.stamp()
	if m.act.limit && !s.o.Bare {
		wait := max(0, m.act.sent.Sub(m.act.first))
		s.learned.delays.add(float32(wait.Seconds()), int32(m.act.sent.Unix()/(5*60)), firmwareSamples)
		s.learned.newDelays = true
	}
}

// stamp is the site time of something that ends between two turns. The caller
// holds s.mu.
func (s *Site) stamp() time.Time {
	if s.o.Now != nil {
		if t := s.o.Now(); t.After(s.now) {
			return t
		}
	}
	return s.now
}

// answered takes in the device's answer to a command. The caller holds s.mu.
func (s *Site) answered(m *miner, outcome sluice.Outcome, err error, at time.Time) {
	m.outcome = outcome
	var refused *device.RefusedError
	switch {
	case outcome == sluice.Accepted:
		m.phase = verifying
		m.act.nextCheck = at.Add(2 * time.Second)
		if m.act.cold {
			m.cut = false // it has power again; how it starts is seen when it answers
			s.unsaved[m.spec.Name] = m.row()
		}
	case sluice.KindOf(err) == sluice.Conflict && (at.Before(m.act.deadline) || m.act.tries < tries):
		// Somebody else has the machine's session, perhaps a Sluice that was
		// killed, or an answer that came too late: it ends by itself.
		m.outcome = sluice.Unknown
		m.readErr = err
		s.askAgain(m, at)
	case errors.As(err, &refused) || outcome == sluice.Refused:
		why := "no reason given"
		if refused != nil {
			why = refused.Why
		}
		s.alarm(at, sluice.Warning, "command-refused", m.spec.Name,
			"refused to go to "+m.act.to+": "+why, "it is left alone for 30 minutes; lock it if it needs work")
		s.giveUp(m, sluice.Refused, at)
	default:
		// No usable answer: it may have obeyed. Readings will tell; meanwhile it is
		// asked again.
		m.outcome = sluice.Unknown
		m.readErr = err
		m.act.nextCheck = at.Add(2 * time.Second)
		s.askAgain(m, at)
	}
}

// askAgain sends the act's command once more after a pause, each twice as long as
// the one before.
func (s *Site) askAgain(m *miner, at time.Time) {
	m.phase = verifying
	m.act.resend = at.Add(max(firstPause, time.Duration(2*s.o.Speed*float64(time.Second))) << min(m.act.unheard, 4))
	m.act.unheard++
}

// seen takes in a reading of a machine that must prove an act.
func (s *Site) seen(m *miner, r sluice.Reading, at time.Time) {
	s.observe(m, r, nil, at)
	switch {
	case m.phase != verifying:
	case m.proven():
		s.finish(m, sluice.ConfirmedByDevice, at)
	case m.act.cold && !m.cut && !m.in(m.act.to):
		// It has started, and not as it is wanted.
		m.act.cold = false
		m.act.deadline = at.Add(s.proof(2*m.class.spec.WakeTime + time.Minute))
		s.again(m, at)
	}
}

// again makes the next turn send the act's command once more. The caller holds
// s.mu.
func (s *Site) again(m *miner, at time.Time) {
	m.act.issued = at
	m.act.resend = time.Time{}
	m.phase = commanding
	m.gen++
	s.toLaunch = append(s.toLaunch, m)
}

// advance moves the acts that wait for their proof: reads the machine again when
// that is due, commands again when the time is up, gives up after the last try.
// The caller holds s.mu.
func (s *Site) advance(ctx context.Context, now time.Time) {
	for _, m := range s.miners {
		if m.phase != verifying || m.polling || m.cancel != nil {
			continue
		}
		if now.After(m.act.deadline) {
			if s.escalates(m) {
				s.cutOff(m, now)
				continue
			}
			if m.act.tries >= tries {
				text := "said yes to " + m.act.to + " and did not do it"
				if m.outcome == sluice.Unknown && m.readErr != nil {
					text = "was not seen to go to " + m.act.to + ": " + m.readErr.Error()
				}
				s.alarm(now, sluice.Critical, "command-ignored", m.spec.Name,
					text, "it is left alone for 30 minutes and counted as it runs; switch its outlet or lock it")
				s.giveUp(m, m.outcome, now)
				continue
			}
			m.act.deadline = now.Add(m.act.deadline.Sub(m.act.issued) * 3 / 2) // ever longer
			s.again(m, now)
			continue
		}
		if !m.act.resend.IsZero() && !now.Before(m.act.resend) {
			issued := m.act.issued
			s.again(m, now)
			m.act.issued = issued // the time of the proof goes on,
			m.act.tries--         // and what was not heard is no try
			continue
		}
		if !now.Before(m.act.nextCheck) {
			// Ever longer pauses: most prove themselves at once or in minutes.
			m.act.nextCheck = now.Add(max(2*time.Second, now.Sub(m.act.issued)/4))
			s.check(ctx, m)
		}
	}
}

// check reads a machine that must prove an act, in the background.
func (s *Site) check(ctx context.Context, m *miner) {
	gen := m.gen
	m.polling = true
	s.inflight++
	s.ops.Add(1)
	go func() {
		defer s.ops.Done()
		hangUp := s.line()
		ctx, cancel := context.WithTimeout(ctx, s.callTimeout())
		r, err := s.look(ctx, m)
		cancel()
		hangUp()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.inflight--
		m.polling = false
		if m.gen != gen {
			return
		}
		if err != nil {
			s.observe(m, r, err, s.stamp())
			return
		}
		s.seen(m, r, s.stamp())
	}()
}

// finish ends an act that is proven.
func (s *Site) finish(m *miner, o sluice.Outcome, at time.Time) {
	m.phase = settled
	m.outcome = o
	s.responded(m, at, true)
	if m.act.to != sluice.ModeSleep {
		m.asleep = false
		s.clearAlarm(at, "outlet-off", m.spec.Name)
	}
	s.unsaved[m.spec.Name] = m.row()
	s.clearAlarm(at, "command-ignored", m.spec.Name)
	s.clearAlarm(at, "command-refused", m.spec.Name)
	s.clearAlarm(at, "machine-came-back", m.spec.Name)
	s.count(m, o, at)
}

// giveUp ends an act that did not succeed: the machine counts as what it is seen
// to do, and is left alone for a while.
func (s *Site) giveUp(m *miner, o sluice.Outcome, at time.Time) {
	m.phase = settled
	m.outcome = o
	s.responded(m, at, false)
	m.badUntil = at.Add(timeOut)
	s.asSeen(m, o, at)
	s.unsaved[m.spec.Name] = m.row()
	s.count(m, o, at)
	s.need("fault")
}

// asSeen makes what the machine does its setpoint, after an act that was not
// proven.
func (s *Site) asSeen(m *miner, o sluice.Outcome, at time.Time) {
	if m.read.At.IsZero() {
		return
	}
	told := m.asleep && m.act.to == sluice.ModeSleep && o != sluice.Refused
	m.want = m.nearest(m.read)
	m.asleep = m.asleep && m.want == sluice.ModeSleep
	if told && !m.asleep {
		m.doubt(at)
	}
}

// letGo ends an act that is under way because a person has locked the machine:
// nothing is sent to it any more. The caller holds s.mu.
func (s *Site) letGo(m *miner, at time.Time) {
	if m.phase == settled {
		return
	}
	if m.cancel != nil {
		m.cancel()
		m.cancel = nil
	}
	m.gen++
	m.phase = settled
	m.outcome = sluice.Unknown
	s.asSeen(m, m.outcome, at)
	s.unsaved[m.spec.Name] = m.row()
	s.count(m, m.outcome, at)
}

// count books an act's outcome in its decision and its order.
func (s *Site) count(m *miner, o sluice.Outcome, at time.Time) {
	if d := s.openDecisions[m.act.decision]; d != nil && m.act.move >= 0 && m.act.move < len(d.Moves) {
		mv := &d.Moves[m.act.move]
		if mv.Outcomes == nil {
			mv.Outcomes = map[string]int{}
		}
		mv.Outcomes[string(o)]++
		mv.times = append(mv.times, at.Sub(m.act.issued).Seconds())
		s.dirtyDecision[d.ID] = true
	}
	if c := m.act.order; c != nil && (o == sluice.ConfirmedByDevice || o == sluice.ConfirmedByMeter) {
		after, _ := m.power()
		c.gone(at, s.atMeter(m.act.before-after), o)
		c.shedFor(at, s.atMeter(m.act.before-after))
	}
}

// need asks the next turn for a new plan.
func (s *Site) need(why string) {
	if s.replan == "" {
		s.replan = why
	}
}
