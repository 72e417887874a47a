package site_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/device"
	"sluice/feed"
	"sluice/sim"
	"sluice/sim/hosts"
	"sluice/site"
	"sluice/store"
)

var t0 = time.Date(2023, 8, 20, 21, 0, 0, 0, time.UTC)

// world is a virtual site without sockets, whose time is stepped by hand:
// miners of package sim, virtual hosts, a real database.
type world struct {
	t       testing.TB
	dir     string
	fleet   *sim.Fleet
	exec    *hosts.Executor
	jobs    *compute.Service
	db      *store.DB
	site    *site.Site
	feeds   *feed.Book
	prices  *prices
	spec    worldSpec
	mu      sync.Mutex
	now     time.Time
	most    map[string]float64 // highest load seen of each node, as a share of its limit in force
	lenient bool               // a feed may fail at the start
	less    int                // machines of the last class that are no longer Sluice's
	arrive  bool               // the demo's stream of jobs arrives
	metered map[string]float64 // factor of a meter that is off
	puts    atomic.Int64       // tries to store jobs
}

type worldSpec struct {
	miners   int // of each of the three classes
	gpuHosts int // of 8
	limit    sluice.Watts
	feederA  sluice.Watts
	mode     string
	control  func(string) bool
	meters   bool
	faults   map[int]sim.Fault
	price    func(time.Time) float64
	orders   feed.Source // of orders too
	wrap     func(int, device.Miner) device.Miner
	executor func(*hosts.Executor) compute.Executor
	books    *noBooks
	reserves []site.ReserveSpec
	sensors  []site.SensorSpec
	pays     map[string]func(time.Time) float64 // what each reserve pays, where the feed knows
	expect   func(time.Time, int) []float64

	live bool // calls to devices go on while the loop turns, as on a real site

	outletAfter int // of all classes
	outlet      func(int) device.Outlet
}

// prices is a feed that knows a function of time; a restatement adds to it.
type prices struct {
	mu       sync.Mutex
	at       func(time.Time) float64
	restated map[time.Time]float64
	pays     map[string]func(time.Time) float64
}

func (p *prices) Fetch(_ context.Context, now time.Time) (map[feed.Quantity][]feed.Point, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[feed.Quantity][]feed.Point{}
	hour := now.Truncate(time.Hour)
	for h := -24; h < 30; h++ {
		from := hour.Add(time.Duration(h) * time.Hour)
		pt := feed.Point{From: from, To: from.Add(time.Hour), Value: p.at(from), Published: from, Origin: "test"}
		if h <= 0 {
			out[feed.RealTimePrice] = append(out[feed.RealTimePrice], pt)
			if v, ok := p.restated[from]; ok {
				pt.Value, pt.Published, pt.Origin = v, now, "test, restated"
				out[feed.RealTimePrice] = append(out[feed.RealTimePrice], pt)
			}
		}
		pt.Published = from.Add(-30 * time.Hour)
		pt.Value, pt.Origin = p.at(from), "test"
		out[feed.DayAheadPrice] = append(out[feed.DayAheadPrice], pt)
	}
	for name, pays := range p.pays {
		for h := -24; h < 30; h++ {
			from := hour.Add(time.Duration(h) * time.Hour)
			out[feed.ReservePrice(name)] = append(out[feed.ReservePrice(name)], feed.Point{
				From: from, To: from.Add(time.Hour), Value: pays(from), Published: from.Add(-30 * time.Hour), Origin: "auction",
			})
		}
	}
	out[feed.Hashprice] = []feed.Point{{From: t0.Add(-240 * time.Hour), To: t0.Add(1000 * time.Hour), Value: 70, Published: t0.Add(-240 * time.Hour), Origin: "test"}}
	return out, nil
}

// orderBook is a feed of orders.
type orderBook struct {
	mu     sync.Mutex
	orders []feed.Order
}

func (o *orderBook) Fetch(context.Context, time.Time) (map[feed.Quantity][]feed.Point, error) {
	return nil, nil
}

func (o *orderBook) FetchOrders(context.Context, time.Time) ([]feed.Order, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]feed.Order{}, o.orders...), nil
}

// meter reads the true power of a node.
type meter struct {
	w    *world
	node string
}

func (m meter) Read(context.Context) (sluice.Reading, error) {
	f := 1.0
	if x, ok := m.w.metered[m.node]; ok {
		f = x
	}
	return sluice.Reading{Power: sluice.Watts(f * float64(m.w.power(m.node))), HasPower: true, PowerSource: sluice.SourceMeter}, nil
}

