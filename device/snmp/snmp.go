// Package snmp reads and switches rack PDUs over SNMP v2c and v3. Which objects
// hold what is data: a map that comes with the program, or one of the operator's
// own (see Map).
package snmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/gosnmp/gosnmp"

	"sluice"
	"sluice/device"
)

// Port is the protocol's own.
const Port = 161

// DefaultTimeout bounds a call whose context has no deadline.
const DefaultTimeout = 5 * time.Second

// tries is how often a datagram is sent before the PDU counts as silent.
const tries = 3

// Options describe one PDU.
type Options struct {
	Address device.Address // its User and Password are those of version 3
	Map     *Map
	Module  int // of the PDU in a chain; -1: the map's own

	Community string // version 2c, where no user is given

	// Version 3, where a user is given: authentication with Password, which is
	// always asked for, and privacy where a key is given.
	Auth       string // SHA (default), SHA224, SHA256, SHA384, SHA512, MD5
	Privacy    string // AES (default), AES192, AES256, AES192C, AES256C, DES
	PrivacyKey string
	Context    string // as a rule none
}

var authProtocols = map[string]gosnmp.SnmpV3AuthProtocol{
	"": gosnmp.SHA, "SHA": gosnmp.SHA, "SHA224": gosnmp.SHA224, "SHA256": gosnmp.SHA256, "SHA384": gosnmp.SHA384, "SHA512": gosnmp.SHA512, "MD5": gosnmp.MD5,
}

var privProtocols = map[string]gosnmp.SnmpV3PrivProtocol{
	"": gosnmp.AES, "AES": gosnmp.AES, "AES192": gosnmp.AES192, "AES256": gosnmp.AES256, "AES192C": gosnmp.AES192C, "AES256C": gosnmp.AES256C, "DES": gosnmp.DES,
}

// PDU is one power distribution unit. As a meter it measures what it draws as a
// whole.
type PDU struct {
	o      Options
	host   string
	port   uint16
	module int
	turn   chan struct{} // held by the one exchange: PDUs are slow, and few take several
}

var _ device.Meter = (*PDU)(nil)

// New returns the driver for the PDU.
func New(o Options) (*PDU, error) {
	if o.Map == nil {
		return nil, sluice.Errorf(sluice.Internal, "", "a PDU without a map")
	}
	host, p, err := net.SplitHostPort(o.Address.API(Port))
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "write host or host:port", "address %q: %v", o.Address, err)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "write host or host:port", "address %q: the port is no number", o.Address)
	}
	_, auth := authProtocols[o.Auth]
	_, priv := privProtocols[o.Privacy]
	switch {
	case !auth:
		return nil, sluice.Errorf(sluice.Invalid, "SHA, SHA224, SHA256, SHA384, SHA512 or MD5", "%q is no authentication of SNMP v3", o.Auth)
	case !priv:
		return nil, sluice.Errorf(sluice.Invalid, "AES, AES192, AES256, AES192C, AES256C or DES", "%q is no encryption of SNMP v3", o.Privacy)
	case o.Address.User == "" && o.Community == "":
		return nil, sluice.Errorf(sluice.Invalid, "give community for version 2c, or user and password for version 3", "the PDU at %s has no credentials", o.Address)
	case o.Address.User != "" && (len(o.Address.Password) < 8 || (o.PrivacyKey != "" && len(o.PrivacyKey) < 8)):
		return nil, sluice.Errorf(sluice.Invalid, "", "the PDU at %s: passwords and keys of SNMP v3 have 8 characters or more", o.Address)
	}
	m := o.Module
	if m < 0 {
		m = o.Map.Module
	}
	return &PDU{o: o, host: host, port: uint16(port), module: m, turn: make(chan struct{}, 1)}, nil
}

// Read returns what the PDU draws as a whole.
func (p *PDU) Read(ctx context.Context) (sluice.Reading, error) {
	if p.o.Map.Total.OID == "" {
		return sluice.Reading{}, sluice.Errorf(sluice.Invalid, "meter its outlets, or another device", "the map of the PDU at %s has no total", p.o.Address)
	}
	w, ok, err := p.watts(ctx, p.o.Map.Total, 0)
	if err == nil && !ok {
		err = sluice.Errorf(sluice.Unavailable, "is it the right map, and the right module?", "it has no total power")
	}
	if err != nil {
		return sluice.Reading{}, p.fail(err)
	}
	return sluice.Reading{Power: w, HasPower: true, PowerSource: sluice.SourcePDU}, nil
}

// Outlet returns the driver for an outlet of the PDU; the first is 1.
func (p *PDU) Outlet(n int) *Outlet { return &Outlet{pdu: p, n: n} }

// do calls f with a session, within the context's deadline.
func (p *PDU) do(ctx context.Context, f func(*gosnmp.GoSNMP) error) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	deadline, _ := ctx.Deadline()
	g := &gosnmp.GoSNMP{
		Target: p.host, Port: p.port, Transport: "udp", Context: ctx,
		Timeout: max(min(time.Until(deadline)/tries, 2*time.Second), 50*time.Millisecond), Retries: tries - 1, MaxOids: gosnmp.MaxOids,
		Version: gosnmp.Version2c, Community: p.o.Community,
	}
	if p.o.Address.User != "" {
		usm := &gosnmp.UsmSecurityParameters{
			UserName: p.o.Address.User, AuthenticationProtocol: authProtocols[p.o.Auth], AuthenticationPassphrase: p.o.Address.Password,
		}
		g.Version, g.SecurityModel, g.MsgFlags, g.SecurityParameters = gosnmp.Version3, gosnmp.UserSecurityModel, gosnmp.AuthNoPriv, usm
		g.ContextName = p.o.Context
		if p.o.PrivacyKey != "" {
			g.MsgFlags = gosnmp.AuthPriv
			usm.PrivacyProtocol, usm.PrivacyPassphrase = privProtocols[p.o.Privacy], p.o.PrivacyKey
		}
	}
	if err := g.Connect(); err != nil {
		return err
	}
	defer func() { _ = g.Close() }()
	err := f(g)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// errAbsent says that the PDU answers and does not know an object.
var errAbsent = errors.New("the PDU does not have this object")

// get asks for objects at once. An object that is not there is missing from the
// answer.
func (p *PDU) get(ctx context.Context, oids ...string) (map[string]float64, error) {
	out := map[string]float64{}
	err := p.do(ctx, func(g *gosnmp.GoSNMP) error {
		r, err := g.Get(oids)
		if err != nil {
			return err
		}
		if r.Error != gosnmp.NoError {
			return fmt.Errorf("it answers %s", r.Error)
		}
		for _, v := range r.Variables {
			if x, ok := number(v); ok {
				out[v.Name] = x
			}
		}
		return nil
	})
	return out, err
}

// watts reads a power; ok is false where the PDU does not give it.
func (p *PDU) watts(ctx context.Context, v Value, outlet int) (w sluice.Watts, ok bool, err error) {
	oids := []string{object(v.OID, p.module, outlet)}
	if v.Digits != "" {
		oids = append(oids, object(v.Digits, p.module, outlet))
	}
	got, err := p.get(ctx, oids...)
	if err != nil {
		return 0, false, err
	}
	x, ok := got[oids[0]]
	if !ok {
		return 0, false, nil
	}
	w, ok = power(x, v.Scale, got, oids[1:])
	return w, ok, nil
}

func (p *PDU) fail(err error) error {
	return &sluice.Error{Kind: sluice.Unavailable, Msg: "the PDU at " + p.o.Address.API(Port), Cause: err}
}
