package sim

import (
	"context"
	"encoding/json"
	"time"

	"sluice"
	"sluice/device"
)

// Direct returns miner i without sockets: the contract on the same model, for
// tests that run days in seconds. All but stock firmware are device.Profilers too.
func (f *Fleet) Direct(i int) device.Miner {
	d := direct{f, f.machines[i]}
	if d.m.spec.Dialect != Antminer {
		return directProfiler{d}
	}
	return d
}

type direct struct {
	f *Fleet
	m *machine
}

type directProfiler struct{ direct }

func (d direct) reach(ctx context.Context) error {
	d.m.mu.Lock()
	away := d.m.away(d.f.now())
	d.m.mu.Unlock()
	if away {
		return sluice.Errorf(sluice.Unavailable, "", "asking %s: connection reset by peer", d.m.spec.Name)
	}
	switch d.m.faulty() {
	case SlowReply:
		if err := d.wait(ctx, slowReply); err != nil {
			return err
		}
	case Silent:
		<-ctx.Done()
	case Truncated:
		return sluice.Errorf(sluice.Unavailable, "", "asking %s: the reply is truncated", d.m.spec.Name)
	}
	return ctx.Err()
}

func (d direct) wait(ctx context.Context, t time.Duration) error {
	if d.f.opt.Instant || d.f.opt.Now != nil { // a stepped clock cannot be waited for
		return nil
	}
	return d.f.opt.Clock.Sleep(ctx, t)
}

func (d direct) Read(ctx context.Context) (sluice.Reading, error) {
	if err := d.reach(ctx); err != nil {
		return sluice.Reading{}, err
	}
	m := d.m
	m.mu.Lock()
	defer m.mu.Unlock()
	now := d.f.now()
	w, h := d.f.measured(m, now)
	r := sluice.Reading{
		Mode: m.spec.Modes[m.mode()].Name, HashRate: sluice.HashRate(h), HasHashRate: true,
		TempC: m.chipTemp(w), HasTemp: true, Uptime: time.Duration(m.uptime(now)) * time.Second,
		Model: m.spec.Model, Firmware: m.program(),
	}
	if m.spec.Dialect != Antminer || m.modern() {
		r.Power, r.HasPower, r.PowerSource = sluice.Watts(w+0.5), true, sluice.SourceDevice
	}
	if m.spec.Dialect == Antminer && m.asleep && h > 0 {
		r.Mode = sluice.ModeMine // not there yet, as the driver sees it
	}
	return r, nil
}

func (d direct) Prior(ctx context.Context) (device.Prior, error) {
	if err := d.reach(ctx); err != nil {
		return nil, err
	}
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	b, err := json.Marshal(d.m.spec.Modes[d.m.profile].Name)
	return device.Prior(b), err
}

func (d direct) Set(ctx context.Context, mode string, prior device.Prior) (sluice.Outcome, error) {
	if err := d.reach(ctx); err != nil {
		return sluice.Unknown, err
	}
	m := d.m
	m.mu.Lock()
	defer m.mu.Unlock()
	switch m.fault {
	case Refuses:
		return sluice.Refused, &device.RefusedError{Why: "command rejected"}
	case Ignores:
		return sluice.Accepted, nil
	}
	if mode == sluice.ModeSleep {
		return accepted(d.f.set(m, true, m.profile))
	}
	if mode == sluice.ModeMine && len(prior) > 0 {
		if err := json.Unmarshal(prior, &mode); err != nil {
			return sluice.Unknown, &sluice.Error{Kind: sluice.Invalid, Msg: "reading the prior state of " + m.spec.Name, Cause: err}
		}
	}
	to := int(m.profile)
	if mode != sluice.ModeMine {
		to = modeIndex(m.spec.Modes, mode)
	}
	if to < 0 {
		return sluice.Refused, &device.RefusedError{Why: "no mode is named " + mode}
	}
	return accepted(d.f.set(m, false, uint8(to)))
}

func accepted(err error) (sluice.Outcome, error) {
	if err != nil {
		return sluice.Unknown, err
	}
	return sluice.Accepted, nil
}

func (d directProfiler) Profiles(ctx context.Context) ([]sluice.Mode, error) {
	if err := d.reach(ctx); err != nil {
		return nil, err
	}
	var out []sluice.Mode
	for i, p := range d.m.spec.Modes {
		if uint8(i) != d.m.sleep {
			out = append(out, p)
		}
	}
	return out, nil
}
