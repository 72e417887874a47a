package sluice

import "time"

// Division is one of the two businesses of a site; their books are kept apart.
type Division string

// The divisions.
const (
	Mining Division = "mining"
	AI     Division = "ai"
)

// MachineKind says what a machine is.
type MachineKind string

// Kinds of machines.
const (
	Miner MachineKind = "miner"
	Host  MachineKind = "host" // a compute host
)

// Reserved modes. Every other mode is a profile of the class's model.
const (
	ModeSleep = "sleep" // stands still, control board on
	ModeMine  = "mine"  // the machine's own profile
	ModeIdle  = "idle"  // a GPU or CPU without a job
	ModeJob   = "job"   // a GPU or CPU that a job holds
)

// Source says where a figure of power comes from.
type Source string

// Sources of power readings, from the most to the least trusted.
const (
	SourceMeter     Source = "meter"
	SourcePDU       Source = "pdu"
	SourceDevice    Source = "device"    // the machine's own estimate or PSU
	SourceNameplate Source = "nameplate" // computed from the model, not measured
)

// Outcome is how far an act is proven.
type Outcome string

// Outcomes of an act on a machine, in the order of proof.
const (
	Unknown           Outcome = "unknown"             // no answer: it may or may not have happened
	Refused           Outcome = "refused"             // the machine said no
	Accepted          Outcome = "accepted"            // the machine said yes; nothing is proven
	ConfirmedByDevice Outcome = "confirmed by device" // the machine reports the new mode and its power moved
	ConfirmedByMeter  Outcome = "confirmed by meter"  // and a meter above it agrees
)

// Reading is what was measured of one machine. What is not known is absent
// (the Has… field is false), never zero.
type Reading struct {
	At          time.Time // site time
	Mode        string    // ModeSleep, ModeMine, or the profile's name where the device has profiles
	Power       Watts     // at the machine's plug
	HasPower    bool
	PowerSource Source
	HashRate    HashRate
	HasHashRate bool
	TempC       float64 // the hottest chip
	HasTemp     bool
	Uptime      time.Duration
	Model       string // as the device says
	Firmware    string
	Errors      []string
}

// Mode is an operating point of a unit of a class.
type Mode struct {
	Name     string
	Power    Watts // at the machine's plug, of one unit
	HashRate HashRate
}

// Severity of an alarm.
type Severity string

// Severities.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)
