package whatsminer_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
	"sluice/device/whatsminer"
)

const password = "correct horse"

func within(t *testing.T, d time.Duration) context.Context {
	c, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return c
}

// writer is a command on either wire.
type writer func(ctx context.Context, command string, param any) ([]byte, error)

// wires are the two clients of one machine, and how each of them says the same.
func wires(m *devicetest.Whatsminer) map[string]writer {
	two, three := whatsminer.NewV2(m.V2()), whatsminer.NewV3(m.V3())
	return map[string]writer{
		"V2": func(ctx context.Context, command string, param any) ([]byte, error) {
			p, _ := param.(map[string]any)
			return two.Write(ctx, command, p)
		},
		"V3": three.Write,
	}
}

// refused checks that an error is the machine's own no, and returns why.
func refused(t *testing.T, err error) string {
	t.Helper()
	var no *device.RefusedError
	if !errors.As(err, &no) || no.Why == "" {
		t.Fatalf("%v; want a *device.RefusedError", err)
	}
	return no.Why
}

// TestCommands sends every command on both wires and sees what became of it.
func TestCommands(t *testing.T) {
	type command struct {
		name  string
		param any
	}
	for _, test := range []struct {
		v2, v3 command
		after  func(m *devicetest.Whatsminer) any
		want   any
	}{
		{
			command{"power_off", map[string]any{"respbefore": "true"}},
			command{"set.miner.service", "stop"},
			func(m *devicetest.Whatsminer) any { return m.Power() }, sluice.Watts(15),
		},
		{
			command{"power_on", nil},
			command{"set.miner.service", "start"},
			func(m *devicetest.Whatsminer) any { return m.Power() }, sluice.Watts(3276),
		},
		{
			command{"set_power_pct", map[string]any{"percent": "70"}},
			command{"set.miner.power_percent", map[string]any{"percent": "70", "mode": "fast"}},
			func(m *devicetest.Whatsminer) any { return m.Percent() }, 70,
		},
		{
			command{"adjust_power_limit", map[string]any{"power_limit": "3000"}},
			command{"set.miner.power_limit", 3000},
			func(m *devicetest.Whatsminer) any { return m.Limit() }, 3000,
		},
		{
			command{"set_low_power", nil},
			command{"set.miner.power_mode", "low"},
			func(m *devicetest.Whatsminer) any { return m.Mode() }, "low",
		},
		{
			command{"update_pools", map[string]any{"pool1": "stratum+tcp://new.example.com:1", "worker1": "w", "passwd1": "p"}},
			command{"set.miner.pools", []any{map[string]any{"pool": "stratum+tcp://new.example.com:1", "worker": "w", "passwd": "p"}}},
			func(m *devicetest.Whatsminer) any { return m.Pools() }, "[{stratum+tcp://new.example.com:1 w p}]",
		},
		{
			command{"set_led", map[string]any{"color": "red", "period": 200, "duration": 100, "start": 0}},
			command{"set.system.led", []any{map[string]any{"color": "red", "period": 200, "duration": 100, "start": 0}}},
			func(m *devicetest.Whatsminer) any { return m.LED() }, "manual",
		},
		{
			command{"reboot", nil},
			command{"set.system.reboot", nil},
			func(m *devicetest.Whatsminer) any { return m.Reboots() }, 1,
		},
	} {
		for _, wire := range []string{"V2", "V3"} {
			c := test.v2
			if wire == "V3" {
				c = test.v3
			}
			t.Run(wire+" "+c.name, func(t *testing.T) {
				m := devicetest.NewWhatsminer(t, password)
				b, err := wires(m)[wire](within(t, 5*time.Second), c.name, c.param)
				if err != nil || !json.Valid(b) {
					t.Fatalf("%q, %v", b, err)
				}
				if got := test.after(m); got != test.want {
					t.Errorf("afterwards %v, want %v", got, test.want)
				}
			})
		}
	}
}

func TestReads(t *testing.T) {
	m := devicetest.NewWhatsminer(t, password)
	b, err := whatsminer.NewV2(m.V2()).Read(within(t, 5*time.Second), "summary")
	if err != nil || !strings.Contains(string(b), `"Power Limit":3500`) {
		t.Errorf("summary %s, %v", b, err)
	}
	if _, err := whatsminer.NewV2(m.V2()).Read(within(t, 5*time.Second), "nonsense"); refused(t, err) != "invalid cmd" {
		t.Error(err)
	}
	b, err = whatsminer.NewV3(m.V3()).Read(within(t, 5*time.Second), "get.miner.status", "summary+pools")
	if err != nil || !strings.Contains(string(b), `"power-limit":3500`) || !strings.Contains(string(b), `"pools"`) {
		t.Errorf("status %s, %v", b, err)
	}
	if _, err := whatsminer.NewV3(m.V3()).Read(within(t, 5*time.Second), "get.nonsense", nil); !strings.Contains(refused(t, err), "code -2") {
		t.Error(err)
	}
}

