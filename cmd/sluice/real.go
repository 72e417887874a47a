package main

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/agent"
	"sluice/compute/process"
	"sluice/config"
	"sluice/device"
	"sluice/device/dialect"
	"sluice/feed"
	"sluice/site"
)

type storeTx = sql.Tx

// modbusPower is the input register of total power of the meters that are most
// common, in watts.
const modbusPower = 52

// realParts makes the parts of the site that a configuration describes.
func realParts(c *config.Config) (*parts, error) {
	p := &parts{
		hostReadings: newHostReadings(),
		clock:        sluice.WallClock(), tick: time.Second, poll: 10 * time.Second,
		executors: map[string]compute.Executor{}, rates: map[string]rate{}, close: func() {},
	}
	p.telemetry, p.privacy = c.Telemetry, c.Privacy
	s := c.Site
	p.options = site.Options{
		Name: s.Name, Mode: s.Mode, Control: controlled(s),
		Step: time.Duration(s.Step), Horizon: time.Duration(s.Horizon), Guard: float64(s.Guard), Ramp: sluice.Watts(s.Ramp),
		Overhead: s.Overhead, PoolFee: float64(s.PoolFee), MaxReadingAge: time.Duration(s.MaxReadingAge), Webhook: c.Alarms.Webhook,
	}
	p.options.Balance = site.BalanceOptions{Share: float64(s.ResidualShare), For: time.Duration(s.ResidualAfter)}
	f, err := newFacility(c)
	if err != nil {
		return nil, err
	}
	if err := p.fill(c, f); err != nil {
		f.close()
		return nil, err
	}
	gpus := p.close
	p.close = func() { gpus(); f.close() }
	if b := f.brokers[c.Publish.Device]; b != nil {
		p.background = func(ctx context.Context, r *running) {
			announce(ctx, b, c.Publish.Prefix, c.Publish.Every.Duration(), r.site.Status, r.log)
		}
	}
	p.banner = fmt.Sprintf("\n  Sluice %s · site %s · mode %s\n  %s in %d classes · %s\n%s", version, s.Name, s.Mode,
		count(len(p.options.Miners), "miner"), len(p.options.Classes), count(len(p.hosts), "host")+" here", p.containers+observeNote(s))
	return p, nil
}

// fill makes what the devices of the facility are part of: the power tree, the
// sensors, the machines, the hosts and the feeds.
func (p *parts) fill(c *config.Config, f *facility) error {
	meters := map[string]device.Meter{}
	for _, m := range c.Meters {
		x, err := f.meter(m)
		if err != nil {
			return err
		}
		meters[m.Node] = x
	}
	var err error
	if p.options.Sensors, err = f.sensorSpecs(); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		p.options.Nodes = append(p.options.Nodes, site.NodeSpec{Name: n.Name, Parent: n.Parent, Limit: sluice.Watts(n.Limit), Meter: meters[n.Name]})
	}
	for _, k := range c.Classes {
		cs := site.ClassSpec{Name: k.Name, Node: k.Node, Model: k.Model, MinOn: time.Duration(k.MinOn), MinOff: time.Duration(k.MinOff), WakeTime: time.Duration(k.WakeTime), OutletAfter: k.OutletAfter}
		for _, m := range k.Modes {
			cs.Modes = append(cs.Modes, sluice.Mode{Name: m.Name, Power: sluice.Watts(m.Power), HashRate: sluice.HashRate(m.Hashrate)})
		}
		p.options.Classes = append(p.options.Classes, cs)
	}
	p.options.Reserves = reserveSpecs(c)
	drivers, err := dialect.Load(c.Dialects)
	if err != nil {
		return err
	}
	for _, m := range c.ExpandMachines() {
		password, err := m.Password.Reveal()
		if err != nil {
			return fmt.Errorf("machine %s: %w", m.Name, err)
		}
		a := device.Address{Host: m.Address, APIPort: m.APIPort, WebPort: m.WebPort, User: m.User, Password: password}
		miner, err := minerDriver(drivers, m.Driver, a)
		if err != nil {
			return fmt.Errorf("machine %s: %w", m.Name, err)
		}
		outlet, err := f.outlet(m.Outlet)
		if err != nil {
			return fmt.Errorf("machine %s: %w", m.Name, err)
		}
		p.options.Miners = append(p.options.Miners, site.MinerSpec{Name: m.Name, Class: m.Class, Driver: m.Driver, Address: a.String(), Device: miner, Outlet: outlet})
	}
	if err := p.addHosts(c); err != nil {
		return err
	}
	if err := p.addHostMeters(c, f); err != nil {
		return err
	}
	specs, err := feedSpecs(c, f)
	if err != nil {
		return err
	}
	p.options.Feeds = feed.NewBook(specs)
	p.recorded, p.usdPer = recordedPrices(c), c.Site.USDPer
	return nil
}

