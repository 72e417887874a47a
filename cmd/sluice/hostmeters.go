package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sluice"
	"sluice/config"
	"sluice/device"
)

// hostMeters read what whole hosts draw, at an outlet of a PDU or by the host's own
// management controller. What their jobs and their idle power do not account for is
// shown as the host's residual.
type hostMeters struct {
	meters map[string]device.Meter

	mu    sync.Mutex
	power map[string]sluice.Watts
	at    map[string]time.Time
	says  map[string]string // what the last reading failed with
}

// How often a host's meter is read, how long one reading may take, and how old one may
// be before the host's figures count instead.
const (
	hostMeterEvery   = 5 * time.Second
	hostMeterTimeout = 4 * time.Second
	hostMeterAge     = 30 * time.Second
)

// addHostMeters makes the meters that hosts name.
func (p *parts) addHostMeters(c *config.Config, f *facility) error {
	m := &hostMeters{meters: map[string]device.Meter{}, power: map[string]sluice.Watts{}, at: map[string]time.Time{}, says: map[string]string{}}
	for _, h := range c.Hosts {
		if h.Meter == "" {
			continue
		}
		name, outlet, err := config.OutletOf(h.Meter)
		if err != nil {
			return fmt.Errorf("host %s: meter: %w", h.Name, err)
		}
		if m.meters[h.Name], err = f.meter(config.Meter{Node: h.Name, Device: name, Outlet: outlet}); err != nil {
			return fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	if len(m.meters) == 0 {
		return nil
	}
	p.hostPower = m.Power
	if limits := hostLimiters(c, f); len(limits) > 0 {
		p.addHostLimits(limits)
	}
	p.alongside = append(p.alongside, func(ctx context.Context, r *running) {
		every(ctx, hostMeterEvery, func() { m.read(ctx, time.Now, r.log) })
	})
	return nil
}

// read asks all meters, side by side: one that is silent costs its own time alone.
func (m *hostMeters) read(ctx context.Context, now func() time.Time, log *slog.Logger) {
	var wg sync.WaitGroup
	for host, x := range m.meters {
		wg.Go(func() {
			rctx, cancel := context.WithTimeout(ctx, hostMeterTimeout)
			defer cancel()
			r, err := x.Read(rctx)
			if err == nil && !r.HasPower {
				err = sluice.Errorf(sluice.Unavailable, "", "it measures no power")
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if err != nil {
				if text := err.Error(); m.says[host] != text && ctx.Err() == nil {
					m.says[host] = text
					log.Warn("the meter of a host does not tell its power", "host", host, "err", err)
				}
				return
			}
			m.power[host], m.at[host] = r.Power, now()
			delete(m.says, host)
		})
	}
	wg.Wait()
}

// Power is what a host drew when it was read last; false where that is too long ago.
func (m *hostMeters) Power(host string) (sluice.Watts, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w, ok := m.power[host]
	return w, ok && time.Since(m.at[host]) <= hostMeterAge
}
