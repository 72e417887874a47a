package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/process"
	"sluice/device"
	"sluice/device/antminer"
	"sluice/device/luxos"
	"sluice/device/modbus"
	"sluice/feed"
	"sluice/sim"
	"sluice/sim/hosts"
	"sluice/sim/replay"
	"sluice/site"
	"sluice/store"
)

// The demo site: a 14 MW connection that binds, with two feeders.
const (
	demoName     = "demo"
	demoHosts    = 240
	demoGPUs     = 8
	demoOverhead = 1.04 // cooling and losses
	metaDemoFrom = "demo.from"
	thisMachine  = "this-machine"
	gpuClass     = "gpu-h100"
	cpuClass     = "cpu-local"

	hostIdleW sluice.Watts = 2000 // of a virtual host of 8 H100: about 10 kW in all
	hostGPUW  sluice.Watts = 1000 // more for each GPU in use
)

// demoStart is two hours before a scarcity price: calm, then a small spike that
// stops the weakest miners, a large one that stops all, then calm again.
var demoStart = time.Date(2023, 8, 20, 21, 45, 0, 0, time.UTC)

// demoMiners is the virtual fleet: 4,000 machines of five models, 13 MW at the
// meter.
var demoMiners = []struct {
	model, node, class string
	count              int
	modes              []string // that the plan uses, besides sleep
}{
	{"Antminer S19j Pro", "feeder-a", "s19j-pro-a", 500, nil},
	{"Antminer S19j Pro", "feeder-b", "s19j-pro-b", 300, nil},
	{"Antminer S19 XP", "feeder-a", "s19-xp-a", 450, []string{"337MHz", "407MHz", "482MHz"}},
	{"Antminer S19 XP", "feeder-b", "s19-xp-b", 350, []string{"337MHz", "407MHz", "482MHz"}},
	{"Antminer S19K Pro", "feeder-a", "s19k-pro-a", 650, []string{"390MHz", "465MHz", "default"}},
	{"Antminer S19K Pro", "feeder-b", "s19k-pro-b", 550, []string{"390MHz", "465MHz", "default"}},
	{"Antminer S21", "feeder-a", "s21-a", 500, nil},
	{"Antminer S21", "feeder-b", "s21-b", 400, nil},
	{"Antminer S21 Pro", "feeder-b", "s21-pro-b", 300, []string{"2800W", "3160W", "3520W"}},
}

// demoParts makes the virtual site. Its clock goes on where the folder's last
// life ended.
func demoParts(ctx context.Context, f upFlags, db *store.DB) (*parts, error) {
	start, origin, err := demoTimes(ctx, f, db)
	if err != nil {
		return nil, err
	}
	p := &parts{clock: sluice.NewClock(start, f.speed), tick: 250 * time.Millisecond, hostReadings: newHostReadings()}
	p.poll = max(4*time.Second, p.clock.Wall(10*time.Second))
	p.telemetry = demoTelemetry()
	v := &virtual{p: p, db: db, origin: origin, instant: f.instant}
	if err := v.build(); err != nil {
		v.close()
		return nil, err
	}
	p.close = v.close
	p.attach = v.attach
	p.background = v.arrivals
	from, to := replay.Range()
	p.banner = fmt.Sprintf(`
  Sluice %s · DEMO: a virtual site on this machine, no real miner is touched
  14 MW connection · %d miners · %d GPU hosts · and this machine as a real host
  ERCOT West, %s to %s · site time %s, %g× as fast as the clock
  data in %s · Ctrl-C ends it
`, version, len(p.options.Miners), demoHosts, from.Format("2 January"), to.Format("2 January 2006"),
		start.Format("2006-01-02 15:04 UTC"), f.speed, db.Dir())
	return p, nil
}

// demoTimes says where in history the demo goes on, and where it began.
func demoTimes(ctx context.Context, f upFlags, db *store.DB) (start, origin time.Time, err error) {
	from, to := replay.Range()
	start = demoStart
	if f.start != "" {
		if start, err = time.Parse(time.RFC3339, f.start); err != nil {
			return start, start, sluice.Errorf(sluice.Invalid, "write it as 2023-08-20T21:45:00Z", "--start %q is not a time", f.start)
		}
		if start = start.UTC(); start.Before(from) || !start.Before(to) {
			return start, start, sluice.Errorf(sluice.Invalid, fmt.Sprintf("give a time from %s to %s", from.Format(time.RFC3339), to.Format(time.RFC3339)), "--start %s is outside the demo's history", f.start)
		}
	}
	begun, known, err := db.Meta(ctx, metaDemoFrom)
	if err != nil {
		return start, start, err
	}
	if !known {
		err = db.Write(ctx, func(tx *storeTx) error { return store.SetMeta(tx, metaDemoFrom, start.Format(time.RFC3339)) })
		return start, start, err
	}
	if origin, err = time.Parse(time.RFC3339, begun); err != nil {
		return start, origin, sluice.Errorf(sluice.Internal, "delete the demo's folder "+db.Dir(), "the demo's start %q is damaged", begun)
	}
	saved, err := db.Site().LoadSite(ctx)
	if err != nil {
		return start, origin, err
	}
	if saved.Now.IsZero() {
		saved.Now = origin
	}
	if f.start != "" && !start.Equal(origin) {
		return start, origin, sluice.Errorf(sluice.Conflict, "leave --start out to go on, or give another folder with --data",
			"the demo in %s began at %s and has come to %s", db.Dir(), begun, saved.Now.Format(time.RFC3339))
	}
	return saved.Now, origin, nil
}

