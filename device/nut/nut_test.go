package nut

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/user"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
)

const password = `hunter2 "and\more`

// upsd starts Debian's upsd and its dummy driver, whose variables are the file's.
func upsd(t *testing.T, dev string) (a device.Address, driver *devicetest.Peer, set func(name, value string)) {
	t.Helper()
	// The path of a Unix socket is short: t.TempDir's may be too long for it.
	dir, err := os.MkdirTemp("", "nut")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port := devicetest.FreePort(t, "tcp")
	for name, text := range map[string]string{
		"ups.conf":   fmt.Sprintf("[rack]\n\tdriver = dummy-ups\n\tport = %s/rack.dev\n\tmode = dummy-once\n", dir),
		"upsd.conf":  fmt.Sprintf("LISTEN 127.0.0.1 %d\nMAXAGE 2\n", port),
		"upsd.users": "[operator]\n\tpassword = \"hunter2 \\\"and\\\\more\"\n\tactions = SET\n\tupsmon slave\n",
		"rack.dev":   dev,
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"NUT_CONFPATH=" + dir, "NUT_STATEPATH=" + dir, "NUT_ALTPIDPATH=" + dir}
	driver = devicetest.StartPeerEnv(t, env, devicetest.Program(t, "dummy-ups", "nut-server"), "-F", "-a", "rack", "-u", me.Username)
	driver.Until("its socket", func() bool { _, err := os.Stat(dir + "/dummy-ups-rack"); return err == nil })
	// /sbin/upsd of Debian is a script that looks whether the service is wanted.
	server := devicetest.StartPeerEnv(t, env, "/lib/nut/upsd", "-F", "-u", me.Username)
	a = device.Address{Host: "127.0.0.1", APIPort: port}
	server.Answers(a.API(Port))
	server.Until("the driver's data", func() bool {
		u, _ := New(Options{Address: a, UPS: "rack"})
		v, err := u.Vars(within(t, time.Second))
		return err == nil && v["ambient.temperature"] != ""
	})
	set = func(name, value string) {
		t.Helper()
		c, err := net.Dial("tcp", a.API(Port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		in := reader(c)
		for _, cmd := range []string{"USERNAME operator", "PASSWORD " + quote(password), "SET VAR rack " + name + " " + quote(value)} {
			if err := say(c, in, cmd, "OK"); err != nil {
				t.Fatal(err)
			}
		}
	}
	return a, driver, set
}

func within(t *testing.T, d time.Duration) context.Context {
	c, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return c
}

func names(s device.Sense) string {
	var out []string
	for _, x := range s.Troubles {
		out = append(out, x.Name)
	}
	return strings.Join(out, " ")
}

func TestDummyUPS(t *testing.T) {
	a, driver, set := upsd(t, "ups.status: OL\nups.load: 42\nups.realpower: 1830\nbattery.charge: 100\nbattery.runtime: 1260\nambient.temperature: 24.5\nups.serial: \"a b\\\"c\"\n")
	u, err := New(Options{Address: a, UPS: "rack"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := u.Read(within(t, 5*time.Second))
	if err != nil || r.Power != 1830 || !r.HasPower || r.PowerSource != sluice.SourcePDU {
		t.Errorf("read %+v, %v", r, err)
	}
	s, err := u.Sense(within(t, 5*time.Second))
	if err != nil || len(s.Troubles) != 0 {
		t.Errorf("on line: %+v, %v", s, err)
	}
	got := map[string]float64{}
	for _, x := range s.Samples {
		if _, ok := x.Quantity.Unit(); !ok {
			t.Errorf("%s has no unit", x.Name)
		}
		got[x.Name] = x.Value
	}
	for name, want := range map[string]float64{"ups.realpower": 1830, "ups.load": 42, "battery.charge": 100, "battery.runtime": 1260, "ambient.temperature": 24.5} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	arrives := func(want string) {
		t.Helper()
		driver.Until("the troubles "+want, func() bool {
			s, err := u.Sense(within(t, 5*time.Second))
			return err == nil && names(s) == want
		})
	}
	set("ups.status", "OB DISCHRG")
	arrives("ups-on-battery")
	set("ups.status", "OB DISCHRG LB OVER")
	arrives("ups-on-battery ups-low-battery ups-overload")
	set("ups.status", "OL RB BYPASS")
	arrives("ups-replace-battery ups-bypass")
	set("ups.status", "OL CHRG")
	arrives("")

	// With a user; with a wrong one.
	in := a
	in.User, in.Password = "operator", password
	known, err := New(Options{Address: in, UPS: "rack"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := known.Vars(within(t, 5*time.Second)); err != nil {
		t.Errorf("logged in: %v", err)
	}
	in.Password = "not hunter3"
	wrong, _ := New(Options{Address: in, UPS: "rack"})
	if _, err := wrong.Vars(within(t, 5*time.Second)); err == nil || strings.Contains(err.Error(), "hunter3") || sluice.KindOf(err) != sluice.Unavailable {
		t.Errorf("a wrong password: %v", err)
	}
	other, _ := New(Options{Address: a, UPS: "nope"})
	if _, err := other.Read(within(t, 5*time.Second)); err == nil || !strings.Contains(err.Error(), "no such UPS") {
		t.Errorf("another UPS: %v", err)
	}
	// This upsd has no certificate: nothing is sent in the clear instead.
	secret, _ := New(Options{Address: in, UPS: "rack", TLS: &device.TLS{Insecure: true}})
	if _, err := secret.Vars(within(t, 5*time.Second)); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without a certificate: %v", err)
	}
	// The driver dies: upsd says that what it has is old.
	driver.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(90 * time.Second); ; <-tick.C {
		if _, err := u.Read(within(t, time.Second)); err != nil && sluice.KindOf(err) == sluice.Unavailable {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a dead driver is not noticed")
		}
	}
}

// serve answers one connection after the other by hand.
func serve(t *testing.T, f func(net.Conn)) device.Address {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				f(c)
			}()
		}
	}()
	return device.Address{Host: "127.0.0.1", APIPort: l.Addr().(*net.TCPAddr).Port}
}

func TestFaults(t *testing.T) {
	for name, answer := range map[string]string{
		"closed": "", "garbage": "<html>\n", "stale": "ERR DATA-STALE\n", "another": "BEGIN LIST VAR other\n", "cut": "BEGIN LIST VAR rack\nVAR rack ups.load \"4",
		"quotes": "BEGIN LIST VAR rack\nVAR rack ups.load \"42\nEND LIST VAR rack\n", "long": strings.Repeat("a", 10_000), "endless": "BEGIN LIST VAR rack\n" + strings.Repeat("VAR rack a \"1\"\n", 100_000),
		"many": func() string {
			var b strings.Builder
			b.WriteString("BEGIN LIST VAR rack\n")
			for i := range 3000 {
				fmt.Fprintf(&b, "VAR rack v%d \"1\"\n", i)
			}
			return b.String() + "END LIST VAR rack\n"
		}(),
	} {
		a := serve(t, func(c net.Conn) { _, _ = bufio.NewReader(c).ReadString('\n'); _, _ = io.WriteString(c, answer) })
		u, _ := New(Options{Address: a, UPS: "rack"})
		if v, err := u.Vars(within(t, 5*time.Second)); err == nil || v != nil || sluice.KindOf(err) != sluice.Unavailable {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	silent := serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	u, _ := New(Options{Address: silent, UPS: "rack"})
	took := devicetest.OwnTime(t)
	if _, err := u.Read(within(t, 100*time.Millisecond)); err == nil || took() > 3*time.Second {
		t.Errorf("silent: %v after %v", err, took())
	}
	for _, bad := range []string{"", "a b", "a\nLOGOUT", strings.Repeat("x", 100)} {
		if _, err := New(Options{UPS: bad}); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%q is a name: %v", bad, err)
		}
	}
	for _, c := range []struct {
		vars string
		w    float64
		ok   bool
	}{
		{"ups.realpower=1830", 1830, true}, {"ups.load=50 ups.realpower.nominal=3000", 1500, true}, {"ups.load=50", 0, false}, {"ups.realpower=-5", 0, false}, {"ups.realpower=nan", 0, false},
	} {
		vars := map[string]string{}
		for _, kv := range strings.Fields(c.vars) {
			k, v, _ := strings.Cut(kv, "=")
			vars[k] = v
		}
		if w, ok := carries(vars); w != c.w || ok != c.ok {
			t.Errorf("%s carries %v, %v", c.vars, w, ok)
		}
	}
}

// TestTLS speaks STARTTLS with a certificate that is known by its fingerprint.
func TestTLS(t *testing.T) {
	web := httptest.NewUnstartedServer(nil) // for its certificate
	web.StartTLS()
	defer web.Close()
	cert := web.TLS.Certificates[0]
	a := serve(t, func(c net.Conn) {
		if l, _ := line(reader(c)); l != "STARTTLS" {
			return
		}
		_, _ = io.WriteString(c, "OK STARTTLS\n")
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		in := bufio.NewReader(s)
		for {
			l, err := in.ReadString('\n')
			switch {
			case err != nil:
				return
			case strings.HasPrefix(l, "LIST"):
				_, _ = io.WriteString(s, "BEGIN LIST VAR rack\nVAR rack ups.realpower \"7\"\nEND LIST VAR rack\n")
			default:
				_, _ = io.WriteString(s, "OK\n")
			}
		}
	})
	a.User, a.Password = "operator", password
	sum := sha256.Sum256(cert.Certificate[0])
	good := hex.EncodeToString(sum[:])
	sum[0]++
	for _, c := range []struct {
		tls device.TLS
		ok  bool
	}{{device.TLS{Fingerprint: good}, true}, {device.TLS{Insecure: true}, true}, {device.TLS{Fingerprint: hex.EncodeToString(sum[:])}, false}, {device.TLS{}, false}} {
		u, err := New(Options{Address: a, UPS: "rack", TLS: &c.tls})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := u.Read(within(t, 5*time.Second)); (err == nil) != c.ok || (c.ok && r.Power != 7) {
			t.Errorf("%+v: %+v, %v", c.tls, r, err)
		}
	}
}

func TestQuoteIsOneField(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		fields, ok := split("A " + quote(s) + " B")
		want := strings.NewReplacer("\n", "", "\r", "").Replace(s)
		if !ok || len(fields) != 3 || fields[1] != want {
			t.Fatalf("%q came back as %q", s, fields)
		}
	})
}

func FuzzReadVars(f *testing.F) {
	f.Add("BEGIN LIST VAR rack\nVAR rack ups.load \"42\"\nVAR rack a.b \"c \\\"d\\\\\"\nEND LIST VAR rack\n")
	f.Add("BEGIN LIST VAR rack\r\nEND LIST VAR rack\r\n")
	f.Add("ERR ACCESS-DENIED\n")
	f.Add("ERR")
	f.Add("BEGIN LIST VAR rack\nVAR rack x \"\\")
	f.Fuzz(func(t *testing.T, s string) {
		vars, err := readVars(reader(strings.NewReader(s)), "rack")
		if (err == nil) != (vars != nil) {
			t.Errorf("%v, %v", vars, err)
		}
		for _, x := range sense(vars).Samples {
			if x.Value != x.Value {
				t.Errorf("%+v", x)
			}
		}
	})
}
