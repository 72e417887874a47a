package device

import (
	"context"
	"time"

	"sluice"
)

// Quantity is what a sample measures.
type Quantity string

// Quantities, with the unit that a Sample of each is given in.
const (
	Power         Quantity = "power"          // W
	ApparentPower Quantity = "apparent_power" // VA
	ReactivePower Quantity = "reactive_power" // var
	Energy        Quantity = "energy"         // Wh
	Voltage       Quantity = "voltage"        // V
	Current       Quantity = "current"        // A
	Frequency     Quantity = "frequency"      // Hz
	PowerFactor   Quantity = "pf"             // no unit
	Temperature   Quantity = "temperature"    // °C
	Humidity      Quantity = "humidity"       // %
	Charge        Quantity = "charge"         // % of a battery
	Runtime       Quantity = "runtime"        // s that a battery still lasts
	Load          Quantity = "load"           // % of what the device can carry
)

// units holds the unit of each quantity, and what others are worth in it.
var units = map[Quantity]struct {
	unit   string
	factor map[string]float64
}{
	Power:         {"W", map[string]float64{"kW": 1e3, "MW": 1e6, "mW": 1e-3}},
	ApparentPower: {"VA", map[string]float64{"kVA": 1e3, "MVA": 1e6}},
	ReactivePower: {"var", map[string]float64{"kvar": 1e3, "Mvar": 1e6}},
	Energy:        {"Wh", map[string]float64{"kWh": 1e3, "MWh": 1e6, "J": 1.0 / 3600}},
	Voltage:       {"V", map[string]float64{"kV": 1e3, "mV": 1e-3}},
	Current:       {"A", map[string]float64{"kA": 1e3, "mA": 1e-3}},
	Frequency:     {"Hz", map[string]float64{"mHz": 1e-3}},
	PowerFactor:   {"", map[string]float64{"%": 1e-2}},
	Temperature:   {"°C", map[string]float64{"C": 1}},
	Humidity:      {"%", nil},
	Charge:        {"%", nil},
	Runtime:       {"s", map[string]float64{"min": 60}},
	Load:          {"%", nil},
}

// Unit returns the unit in which samples of the quantity are given; ok is false
// where it is no quantity.
func (q Quantity) Unit() (unit string, ok bool) {
	u, ok := units[q]
	return u.unit, ok
}

// Factor returns what one of the unit is worth in the quantity's own; an empty
// unit is the quantity's own.
func (q Quantity) Factor(unit string) (float64, bool) {
	u, ok := units[q]
	if !ok {
		return 0, false
	}
	if unit == "" || unit == u.unit {
		return 1, true
	}
	f, ok := u.factor[unit]
	return f, ok
}

// Sample is one value that a sensor tells.
type Sample struct {
	Name     string        // within the sensor: power, voltage-l1
	Quantity Quantity      // which tells the unit
	Value    float64       // in Quantity.Unit
	Age      time.Duration // since it was measured; 0: just now
}

// Trouble is something that a sensor's device says is wrong with it, or with
// what it watches.
type Trouble struct {
	Name     string // of the alarm: ups-on-battery
	Severity sluice.Severity
	Text     string
	Hint     string
}

// Sense is all that a sensor tells at once.
type Sense struct {
	Samples  []Sample
	Troubles []Trouble // what is wrong now; what is missing here is no longer wrong
}

// Sensor tells values that nothing is controlled by: voltages, temperatures, the
// state of a UPS. A value that the device does not give is absent.
type Sensor interface {
	Sense(ctx context.Context) (Sense, error)
}
