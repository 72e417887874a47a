package device

import (
	"context"

	"sluice"
)

// Outlet is what a machine is plugged into and can be cut off with: a PDU's
// outlet, or a host's own power switch. It is the last resort where a machine
// does not obey.
type Outlet interface {
	// Switch turns it on or off. It is idempotent. Accepted means that the PDU
	// said yes, or that the outlet stood so already; Refused comes with a
	// *RefusedError; Unknown with the error where there was no usable answer: the
	// outlet may then have been switched or not. State says what became of it.
	Switch(ctx context.Context, on bool) (sluice.Outcome, error)
	// State tells whether the outlet is on. known is false where the device
	// answers but does not say, or is between the two.
	State(ctx context.Context) (on, known bool, err error)
	// Read returns what is drawn through it, with SourcePDU; HasPower is false
	// where the outlet is not measured.
	Read(ctx context.Context) (sluice.Reading, error)
}

// PowerLimiter is a device that keeps its own power below a limit.
type PowerLimiter interface {
	// PowerLimit returns the limit in force; set is false where there is none.
	PowerLimit(ctx context.Context) (limit sluice.Watts, set bool, err error)
	// SetPowerLimit sets the limit, or lifts it with 0. The outcomes are those
	// of Outlet.Switch.
	SetPowerLimit(ctx context.Context, limit sluice.Watts) (sluice.Outcome, error)
}