const overhead = 1.03

// power is the true load of a node at the meter.
func (w *world) power(node string) sluice.Watts {
	now := w.clock()
	p := w.fleet.NodePower("a", now)
	if node != "a" {
		p += w.fleet.NodePower("b", now)
		if w.jobs != nil {
			for _, u := range w.jobs.HostUse() {
				p += u.PowerW
			}
		}
	}
	return sluice.Watts(float64(p) * overhead)
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func flat(usd float64) func(time.Time) float64 { return func(time.Time) float64 { return usd } }

func newWorld(t testing.TB, spec worldSpec) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), spec: spec, now: t0, most: map[string]float64{}, metered: map[string]float64{}}
	if spec.price == nil {
		w.spec.price = flat(30)
	}
	if spec.mode == "" {
		w.spec.mode = site.ModeControl
	}
	w.prices = &prices{at: w.spec.price, restated: map[time.Time]float64{}, pays: spec.pays}
	var err error
	var minerSpecs []sim.MinerSpec
	for i, x := range w.minersOf() {
		x.Fault = spec.faults[i]
		minerSpecs = append(minerSpecs, x)
	}
	w.fleet, err = sim.NewFleet(minerSpecs, sim.FleetOptions{Now: w.clock, StatePath: w.dir + "/fleet"})
	w.must(err)
	t.Cleanup(func() { w.fleet.Close() })
	w.exec = hosts.NewStepped(w.clock)
	w.open()
	t.Cleanup(func() { w.db.Close() })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// must1 is must for a call that returns something besides.
func (w *world) must1(_ any, err error) {
	w.t.Helper()
	w.must(err)
}

var worldClasses = []struct {
	model, class, node string
	modes              []string
}{
	{"Antminer S19j Pro", "s19j", "a", []string{sluice.ModeMine}},
	{"Antminer S19K Pro", "s19k", "a", []string{"390MHz", "465MHz", "default"}},
	{"Antminer S21", "s21", "b", []string{sluice.ModeMine}},
}

func model(name string) sim.Model {
	for _, m := range sim.Models() {
		if m.Name == name {
			return m
		}
	}
	panic(name)
}

func (w *world) minersOf() []sim.MinerSpec {
	var out []sim.MinerSpec
	for _, c := range worldClasses {
		m := model(c.model)
		for i := range w.spec.miners {
			out = append(out, sim.MinerSpec{
				Name: fmt.Sprintf("%s-%03d", c.class, i), Model: m.Name, Dialect: m.Dialect, Node: c.node,
				Modes: m.Modes, Default: m.Default, Seed: uint64(len(out) + 1),
			})
		}
	}
	return out
}

