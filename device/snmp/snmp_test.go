package snmp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
	"sluice/device/snmp"
)

const (
	authKey = "auth-hunter2"
	privKey = "priv-hunter2"
)

// pdus are the recordings that snmpsim plays: each under the community (or the
// context) of its name, filled by what the makers' MIBs say.
var pdus = map[string][]string{
	"apc": {
		"1.3.6.1.4.1.318.1.1.26.4.3.1.5.1|2|1234", // hundredths of a kW
		"1.3.6.1.4.1.318.1.1.26.9.2.3.1.5.3|2:outlet|role=state,outlet=3,on=2,off=1",
		"1.3.6.1.4.1.318.1.1.26.9.2.3.1.5.4|2:outlet|role=state,outlet=4,on=2,off=1",
		"1.3.6.1.4.1.318.1.1.26.9.2.3.1.5.5|2:outlet|role=state,outlet=5,on=2,off=1",
		"1.3.6.1.4.1.318.1.1.26.9.2.3.1.5.6|2|9", // neither on nor off
		"1.3.6.1.4.1.318.1.1.26.9.2.4.1.5.3|2:outlet|role=control,outlet=3,on=1,off=2",
		"1.3.6.1.4.1.318.1.1.26.9.2.4.1.5.4|2:outlet|role=control,outlet=4,on=1,off=2,refuse=yes",
		"1.3.6.1.4.1.318.1.1.26.9.2.4.1.5.5|2:outlet|role=control,outlet=5,on=1,off=2,lie=yes",
		"1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.3|2:outlet|role=power,outlet=3,watts=3345",
		"1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.4|2|-1",  // not measured
		"1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.5|4|812", // a number as text
	},
	"raritan": {
		"1.3.6.1.4.1.13742.6.3.3.4.1.7.1.1.5|66|1",
		"1.3.6.1.4.1.13742.6.3.5.4.1.7.1.12.5|66|0",
		"1.3.6.1.4.1.13742.6.4.1.2.1.2.1.12|2:outlet|role=control,outlet=12,on=1,off=0",
		"1.3.6.1.4.1.13742.6.4.1.2.1.3.1.12|2:outlet|role=state,outlet=12,on=7,off=8",
		"1.3.6.1.4.1.13742.6.5.2.3.1.4.1.1.5|66|70125",
		"1.3.6.1.4.1.13742.6.5.4.3.1.4.1.12.5|66:outlet|role=power,outlet=12,watts=3210",
	},
	"eaton": {
		"1.3.6.1.4.1.534.6.6.7.3.5.1.4.0.1|2|9876",
		"1.3.6.1.4.1.534.6.6.7.6.5.1.3.0.7|2|1500",
		"1.3.6.1.4.1.534.6.6.7.6.6.1.2.0.7|2|1",
		"1.3.6.1.4.1.534.6.6.7.6.6.1.3.0.7|2:writecache|value=-1",
		"1.3.6.1.4.1.534.6.6.7.6.6.1.4.0.7|2:writecache|value=-1",
	},
}

