package site

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
)

// Machines lists all machines by name.
func (s *Site) Machines() []Machine {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now
	hp := s.o.Feeds.Hashprice(now).Value
	out := make([]Machine, 0, len(s.miners))
	for _, m := range s.miners {
		out = append(out, s.minerView(m, now, hp))
	}
	use := s.o.Compute.HostUse()
	for _, h := range s.hosts {
		for _, host := range h.spec.Hosts {
			out = append(out, s.hostView(h, host, use[host.Name], now))
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Machine returns one machine.
func (s *Site) Machine(name string) (Machine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.minerBy[name]; m != nil {
		v := s.minerView(m, s.now, s.o.Feeds.Hashprice(s.now).Value)
		v.Responses = s.responsesOf(m)
		return v, nil
	}
	if h, host, ok := s.host(name); ok {
		return s.hostView(h, host, s.o.Compute.HostUse()[name], s.now), nil
	}
	return Machine{}, noMachine(name)
}

func noMachine(name string) error {
	return sluice.Errorf(sluice.NotFound, "`sluice machine list` shows them", "no machine is called %q", name)
}

func (s *Site) host(name string) (*hostClass, compute.Host, bool) {
	for _, h := range s.hosts {
		for _, host := range h.spec.Hosts {
			if host.Name == name {
				return h, host, true
			}
		}
	}
	return nil, compute.Host{}, false
}

func (s *Site) minerView(m *miner, now time.Time, hashprice float64) Machine {
	p, source := m.power()
	v := Machine{
		Name: m.spec.Name, Kind: sluice.Miner, Class: m.class.spec.Name, Node: m.class.node.spec.Name,
		Model: m.class.spec.Model, Driver: m.spec.Driver, Address: m.spec.Address, Virtual: m.spec.Virtual,
		State: m.state(now, s.o.MaxReadingAge), Mode: m.read.Mode, Want: m.want, Outcome: m.outcome,
		PowerKW: p.KW(), PowerSource: source, Pin: m.pin, Asleep: m.asleep && m.want == sluice.ModeSleep, SeenAt: m.read.At.UTC(),
		Cut: m.cut, Firmware: s.firmwareOf(m),
	}
	if m.read.HasHashRate {
		v.HashrateTHs = float64(m.read.HashRate)
	}
	if m.read.HasTemp {
		v.TempC = m.read.TempC
	}
	if m.readErr != nil {
		v.Error = m.readErr.Error()
	}
	for i := range m.class.modes {
		if i > 0 && m.class.modes[i].Name == m.want || i == 1 {
			v.StrikeUSDMWh = s.strike(m.class, i, hashprice)
		}
	}
	return v
}

func (s *Site) hostView(h *hostClass, host compute.Host, u compute.HostUse, now time.Time) Machine {
	v := Machine{
		Name: host.Name, Kind: sluice.Host, Class: h.spec.Name, Node: h.node.spec.Name, Model: h.spec.Model,
		Driver: host.Executor, Virtual: !host.Real, State: s.hostState(host, u), Mode: sluice.ModeIdle,
		PowerKW: u.PowerW.KW(), PowerSource: sluice.SourceNameplate, GPUs: host.Units, GPUsBusy: u.UnitsBusy, SeenAt: now.UTC(),
	}
	if u.UnitsBusy > 0 {
		v.Mode = sluice.ModeJob
	}
	v.Error = strings.Join(slices.DeleteFunc([]string{u.Silent, u.Fault, u.Held}, func(why string) bool { return why == "" }), "; ")
	if u.Silent != "" {
		v.SeenAt = time.Time{}
	}
	v.JobsKW, v.LimitKW = u.JobsW.KW(), u.LimitW.KW()
	if u.Measured {
		// What neither its idle power nor its jobs account for.
		residual := (u.PowerW - host.IdleW - u.JobsW).KW()
		v.PowerSource, v.ResidualKW = sluice.SourceDevice, &residual
	}
	if p, ok := s.pins[host.Name]; ok {
		v.Pin = &p
	}
	return v
}

// Pin puts a person's hand on a machine: it is moved to the mode, or locked for
// maintenance as it is, and nothing else touches it until it is released.
func (s *Site) Pin(ctx context.Context, p Pin) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.By == "" || p.Why == "" {
		return sluice.Errorf(sluice.Invalid, "say who and why: --by and --why", "a pin needs a name and a reason")
	}
	p.At = s.stamp()
	if m := s.minerBy[p.Machine]; m != nil {
		return s.pinMiner(ctx, m, p)
	}
	if _, _, ok := s.host(p.Machine); !ok {
		return noMachine(p.Machine)
	}
	if p.Mode != PinLocked {
		return sluice.Errorf(sluice.Invalid, "a host can only be locked", "the host %s has no mode %q", p.Machine, p.Mode)
	}
	if err := s.saveHand(ctx, Turn{Now: p.At, Pins: []Pin{p}}); err != nil {
		return fmt.Errorf("lock %s: %w", p.Machine, err)
	}
	s.pins[p.Machine] = p
	if err := s.o.Compute.Block(p.Machine, compute.BlockedByHand, "locked by "+p.By+": "+p.Why); err != nil {
		return fmt.Errorf("lock %s: %w", p.Machine, err)
	}
	s.need("pin")
	return nil
}

func (s *Site) pinMiner(ctx context.Context, m *miner, p Pin) error {
	if p.Mode != PinLocked {
		mode, ok := m.class.mode(p.Mode)
		if !ok {
			return sluice.Errorf(sluice.Invalid, "its modes are "+m.class.names(), "%s has no mode %q", p.Machine, p.Mode)
		}
		if !s.mayAct(m.class) {
			return sluice.Errorf(sluice.Conflict, "set site.mode to control, or name the class under site.control", "the site only observes %s", m.class.spec.Name)
		}
		if m.prior == nil {
			return sluice.Errorf(sluice.Unavailable, "wait until it answers", "how %s is set now has not been read yet, so it cannot be put back", p.Machine)
		}
		now := p.At
		s.rise(now)
		if p0, _ := m.power(); mode.Power > p0 && s.headroom(m.class.node, now, s.sum()) < s.atMeter(mode.Power-p0) {
			return sluice.Errorf(sluice.Conflict, "free power first, or wait", "there is no room under the limit to bring %s up to %s", p.Machine, p.Mode)
		}
	}
	if err := s.saveHand(ctx, Turn{Now: p.At, Pins: []Pin{p}}); err != nil {
		return fmt.Errorf("pin %s: %w", p.Machine, err)
	}
	m.pin = &p
	s.pins[p.Machine] = p
	if p.Mode == PinLocked {
		s.letGo(m, p.At)
	}
	if p.Mode != PinLocked && m.want != p.Mode {
		s.issue(m, p.Mode, p.At, 0, -1, nil)
		if err := s.keep(s.life(ctx), p.At); err != nil {
			return err
		}
	}
	s.need("pin")
	return nil
}

// saveHand keeps what a person has asked for. Neither a caller who leaves nor
// whoever holds the database may keep the site standing. The caller holds s.mu.
func (s *Site) saveHand(ctx context.Context, t Turn) error {
	wctx, cancel := context.WithTimeout(s.life(ctx), storeWait)
	defer cancel()
	return s.o.Store.SaveTurn(wctx, t)
}

func (c *class) names() string {
	out := ""
	for i, m := range c.modes {
		if i > 0 {
			out += ", "
		}
		out += m.Name
	}
	return out
}

// Release gives a machine back to the plan.
func (s *Site) Release(ctx context.Context, name, by string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.pins[name]; !ok {
		if s.minerBy[name] == nil {
			if _, _, host := s.host(name); !host {
				return noMachine(name)
			}
		}
		return sluice.Errorf(sluice.Conflict, "", "%s is neither pinned nor locked", name)
	}
	if err := s.saveHand(ctx, Turn{Now: s.stamp(), Released: []string{name}}); err != nil {
		return fmt.Errorf("release %s: %w", name, err)
	}
	delete(s.pins, name)
	if m := s.minerBy[name]; m != nil {
		s.given(m)
	} else {
		_ = s.o.Compute.Block(name, compute.BlockedByHand, "") // the host may be gone since it was locked
	}
	s.log.Info("released", "machine", name, "by", by)
	s.need("pin")
	return nil
}

// today sums up the books since midnight UTC of site time.
type today struct {
	day time.Time
	Today
}

func (t *today) add(r Settled) {
	if day := r.From.Truncate(24 * time.Hour); !day.Equal(t.day) {
		*t = today{day: day}
	}
	t.MiningUSD += r.MiningRev.USD()
	t.AIUSD += r.AIRev.USD()
	t.ReserveUSD += r.ReserveRev.USD()
	t.EnergyUSD += r.EnergyCost.USD()
	t.EnergyMWh += r.MeterWh.MWh()
	t.MarginUSD = t.MiningUSD + t.AIUSD + t.ReserveUSD - t.EnergyUSD
}

func (t *today) view(now time.Time) Today {
	if !now.Truncate(24 * time.Hour).Equal(t.day) {
		return Today{}
	}
	return t.Today
}
