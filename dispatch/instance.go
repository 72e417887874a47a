package dispatch

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// JobMode is the reserved mode of units that run jobs.
const JobMode = "job"

// Series is one number for all intervals or one number for each. Its zero
// value is absent, which reads as 0. A value of +Inf is JSON null: no limit.
type Series struct {
	values []float64
	all    float64
	set    bool
	bad    string // the JSON that was neither a number nor an array of them
}

// Const returns the series that is x in every interval.
func Const(x float64) Series { return Series{all: x, set: true} }

// Values returns the series of one number for each interval. It keeps v.
func Values(v []float64) Series { return Series{values: v, set: true} }

// At returns the value of interval t.
func (s Series) At(t int) float64 {
	if s.values != nil {
		return s.values[t]
	}
	return s.all
}

// Len returns how many values the series has; 0 where one number stands for
// all intervals.
func (s Series) Len() int { return len(s.values) }

// IsSet reports whether the series was given.
func (s Series) IsSet() bool { return s.set }

// UnmarshalJSON reads a number or an array of numbers and nulls. Anything else
// is kept and refused by Validate, which knows the field's name.
func (s *Series) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	*s = Series{set: true}
	if len(b) > 0 && b[0] == '[' {
		if !s.array(b) {
			s.bad = clip(string(b))
		}
		return nil
	}
	if string(b) == "null" {
		s.all = math.Inf(1)
		return nil
	}
	x, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		s.bad = clip(string(b))
	}
	s.all = x
	return nil
}

// array reads an array of numbers and nulls. It is its own reader because a
// large instance is nearly all series.
func (s *Series) array(b []byte) bool {
	s.values = make([]float64, 0, 1+bytes.Count(b, []byte(",")))
	body := bytes.TrimSpace(b[1 : len(b)-1])
	for len(body) > 0 {
		item := body
		if i := bytes.IndexByte(body, ','); i >= 0 {
			item, body = body[:i], body[i+1:]
		} else {
			body = nil
		}
		x, err := math.Inf(1), error(nil)
		if item = bytes.TrimSpace(item); string(item) != "null" {
			x, err = strconv.ParseFloat(string(item), 64)
		}
		if err != nil {
			return false
		}
		s.values = append(s.values, x)
	}
	return true
}

// MarshalJSON writes what UnmarshalJSON reads.
func (s Series) MarshalJSON() ([]byte, error) {
	if s.values == nil {
		return json.Marshal(orNull(s.all))
	}
	v := make([]*float64, len(s.values))
	for i, x := range s.values {
		v[i] = orNull(x)
	}
	return json.Marshal(v)
}

func orNull(x float64) *float64 {
	if math.IsInf(x, 1) {
		return nil
	}
	return &x
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:37] + "..."
	}
	return s
}

// Instance is a dispatch problem: a site, its state, and what is expected.
type Instance struct {
	Start         string         `json:"start,omitempty"` // RFC 3339; not used in solving
	StepMinutes   float64        `json:"step_minutes"`
	Intervals     int            `json:"intervals"`
	PriceUSDPerMW Series         `json:"price_usd_per_mwh"` // energy at the meter; may be negative
	Nodes         []Node         `json:"nodes"`
	DemandCharges []DemandCharge `json:"demand_charges,omitempty"`
	Reserves      []Reserve      `json:"reserves,omitempty"`
	Classes       []Class        `json:"classes"`
	Jobs          []Job          `json:"jobs,omitempty"`
}

// Node is a limit in the power tree. The one without a parent is the root.
type Node struct {
	Name    string  `json:"name"`
	Parent  string  `json:"parent,omitempty"`
	LimitKW *Series `json:"limit_kw,omitempty"` // nil = no limit
}

// DemandCharge costs USDPerKW for each kW by which the root's highest load in
// intervals [From, To) exceeds AlreadyKW.
type DemandCharge struct {
	USDPerKW  float64 `json:"usd_per_kw"`
	From      int     `json:"from"`
	To        int     `json:"to"`
	AlreadyKW float64 `json:"already_kw"`
}

// Reserve is load that the grid pays to be able to drop.
type Reserve struct {
	Name              string  `json:"name"`
	USDPerMWh         Series  `json:"usd_per_mw_h"`
	MaxKW             *Series `json:"max_kw,omitempty"` // nil = no limit
	CommittedKW       Series  `json:"committed_kw,omitzero"`
	ShortfallUSDPerMW float64 `json:"shortfall_usd_per_mw_h,omitempty"`
}

// Class is a group of interchangeable units on one node.
type Class struct {
	Name     string         `json:"name"`
	Node     string         `json:"node"`
	Count    int            `json:"count"`
	Modes    []Mode         `json:"modes"`
	Initial  map[string]int `json:"initial"`
	Dwell    []Dwell        `json:"dwell,omitempty"`
	Switches []Switch       `json:"switches,omitempty"`
}

// Mode is an operating point of one unit.
type Mode struct {
	Name         string   `json:"name"`
	PowerKW      float64  `json:"power_kw"`
	USDPerHour   Series   `json:"usd_per_hour"` // revenue before energy
	ShedKW       float64  `json:"shed_kw,omitempty"`
	MinIntervals int      `json:"min_intervals,omitempty"` // 0 is 1
	EarlyUSD     *float64 `json:"early_usd,omitempty"`     // nil is 1
}

// Dwell says that so many units of those that start in the mode should stay
// Left more intervals.
type Dwell struct {
	Mode  string `json:"mode"`
	Units int    `json:"units"`
	Left  int    `json:"left"`
}

// Switch is what a change of mode costs one unit: USD plus LostMinutes of the
// new mode's revenue.
type Switch struct {
	From        string  `json:"from"`
	To          string  `json:"to"`
	USD         float64 `json:"usd"`
	LostMinutes float64 `json:"lost_minutes,omitempty"`
}

// Job is AI work that holds Units units of a class at once.
type Job struct {
	Name                   string  `json:"name"`
	Class                  string  `json:"class"`
	Units                  int     `json:"units"`
	Intervals              int     `json:"intervals"` // running time still needed
	USDPerUnitHour         float64 `json:"usd_per_unit_hour"`
	PowerKW                float64 `json:"power_kw"` // per unit
	ShedKW                 float64 `json:"shed_kw,omitempty"`
	Earliest               int     `json:"earliest"`
	Deadline               *int    `json:"deadline,omitempty"` // done before this interval starts; nil = none
	LateUSDPerInterval     float64 `json:"late_usd_per_interval,omitempty"`
	PreemptUSD             float64 `json:"preempt_usd,omitempty"`
	RestartIntervals       int     `json:"restart_intervals,omitempty"`
	Started                bool    `json:"started,omitempty"`
	Running                bool    `json:"running,omitempty"`
	RestartLeft            int     `json:"restart_left,omitempty"`
	MustRun                bool    `json:"must_run,omitempty"`
	UnservedUSDPerInterval float64 `json:"unserved_usd_per_interval,omitempty"`
}

func (m *Mode) early() float64 {
	if m.EarlyUSD == nil {
		return 1
	}
	return *m.EarlyUSD
}

func (m *Mode) minIntervals() int { return max(1, m.MinIntervals) }
