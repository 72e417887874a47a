// Package whatsminer owns the two wires of MicroBT's firmware on which commands
// travel. Both are JSON with the firmware's own cryptography, which keeps a
// password off the network and little more: AES in ECB mode hides neither that two
// commands are the same nor who sends them. They belong on a network of their own.
//
// V2 (TCP 4028) is cgminer's protocol. Reads are plain; a command is encrypted
// under a key that comes from the password and a salt that the machine hands out
// with a token, which lives for half an hour.
//
// V3 (TCP 4433, firmware since 2024) sends frames with a length before them.
// A command is plain and signed: its token is a hash of the command, the
// password, the machine's salt and a time. Parameters with passwords in them are
// encrypted under that hash.
//
// What the fields of a reply mean, and which command does what, is the business of
// the dialects; here a command is sent, once, and its answer told apart: nil, a
// *device.RefusedError in the chain where the machine said no, anything else where
// nobody knows whether it obeyed.
package whatsminer

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/cgminer"
)

// MaxReply is the most that is read of one reply, in bytes.
const MaxReply = cgminer.MaxReply

// DefaultTimeout bounds a call whose context has no deadline. A change of the
// power mode may be answered late or never, because the mining program that
// should answer restarts.
const DefaultTimeout = 15 * time.Second

// factory credentials, taken where the address has none. A machine refuses
// commands until its password is another, but reads need none.
const (
	factoryPassword   = "admin" // V2
	factoryAccount    = "super" // V3, with a password of the same name
	factoryV3Password = "super"
)

// withDeadline returns a context that surely ends.
func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}

// failed says what was being done, and keeps the kind of a cause that has one.
func failed(addr, command string, err error) error {
	kind := sluice.Unavailable
	var no *device.RefusedError
	if k := sluice.KindOf(err); k != sluice.Internal {
		kind = k
	} else if errors.As(err, &no) {
		kind = sluice.Conflict
	}
	return &sluice.Error{Kind: kind, Msg: "asking " + addr + " for " + command, Cause: err}
}

// refusal is a machine's no in its own words, with what a person can do.
func refusal(why, hint string) error {
	why = strings.TrimSpace(why)
	if why == "" {
		why = "no reason given"
	}
	return &sluice.Error{Kind: sluice.Conflict, Msg: "the command was not obeyed", Hint: hint, Cause: &device.RefusedError{Why: why}}
}

func unreadable(what string, err error) error {
	return &sluice.Error{Kind: sluice.Unavailable, Msg: what, Cause: err}
}

// text returns a JSON string's content, or the JSON itself of anything else.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}
