// Package modbus reads power meters over Modbus TCP: one input register pair
// with the total active power of all phases as a big-endian float32 in watts,
// as in Eastron's SDM630 (input register 30053, which is address 52).
package modbus

import (
	"context"
	"io"
	"log"
	"math"
	"time"

	mb "github.com/simonvetter/modbus"

	"sluice"
	"sluice/device"
)

// Defaults of the protocol and of the SDM630.
const (
	Port            = 502
	DefaultRegister = 52
	DefaultUnit     = 1
	// DefaultTimeout bounds a Read whose context has no deadline.
	DefaultTimeout = 5 * time.Second
)

// Meter is one meter behind an address.
type Meter struct {
	addr     string
	unit     uint8
	register uint16
	turn     chan struct{} // held by the one exchange: meters take one client at a time
}

var _ device.Meter = (*Meter)(nil)

// New returns the driver for the meter with the unit id at the address, whose
// power is in the register and the one after it. 0 means the default of either.
func New(a device.Address, unit uint8, register uint16) *Meter {
	if unit == 0 {
		unit = DefaultUnit
	}
	if register == 0 {
		register = DefaultRegister
	}
	return &Meter{addr: a.API(Port), unit: unit, register: register, turn: make(chan struct{}, 1)}
}

// Read returns the power that flows into the node; it is negative where the
// node feeds back. At is left for the caller, who knows the site's time.
func (m *Meter) Read(ctx context.Context) (sluice.Reading, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return sluice.Reading{}, m.fail(ctx.Err())
	}
	type result struct {
		watts float32
		err   error
	}
	done := make(chan result, 1)
	deadline, _ := ctx.Deadline()
	// The library dials with a limit of its own (5 s) and knows no context: the
	// exchange ends by itself, while the caller goes when its time is up.
	go func() {
		w, err := m.exchange(time.Until(deadline))
		<-m.turn
		done <- result{w, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return sluice.Reading{}, m.fail(r.err)
		}
		w := float64(r.watts)
		if math.IsNaN(w) || math.Abs(w) > 1e12 {
			return sluice.Reading{}, m.fail(&sluice.Error{
				Kind: sluice.Unavailable, Msg: "the register holds no power",
				Hint: "check register: it must be float32 in watts",
			})
		}
		return sluice.Reading{Power: sluice.Watts(math.Round(w)), HasPower: true, PowerSource: sluice.SourceMeter}, nil
	case <-ctx.Done():
		return sluice.Reading{}, m.fail(ctx.Err())
	}
}

func (m *Meter) exchange(limit time.Duration) (float32, error) {
	if limit <= 0 {
		return 0, context.DeadlineExceeded
	}
	c, err := mb.NewClient(&mb.ClientConfiguration{
		URL: "tcp://" + m.addr, Timeout: limit, Logger: log.New(io.Discard, "", 0),
	})
	if err != nil {
		return 0, err
	}
	if err := c.Open(); err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetUnitId(m.unit); err != nil {
		return 0, err
	}
	if err := c.SetEncoding(mb.BIG_ENDIAN, mb.HIGH_WORD_FIRST); err != nil {
		return 0, err
	}
	return c.ReadFloat32(m.register, mb.INPUT_REGISTER)
}

func (m *Meter) fail(err error) error {
	return &sluice.Error{Kind: sluice.Unavailable, Msg: "reading the meter at " + m.addr, Cause: err}
}