// virtual is the far side of the demo's wires.
type virtual struct {
	p       *parts
	db      *store.DB
	origin  time.Time
	instant bool
	fleet   *sim.Fleet
	meters  *sim.MeterServer
	jobs    atomic.Pointer[compute.Service]
}

func (v *virtual) close() {
	if v.meters != nil {
		_ = v.meters.Close()
	}
	if v.fleet != nil {
		_ = v.fleet.Close()
	}
}

func (v *virtual) build() error {
	p := v.p
	p.options = site.Options{
		Name: demoName, Demo: true, Mode: site.ModeControl, Guard: 0.01, Ramp: 2 * sluice.Megawatt,
		Overhead: demoOverhead, PoolFee: 0.02, Step: 5 * time.Minute, Horizon: 3 * time.Hour,
		// Site time runs faster than machines can be polled.
		MaxReadingAge: max(2*time.Minute, p.clock.Site(20*time.Second)),
	}
	specs, err := v.classes()
	if err != nil {
		return err
	}
	v.fleet, err = sim.StartFleet(specs, sim.FleetOptions{Clock: p.clock, Instant: v.instant, StatePath: filepath.Join(v.db.Dir(), "virtual-miners")})
	if err != nil {
		return err
	}
	for i := range p.options.Miners {
		m := &p.options.Miners[i]
		a := v.fleet.Address(i)
		if m.Address = a.String(); m.Driver == sim.LuxOS {
			m.Device = luxos.New(a)
		} else {
			m.Device = antminer.New(a)
		}
	}
	// Unit 1 is the site's meter, 2 and 3 are the feeders'.
	v.meters, err = sim.StartMeters("127.0.0.1:0", []func() float64{
		func() float64 { return v.power("feeder-a") + v.power("feeder-b") },
		func() float64 { return v.power("feeder-a") },
		func() float64 { return v.power("feeder-b") },
	})
	if err != nil {
		return err
	}
	at, err := splitAddress(v.meters.Address())
	if err != nil {
		return err
	}
	meter := func(unit uint8) device.Meter { return modbus.New(at, unit, modbusPower) }
	p.options.Nodes = []site.NodeSpec{
		{Name: "site", Limit: 14 * sluice.Megawatt, Meter: meter(1)},
		{Name: "feeder-a", Parent: "site", Limit: 7500 * sluice.Kilowatt, Meter: meter(2)},
		{Name: "feeder-b", Parent: "site", Limit: 8 * sluice.Megawatt, Meter: meter(3)},
	}
	if err := v.hosts(); err != nil {
		return err
	}
	p.options.Feeds = feed.NewBook([]feed.Spec{{Name: "ercot-west", Source: replay.Source(), Refresh: time.Minute, MaxAge: 2 * time.Hour}})
	return nil
}

// classes makes the classes and miners of the site, and what stands behind them.
func (v *virtual) classes() ([]sim.MinerSpec, error) {
	models := map[string]sim.Model{}
	for _, m := range sim.Models() {
		models[m.Name] = m
	}
	var specs []sim.MinerSpec
	for _, d := range demoMiners {
		m, ok := models[d.model]
		if !ok {
			return nil, sluice.Errorf(sluice.Internal, "", "no virtual model %s", d.model)
		}
		c := site.ClassSpec{Name: d.class, Node: d.node, Model: m.Name, MinOn: 10 * time.Minute, MinOff: 5 * time.Minute, WakeTime: time.Minute}
		if m.Dialect == sim.Antminer {
			c.WakeTime = 3 * time.Minute // hashing restarts in the background
		}
		for _, mode := range m.Modes {
			if mode.Name == sluice.ModeSleep || len(d.modes) == 0 || contains(d.modes, mode.Name) {
				c.Modes = append(c.Modes, mode)
			}
		}
		v.p.options.Classes = append(v.p.options.Classes, c)
		for i := range d.count {
			n := len(specs)
			spec := sim.MinerSpec{
				Name: fmt.Sprintf("%s-%03d", d.class, i+1), Model: m.Name, Dialect: m.Dialect, Node: d.node,
				Modes: m.Modes, Default: m.Default, Seed: uint64(n + 1), Fault: demoFault(n),
			}
			specs = append(specs, spec)
			v.p.options.Miners = append(v.p.options.Miners, site.MinerSpec{Name: spec.Name, Class: d.class, Driver: m.Dialect, Virtual: true})
		}
	}
	return specs, nil
}

