// Package site owns the control loop of one grid connection: read, plan, apply,
// confirm, settle. The types of this file are what people see of it; they
// marshal to the API's JSON as they are, with units in their names.
package site

import (
	"time"

	"sluice"
)

// Status is the site at a glance: GET /api/v1/site.
type Status struct {
	Name                 string         `json:"name"`
	Demo                 bool           `json:"demo"`
	Speed                float64        `json:"speed"` // virtual seconds per second
	Now                  time.Time      `json:"now"`   // site time
	StartedAt            time.Time      `json:"started_at"`
	Mode                 string         `json:"mode"`          // observe or control
	LimitKW              float64        `json:"limit_kw"`      // in force at the root now
	ConnectionKW         float64        `json:"connection_kw"` // without curtailment
	LoadKW               float64        `json:"load_kw"`
	LoadSource           sluice.Source  `json:"load_source"`
	MiningKW             float64        `json:"mining_kw"`
	AIKW                 float64        `json:"ai_kw"`
	OtherKW              float64        `json:"other_kw"` // meter less mining and AI
	PriceUSDPerMWh       float64        `json:"price_usd_per_mwh"`
	HashpriceUSDPerPHDay float64        `json:"hashprice_usd_per_ph_day"`
	HashratePHs          float64        `json:"hashrate_ph_s"`
	MarginUSDPerHour     float64        `json:"margin_usd_per_hour"`
	MiningMarginUSDHour  float64        `json:"mining_margin_usd_per_hour"`
	AIMarginUSDHour      float64        `json:"ai_margin_usd_per_hour"`
	GPUs                 int            `json:"gpus"`
	GPUsBusy             int            `json:"gpus_busy"`
	Machines             map[string]int `json:"machines"` // state → count, see Machine.State
	Jobs                 map[string]int `json:"jobs"`     // state → count
	Nodes                []Node         `json:"nodes"`
	Balance              []PowerBalance `json:"balance"` // of the nodes whose meters answer
	Sensors              []Sensor       `json:"sensors"`
	Feeds                []Feed         `json:"feeds"`
	Alarms               []Alarm        `json:"alarms"`         // open ones, the gravest first
	Curtailments         []Curtailment  `json:"curtailments"`   // in force or coming
	Plan                 *PlanInfo      `json:"plan,omitempty"` // the newest
	Strikes              []Strike       `json:"strikes"`        // the merit order, cheapest to stop first
	Today                Today          `json:"today"`          // settled since midnight UTC
	Reserves             []Reserve      `json:"reserves"`       // that load stands ready for
	Forecast             *Forecast      `json:"forecast,omitempty"`
}

// Forecast is what plans expect of the price of power, and what that was learned
// from.
type Forecast struct {
	Ready         bool       `json:"ready"`                  // plans use it; else the rule of the price in force and the day-ahead price
	LearnedDays   float64    `json:"learned_days"`           // of known prices that count
	LearnedFrom   *time.Time `json:"learned_from,omitempty"` // start of the first known price
	LearnedTo     *time.Time `json:"learned_to,omitempty"`   // end of the newest
	NextUSDPerMWh float64    `json:"next_usd_per_mwh"`       // expected of the site's next interval; 0 while not ready
	Note          string     `json:"note,omitempty"`         // why it is not ready
}

// Reserve is load that the grid pays to be able to drop. In observe mode it is
// planned, and nothing is ready: nobody would drop it.
type Reserve struct {
	Name       string  `json:"name"`
	PlannedKW  float64 `json:"planned_kw"` // what the newest plan keeps ready
	ReadyKW    float64 `json:"ready_kw"`   // what of it the readings show, and what is paid
	USDPerMWh  float64 `json:"usd_per_mw_h"`
	USDPerHour float64 `json:"usd_per_hour"`
}

// Today sums up the books of the day, by settled intervals.
type Today struct {
	MiningUSD  float64 `json:"mining_usd"`  // revenue of hashrate
	AIUSD      float64 `json:"ai_usd"`      // revenue
	ReserveUSD float64 `json:"reserve_usd"` // revenue of load kept ready
	EnergyUSD  float64 `json:"energy_usd"`  // cost
	MarginUSD  float64 `json:"margin_usd"`
	EnergyMWh  float64 `json:"energy_mwh"`
}

// Node is one limit of the power tree.
type Node struct {
	Name    string  `json:"name"`
	Parent  string  `json:"parent,omitempty"`
	LimitKW float64 `json:"limit_kw"`
	LoadKW  float64 `json:"load_kw"`
	Metered bool    `json:"metered"`
}

// Feed is the state of one feed.
type Feed struct {
	Name   string    `json:"name"`
	Value  float64   `json:"value"`
	Unit   string    `json:"unit"`
	AsOf   time.Time `json:"as_of"`
	Origin string    `json:"origin"`
	Stale  bool      `json:"stale"`
	Note   string    `json:"note,omitempty"`
}

