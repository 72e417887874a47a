package site

import (
	"context"
	"slices"
	"sync"
	"time"

	"sluice"
)

// Step is one turn of the loop at site time now: read, plan when that is due,
// apply, confirm, settle. It returns an error only where the turn could not be
// kept; the turn itself has then been made as far as safety needs it, and the
// next one stores what is missing.
func (s *Site) Step(ctx context.Context, now time.Time) error {
	s.stepMu.Lock()
	defer s.stepMu.Unlock()
	began := time.Now()
	if s.o.Sync {
		_ = s.o.Feeds.Refresh(ctx, now) // a feed that fails says so in the status
		s.Poll(ctx, func() time.Time { return now }, len(s.miners))
	}
	s.readMeters(ctx, now)

	s.mu.Lock()
	by := s.sum()
	s.accrue(now, by)
	s.now = now
	s.feedOrders(ctx, now)
	s.runOrders(ctx, now, by)
	s.tendJobs(ctx, now)
	s.advance(ctx, now)
	s.guardLimits(ctx, now, by)
	s.mu.Unlock()

	serr := s.settle(ctx, now)
	s.mu.Lock()
	if serr != nil {
		s.alarm(now, sluice.Critical, "storage", "books", "an interval could not be posted: "+serr.Error(),
			"it is tried again in each turn; what was measured waits")
	} else {
		s.clearAlarm(now, "storage", "books")
	}
	s.mu.Unlock()

	if s.due(now) {
		s.plan(ctx, now, began)
	}

	s.mu.Lock()
	s.startAtOnce(now)
	s.admit(ctx, now)
	s.liftCaps(ctx, now)
	s.judgeLimits(now)
	s.proveByMeter(now)
	if !s.o.Bare {
		s.sample(now, by)
	}
	err := s.keep(ctx, now)
	s.mu.Unlock()
	if !s.o.Bare {
		s.publish(now)
	}
	if s.o.Sync {
		s.ops.Wait()
	}
	return err
}

// due says whether this turn must plan: a new interval has begun, or something
// has changed that cannot wait for it.
func (s *Site) due(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if changed, freed := s.jobsChanged.Swap(false), s.o.Compute.RoomFreed(); changed || freed {
		s.need("job")
	}
	if !now.Truncate(s.o.Step).Equal(s.plannedFor) {
		if s.replan == "" {
			s.replan = "interval"
		}
		return true
	}
	// Arrivals and ends of jobs come in crowds: gather them for a while.
	return s.replan != "" && (now.Sub(s.plannedAt) >= s.replanPause() || s.replan == "curtailment" || s.replan == "curtailment ended")
}

// replanPause is the least site time between two plans of the same interval: so
// much that planning takes a tenth of the computer at most.
func (s *Site) replanPause() time.Duration {
	if s.o.Sync {
		return s.o.Step / 2
	}
	return max(time.Second, time.Duration(10*float64(s.solveWall)*s.o.Speed))
}

// Run turns the loop until ctx ends: every period of wall time, and at once
// when something calls for it. clock tells the site time of a turn.
func (s *Site) Run(ctx context.Context, now func() time.Time, period time.Duration) {
	// The first turn waits a moment for the first readings: what the meter shows
	// is then somebody's.
	select {
	case <-ctx.Done():
	case <-s.polled:
	case <-time.After(firstLook):
	}
	t := time.NewTicker(period)
	defer t.Stop()
	for ctx.Err() == nil {
		if err := s.Step(ctx, now()); err != nil && ctx.Err() == nil {
			s.log.Error("a turn could not be kept", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-s.kick:
		}
		s.standAside(ctx) // then the turn also finds that the order is met
	}
	s.ops.Wait()
}

// firstLook is how long the first turn waits for readings: a dead machine takes
// longer to be sure of.
const firstLook = 2 * time.Second

// RunPolls polls all machines again and again until ctx ends, a sweep in each
// period of wall time, spread over it so that the loop is never crowded out.
func (s *Site) RunPolls(ctx context.Context, now func() time.Time, period time.Duration) {
	const slices = 20
	n := (len(s.miners) + slices - 1) / slices
	if n == 0 {
		close(s.polled)
		return
	}
	var all sync.WaitGroup
	defer all.Wait()
	first := s.ask(ctx, now, len(s.miners))
	all.Go(func() { first(); close(s.polled) })
	t := time.NewTicker(period / slices)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			all.Go(s.ask(ctx, now, n)) // those that do not answer hold nobody up
		}
	}
}

