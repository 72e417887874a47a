package sim

import (
	"context"
	"io"
	"log"
	"math"
	"net"

	mb "github.com/simonvetter/modbus"

	"sluice"
)

// meterRegister is where an SDM630 has its total system power, in watts.
const meterRegister = 52

// MeterServer is a Modbus TCP gateway with one or more virtual meters, by unit
// id from 1.
type MeterServer struct {
	addr   string
	server *mb.ModbusServer
}

// StartMeter starts a gateway with one meter, of unit 1, that shows power() in
// watts. Port 0 takes a free one.
func StartMeter(addr string, power func() float64) (*MeterServer, error) {
	return StartMeters(addr, []func() float64{power})
}

// StartMeters starts a gateway with a meter for each function, units 1 to n.
func StartMeters(addr string, powers []func() float64) (*MeterServer, error) {
	fail := func(err error) (*MeterServer, error) {
		return nil, &sluice.Error{Kind: sluice.Internal, Msg: "starting the virtual meter on " + addr, Cause: err}
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fail(err)
	}
	// The library does not tell which port it got, so a free one is found
	// first; somebody else may take it in between, hence the tries.
	tries := 1
	if port == "0" {
		tries = 5
	}
	for ; ; tries-- {
		at := addr
		if port == "0" {
			l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(host, "0"))
			if err != nil {
				return fail(err)
			}
			at = l.Addr().String()
			if err := l.Close(); err != nil {
				return fail(err)
			}
		}
		s, err := mb.NewServer(&mb.ServerConfiguration{
			URL: "tcp://" + at, MaxClients: 100, Logger: log.New(io.Discard, "", 0),
		}, meters(powers))
		if err == nil {
			if err = s.Start(); err == nil {
				return &MeterServer{addr: at, server: s}, nil
			}
		}
		if tries == 1 {
			return fail(err)
		}
	}
}

// Address returns host:port.
func (s *MeterServer) Address() string { return s.addr }

// Close stops the server and its connections.
func (s *MeterServer) Close() error { return s.server.Stop() }

// meters answers for input registers only.
type meters []func() float64

func (p meters) HandleInputRegisters(req *mb.InputRegistersRequest) ([]uint16, error) {
	if req.UnitId < 1 || int(req.UnitId) > len(p) {
		return nil, mb.ErrGWTargetFailedToRespond
	}
	bits := math.Float32bits(float32(p[req.UnitId-1]()))
	out := make([]uint16, req.Quantity)
	for i := range out {
		switch int(req.Addr) + i {
		case meterRegister:
			out[i] = uint16(bits >> 16)
		case meterRegister + 1:
			out[i] = uint16(bits)
		}
	}
	return out, nil
}

func (meters) HandleCoils(*mb.CoilsRequest) ([]bool, error) { return nil, mb.ErrIllegalFunction }

func (meters) HandleDiscreteInputs(*mb.DiscreteInputsRequest) ([]bool, error) {
	return nil, mb.ErrIllegalFunction
}

func (meters) HandleHoldingRegisters(*mb.HoldingRegistersRequest) ([]uint16, error) {
	return nil, mb.ErrIllegalFunction
}
