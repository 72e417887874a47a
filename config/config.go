// Package config owns sluice.yaml: its structure, defaults, errors with
// file:line:column and a suggestion, and its JSON Schema.
//
// What may stand in the file is said twice, side by side: the types of this file
// are what the program reads, the table of fields.go gives each field its
// description, default, range and choices, from which the checks and the schema
// are made.
package config

import (
	"time"

	"sluice"
)

// Config is a site as its operator describes it. One from Load or Parse is
// complete (defaults filled) and consistent (every reference resolves).
type Config struct {
	Site     Site      `yaml:"site"`
	Nodes    []Node    `yaml:"nodes"`
	Meters   []Meter   `yaml:"meters"`
	Devices  []Device  `yaml:"devices"`
	Sensors  []Sensor  `yaml:"sensors"`
	Classes  []Class   `yaml:"classes"`
	Machines []Machine `yaml:"machines"`
	Hosts    []Host    `yaml:"hosts"`
	Reserves []Reserve `yaml:"reserves"`
	Feeds    []Feed    `yaml:"feeds"`
	History  History   `yaml:"history"`
	Pivot    Pivot     `yaml:"pivot"`
	Alarms   Alarms    `yaml:"alarms"`
	Publish  Publish   `yaml:"publish"`
	Server   Server    `yaml:"server"`

	Telemetry Telemetry `yaml:"telemetry"`
	Fabric    Fabric    `yaml:"fabric"`
	Privacy   Privacy   `yaml:"privacy"`

	// Dialects is a folder with firmwares of the operator's own.
	Dialects string `yaml:"dialects"`

	// Warnings are what is allowed but probably not wanted.
	Warnings []Mistake `yaml:"-"`
	// Dir is the folder of the file; relative paths in it start there.
	Dir string `yaml:"-"`

	read *decoder `yaml:"-"` // where everything stands in the file; nil where there is none
}

// Site is what holds for the whole of it.
type Site struct {
	Name          string   `yaml:"name"`                   // required
	Region        string   `yaml:"region"`                 // ISO 3166-2, such as US-TX
	Mode          string   `yaml:"mode"`                   // observe (default) or control
	Control       []string `yaml:"control"`                // classes under control when mode is observe; all when mode is control and this is empty
	Step          Duration `yaml:"step"`                   // of planning and settlement, default 5m; divides an hour
	Horizon       Duration `yaml:"horizon"`                // of a plan, default 3h
	Guard         Percent  `yaml:"guard"`                  // kept free under every limit, default 1%
	Ramp          Power    `yaml:"ramp"`                   // most load that is woken in a minute, default 2MW
	Overhead      float64  `yaml:"overhead"`               // meter kW per machine kW, default 1.0
	PoolFee       Percent  `yaml:"pool_fee"`               // default 2%
	Currency      string   `yaml:"currency"`               // of the power prices, default USD
	USDPer        float64  `yaml:"usd_per_currency"`       // dated rate, required where currency is not USD; 1 for USD
	USDPerAt      string   `yaml:"usd_per_currency_as_of"` // the rate's date
	MaxReadingAge Duration `yaml:"max_reading_age"`        // older readings count as silent, default 2m
	ResidualShare Percent  `yaml:"residual_share"`         // of a meter that may be nobody's, default 5%
	ResidualAfter Duration `yaml:"residual_after"`         // so long before it is an alarm, default 5m
}

// Node is one limit of the power tree. Exactly one has no parent.
type Node struct {
	Name   string `yaml:"name"`
	Parent string `yaml:"parent"`
	Limit  Power  `yaml:"limit"` // 0: none
}

// Meter measures a node.
type Meter struct {
	Node     string  `yaml:"node"`
	Driver   string  `yaml:"driver"`   // modbus
	Address  string  `yaml:"address"`  // host:port
	Unit     int     `yaml:"unit"`     // Modbus unit id, default 1
	Register int     `yaml:"register"` // input register of total power, float32 big endian in watts, default 52
	Map      string  `yaml:"map"`      // instead of register: a name, or a file's path, absolute after Load
	Scale    float64 `yaml:"scale"`    // default 1
	Device   string  `yaml:"device"`   // instead of driver and address
	Outlet   int     `yaml:"outlet"`   // of a PDU; 0: all of it
	Topic    string  `yaml:"topic"`    // of a broker
	Path     string  `yaml:"path"`
	In       string  `yaml:"in"` // unit of the message
}

