package site

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/device"
	"sluice/dispatch"
	"sluice/feed"
)

// NodeSpec is one limit of the power tree; the first without a parent is the root.
type NodeSpec struct {
	Name, Parent string
	Limit        sluice.Watts // 0: none
	Meter        device.Meter // nil: not metered
}

// ClassSpec is a group of interchangeable miners.
type ClassSpec struct {
	Name, Node, Model string
	Modes             []sluice.Mode // sleep among them; power at the plug
	MinOn, MinOff     time.Duration // least time awake and asleep
	WakeTime          time.Duration // from the command to full hashrate
	Stands            float64       // how many machines each miner stands for, where it is a bank of them; 0: one
	// OutletAfter is after how many commands to sleep that it ignored, while a limit
	// needs it, a machine's outlet is switched off; 0: never.
	OutletAfter int
}

// MinerSpec is one miner.
type MinerSpec struct {
	Name, Class, Driver, Address string
	Virtual                      bool
	Device                       device.Miner
	Outlet                       device.Outlet // what it is plugged into; nil: nothing that can be switched
}

// HostClass is a group of compute hosts with interchangeable units.
type HostClass struct {
	Name, Node  string
	Model       string
	Hosts       []compute.Host
	RateUSD     float64 // per unit and hour, for display
	SpotRateUSD float64
}

// Options describe a site. Feeds, Compute and Store are required.
type Options struct {
	Name    string
	Demo    bool
	Mode    string                  // observe or control
	Control func(class string) bool // whether Sluice may act on the class

	Step, Horizon time.Duration // of planning and settlement; of a plan
	Guard         float64       // share kept free under every limit
	Ramp          sluice.Watts  // most load woken in a minute of site time
	Overhead      float64       // meter kW per machine kW
	PoolFee       float64       // share
	MaxReadingAge time.Duration // site time; older readings count as silent

	Nodes   []NodeSpec
	Classes []ClassSpec
	Miners  []MinerSpec
	Hosts   []HostClass
	// Sensors tell what nothing is controlled by.
	Sensors []SensorSpec
	// Balance says when a residual of the balance is worth an alarm.
	Balance BalanceOptions
	// Reserves are what may be sold of the load that can be dropped.
	Reserves []ReserveSpec

	Feeds   *feed.Book
	Compute *compute.Service
	Store   Store

	// Wall converts site time to wall time: the deadlines of device calls are
	// given in site time, as virtual devices answer in it.
	Wall  func(site time.Duration) time.Duration
	Now   func() time.Time // site time of what ends between turns; nil: the turn's own
	Speed float64
	// FanOut is how many devices are talked to at once, default 128, not counting those
	// that take their time: more only makes a computer of few cores slower.
	FanOut int
	// Sync makes Step wait for the device calls that it starts: for backtests
	// and tests, where nothing else moves the time.
	Sync bool
	// Bare leaves out what only people look at (status, samples, digests of what a
	// decision was made from): for backtests.
	Bare bool
	// Solve makes the plans; nil: dispatch.Solve. A backtest puts other policies
	// in its place, over the same picture.
	Solve func(*dispatch.Instance) (*dispatch.Plan, error)
	// Expect is what the energy of each of n intervals from now on is expected to
	// cost, USD/MWh; fewer values leave the rest to the site's own rule. Nil: that
	// rule alone. It is called once for each plan, with s.mu held.
	Expect func(now time.Time, n int) []float64
	// Forecast is what people see of Expect; nil: nothing. It is called in each
	// turn, with s.mu held.
	Forecast func(now time.Time) Forecast
	Webhook  string
	Log      *slog.Logger
}

// Site is the controller of one grid connection. Step turns its loop; all other
// methods may be called at any time from any goroutine.
type Site struct {
	o   Options
	log *slog.Logger

	stepMu sync.Mutex // one turn at a time

	mu       sync.Mutex // guards all below
	now      time.Time  // of the newest turn
	began    time.Time
	nodes    []*node
	nodeBy   map[string]*node
	classes  []*class
	classBy  map[string]*class
	miners   []*miner
	minerBy  map[string]*miner
	hosts    []*hostClass
	hostNode map[string]*node
	sensors  []*sensor
	pins     map[string]Pin

	orders      []*curtailment
	seenOrders  map[string]bool // IDs of feeds' orders, so that one that was cancelled stays so
	jobsChanged atomic.Bool
	limitGen    int // counts changes of limits, so that a plan made under others is dropped

	raises       []*raise     // wakes and higher profiles that wait for headroom
	starts       []*start     // job starts that wait for headroom
	started      []*started   // starts that the meter may not show yet
	rampLeft     sluice.Watts // load that may still be woken in this minute
	rampAt       time.Time
	inflight     int
	wave         wave
	replan       string    // why the next turn must plan; empty: not
	plannedFor   time.Time // start of the interval of the newest plan
	plannedAt    time.Time
	solveWall    time.Duration // that the newest plan took
	planInfo     *PlanInfo
	lastDecision int64

	openDecisions map[int64]*Decision // whose outcomes still change
	dirtyDecision map[int64]bool
	alarms        alarmBook
	acc           Progress // energy and work of the interval that runs
	lastSample    time.Time
	newSamples    []Sample
	settled       []Settled // of the last two days, watched for restated prices
	today         today
	lastPersist   time.Time
	unsaved       map[string]MachineRow // intents that could not be stored yet
	learned       responses             // how soon power moves
	unlearned     map[*miner]bool       // machines whose response times are to be kept
	curves        map[*class][]*curve   // by mode, as in class.modes
	previews      map[string]*shown     // by token: what people were shown
	costRate      float64               // USD/h forgone to the orders in force

	status    atomic.Pointer[Status]
	events    broadcaster
	paused    map[string]*pause                 // by job: stopped for an order
	early     map[string]bool                   // jobs that were started between two plans
	pending   atomic.Pointer[map[string]string] // by job: why the newest plan lets it wait
	worth     map[string]float64                // of power by node, USD/MWh, by the newest plan
	overSince map[*node]time.Time               // since when the load is over the limit
	cuts      map[string]bool                   // by run: cut before its notice was over
	stops     []stop                            // jobs that the decision being made pauses
	toLaunch  []*miner                          // commands issued in this turn
	ops       sync.WaitGroup
	lines     lines
	kick      chan struct{}
	polled    chan struct{} // closed after the first sweep of RunPolls
	pollNext  int
}