// open starts Sluice over the world, as a first start or after a crash.
func (w *world) open() {
	w.t.Helper()
	ctx := context.Background()
	var err error
	w.db, err = store.Open(ctx, w.dir, store.Options{Site: "test", BusyFor: 200 * time.Millisecond})
	w.must(err)
	o := site.Options{
		Name: "test", Mode: w.spec.mode, Control: w.spec.control, Guard: 0.01, Ramp: sluice.Megawatt, Overhead: overhead,
		PoolFee: 0.02, MaxReadingAge: 10 * time.Minute, Now: w.clock, Sync: !w.spec.live,
	}
	if w.spec.live {
		o.FanOut = 64
	}
	o.Nodes = []site.NodeSpec{{Name: "site", Limit: w.spec.limit}, {Name: "a", Parent: "site", Limit: w.spec.feederA}, {Name: "b", Parent: "site"}}
	o.Sensors = w.spec.sensors
	o.Reserves, o.Expect = w.spec.reserves, w.spec.expect
	if w.spec.meters {
		o.Nodes[0].Meter, o.Nodes[1].Meter = meter{w, "site"}, meter{w, "a"}
	}
	i := 0
	for _, c := range worldClasses {
		m := model(c.model)
		cs := site.ClassSpec{Name: c.class, Node: c.node, Model: m.Name, MinOn: 10 * time.Minute, MinOff: 5 * time.Minute, WakeTime: 2 * time.Minute, OutletAfter: w.spec.outletAfter}
		for _, mode := range m.Modes {
			for _, want := range append([]string{sluice.ModeSleep}, c.modes...) {
				if mode.Name == want {
					cs.Modes = append(cs.Modes, mode)
				}
			}
		}
		o.Classes = append(o.Classes, cs)
		for range w.spec.miners {
			d := w.fleet.Direct(i)
			if w.spec.wrap != nil {
				d = w.spec.wrap(i, d)
			}
			x := site.MinerSpec{Name: w.fleet.Spec(i).Name, Class: c.class, Driver: m.Dialect, Virtual: true, Device: d}
			if w.spec.outlet != nil {
				x.Outlet = w.spec.outlet(i)
			}
			o.Miners = append(o.Miners, x)
			i++
		}
	}
	var hs []compute.Host
	for h := range w.spec.gpuHosts {
		hs = append(hs, compute.Host{
			Name: fmt.Sprintf("gpu-%02d", h), Class: "gpu", Executor: "virtual", Units: 8, CPUs: 64, MemoryGB: 512,
			GPUModel: "H100", IdleW: 2000, UnitW: 1000,
		})
	}
	if len(hs) > 0 {
		o.Hosts = []site.HostClass{{Name: "gpu", Node: "b", Model: "H100", Hosts: hs}}
	}
	o.Miners = o.Miners[:len(o.Miners)-w.less]
	var exec compute.Executor = w.exec
	if w.spec.executor != nil {
		exec = w.spec.executor(w.exec)
	}
	w.jobs = compute.New(compute.Config{
		Hosts: hs, Executors: map[string]compute.Executor{"virtual": exec}, Store: counted{w.db.Jobs(), &w.puts}, Dir: w.dir, Now: w.clock,
		OnChange: func(j compute.Job) {
			if w.site != nil {
				w.site.JobChanged(j)
			}
		},
	})
	w.must(w.jobs.Recover(ctx, w.now))
	specs := []feed.Spec{{Name: "prices", Source: w.prices, MaxAge: 2 * time.Hour}}
	if w.spec.orders != nil {
		specs = append(specs, feed.Spec{Name: "orders", Source: w.spec.orders, Refresh: time.Second})
	}
	w.feeds = feed.NewBook(specs)
	if err := w.feeds.Refresh(ctx, w.now); !w.lenient {
		w.must(err)
	}
	o.Feeds, o.Compute, o.Store = w.feeds, w.jobs, w.db.Site()
	if w.spec.books != nil {
		w.spec.books.Store = o.Store
		o.Store = w.spec.books
	}
	w.site, err = site.New(ctx, o, w.now)
	w.must(err)
}

// crash ends Sluice without a goodbye, and starts it again.
func (w *world) crash() {
	w.t.Helper()
	w.jobs.Close()
	w.must(w.db.Close())
	w.site = nil
	w.open()
}

// run steps the world for d, and notes the highest true load against the limit
// in force at every step.
func (w *world) run(d, step time.Duration) {
	w.t.Helper()
	for end := w.clock().Add(d); w.clock().Before(end); {
		w.mu.Lock()
		w.now = w.now.Add(step)
		now := w.now
		w.mu.Unlock()
		w.exec.Advance(now)
		if w.arrive {
			w.arrivals(now.Add(-step), now)
		}
		w.step(now)
		for _, n := range w.site.Status().Nodes {
			if n.LimitKW > 0 {
				share := w.power(n.Name).KW() / n.LimitKW
				w.most[n.Name] = max(w.most[n.Name], share)
			}
		}
	}
}

// step takes one turn. One whose storing takes longer than it may, on a busy machine, is
// stored by the next.
func (w *world) step(now time.Time) {
	w.t.Helper()
	if err := w.site.Step(context.Background(), now); !errors.Is(err, context.DeadlineExceeded) {
		w.must(err)
	}
}

// submit hands a virtual job in.
func (w *world) submit(gpus int, d time.Duration, spot bool, rate float64) compute.Job {
	w.t.Helper()
	j, err := w.jobs.Submit(context.Background(), w.clock(), compute.SubmitRequest{
		Tenant: "acme", Virtual: true, Class: "gpu", Units: gpus,
		RateUSDHour: rate, ExpectSeconds: d.Seconds(), Interruptible: spot,
		Task: &compute.Task{Name: "train", NumNodes: 1, Run: "x", Resources: compute.Resources{Accelerator: "H100", GPUs: gpus, UseSpot: spot}},
	})
	w.must(err)
	return j
}

func (w *world) states() map[string]int { return w.site.Status().Machines }