// TestWrongPassword: the machine's no has a hint, and the password is nowhere in it.
func TestWrongPassword(t *testing.T) {
	m := devicetest.NewWhatsminer(t, password)
	const wrong = "geheim123"
	two, three := m.V2(), m.V3()
	two.Password, three.Password = wrong, wrong
	_, e2 := whatsminer.NewV2(two).Write(within(t, 5*time.Second), "power_off", nil)
	_, e3 := whatsminer.NewV3(three).Write(within(t, 5*time.Second), "set.miner.service", "stop")
	for wire, err := range map[string]error{"V2": e2, "V3": e3} {
		refused(t, err)
		if s := err.Error(); !strings.Contains(s, "is the password") || strings.Contains(s, wrong) || strings.Contains(s, password) {
			t.Errorf("%s: %s", wire, s)
		}
	}
	if got := m.Asked(); len(got) != 0 {
		t.Errorf("the machine heard %q", got)
	}
}

func TestClosedAPI(t *testing.T) {
	m := devicetest.NewWhatsminer(t, password)
	m.CloseAPI()
	for wire, write := range wires(m) {
		command, param := "power_off", any(nil)
		if wire == "V3" {
			command, param = "set.miner.service", "stop"
		}
		_, err := write(within(t, 5*time.Second), command, param)
		refused(t, err)
		if !strings.Contains(err.Error(), "WhatsMinerTool") {
			t.Errorf("%s: %v", wire, err)
		}
	}
	if _, err := whatsminer.NewV2(m.V2()).Read(within(t, 5*time.Second), "summary"); err != nil {
		t.Errorf("reads need no switch: %v", err)
	}
}

// TestRefusal: the machine's own words come through, and nothing is sent twice but
// what a new token may mend.
func TestRefusal(t *testing.T) {
	m := devicetest.NewWhatsminer(t, password)
	m.Refuse()
	_, err := whatsminer.NewV2(m.V2()).Write(within(t, 5*time.Second), "power_off", nil)
	if why := refused(t, err); !strings.Contains(why, "busy") {
		t.Error(why)
	}
	if got := m.Asked(); len(got) != 1 || m.Tokens() != 1 {
		t.Errorf("asked %q with %d tokens", got, m.Tokens())
	}
	_, err = whatsminer.NewV3(m.V3()).Write(within(t, 5*time.Second), "set.miner.service", "stop")
	if why := refused(t, err); !strings.Contains(why, "busy") {
		t.Error(why)
	}
}

// TestTokens: one token serves many commands; one that has expired is replaced
// once, without the caller seeing it; two in a row are the machine's no.
func TestTokens(t *testing.T) {
	m := devicetest.NewWhatsminer(t, password)
	c := whatsminer.NewV2(m.V2())
	for range 3 {
		if _, err := c.Write(within(t, 5*time.Second), "power_on", nil); err != nil {
			t.Fatal(err)
		}
	}
	if m.Tokens() != 1 {
		t.Errorf("%d tokens for three commands", m.Tokens())
	}
	m.ExpireTokens(1)
	if _, err := c.Write(within(t, 5*time.Second), "power_off", nil); err != nil {
		t.Errorf("with an expired token: %v", err)
	}
	if m.Tokens() != 2 || m.Power() > 100 {
		t.Errorf("%d tokens, %v", m.Tokens(), m.Power())
	}
	m.ExpireTokens(2)
	_, err := c.Write(within(t, 5*time.Second), "power_on", nil)
	if why := refused(t, err); !strings.Contains(why, "135") {
		t.Error(why)
	}
	if _, err := c.Write(within(t, 5*time.Second), "power_on", nil); err != nil {
		t.Errorf("the next command begins anew: %v", err)
	}
}