// New makes a site from its description and from what the store knows of an
// earlier life: prior modes, pins, orders, the interval that was running.
func New(ctx context.Context, o Options, now time.Time) (*Site, error) {
	fill(&o)
	s := &Site{
		o: o, log: o.Log, now: now, began: now,
		nodeBy: map[string]*node{}, classBy: map[string]*class{}, minerBy: map[string]*miner{},
		hostNode: map[string]*node{}, pins: map[string]Pin{},
		openDecisions: map[int64]*Decision{}, dirtyDecision: map[int64]bool{},
		unsaved: map[string]MachineRow{}, paused: map[string]*pause{}, overSince: map[*node]time.Time{}, seenOrders: map[string]bool{},
		lines: newLines(o.FanOut, len(o.Miners)), kick: make(chan struct{}, 1), polled: make(chan struct{}),
		replan: "interval",
	}
	s.alarms.init()
	s.learned.init()
	s.unlearned = map[*miner]bool{}
	if err := s.build(); err != nil {
		return nil, err
	}
	if err := s.recover(ctx, now); err != nil {
		return nil, err
	}
	if !o.Bare {
		s.publish(now)
	}
	return s, nil
}

func fill(o *Options) {
	if o.Step <= 0 {
		o.Step = 5 * time.Minute
	}
	if o.Horizon < o.Step {
		o.Horizon = 3 * time.Hour
	}
	if o.Overhead <= 0 {
		o.Overhead = 1
	}
	if o.Ramp <= 0 {
		o.Ramp = 2 * sluice.Megawatt
	}
	if o.MaxReadingAge <= 0 {
		o.MaxReadingAge = 2 * time.Minute
	}
	if o.FanOut <= 0 {
		o.FanOut = 128
	}
	if o.Wall == nil {
		o.Wall = func(d time.Duration) time.Duration { return d }
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	if o.Control == nil {
		control := o.Mode == ModeControl
		o.Control = func(string) bool { return control }
	}
	if o.Solve == nil {
		o.Solve = func(in *dispatch.Instance) (*dispatch.Plan, error) { return dispatch.Solve(in, dispatch.Options{}) }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Modes of a site.
const (
	ModeObserve = "observe" // plans and explains, touches nothing
	ModeControl = "control"
)

func (s *Site) build() error {
	for _, n := range s.o.Nodes {
		if s.nodeBy[n.Name] != nil {
			return sluice.Errorf(sluice.Invalid, "", "node %s is there twice", n.Name)
		}
		x := &node{spec: n}
		s.nodes = append(s.nodes, x)
		s.nodeBy[n.Name] = x
	}
	for _, x := range s.nodes {
		if x.spec.Parent == "" {
			continue
		}
		if x.parent = s.nodeBy[x.spec.Parent]; x.parent == nil {
			return sluice.Errorf(sluice.Invalid, "", "node %s has an unknown parent %s", x.spec.Name, x.spec.Parent)
		}
	}
	if s.root() == nil {
		return sluice.Errorf(sluice.Invalid, "give one node without a parent", "the power tree has no root")
	}
	for _, c := range s.o.Classes {
		x := &class{spec: c, node: s.nodeBy[c.Node]}
		if x.node == nil {
			return sluice.Errorf(sluice.Invalid, "", "class %s stands under an unknown node %s", c.Name, c.Node)
		}
		if err := x.order(); err != nil {
			return err
		}
		s.classes = append(s.classes, x)
		s.classBy[c.Name] = x
	}
	if err := s.buildSensors(); err != nil {
		return err
	}
	if err := s.buildReserves(); err != nil {
		return err
	}
	for _, m := range s.o.Miners {
		c := s.classBy[m.Class]
		if c == nil {
			return sluice.Errorf(sluice.Invalid, "", "machine %s is of an unknown class %s", m.Name, m.Class)
		}
		x := &miner{spec: m, class: c}
		c.miners = append(c.miners, x)
		s.miners = append(s.miners, x)
		s.minerBy[m.Name] = x
	}
	for _, h := range s.o.Hosts {
		n := s.nodeBy[h.Node]
		if n == nil {
			return sluice.Errorf(sluice.Invalid, "", "hosts %s stand under an unknown node %s", h.Name, h.Node)
		}
		x := &hostClass{spec: h, node: n}
		for _, host := range h.Hosts {
			x.units += host.Units
			x.idle += host.IdleW
			s.hostNode[host.Name] = n
			if host.UnitW > x.unitW {
				x.unitW = host.UnitW
			}
		}
		s.hosts = append(s.hosts, x)
	}
	return nil
}

func (s *Site) root() *node {
	for _, n := range s.nodes {
		if n.parent == nil {
			return n
		}
	}
	return nil
}

// life is the context of what goes on after the caller has left: a command to a
// machine must not die with the HTTP request that led to it.
func (s *Site) life(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

// Waits says whether wakes or starts of jobs wait for headroom or the ramp: a turn
// within the interval can then carry on with them.
func (s *Site) Waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.raises)+len(s.starts) > 0
}

// Kick makes Run take its next turn at once.
func (s *Site) Kick() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}