// Class is a group of interchangeable miners.
type Class struct {
	Name        string   `yaml:"name"`
	Node        string   `yaml:"node"`
	Model       string   `yaml:"model"`
	Count       int      `yaml:"count"`        // of miners, for backtests and plans; 0: those of machines
	Modes       []Mode   `yaml:"modes"`        // sleep is always there, the first; at least one more
	MinOn       Duration `yaml:"min_on"`       // minimum dwell once awake, default 10m
	MinOff      Duration `yaml:"min_off"`      // and once asleep, default 5m
	WakeTime    Duration `yaml:"wake_time"`    // from the command to full hashrate, default 2m; its revenue is lost at each wake
	OutletAfter int      `yaml:"outlet_after"` // ignored commands to sleep after which a machine is cut off, default 0: never
}

// Mode is an operating point of one unit, at its plug.
type Mode struct {
	Name     string  `yaml:"name"` // sleep, mine, or a profile of the firmware
	Power    Power   `yaml:"power"`
	Hashrate float64 `yaml:"hashrate_ths"`
}

// Machine is one miner, or a range of them; see Config.ExpandMachines.
type Machine struct {
	Name     string `yaml:"name"` // with a range, a prefix
	Class    string `yaml:"class"`
	Driver   string `yaml:"driver"`  // the name of a dialect; see CheckDrivers
	Address  string `yaml:"address"` // host, host:port, or a range 10.0.1.10-10.0.1.250
	APIPort  int    `yaml:"api_port"`
	WebPort  int    `yaml:"web_port"`
	Outlet   string `yaml:"outlet"` // DEVICE/NUMBER, that of a range's first machine; DEVICE
	User     string `yaml:"user"`
	Password Secret `yaml:"password"`
}

// Host is a compute host. This machine is `driver: local`, or `driver: docker` where
// it runs containers alone; another that has joined is `driver: agent`; `driver:
// virtual` is a group of GPU hosts that stands in backtests and plans only.
type Host struct {
	Name      string  `yaml:"name"`
	Node      string  `yaml:"node"`
	Driver    string  `yaml:"driver"`    // local, docker, agent, virtual
	Class     string  `yaml:"class"`     // of hosts that may take each other's place; default: the host's name
	Count     int     `yaml:"count"`     // virtual: hosts of this kind, default 1
	GPU       string  `yaml:"gpu"`       // virtual, agent: the model; its slots are GPUs then
	Slots     int     `yaml:"slots"`     // CPU slots, or GPUs of a host with a model; 0: the number of CPUs
	Memory    float64 `yaml:"memory_gb"` // for jobs; 0: what the machine has
	Disk      float64 `yaml:"disk_gb"`   // for jobs; 0: what is free at the start
	IdlePower Power   `yaml:"idle_power"`
	SlotPower Power   `yaml:"slot_power"` // more for each slot in use
	Rate      float64 `yaml:"usd_per_slot_hour"`
	SpotRate  float64 `yaml:"spot_usd_per_slot_hour"`

	// What decides where a job may go is attested here by the operator, not claimed by
	// the host.
	Region string   `yaml:"region"` // where it is
	Meter  string   `yaml:"meter"`  // what measures the whole host: DEVICE/NUMBER of a PDU's outlet, or DEVICE
	Labels []string `yaml:"labels"` // KEY=VALUE

	// Of hosts that agents run.
	Address    string   `yaml:"address"`    // where a gang's nodes reach it
	CPUs       int      `yaml:"cpus"`       // default: its slots, where these are CPUs
	Isolations []string `yaml:"isolations"` // process, container, sandbox; empty: process

	Containers Containers `yaml:"containers"` // local: besides processes, where it is given
	GPUs       string     `yaml:"gpus"`       // local: auto makes its slots the GPUs that the driver shows; none (default)
	IdleMining IdleMining `yaml:"idle_mining"`
}