// Strike is the price above which a class in a mode stops paying.
type Strike struct {
	Class           string          `json:"class"`
	Division        sluice.Division `json:"division"`
	Model           string          `json:"model"`
	Mode            string          `json:"mode"`
	Units           int             `json:"units"`   // in all
	Running         int             `json:"running"` // in that mode or above now
	KW              float64         `json:"kw"`      // that goes when they give the mode up for the one below
	StrikeUSDPerMWh float64         `json:"strike_usd_per_mwh"`
	Interruptible   bool            `json:"interruptible"`
}

// PlanInfo sums up the newest plan.
type PlanInfo struct {
	At           time.Time `json:"at"`
	Decision     int64     `json:"decision"`
	HorizonHours float64   `json:"horizon_hours"`
	ObjectiveUSD float64   `json:"objective_usd"`
	BoundUSD     float64   `json:"bound_usd"`
	Feasible     bool      `json:"feasible"`
	SolveMS      float64   `json:"solve_ms"` // wall time
	StepMS       float64   `json:"step_ms"`  // wall time of the whole step
}

// Pin is a person's hand on a machine: nothing else touches it until released.
type Pin struct {
	Machine string    `json:"machine"`
	Mode    string    `json:"mode"` // a mode, or "locked" for maintenance
	By      string    `json:"by"`
	Why     string    `json:"why"`
	At      time.Time `json:"at"`
}

// PinLocked is the Pin.Mode of a machine that is out for maintenance.
const PinLocked = "locked"

// Machine is one machine as people see it.
type Machine struct {
	Name         string             `json:"name"`
	Kind         sluice.MachineKind `json:"kind"`
	Class        string             `json:"class"`
	Node         string             `json:"node"`
	Model        string             `json:"model"`
	Driver       string             `json:"driver"`
	Address      string             `json:"address,omitempty"`
	Virtual      bool               `json:"virtual"`
	State        string             `json:"state"`             // mining, sleeping, stopping, waking, idle, busy, silent, fault, locked
	Mode         string             `json:"mode"`              // as last read
	Want         string             `json:"want"`              // setpoint
	Outcome      sluice.Outcome     `json:"outcome,omitempty"` // of the last act
	PowerKW      float64            `json:"power_kw"`
	PowerSource  sluice.Source      `json:"power_source,omitempty"`
	HashrateTHs  float64            `json:"hashrate_ths,omitempty"`
	TempC        float64            `json:"temp_c,omitempty"`
	StrikeUSDMWh float64            `json:"strike_usd_per_mwh,omitempty"`
	JobsKW       float64            `json:"jobs_kw,omitempty"`     // of a host: drawn for jobs
	LimitKW      float64            `json:"limit_kw,omitempty"`    // of a host: that its controller keeps it below for its job
	ResidualKW   *float64           `json:"residual_kw,omitempty"` // of a measured host: less its idle power and its jobs
	GPUs         int                `json:"gpus,omitempty"`
	GPUsBusy     int                `json:"gpus_busy,omitempty"`
	Pin          *Pin               `json:"pin,omitempty"`
	Asleep       bool               `json:"asleep_by_sluice"`        // Sluice put it to sleep and will wake it
	Cut          bool               `json:"cut_by_sluice,omitempty"` // Sluice has switched its outlet off and will switch it on
	Firmware     string             `json:"firmware,omitempty"`      // driver and version, as response times go by
	SeenAt       time.Time          `json:"seen_at,omitzero"`
	Error        string             `json:"error,omitempty"`
	Responses    []Response         `json:"responses,omitempty"` // how soon it obeyed lately; of a single machine only
}

// Alarm is something a person should know.
type Alarm struct {
	ID        int64           `json:"id"`
	At        time.Time       `json:"at"`
	Severity  sluice.Severity `json:"severity"`
	Name      string          `json:"name"`    // stable: feed-stale, machine-silent, command-ignored, over-limit, …
	Subject   string          `json:"subject"` // machine, node or feed
	Text      string          `json:"text"`
	Hint      string          `json:"hint,omitempty"`
	ClearedAt *time.Time      `json:"cleared_at,omitempty"`
}

// Decision is the record of one turn of the loop that decided something.
type Decision struct {
	ID           int64             `json:"id"`
	At           time.Time         `json:"at"`
	Trigger      string            `json:"trigger"` // interval, curtailment, job, price, recovery, pin
	Applied      bool              `json:"applied"` // false in observe mode
	Inputs       map[string]string `json:"inputs"`  // name → sha256 of what was read
	PriceUSDMWh  float64           `json:"price_usd_per_mwh"`
	Hashprice    float64           `json:"hashprice_usd_per_ph_day"`
	LimitKW      float64           `json:"limit_kw"`
	ObjectiveUSD float64           `json:"objective_usd"`
	BoundUSD     float64           `json:"bound_usd"`
	SolveMS      float64           `json:"solve_ms"`
	Moves        []Move            `json:"moves"`
	JobMoves     []JobMove         `json:"job_moves"`
}