// demoFault gives a few machines the faults that real ones have.
func demoFault(n int) sim.Fault {
	switch n % 997 {
	case 101:
		return sim.SlowReply
	case 202:
		return sim.Truncated
	case 303:
		return sim.Ignores
	}
	return sim.NoFault
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// hosts makes the virtual GPU hosts and this machine.
func (v *virtual) hosts() error {
	p := v.p
	real, err := process.New(process.Config{})
	if err != nil {
		return err
	}
	p.executors = map[string]compute.Executor{"virtual": hosts.New(p.clock), "process": real}
	firm, spot := replay.H100Rates()
	p.rates = map[string]rate{gpuClass: {firm, spot}, cpuClass: {0.04, 0.02}}
	gpu := site.HostClass{Name: gpuClass, Node: "feeder-b", Model: "8 × H100 (virtual)", RateUSD: firm, SpotRateUSD: spot}
	for i := range demoHosts {
		gpu.Hosts = append(gpu.Hosts, compute.Host{
			Name: fmt.Sprintf("gpu-%03d", i+1), Class: gpuClass, Executor: "virtual",
			Units: demoGPUs, CPUs: 192, MemoryGB: 2048, GPUModel: "H100", IdleW: hostIdleW, UnitW: hostGPUW,
		})
	}
	local := localHost(thisMachine, cpuClass, cpus(), 0, 60, 8)
	p.hosts = append(append([]compute.Host{}, gpu.Hosts...), local)
	p.options.Hosts = []site.HostClass{gpu, {
		Name: cpuClass, Node: "feeder-b", Model: "this machine",
		Hosts: []compute.Host{local}, RateUSD: p.rates[cpuClass].firm, SpotRateUSD: p.rates[cpuClass].spot,
	}}
	return nil
}

func (v *virtual) attach(r *running) error {
	v.jobs.Store(r.jobs)
	return nil
}

// power is what a feeder's meter sees, in watts: its miners, and the hosts on
// feeder-b, with cooling and losses.
func (v *virtual) power(node string) float64 {
	w := v.fleet.NodePower(node, v.p.clock.Now())
	if jobs := v.jobs.Load(); jobs != nil && node == "feeder-b" {
		for _, u := range jobs.HostUse() {
			w += u.PowerW
		}
	}
	return float64(w) * demoOverhead
}

// strike is the price of energy above which a unit that sells for the rate loses
// money on what it draws more when in use.
func strike(rateUSD, watts float64) float64 { return rateUSD / watts * 1e6 }

// arrivals submits the virtual clients' jobs as their time comes. Each has an
// identity of its own, so that after a restart none comes twice.
func (v *virtual) arrivals(ctx context.Context, r *running) {
	last := v.origin.Add(-time.Nanosecond)
	every(ctx, 500*time.Millisecond, func() {
		now := v.p.clock.Now()
		for _, a := range replay.Arrivals(v.origin, last, now) {
			if ctx.Err() != nil {
				return
			}
			rate := v.p.rates[gpuClass].firm
			if a.Interruptible {
				rate = v.p.rates[gpuClass].spot
			}
			_, err := r.jobs.Submit(ctx, a.At, compute.SubmitRequest{
				ID: a.ID, Tenant: a.Tenant, Virtual: true, Class: gpuClass,
				Units: a.GPUs, RateUSDHour: rate, StrikeUSDMWh: strike(rate, float64(hostGPUW)*demoOverhead), ExpectSeconds: a.Duration.Seconds(), Interruptible: a.Interruptible,
				Task: &compute.Task{Name: a.Name, NumNodes: 1, Run: "train", Resources: compute.Resources{Accelerator: "H100", GPUs: a.GPUs, UseSpot: a.Interruptible}},
			})
			if err != nil {
				if !errors.Is(err, fs.ErrClosed) {
					r.log.Warn("a virtual client's job was not taken", "job", a.ID, "err", err)
				}
				return
			}
			last = a.At
		}
		last = now
	})
}
