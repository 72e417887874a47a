package site

import (
	"context"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/ledger"
)

// Store is what the site keeps. Every method is one transaction: when it
// returns nil, what it was given survives a kill at any instant.
type Store interface {
	LoadSite(ctx context.Context) (Saved, error)
	// SaveTurn keeps all that a turn has changed, together.
	SaveTurn(ctx context.Context, t Turn) error
	// Settle posts the entries of one interval, marks the work as billed and
	// begins the next interval's progress: all or nothing.
	Settle(ctx context.Context, entries []ledger.Entry, billed []compute.Use, settled Settled, next Progress) error
	Settlements(ctx context.Context, from, to time.Time) ([]Settled, error)

	Decisions(ctx context.Context, before int64, limit int) ([]Decision, error)
	Decision(ctx context.Context, id int64) (Decision, error)
	Curtailments(ctx context.Context, limit int) ([]Curtailment, error)
	Alarms(ctx context.Context, all bool, before int64, limit int) ([]Alarm, error)
	Samples(ctx context.Context, from, to time.Time, points int) ([]Sample, error)
}

// MachineRow is what is kept of a machine.
type MachineRow struct {
	Name   string    `json:"name"`
	Prior  []byte    `json:"prior,omitempty"` // the driver's own form
	Want   string    `json:"want"`
	Asleep bool      `json:"asleep"` // Sluice put it to sleep and must wake it
	Since  time.Time `json:"since"`
	Cut    bool      `json:"cut,omitempty"` // Sluice has switched its outlet off and must switch it on
}

// Lesson is what was learned of something: of one of the kinds
// below. Doc is the site's own form, as JSON.
type Lesson struct {
	Kind, Key string
	Doc       []byte
}

// Kinds of lessons.
const (
	LessonDevice   = "device"   // response times of a machine
	LessonFirmware = "firmware" // response times of a firmware
	LessonDelay    = "delay"    // what passes between an order and the commands
	LessonCurve    = "curve"    // power and hashrate of a class in a mode; Key is class/mode
)

// Turn is what one turn changed.
type Turn struct {
	Now          time.Time
	Machines     []MachineRow
	Decisions    []Decision // new and changed, by ID
	Curtailments []Curtailment
	Alarms       []Alarm
	Pins         []Pin
	Released     []string // machines whose pin is gone
	Samples      []Sample
	Lessons      []Lesson
	Progress     *Progress
}

// Empty says whether there is nothing to keep.
func (t Turn) Empty() bool {
	return len(t.Machines)+len(t.Decisions)+len(t.Curtailments)+len(t.Alarms)+len(t.Pins)+
		len(t.Released)+len(t.Samples)+len(t.Lessons) == 0 && t.Progress == nil
}

// Saved is what the store knows of the site's earlier life.
type Saved struct {
	Now          time.Time // of the last kept turn; zero on the first start
	Machines     map[string]MachineRow
	Pins         []Pin
	Curtailments []Curtailment // not ended
	OpenAlarms   []Alarm
	LastAlarm    int64
	LastDecision int64
	Lessons      []Lesson
	Progress     Progress
}

// Progress is what has been measured of the interval that runs. Energies are in
// watt-seconds, so that short turns do not lose what rounding would take.
type Progress struct {
	From      time.Time `json:"from"` // start of the interval
	At        time.Time `json:"at"`   // measured so far
	MeterWs   int64     `json:"meter_ws"`
	MiningWs  int64     `json:"mining_ws"`
	AIWs      int64     `json:"ai_ws"`
	HashTH    int64     `json:"hash_th"`   // terahashes computed
	Unmetered bool      `json:"unmetered"` // some of MeterWs is not from the meter
	Estimated bool      `json:"estimated"` // some of it was not measured at all
	Reserves  []Ready   `json:"reserves,omitempty"`
}

// Ready is what was kept ready for a reserve in the interval that runs.
type Ready struct {
	Name     string       `json:"name"`
	PlannedW sluice.Watts `json:"planned_w"` // what the newest plan keeps ready
	ReadyWs  int64        `json:"ready_ws"`  // what was, so far: W·s
}

// Settled is a settled interval as the site remembers it.
type Settled struct {
	From         time.Time          `json:"from"`
	To           time.Time          `json:"to"`
	MeterWh      sluice.WattHours   `json:"meter_wh"`
	MiningWh     sluice.WattHours   `json:"mining_wh"`
	AIWh         sluice.WattHours   `json:"ai_wh"`
	EnergyPrice  sluice.EnergyPrice `json:"energy_micro_usd_per_mwh"`
	PriceOrigin  string             `json:"price_origin"`
	Estimated    bool               `json:"estimated"`
	MiningRev    sluice.Money       `json:"mining_revenue_micro_usd"` // of hashrate, less the pool's fee
	AIRev        sluice.Money       `json:"ai_revenue_micro_usd"`
	ReserveRev   sluice.Money       `json:"reserve_revenue_micro_usd"`
	EnergyCost   sluice.Money       `json:"energy_cost_micro_usd"`
	MiningEnergy sluice.Money       `json:"mining_energy_micro_usd"`
	Interval     ledger.Interval    `json:"interval"` // as it was settled, for corrections
	Corrections  int                `json:"corrections"`
}
