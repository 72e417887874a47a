package telemetry

import (
	"sort"

	"sluice/site"
)

// Names of what is recorded of machines and classes. What is said of the site as
// a whole is recorded under the names of its own /metrics.
const (
	MachinePower    = "sluice_machine_power_watts"
	MachineHashrate = "sluice_machine_hashrate_hashes_per_second"
	MachineTemp     = "sluice_machine_chip_temperature_celsius"
	MachineUptime   = "sluice_machine_uptime_seconds"
	MachineErrors   = "sluice_machine_errors"
	MachineState    = "sluice_machine_state"
	MachineMode     = "sluice_machine_mode_info"
	MachineUnits    = "sluice_machine_units"
	MachineBusy     = "sluice_machine_units_busy"
	ClassPower      = "sluice_class_power_watts"
	ClassHashrate   = "sluice_class_hashrate_hashes_per_second"
	ClassMachines   = "sluice_class_machines"
)

// Metric describes a metric to whoever queries it.
type Metric struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// catalogue describes what this package itself names.
var catalogue = map[string]Metric{
	MachinePower:    {"gauge", "Power of a machine at its plug; source says who measured it (meter, pdu, device, nameplate).", ""},
	MachineHashrate: {"gauge", "Hashing speed of a machine as it reports it.", ""},
	MachineTemp:     {"gauge", "Temperature of a machine's hottest chip.", ""},
	MachineUptime:   {"gauge", "Time since a machine has started, as it reports it.", ""},
	MachineErrors:   {"gauge", "Errors that a machine reports at present; nothing while it has reported none.", ""},
	MachineState:    {"gauge", "State of a machine: 0 silent, 1 sleeping, 2 mining, 3 stopping, 4 waking, 5 fault, 6 locked, 7 idle, 8 busy.", ""},
	MachineMode:     {"gauge", "The mode that a machine is in, as a label; always 1.", ""},
	MachineUnits:    {"gauge", "Units of a host that jobs can hold: GPUs or CPU slots.", ""},
	MachineBusy:     {"gauge", "Units of a host that jobs hold.", ""},
	ClassPower:      {"gauge", "Power of a class's machines at their plugs, of those that are not silent.", ""},
	ClassHashrate:   {"gauge", "Hashing speed of a class's machines, of those that are not silent.", ""},
	ClassMachines:   {"gauge", "Machines of a class by state.", ""},
}

// Names returns the names of what this package records of machines and classes,
// sorted.
func Names() []string {
	out := make([]string, 0, len(catalogue))
	for n := range catalogue {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

// states numbers the states of a machine; they are part of the recorded history
// and never change.
var states = map[string]float64{
	site.StateSilent: 0, site.StateSleeping: 1, site.StateMining: 2, site.StateStopping: 3, site.StateWaking: 4,
	site.StateFault: 5, site.StateLocked: 6, site.StateIdle: 7, site.StateBusy: 8,
}
