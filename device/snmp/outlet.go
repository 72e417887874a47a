package snmp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gosnmp/gosnmp"

	"sluice"
	"sluice/device"
)

// Outlet is one outlet of a PDU.
type Outlet struct {
	pdu *PDU
	n   int
}

var (
	_ device.Outlet = (*Outlet)(nil)
	_ device.Meter  = (*Outlet)(nil)
)

// Read returns what is drawn through the outlet; HasPower is false where the PDU
// answers and does not measure it.
func (o *Outlet) Read(ctx context.Context) (sluice.Reading, error) {
	v := o.pdu.o.Map.Outlet.Power
	if v.OID == "" {
		return sluice.Reading{}, nil
	}
	w, ok, err := o.pdu.watts(ctx, v, o.n)
	if err != nil {
		return sluice.Reading{}, o.fail("reading", err)
	}
	if !ok {
		return sluice.Reading{}, nil
	}
	return sluice.Reading{Power: w, HasPower: true, PowerSource: sluice.SourcePDU}, nil
}

// State tells whether the outlet is on.
func (o *Outlet) State(ctx context.Context) (on, known bool, err error) {
	s := o.pdu.o.Map.Outlet.State
	if s.OID == "" {
		return false, false, nil
	}
	oid := object(s.OID, o.pdu.module, o.n)
	got, err := o.pdu.get(ctx, oid)
	if err != nil {
		return false, false, o.fail("reading", err)
	}
	x, ok := got[oid]
	if !ok {
		return false, false, o.fail("reading", errAbsent)
	}
	on = slices.Contains(s.On, int(x))
	return on, on || slices.Contains(s.Off, int(x)), nil
}

// Switch turns the outlet on or off, unless it stands so already.
func (o *Outlet) Switch(ctx context.Context, on bool) (sluice.Outcome, error) {
	c := o.pdu.o.Map.Outlet.SwitchOff
	if on {
		c = o.pdu.o.Map.Outlet.SwitchOn
	}
	if c.OID == "" {
		return sluice.Refused, o.fail("switching", &device.RefusedError{Why: "its map has no switch"})
	}
	is, known, err := o.State(ctx)
	if err != nil {
		if errors.Is(err, errAbsent) {
			return sluice.Refused, o.fail("switching", &device.RefusedError{Why: "there is no such outlet"})
		}
		return sluice.Unknown, err
	}
	if known && is == on {
		return sluice.Accepted, nil
	}
	var status gosnmp.SNMPError
	err = o.pdu.do(ctx, func(g *gosnmp.GoSNMP) error {
		r, err := g.Set([]gosnmp.SnmpPDU{{Name: object(c.OID, o.pdu.module, o.n), Type: gosnmp.Integer, Value: c.Value}})
		if r != nil {
			status = r.Error
		}
		return err
	})
	switch {
	case err != nil:
		return sluice.Unknown, o.fail("switching", err)
	case status != gosnmp.NoError:
		return sluice.Refused, o.fail("switching", &device.RefusedError{Why: why(status)})
	}
	return sluice.Accepted, nil
}

// why puts a PDU's error status into words.
func why(s gosnmp.SNMPError) string {
	switch s {
	case gosnmp.NoAccess, gosnmp.NotWritable, gosnmp.ReadOnly, gosnmp.AuthorizationError, gosnmp.NoSuchName:
		return fmt.Sprintf("the community or user may not switch outlets (%s)", s)
	}
	return s.String()
}

func (o *Outlet) fail(doing string, err error) error {
	return &sluice.Error{Kind: sluice.Unavailable, Msg: fmt.Sprintf("%s outlet %d of the PDU at %s", doing, o.n, o.pdu.o.Address.API(Port)), Cause: err}
}

// number reads a value of an answer as a number; ok is false where the object is
// not there, or holds none.
func number(v gosnmp.SnmpPDU) (x float64, ok bool) {
	switch n := v.Value.(type) {
	case int:
		x = float64(n)
	case uint:
		x = float64(n)
	case uint32:
		x = float64(n)
	case uint64:
		x = float64(n)
	case float32:
		x = float64(n)
	case float64:
		x = n
	case []byte: // some PDUs write numbers as text
		if len(n) > 32 {
			return 0, false
		}
		var err error
		if x, err = strconv.ParseFloat(strings.TrimSpace(string(n)), 64); err != nil {
			return 0, false
		}
	default:
		return 0, false
	}
	return x, !math.IsNaN(x) && !math.IsInf(x, 0)
}

// power scales a count to watts. A negative count means that nothing is
// measured: outlets do not feed back.
func power(count, scale float64, got map[string]float64, digits []string) (sluice.Watts, bool) {
	if len(digits) > 0 {
		d, ok := got[digits[0]]
		if !ok || d < 0 || d > 9 {
			return 0, false
		}
		scale /= math.Pow10(int(d))
	}
	w := count * scale
	if w < 0 || w > 1e9 {
		return 0, false
	}
	return sluice.Watts(math.Round(w)), true
}
