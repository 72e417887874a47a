package modbus_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
	"sluice/device/modbus"
	"sluice/sim"
)

func address(t *testing.T, hostport string) device.Address {
	t.Helper()
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(port)
	return device.Address{Host: host, APIPort: n}
}

func within(t *testing.T, d time.Duration) context.Context {
	c, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return c
}

// TestMeters reads a gateway of the sim's, which is another implementation's
// server side, with several units.
func TestMeters(t *testing.T) {
	watts := []float64{13_456_789, 0, -2500.4}
	var powers []func() float64
	for _, w := range watts {
		powers = append(powers, func() float64 { return w })
	}
	s, err := sim.StartMeters("127.0.0.1:0", powers)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, w := range watts {
		r, err := modbus.New(address(t, s.Address()), uint8(i+1), 0).Read(within(t, 10*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		want := sluice.Watts(math.Round(float64(float32(w))))
		if r.Power != want || !r.HasPower || r.PowerSource != sluice.SourceMeter || r.HasHashRate {
			t.Errorf("unit %d: read %+v, want %v", i+1, r, want)
		}
	}
	if r, err := modbus.New(address(t, s.Address()), 9, 0).Read(within(t, 10*time.Second)); err == nil || sluice.KindOf(err) != sluice.Unavailable {
		t.Errorf("a unit that is not there: %+v, %v", r, err)
	}
	var wg sync.WaitGroup
	m := modbus.New(address(t, s.Address()), 1, modbus.DefaultRegister)
	for range 8 {
		wg.Go(func() {
			if r, err := m.Read(within(t, 10*time.Second)); err != nil || r.Power < 13_000_000 {
				t.Errorf("read %+v, %v", r, err)
			}
		})
	}
	wg.Wait()
}

// serve answers each Modbus request frame by hand.
func serve(t *testing.T, answer func(register uint16, unit byte) []byte) device.Address {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				q := make([]byte, 12) // transaction, protocol, length, unit, function, register, count
				if _, err := io.ReadFull(c, q); err != nil {
					return
				}
				pdu := answer(binary.BigEndian.Uint16(q[8:]), q[6])
				if pdu == nil {
					_, _ = io.Copy(io.Discard, c) // silent
					return
				}
				head := []byte{q[0], q[1], 0, 0, 0, byte(len(pdu) + 1), q[6]}
				_, _ = c.Write(append(head, pdu...))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return address(t, l.Addr().String())
}

func float32PDU(x float32) []byte {
	return binary.BigEndian.AppendUint32([]byte{4, 4}, math.Float32bits(x))
}

func TestRegisterAndUnit(t *testing.T) {
	a := serve(t, func(register uint16, unit byte) []byte {
		return float32PDU(float32(int(register)*1000 + int(unit)))
	})
	for _, c := range []struct {
		unit     uint8
		register uint16
		want     sluice.Watts
	}{{0, 0, 52001}, {7, 0, 52007}, {3, 12, 12003}} {
		r, err := modbus.New(a, c.unit, c.register).Read(within(t, 10*time.Second))
		if err != nil || r.Power != c.want {
			t.Errorf("unit %d register %d: %v, %v; want %v", c.unit, c.register, r.Power, err, c.want)
		}
	}
}

func TestNoPower(t *testing.T) {
	for name, pdu := range map[string][]byte{
		"not a number": float32PDU(float32(math.NaN())), "infinite": float32PDU(float32(math.Inf(1))), "absurd": float32PDU(1e30),
		"exception": {0x84, 2}, "short": {4, 2, 0, 0}, "another function": {3, 4, 0, 0, 0, 0},
	} {
		a := serve(t, func(uint16, byte) []byte { return pdu })
		if r, err := modbus.New(a, 1, 0).Read(within(t, 10*time.Second)); err == nil || r.HasPower || sluice.KindOf(err) != sluice.Unavailable {
			t.Errorf("%s: read %+v, %v", name, r, err)
		}
	}
}

func TestDeadline(t *testing.T) {
	a := serve(t, func(uint16, byte) []byte { return nil })
	m := modbus.New(a, 1, 0)
	own := devicetest.OwnTime(t)
	_, err := m.Read(within(t, 150*time.Millisecond))
	if took := own(); err == nil || took > 5*time.Second {
		t.Errorf("a silent meter: %v after %v", err, took)
	}
	ctx, cancel := context.WithCancel(within(t, time.Minute))
	stop := time.AfterFunc(100*time.Millisecond, cancel)
	defer stop.Stop()
	if _, err := m.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled read: %v", err)
	}
}
