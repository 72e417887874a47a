package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"sluice/config"
	"sluice/device"
	"sluice/device/limit"
)

// How often the limits of hosts are looked after, and how long the end of the site
// waits for controllers to take back what was there before.
const (
	hostLimitEvery = 5 * time.Second
	hostLimitEnd   = 10 * time.Second
)

// hostLimiters finds the hosts whose own controller can limit their power: those whose
// meter it is. One that measures more than a host limits more than a host.
func hostLimiters(c *config.Config, f *facility) map[string]device.PowerLimiter {
	users := map[string]int{}
	for _, h := range c.Hosts {
		users[h.Meter]++
	}
	for _, m := range c.Meters {
		users[m.Device]++
	}
	out := map[string]device.PowerLimiter{}
	for _, h := range c.Hosts {
		if x := f.limits[h.Meter]; x != nil && users[h.Meter] == 1 {
			out[h.Name] = x
		}
	}
	return out
}

// addHostLimits makes what limits hosts, with what an earlier process has left.
func (p *parts) addHostLimits(hosts map[string]device.PowerLimiter) {
	var k *limit.Keeper
	p.prepare = append(p.prepare, func(dir string, log *slog.Logger) error {
		k = limit.Open(limit.Options{Dir: filepath.Join(dir, "limits"), Hosts: hosts, Power: p.hostPower, Now: time.Now, Log: log})
		p.hostLimits = k
		return nil
	})
	p.alongside = append(p.alongside, func(ctx context.Context, r *running) {
		keep := func(ctx context.Context) {
			k.Keep(ctx, r.jobs.HostLimit, func(host, _ string) {
				if err := r.jobs.HostLimitIgnored(ctx, host); err != nil {
					r.log.Error("the job on a host that does not obey its limit could not be stored", "host", host, "err", err)
				}
			})
		}
		keep(ctx)
		every(ctx, hostLimitEvery, func() { keep(ctx) })
		// The jobs of this machine have ended by now.
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), hostLimitEnd)
		defer cancel()
		keep(end)
	})
}
