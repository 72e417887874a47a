// Package device owns the contract between the site and the things that draw or
// measure power: miners and meters. A folder below it holds a driver for each
// protocol; package devicetest holds the suite that every driver passes.
//
// A driver is bound to one address, keeps no goroutine of its own, obeys the
// deadline of its context, reads bounded replies, and is safe for use by
// several goroutines (it serialises what the device cannot take at once).
package device

import (
	"context"
	"encoding/json"

	"sluice"
)

// Address says where a device answers. Ports of 0 mean the protocol's own.
// Secrets are never printed: String leaves them out.
type Address struct {
	Host     string // name or IP
	APIPort  int    // the cgminer-like TCP API, Modbus, …
	WebPort  int    // HTTP, where the firmware has one
	User     string
	Password string
}

// String returns host:port without the credentials.
func (a Address) String() string { return a.hostPort() }

// Prior is all that is needed to put a machine back as it was before Sluice
// touched it (mode, profile, configuration), in the driver's own form. It is
// stored before the first change and may come from an earlier process.
type Prior json.RawMessage

// Miner drives one mining machine.
type Miner interface {
	// Read asks the machine for its state. A machine that stands still on
	// order reads as sluice.ModeSleep; otherwise Mode is the profile's name
	// where the firmware has profiles, else sluice.ModeMine.
	Read(ctx context.Context) (sluice.Reading, error)
	// Prior reads what Set will need to restore the machine.
	Prior(ctx context.Context) (Prior, error)
	// Set asks for a mode: sluice.ModeSleep; sluice.ModeMine, which restores
	// the prior state; or the name of a profile. It is idempotent. It returns
	// Accepted when the machine said yes, Refused with a *RefusedError when it
	// said no, Unknown with the error when there was no usable answer: the
	// machine may then have obeyed or not. Nothing is confirmed by Set.
	Set(ctx context.Context, mode string, prior Prior) (sluice.Outcome, error)
}

// Profiler is a Miner whose firmware offers operating points between sleep and
// full power.
type Profiler interface {
	Profiles(ctx context.Context) ([]sluice.Mode, error)
}

// Hurrier is a Miner that may go to sleep sooner than its owner has it set to.
type Hurrier interface {
	// Hurry is Set to sleep by the fastest way there is. A setting that it changes for
	// that is part of the prior, and the next Set to anything else puts it back; where
	// the prior does not have it, none is changed.
	Hurry(ctx context.Context, prior Prior) (sluice.Outcome, error)
}

// Finisher is a Miner that has something left to do after a Set for which neither the
// act nor its proof need wait, such as closing a session. Whoever calls Set calls
// Finish afterwards, whatever came of it; what is not finished the device ends itself.
// It does nothing where nothing is left, and is bounded in itself.
type Finisher interface {
	Finish(ctx context.Context)
}

// Meter measures the power that flows into a node.
type Meter interface {
	// Read returns a Reading with HasPower and PowerSource SourceMeter.
	Read(ctx context.Context) (sluice.Reading, error)
}

// RefusedError is a machine's own "no".
type RefusedError struct{ Why string }

func (e *RefusedError) Error() string { return "the machine refused: " + e.Why }