// simulator starts Debian's snmpsim on a free port of loopback.
func simulator(t *testing.T) device.Address {
	t.Helper()
	dir := t.TempDir()
	for name, lines := range pdus {
		if err := os.MkdirAll(dir+"/data", 0o755); err != nil {
			t.Fatal(err)
		}
		lines = slices.Clone(lines)
		if err := os.WriteFile(filepath.Join(dir, "data", name+".snmprec"), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	modules, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	port := devicetest.FreePort(t, "udp")
	argv := []string{
		devicetest.Program(t, "snmpsimd", "snmpsim"), "--data-dir=" + dir + "/data", "--cache-dir=" + dir + "/cache",
		"--variation-modules-dir=/usr/share/snmpsim/variation", "--variation-modules-dir=" + modules,
		fmt.Sprintf("--agent-udpv4-endpoint=127.0.0.1:%d", port), "--logging-method=stderr",
		"--v3-user=operator", "--v3-auth-key=" + authKey, "--v3-auth-proto=SHA", "--v3-priv-key=" + privKey, "--v3-priv-proto=AES",
	}
	if os.Getuid() == 0 {
		argv = append(argv, "--process-user=root", "--process-group=root")
	}
	p := devicetest.StartPeer(t, argv...)
	p.Says("  Listening at UDP/IPv4 endpoint")
	return device.Address{Host: "127.0.0.1", APIPort: port}
}

func within(t *testing.T, d time.Duration) context.Context {
	c, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return c
}

func pdu(t *testing.T, o snmp.Options, ref string) *snmp.PDU {
	t.Helper()
	m, err := snmp.LoadMap(ref)
	if err != nil {
		t.Fatal(err)
	}
	o.Map, o.Module = m, -1
	p, err := snmp.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func reads(t *testing.T, m device.Meter, want sluice.Watts, has bool) {
	t.Helper()
	r, err := m.Read(within(t, 10*time.Second))
	if err != nil || r.Power != want || r.HasPower != has || (has && r.PowerSource != sluice.SourcePDU) {
		t.Errorf("read %+v, %v; want %v", r, err, want)
	}
}

func stands(t *testing.T, o device.Outlet, want bool) {
	t.Helper()
	on, known, err := o.State(within(t, 10*time.Second))
	if err != nil || !known || on != want {
		t.Errorf("on %v, known %v, %v; want %v", on, known, err, want)
	}
}

func TestSnmpsim(t *testing.T) {
	a := simulator(t)
	t.Run("apc", func(t *testing.T) {
		p := pdu(t, snmp.Options{Address: a, Community: "apc"}, "apc-rpdu2")
		reads(t, p, 12_340, true)
		o := p.Outlet(3)
		reads(t, o, 3345, true)
		reads(t, p.Outlet(4), 0, false)
		reads(t, p.Outlet(5), 812, true)
		reads(t, p.Outlet(40), 0, false)
		for _, on := range []bool{true, false, false, true, false} {
			if got, err := o.Switch(within(t, 10*time.Second), on); err != nil || got != sluice.Accepted {
				t.Errorf("switched to %v: %v, %v", on, got, err)
			}
			stands(t, o, on)
			reads(t, o, map[bool]sluice.Watts{true: 3345}[on], true)
		}
		// A PDU that refuses, one that lies, one without the outlet.
		var no *device.RefusedError
		if got, err := p.Outlet(4).Switch(within(t, 10*time.Second), false); got != sluice.Refused || !errors.As(err, &no) {
			t.Errorf("refused: %v, %v", got, err)
		}
		stands(t, p.Outlet(4), true)
		if got, err := p.Outlet(5).Switch(within(t, 10*time.Second), false); got != sluice.Accepted || err != nil {
			t.Errorf("a liar: %v, %v", got, err)
		}
		stands(t, p.Outlet(5), true)
		if got, err := p.Outlet(40).Switch(within(t, 10*time.Second), false); got != sluice.Refused || !errors.As(err, &no) {
			t.Errorf("no such outlet: %v, %v", got, err)
		}
		if on, known, err := p.Outlet(6).State(within(t, 10*time.Second)); on || known || err != nil {
			t.Errorf("between the two: %v %v %v", on, known, err)
		}
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() { stands(t, p.Outlet(3+2*(i%2)), i%2 == 1) })
		}
		wg.Wait()
	})
	t.Run("raritan", func(t *testing.T) {
		p := pdu(t, snmp.Options{Address: a, Community: "raritan"}, "raritan-pdu2")
		reads(t, p, 7013, true) // 70125 with one decimal digit
		o := p.Outlet(12)
		reads(t, o, 3210, true)
		for _, on := range []bool{false, true} {
			if got, err := o.Switch(within(t, 10*time.Second), on); err != nil || got != sluice.Accepted {
				t.Errorf("switched to %v: %v, %v", on, got, err)
			}
			stands(t, o, on)
		}
	})
	t.Run("eaton", func(t *testing.T) {
		p := pdu(t, snmp.Options{Address: a, Community: "eaton"}, "eaton-epdu")
		reads(t, p, 9876, true)
		reads(t, p.Outlet(7), 1500, true)
		stands(t, p.Outlet(7), true)
		if got, err := p.Outlet(7).Switch(within(t, 10*time.Second), false); err != nil || got != sluice.Accepted {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("version 3", func(t *testing.T) {
		v3 := snmp.Options{Address: a, PrivacyKey: privKey}
		v3.Address.User, v3.Address.Password = "operator", authKey
		v3.Context = "apc"
		p := pdu(t, v3, "apc-rpdu2")
		reads(t, p, 12_340, true)
		if got, err := p.Outlet(3).Switch(within(t, 10*time.Second), true); err != nil || got != sluice.Accepted {
			t.Errorf("%v, %v", got, err)
		}
		stands(t, p.Outlet(3), true)
		for name, f := range map[string]func(*snmp.Options){
			"password": func(o *snmp.Options) { o.Address.Password = "not-the-key" },
			"key":      func(o *snmp.Options) { o.PrivacyKey = "not-the-key" },
			"user":     func(o *snmp.Options) { o.Address.User = "nobody" },
		} {
			bad := v3
			f(&bad)
			p := pdu(t, bad, "apc-rpdu2")
			r, err := p.Read(within(t, 1500*time.Millisecond))
			if err == nil || r.HasPower || sluice.KindOf(err) != sluice.Unavailable {
				t.Errorf("wrong %s: %+v, %v", name, r, err)
			} else if s := err.Error(); strings.Contains(s, authKey) || strings.Contains(s, privKey) || strings.Contains(s, "not-the-key") {
				t.Errorf("the error gives a secret away: %v", err)
			}
			if got, err := p.Outlet(3).Switch(within(t, 1500*time.Millisecond), false); got != sluice.Unknown || err == nil {
				t.Errorf("wrong %s: switched %v, %v", name, got, err)
			}
		}
		stands(t, p.Outlet(3), true)
	})
	t.Run("another community", func(t *testing.T) {
		p := pdu(t, snmp.Options{Address: a, Community: "hunter2"}, "apc-rpdu2")
		_, err := p.Read(within(t, 600*time.Millisecond))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	})
}

func TestFaults(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var mu sync.Mutex
	var answer []byte
	go func() {
		buf := make([]byte, 1500)
		for {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			mu.Lock()
			b := answer
			mu.Unlock()
			if b != nil {
				_, _ = c.WriteTo(b, from)
			}
		}
	}()
	p := pdu(t, snmp.Options{Address: device.Address{Host: "127.0.0.1", APIPort: c.LocalAddr().(*net.UDPAddr).Port}, Community: "public"}, "apc-rpdu2")
	for name, b := range map[string][]byte{
		"silent": nil, "empty": {}, "garbage": []byte("<html>"), "cut off": {0x30, 0x82, 0xff, 0xff, 2, 1, 1, 4, 6, 'p', 'u'}, "large": make([]byte, 1400),
	} {
		mu.Lock()
		answer = b
		mu.Unlock()
		took := devicetest.OwnTime(t)
		r, err := p.Read(within(t, 300*time.Millisecond))
		if err == nil || r.HasPower || sluice.KindOf(err) != sluice.Unavailable {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if d := took(); d > 3*time.Second {
			t.Errorf("%s took %v", name, d)
		}
		if got, err := p.Outlet(1).Switch(within(t, 300*time.Millisecond), true); got != sluice.Unknown || err == nil {
			t.Errorf("%s: switched: %v, %v", name, got, err)
		}
	}
}

func TestWhatCannotBe(t *testing.T) {
	m, err := snmp.LoadMap("apc-rpdu2")
	if err != nil {
		t.Fatal(err)
	}
	a := device.Address{Host: "127.0.0.1"}
	short := device.Address{Host: "127.0.0.1", User: "u", Password: "short"}
	for name, o := range map[string]snmp.Options{
		"credentials": {Address: a, Map: m}, "auth": {Address: a, Map: m, Community: "x", Auth: "ROT13"}, "privacy": {Address: a, Map: m, Community: "x", Privacy: "XOR"}, "short": {Address: short, Map: m},
	} {
		if _, err := snmp.New(o); sluice.KindOf(err) != sluice.Invalid || strings.Contains(err.Error(), "short ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
