// Package modbus reads power meters over Modbus TCP. Where a meter's values stand
// is data: a register map that comes with the program, or one of the operator's
// own (see Map). A meter of which nothing else is known is read by one register:
// the total active power as a float32 in watts, as in Eastron's SDM630 (input
// register 30053, which is address 52).
package modbus

import (
	"context"
	"fmt"
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
	// DefaultTimeout bounds a call whose context has no deadline.
	DefaultTimeout = 5 * time.Second
)

// Meter is one meter behind an address.
type Meter struct {
	addr  string
	unit  uint8
	m     *Map
	scale float64
	turn  chan struct{} // held by the one exchange: meters take one client at a time
	base  uint16        // SunSpec: where the model's ID stands, once found; guarded by turn
}

var (
	_ device.Meter  = (*Meter)(nil)
	_ device.Sensor = (*Meter)(nil)
)

// New returns the driver for the meter with the unit id at the address, whose
// power is in the register and the one after it. 0 means the default of either.
func New(a device.Address, unit uint8, register uint16) *Meter {
	if register == 0 {
		register = DefaultRegister
	}
	return NewMapped(a, unit, plain(register), 1)
}

// NewMapped returns the driver for a meter whose registers are those of the map.
// Its power, current and energy are multiplied by scale: the ratio of current
// transformers that the meter does not know of, and -1 where they sit the other
// way round. 0 means 1.
func NewMapped(a device.Address, unit uint8, m *Map, scale float64) *Meter {
	if unit == 0 {
		unit = DefaultUnit
	}
	if scale == 0 {
		scale = 1
	}
	return &Meter{addr: a.API(Port), unit: unit, m: m, scale: scale, turn: make(chan struct{}, 1)}
}

// Read returns the power that flows into the node; it is negative where the
// node feeds back. At is left for the caller, who knows the site's time.
func (m *Meter) Read(ctx context.Context) (sluice.Reading, error) {
	var watts float64
	err := m.with(ctx, func(c *mb.ModbusClient) error {
		for i := range m.m.Registers {
			r := &m.m.Registers[i]
			if r.Name != PowerRegister {
				continue
			}
			out, err := m.read(c, []*Register{r})
			if err != nil {
				return err
			}
			if len(out) == 0 || math.Abs(out[0].Value) > 1e12 {
				return &sluice.Error{
					Kind: sluice.Unavailable, Msg: "the register holds no power",
					Hint: "check the map or the register: as a rule float32 in watts",
				}
			}
			watts = out[0].Value
		}
		return nil
	})
	if err != nil {
		return sluice.Reading{}, err
	}
	return sluice.Reading{Power: sluice.Watts(math.Round(watts)), HasPower: true, PowerSource: sluice.SourceMeter}, nil
}

// Sense returns all values of the map that the meter gives.
func (m *Meter) Sense(ctx context.Context) (device.Sense, error) {
	var s device.Sense
	err := m.with(ctx, func(c *mb.ModbusClient) error {
		all := make([]*Register, len(m.m.Registers))
		for i := range m.m.Registers {
			all[i] = &m.m.Registers[i]
		}
		var err error
		s.Samples, err = m.read(c, all)
		return err
	})
	if err != nil {
		return device.Sense{}, err
	}
	return s, nil
}

// with calls f with a connection, within the context's deadline.
func (m *Meter) with(ctx context.Context, f func(*mb.ModbusClient) error) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return m.fail(ctx.Err())
	}
	done := make(chan error, 1)
	deadline, _ := ctx.Deadline()
	// The library dials with a limit of its own (5 s) and knows no context: the
	// exchange ends by itself, while the caller goes when its time is up. What f
	// has written is looked at only after it has ended.
	go func() {
		err := m.exchange(ctx, time.Until(deadline), f)
		<-m.turn
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return m.fail(err)
		}
		return nil
	case <-ctx.Done():
		return m.fail(ctx.Err())
	}
}

func (m *Meter) exchange(ctx context.Context, limit time.Duration, f func(*mb.ModbusClient) error) error {
	if limit <= 0 {
		return context.DeadlineExceeded
	}
	c, err := mb.NewClient(&mb.ClientConfiguration{
		URL: "tcp://" + m.addr, Timeout: limit, Logger: log.New(io.Discard, "", 0),
	})
	if err != nil {
		return err
	}
	if err := c.Open(); err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	// The limit of the library is for one request, of which there may be many.
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if err := c.SetUnitId(m.unit); err != nil {
		return err
	}
	return f(c)
}

// maxSpan is how many registers are asked for at once: some meters refuse more.
const maxSpan = 60

// read reads registers, those that stand next to each other at once.
func (m *Meter) read(c *mb.ModbusClient, regs []*Register) ([]device.Sample, error) {
	if err := m.findModel(c); err != nil {
		return nil, err
	}
	kind := mb.INPUT_REGISTER
	if m.m.Kind == "holding" {
		kind = mb.HOLDING_REGISTER
	}
	spans := spansOf(regs)
	got := map[uint16]uint16{}
	for _, s := range spans {
		ws, err := c.ReadRegisters(m.base+s.from, s.n, kind)
		if err != nil {
			return nil, err
		}
		for i, w := range ws {
			got[s.from+uint16(i)] = w
		}
	}
	var out []device.Sample
	for _, r := range regs {
		ws := make([]uint16, words[r.Type])
		for i := range ws {
			ws[i] = got[r.Address+uint16(i)]
		}
		var exp int16
		if r.ScaleAt != 0 {
			exp = int16(got[r.ScaleAt])
			if exp < -10 || exp > 10 { // -32768 says that there is none
				continue
			}
		}
		v, ok := r.decode(ws, exp)
		if !ok {
			continue
		}
		switch r.Quantity {
		case device.Power, device.Current, device.Energy, device.ApparentPower, device.ReactivePower:
			v *= m.scale
		}
		out = append(out, device.Sample{Name: r.Name, Quantity: r.Quantity, Value: v})
	}
	return out, nil
}

func (m *Meter) fail(err error) error {
	return &sluice.Error{Kind: sluice.Unavailable, Msg: fmt.Sprintf("reading the meter at %s, unit %d", m.addr, m.unit), Cause: err}
}