// Containers is how a host runs work that is not trusted: the engine, and what
// runs get of it. docs/isolation.md says what that keeps apart.
type Containers struct {
	Socket         string   `yaml:"socket"`
	SandboxSocket  string   `yaml:"sandbox_socket"` // empty: the same
	SandboxRuntime string   `yaml:"sandbox_runtime"`
	Image          string   `yaml:"image"` // of tasks that name none
	Pull           string   `yaml:"pull"`
	Network        string   `yaml:"network"`
	Isolations     []string `yaml:"isolations"` // empty: all that the engine gives
	FirstUID       int      `yaml:"first_uid"`
	SharedMemoryGB float64  `yaml:"shared_memory_gb"`
	LogGB          float64  `yaml:"log_gb"`
	GPUKind        string   `yaml:"gpu_kind"`

	GangNetwork GangNetwork `yaml:"gang_network"` // also of hosts that agents run
}

// GangNetwork is a network of the engines that connects hosts, those that name it
// alike, and the addresses on it that are this host's to give.
type GangNetwork struct {
	Name      string `yaml:"name"`
	Addresses string `yaml:"addresses"` // CIDR; empty: none
}

// Fabric is how the agents of other machines join.
type Fabric struct {
	Listen      string   `yaml:"listen"`      // default 127.0.0.1:8421; of the embedded server
	URL         string   `yaml:"url"`         // of an existing NATS cluster instead
	CA          string   `yaml:"ca"`          // file with its authorities; absolute after Load
	Credentials string   `yaml:"credentials"` // file with a user's credentials; absolute after Load
	User        string   `yaml:"user"`
	Password    Secret   `yaml:"password"`
	Keep        Duration `yaml:"keep"` // a job on one host runs on so long without the site, default 2h
}

// IdleMining is what GPUs do that no job has. Without a driver: nothing.
type IdleMining struct {
	Driver    string   `yaml:"driver"`     // xmrig, trex, lolminer
	URL       string   `yaml:"url"`        // of the miner's API
	TokenFile string   `yaml:"token_file"` // with its token or password; absolute after Load
	Command   []string `yaml:"command"`    // starts it; empty: it runs by itself and is paused
	Algorithm string   `yaml:"algorithm"`
	Hashrate  float64  `yaml:"hashrate_mhs"` // of one GPU, until it is measured
	Power     Power    `yaml:"power"`        // of one GPU while it mines, until it is measured
	Value     float64  `yaml:"usd_per_mh_day"`
	AsOf      string   `yaml:"as_of"`       // date of Value
	Values    string   `yaml:"values_file"` // instead: algorithm → value, JSON; absolute after Load
	MaxAge    Duration `yaml:"max_age"`     // of the value, default 48h
	Fee       Percent  `yaml:"fee"`         // of pool and program, default 2%
	Margin    Percent  `yaml:"margin"`      // by which it must pay more before it begins, default 10%
	MinOn     Duration `yaml:"min_on"`      // default 10m
	MinOff    Duration `yaml:"min_off"`     // default 5m
}

// Reserve is one kind of load that the grid pays to be able to drop.
type Reserve struct {
	Name      string   `yaml:"name"`
	Max       Power    `yaml:"max"`          // the most that is offered, at the meter; 0: all that can be dropped
	USDPerMWh float64  `yaml:"usd_per_mw_h"` // where no feed knows the price
	Classes   []string `yaml:"classes"`      // of miners that may stand ready; empty: all
}

// Feed is one source of prices, network figures or orders.
type Feed struct {
	Name       string             `yaml:"name"`
	Type       string             `yaml:"type"` // csv, constant, mempool, bitcoind, ercot, energy-charts, orders, mqtt
	URL        string             `yaml:"url"`
	Path       string             `yaml:"path"`       // folder or file of csv and orders; absolute after Load
	Columns    map[string]string  `yaml:"columns"`    // csv: quantity → column
	Interval   Duration           `yaml:"interval"`   // csv: length of a row's interval; 0: inferred
	PublishAt  string             `yaml:"publish_at"` // csv: UTC hour:minute of the day before from which day-ahead prices are known, default 18:00
	Values     map[string]float64 `yaml:"values"`     // constant: quantity → value
	Zone       string             `yaml:"zone"`       // ercot settlement point, energy-charts bidding zone
	User       string             `yaml:"user"`
	Password   Secret             `yaml:"password"`
	CookieFile string             `yaml:"cookie_file"` // bitcoind's .cookie; absolute after Load
	Device     string             `yaml:"device"`      // mqtt: the broker
	Topic      string             `yaml:"topic"`
	Node       string             `yaml:"node"`     // mqtt: of orders that name none
	Hold       Duration           `yaml:"hold"`     // mqtt: of an order without an end, default 15m
	Refresh    Duration           `yaml:"refresh"`  // default 1m; 2m for ercot, 5m for mempool, 15m for energy-charts
	MaxAge     Duration           `yaml:"max_age"`  // default 15m; 30m for ercot, 24h for mempool and bitcoind
	Fallback   map[string]float64 `yaml:"fallback"` // quantity → value where there is none
}