// reserveSpecs makes the reserves of a configuration.
func reserveSpecs(c *config.Config) []site.ReserveSpec {
	var out []site.ReserveSpec
	for _, r := range c.Reserves {
		out = append(out, site.ReserveSpec{Name: r.Name, Max: r.Max.Watts(), USDPerMWh: r.USDPerMWh, Classes: r.Classes})
	}
	return out
}

func observeNote(s config.Site) string {
	if s.Mode == site.ModeControl {
		return ""
	}
	if len(s.Control) > 0 {
		return fmt.Sprintf("  it acts on %v and only observes the rest\n", s.Control)
	}
	return "  it plans and explains, and touches nothing (site.mode: control lets it act)\n"
}

// controlled says which classes Sluice acts on: in control mode all, or those
// that are named; in observe mode those that are named.
func controlled(s config.Site) func(string) bool {
	return func(class string) bool {
		if len(s.Control) > 0 {
			return slices.Contains(s.Control, class)
		}
		return s.Mode == site.ModeControl
	}
}

// addHosts makes the hosts of this machine and what runs jobs on them. Virtual ones
// stand in backtests and plans.
func (p *parts) addHosts(c *config.Config) error {
	var executor process.Config
	for i, h := range c.Hosts {
		if !h.Here() {
			continue
		}
		local := localHost(h.Name, first(h.Class, h.Name), h.Slots, h.Memory, sluice.Watts(h.IdlePower), sluice.Watts(h.SlotPower))
		var gpus compute.GPUs // of its containers
		var found *hostGPUs
		if h.GPUs == "auto" {
			g, err := p.addGPUs(c, h)
			if err != nil {
				return err
			}
			if g == nil {
				continue
			}
			found = g
			executor.GPUs, gpus = runGPUs{hostGPUs: g}, runGPUs{hostGPUs: g, of: inContainers}
			g.describe(&local, sluice.Watts(h.SlotPower))
		}
		if c.HasContainers(i) {
			if err := p.addContainers(h, &local, gpus); err != nil {
				return fmt.Errorf("host %s: %w", h.Name, err)
			}
		}
		local.Region, local.Labels, local.DiskGB = h.Region, labelsOf(h), h.Disk
		p.addToClass(h, local, "this machine")
		sources := []agent.Source{}
		if found != nil {
			sources = append(sources, gpuReadings{found})
		}
		p.alongside = append(p.alongside, func(ctx context.Context, r *running) {
			p.hostReadings.measure(ctx, h.Name, append(sources, agent.NewHost(r.db.Dir())), r.log)
		})
	}
	real, err := process.New(executor)
	if err != nil {
		return err
	}
	p.executors["process"] = real
	return nil
}

// addToClass adds a real host to its class. What one host has is not what another
// has, unless the configuration says that they are of one class.
func (p *parts) addToClass(h config.Host, x compute.Host, model string) {
	p.hosts = append(p.hosts, x)
	p.rates[x.Class] = rate{h.Rate, h.SpotRate}
	for i := range p.options.Hosts {
		if c := &p.options.Hosts[i]; c.Name == x.Class {
			c.Hosts, c.Model = append(c.Hosts, x), first(h.GPU, "compute host")
			return
		}
	}
	p.options.Hosts = append(p.options.Hosts, site.HostClass{
		Name: x.Class, Node: h.Node, Model: model, Hosts: []compute.Host{x}, RateUSD: h.Rate, SpotRateUSD: h.SpotRate,
	})
}

// localHost describes this machine.
func localHost(name, class string, slots int, memoryGB float64, idle, slot sluice.Watts) compute.Host {
	if slots <= 0 {
		slots = cpus()
	}
	if memoryGB <= 0 {
		memoryGB = memoryOf("/proc/meminfo")
	}
	return compute.Host{
		Name: name, Class: class, Executor: "process", Units: slots, CPUs: slots, MemoryGB: memoryGB,
		IdleW: idle, UnitW: slot, Real: true,
	}
}

// memoryOf reads how much memory the machine has; 0 where that is not known.
func memoryOf(file string) float64 {
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	var kb float64
	if _, err := fmt.Fscanf(f, "MemTotal: %f kB", &kb); err != nil {
		return 0
	}
	return kb / 1024 / 1024
}

func splitAddress(s string) (device.Address, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return device.Address{}, sluice.Errorf(sluice.Invalid, "write host:port", "address %q: %v", s, err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return device.Address{}, sluice.Errorf(sluice.Invalid, "write host:port", "address %q: the port is no number", s)
	}
	return device.Address{Host: host, APIPort: n}, nil
}