// keep stores what the turn has changed and then sends the commands out. The
// caller holds s.mu.
func (s *Site) keep(ctx context.Context, now time.Time) error {
	t := Turn{Now: now}
	for _, r := range s.unsaved {
		t.Machines = append(t.Machines, r)
	}
	for id := range s.dirtyDecision {
		if d := s.openDecisions[id]; d != nil {
			d.sumUp()
			t.Decisions = append(t.Decisions, d.copy())
		}
	}
	for _, c := range s.orders {
		if c.dirty {
			t.Curtailments = append(t.Curtailments, c.view())
		}
	}
	t.Alarms = s.alarms.dirty
	if len(s.newSamples) > 0 {
		t.Samples = s.newSamples
	}
	taught := s.lessons(&t)
	if t.Empty() && time.Since(s.lastPersist) < persistEvery && !s.o.Sync {
		s.launch(ctx, true)
		return nil
	}
	p := s.acc
	p.Reserves = slices.Clone(p.Reserves) // the site's own goes on changing
	t.Progress = &p
	if s.alarms.open["storage\x00database"] != nil {
		// The disk does not answer: what a limit needs goes out before it is tried.
		s.launch(ctx, false)
	}
	wctx, cancel := context.WithTimeout(s.life(ctx), storeWait)
	err := s.o.Store.SaveTurn(wctx, t)
	cancel()
	if err != nil {
		s.storageAlarm(now, err)
		s.launch(ctx, false)
		return err
	}
	s.lastPersist = time.Now()
	s.clearAlarm(now, "storage", "database")
	clear(s.unsaved)
	taught()
	clear(s.dirtyDecision)
	for id, d := range s.openDecisions {
		if now.Sub(d.At) > time.Hour {
			delete(s.openDecisions, id)
		}
	}
	for _, c := range s.orders {
		c.dirty = false
	}
	s.alarms.dirty = nil
	s.newSamples = nil
	s.launch(ctx, true)
	return nil
}

// storeWait is the wall time for which a turn waits for the database: the loop
// must not stand still while somebody holds it. A write that has begun is not cut
// off by the end of the program: it is no failure of the disk.
const storeWait = time.Second

// persistEvery is the wall time after which a quiet turn is kept all the same,
// so that a kill loses no more than that of what was measured.
const persistEvery = time.Second

func (s *Site) storageAlarm(now time.Time, err error) {
	s.alarm(now, sluice.Critical, "storage", "database", "the turn could not be stored: "+err.Error(),
		"free space on the disk or end what locks the database; nothing that was confirmed is lost, and prices wait until it works again")
}

// sample keeps one point of the site's history for each minute of site time.
// The caller holds s.mu.
func (s *Site) sample(now time.Time, by sums) {
	if now.Truncate(time.Minute).Equal(s.lastSample) {
		return
	}
	s.lastSample = now.Truncate(time.Minute)
	load, _ := s.load(s.root(), by, now)
	m := s.margins(now, by, s.o.Compute.Open())
	s.newSamples = append(s.newSamples, Sample{
		At: s.lastSample, LimitKW: s.limitAt(s.root(), now).KW(), LoadKW: load.KW(),
		MiningKW: by.mining.KW(), AIKW: by.ai.KW(), PriceUSDPerMWh: m.price,
		MarginUSDHour: m.mining + m.ai, GPUsBusy: s.busyUnits(), HashratePHs: float64(by.hash) / 1000,
	})
}

// proveByMeter raises outcomes to "confirmed by meter" where the meter above
// agrees with the sum of the readings below it to 2 %: what the devices say of
// themselves is then what flows. The caller holds s.mu.
func (s *Site) proveByMeter(now time.Time) {
	by := s.sum()
	agrees := map[*node]bool{}
	for _, n := range s.nodes {
		if n.spec.Meter == nil || n.meterAt.IsZero() || now.Sub(n.meterAt) > s.o.MaxReadingAge {
			continue
		}
		agrees[n] = dist(n.meter, by.load[n]) <= n.meter/50+sluice.Kilowatt
	}
	for _, m := range s.miners {
		if m.outcome != sluice.ConfirmedByDevice || m.phase != settled {
			continue
		}
		ok := false
		m.class.node.path(func(n *node) { ok = ok || agrees[n] })
		if !ok {
			continue
		}
		m.outcome = sluice.ConfirmedByMeter
		if d := s.openDecisions[m.act.decision]; d != nil && m.act.move >= 0 && m.act.move < len(d.Moves) {
			o := d.Moves[m.act.move].Outcomes
			if o[string(sluice.ConfirmedByDevice)]--; o[string(sluice.ConfirmedByDevice)] <= 0 {
				delete(o, string(sluice.ConfirmedByDevice))
			}
			o[string(sluice.ConfirmedByMeter)]++
			s.dirtyDecision[d.ID] = true
		}
	}
}