// TestTokenIsNotToBeHad: what get_token may answer instead.
func TestTokenIsNotToBeHad(t *testing.T) {
	for name, reply := range map[string]string{
		"over max": `{"STATUS":"E","When":1,"Code":136,"Msg":"over max connect","Description":""}`,
		"as a yes": `{"STATUS":"S","When":1,"Code":134,"Msg":"over max connect","Description":""}`,
		"no salt":  `{"STATUS":"S","When":1,"Code":134,"Msg":{"time":"1","newsalt":"a"}}`,
		"bad salt": `{"STATUS":"S","When":1,"Code":134,"Msg":{"time":1,"salt":"$1$","newsalt":"a"}}`,
		"cut":      `{"STATUS":"S","When":1,"Code":134,"Msg":{"ti`,
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var asked []string
			a := devicetest.Serve(t, func(command, _ string) []byte {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, command)
				return []byte(reply)
			})
			_, err := whatsminer.NewV2(a).Write(within(t, 5*time.Second), "power_off", nil)
			var no *device.RefusedError
			if err == nil || errors.As(err, &no) != (name == "over max" || name == "as a yes") {
				t.Errorf("%v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !reflect.DeepEqual(asked, []string{"get_token"}) {
				t.Errorf("asked %q", asked)
			}
		})
	}
}

func TestConcurrentCommands(t *testing.T) {
	m := devicetest.NewWhatsminer(t, password)
	c := whatsminer.NewV2(m.V2())
	if _, err := c.Write(within(t, 5*time.Second), "power_on", nil); err != nil {
		t.Fatal(err)
	}
	m.ExpireTokens(1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := c.Write(within(t, 10*time.Second), "power_on", nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if m.Tokens() != 2 {
		t.Errorf("%d tokens were asked for", m.Tokens())
	}
}

// rawV3 answers each connection with bytes as they are, after a request has come.
func rawV3(t *testing.T, answer []byte, linger bool) device.Address {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
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
				var head [4]byte
				if _, err := io.ReadFull(c, head[:]); err != nil {
					return
				}
				_, _ = io.CopyN(io.Discard, c, int64(binary.LittleEndian.Uint32(head[:])))
				_, _ = c.Write(answer)
				if linger {
					_, _ = io.Copy(io.Discard, c)
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return device.Address{Host: "127.0.0.1", APIPort: l.Addr().(*net.TCPAddr).Port}
}

// TestV3Faults: none of what a broken machine sends is taken for an answer, and
// none of it costs more than its deadline.
func TestV3Faults(t *testing.T) {
	whole := `{"code":0,"when":1692685512,"msg":"ok","desc":"x"}`
	sized := func(n uint32, s string) []byte { return append(binary.LittleEndian.AppendUint32(nil, n), s...) }
	for name, test := range map[string]struct {
		answer []byte
		linger bool
		say    string
	}{
		"closed":          {nil, false, "without a whole reply"},
		"half a length":   {[]byte{1, 0}, false, "without a whole reply"},
		"truncated":       {sized(uint32(len(whole)), whole[:20]), false, "truncated after 20 bytes"},
		"a lying length":  {sized(1<<31, whole), false, "longer than 1 MiB"},
		"silent":          {nil, true, "deadline"},
		"slow":            {sized(uint32(len(whole)), whole[:20]), true, "deadline"},
		"no JSON":         {sized(5, "<html"), false, "not JSON"},
		"no code":         {sized(2, "{}"), false, "neither yes nor no"},
		"only heartbeats": {make([]byte, 400), true, "signs of life"},
		"another's wire":  {[]byte(`{"STATUS":[{"STATUS":"E"}]}` + "\x00"), false, "longer than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patience := time.Minute // for what comes at once
			if test.say == "deadline" {
				patience = 300 * time.Millisecond
			}
			took := devicetest.OwnTime(t)
			_, err := whatsminer.NewV3(rawV3(t, test.answer, test.linger)).Read(within(t, patience), "get.device.info", nil)
			var no *device.RefusedError
			if err == nil || errors.As(err, &no) || sluice.KindOf(err) != sluice.Unavailable {
				t.Fatalf("%v", err)
			}
			if s := err.Error(); !strings.Contains(s, test.say) && !(test.say == "deadline" && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded))) {
				t.Errorf("%s", s)
			}
			if took() > 5*time.Second {
				t.Errorf("took %v", took())
			}
		})
	}
}

// TestV3Salt: an answer without a salt or a time makes no token.
func TestV3Salt(t *testing.T) {
	for name, reply := range map[string]string{
		"no salt": `{"code":0,"when":1692685512,"msg":{},"desc":"get.device.info"}`,
		"no time": `{"code":0,"msg":{"salt":"abc"},"desc":"get.device.info"}`,
	} {
		a := rawV3(t, append(binary.LittleEndian.AppendUint32(nil, uint32(len(reply))), reply...), false)
		_, err := whatsminer.NewV3(a).Write(within(t, 5*time.Second), "set.miner.service", "stop")
		if err == nil || sluice.KindOf(err) != sluice.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