// Move is a change of mode of some units of a class, with its reason in money.
type Move struct {
	Class    string         `json:"class"`
	From     string         `json:"from"`
	To       string         `json:"to"`
	Units    int            `json:"units"`
	KW       float64        `json:"kw"` // change of load, negative when shed
	Reason   string         `json:"reason"`
	Outcomes map[string]int `json:"outcomes,omitempty"` // outcome → machines so far
	P50S     float64        `json:"p50_s,omitempty"`    // site seconds from command to confirmation
	P95S     float64        `json:"p95_s,omitempty"`

	times []float64 // of each proof, for the figures above
}

// JobMove is what was decided of a job.
type JobMove struct {
	Job    string `json:"job"`
	Name   string `json:"name"`
	Action string `json:"action"` // start, preempt
	Host   string `json:"host,omitempty"`
	Units  int    `json:"units"`
	Reason string `json:"reason"`
}

// Curtailment is an order to keep a node's load under a limit for a while, and
// the record of how it was obeyed.
type Curtailment struct {
	ID            string     `json:"id"`
	Node          string     `json:"node"`
	LimitKW       float64    `json:"limit_kw"`
	OrderedAt     time.Time  `json:"ordered_at"`
	From          time.Time  `json:"from"`
	Until         time.Time  `json:"until"`
	By            string     `json:"by"`
	Why           string     `json:"why,omitempty"`
	State         string     `json:"state"` // pending, active, ended, cancelled
	LoadBeforeKW  float64    `json:"load_before_kw"`
	MetAt         *time.Time `json:"met_at,omitempty"` // load first confirmed under the limit
	MetAfterS     *float64   `json:"met_after_s,omitempty"`
	MetAfterWallS *float64   `json:"met_after_wall_s,omitempty"`
	Shed          []Shed     `json:"shed"`               // when each kW was confirmed gone
	CostUSD       float64    `json:"cost_usd"`           // margin forgone so far, by minute
	WithinS       float64    `json:"within_s,omitempty"` // by when it is due, in seconds after From; 0: not said
	Promise       *Promised  `json:"promise,omitempty"`  // what could be promised when it came, and what was kept
	EndedAt       *time.Time `json:"ended_at,omitempty"`
}

// Shed is load confirmed gone at an instant after the order.
type Shed struct {
	AfterS   float64        `json:"after_s"` // site seconds after From
	Machines int            `json:"machines"`
	KW       float64        `json:"kw"`
	Outcome  sluice.Outcome `json:"outcome"`
}

// CurtailmentOrder is what a person or a feed asks for.
type CurtailmentOrder struct {
	ID      string // optional: an order with a known ID changes nothing
	Node    string // empty: the root
	Limit   sluice.Watts
	From    time.Time // zero: now
	Until   time.Time
	Within  time.Duration // by when the load must be gone, from when it begins; 0: as soon as may be
	For     time.Duration // when above 0 it stands for Until, from when the order begins
	By, Why string
}

// Preview is what a curtailment would do.
type Preview struct {
	Node     string        `json:"node"`
	LimitKW  float64       `json:"limit_kw"`
	LoadKW   float64       `json:"load_kw"`  // now
	AfterKW  float64       `json:"after_kw"` // expected
	Feasible bool          `json:"feasible"`
	Machines int           `json:"machines"`
	Jobs     int           `json:"jobs"`     // that would pause
	CostUSD  float64       `json:"cost_usd"` // margin forgone over the order
	Shed     []PreviewShed `json:"shed"`
	Note     string        `json:"note,omitempty"`
}

// PreviewShed is one line of a Preview, in the order of shedding.
type PreviewShed struct {
	Class      string   `json:"class"`
	From       string   `json:"from"`
	To         string   `json:"to"`
	Units      int      `json:"units"`
	KW         float64  `json:"kw"`
	USDPerHour float64  `json:"usd_per_hour"` // margin lost
	USDPerKWh  float64  `json:"usd_per_kwh"`  // the same for each kWh shed
	Jobs       []string `json:"jobs,omitempty"`
}

// Sample is one point of the site's history, for pictures.
type Sample struct {
	At             time.Time `json:"at"`
	LimitKW        float64   `json:"limit_kw"`
	LoadKW         float64   `json:"load_kw"`
	MiningKW       float64   `json:"mining_kw"`
	AIKW           float64   `json:"ai_kw"`
	PriceUSDPerMWh float64   `json:"price_usd_per_mwh"`
	MarginUSDHour  float64   `json:"margin_usd_per_hour"`
	GPUsBusy       int       `json:"gpus_busy"`
	HashratePHs    float64   `json:"hashrate_ph_s"`
}

// Event tells a listener what changed; it fetches or reads the rest.
type Event struct {
	Kind string `json:"kind"` // status, decision, alarm, job, curtailment
	Data any    `json:"data"`
}