// History says where backtests and plans find the past.
type History struct {
	Series []Recorded `yaml:"series"`
	Jobs   Trace      `yaml:"jobs"`
}

// Recorded is the recorded series of one quantity.
type Recorded struct {
	Quantity string   `yaml:"quantity"` // a feed.Quantity
	File     string   `yaml:"file"`     // .csv or .csv.gz; relative to the data folder, or to the configuration's
	Column   string   `yaml:"column"`   // empty: the only one
	Interval Duration `yaml:"interval"` // 0: inferred from the rows
}

// Trace is a recorded stream of AI jobs, and the terms on which they are taken
// to be sold.
type Trace struct {
	File          string   `yaml:"file"`
	Trace         string   `yaml:"trace"`         // where the file holds several
	Every         int      `yaml:"every"`         // keep one job of so many, default 1
	Skip          Duration `yaml:"skip"`          // of the trace's beginning is left out
	MaxGPUs       int      `yaml:"max_gpus"`      // larger jobs are left out; 0: those that no host can hold
	MinHours      float64  `yaml:"min_hours"`     // shorter ones are left out, default 0
	MaxHours      float64  `yaml:"max_hours"`     // longer ones are cut to it, default 168
	Interruptible Percent  `yaml:"interruptible"` // share sold as such where the trace does not say, default 50%
	Slack         float64  `yaml:"slack"`         // due slack × its running time after it came, default 3
	Patience      Duration `yaml:"patience"`      // a client whose job has not started by then goes elsewhere, default 24h
}

// Alarms says where alarms go besides the page and the log.
type Alarms struct {
	Webhook string `yaml:"webhook"` // URL that gets each alarm as JSON
}

// Server is the API's side.
type Server struct {
	Listen    string `yaml:"listen"`     // default 127.0.0.1:8420
	TokenFile string `yaml:"token_file"` // required where Listen is not loopback; absolute after Load
}

// Privacy is what is kept of the clients' jobs, and how.
type Privacy struct {
	Retention Duration `yaml:"retention"`  // of an ended job's data, default 720h; 0: until it is asked for
	MasterKey string   `yaml:"master_key"` // file, absolute after Load, or env:NAME; empty: in the data folder
}

// Telemetry is the history of readings.
type Telemetry struct {
	Enabled     string      `yaml:"enabled"`     // yes (default) or no
	Retention   Duration    `yaml:"retention"`   // default 720h
	MaxGB       float64     `yaml:"max_gb"`      // of its blocks on disk, default 20; 0: no bound
	MinFreeGB   float64     `yaml:"min_free_gb"` // left free on the disk, default 1
	RemoteWrite RemoteWrite `yaml:"remote_write"`
}

// On says whether readings are kept.
func (t Telemetry) On() bool { return t.Enabled != "no" }

// RemoteWrite is a receiver of Prometheus remote write.
type RemoteWrite struct {
	URL      string   `yaml:"url"` // empty: none
	Token    Secret   `yaml:"token"`
	User     string   `yaml:"user"`
	Password Secret   `yaml:"password"`
	Backlog  Duration `yaml:"backlog"` // default 2h
}

// Power is watts, written as 14MW, 3250W or 2.5 kW.
type Power sluice.Watts

// Duration is written as 5m or 3h.
type Duration time.Duration

// Percent is a share, written as 1% or 0.01.
type Percent float64

// Secret is a string that is never printed; in the file it is the text itself,
// env:NAME or file:PATH. Reveal gives it.
type Secret string
