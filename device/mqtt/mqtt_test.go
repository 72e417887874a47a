package mqtt

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/broker"
	"sluice/device"
	"sluice/device/devicetest"
)

func within(t testing.TB, d time.Duration) context.Context {
	c, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return c
}

// clock is a time that the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func TestMosquitto(t *testing.T) {
	m := devicetest.StartMosquitto(t)
	cl := &clock{t: time.Now()}
	dial := func() *broker.Conn {
		c, err := broker.Dial(broker.Options{Address: device.Address{Host: "127.0.0.1", APIPort: m.TLS, User: "operator", Password: "hunter2"}, TLS: &device.TLS{Fingerprint: m.Certificate.Fingerprint}, Now: cl.now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		m.Until("connected", func() bool { return c.Err() == nil })
		return c
	}
	speaker := dial()
	say := func(topic, payload string) {
		t.Helper()
		if err := speaker.Publish(within(t, 5*time.Second), topic, []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	say("hall/power", "1") // kept by the broker from before
	conn := dial()
	value := func(o Options) *Value {
		t.Helper()
		o.Now = cl.now
		v, err := New(conn, o)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	plain := value(Options{Topic: "hall/power", Unit: "kW", Scale: -2})
	inside := value(Options{Topic: "meter", Path: "$.phases[1].w"})
	temp := value(Options{Topic: "hall/inlet/temp", Quantity: device.Temperature})
	_, err := plain.Read(within(t, time.Second))
	if err == nil || sluice.KindOf(err) != sluice.Unavailable || !strings.Contains(err.Error(), "hall/power") {
		t.Errorf("before any message: %v", err)
	}
	m.Until("subscribed", func() bool {
		_ = speaker.Publish(within(t, time.Second), "hall/power", []byte(" 12.5\n"))
		r, err := plain.Read(within(t, time.Second))
		return err == nil && r.Power == -25_000 && r.HasPower && r.PowerSource == sluice.SourceMeter
	})
	say("meter", `{"phases":[{"w":1},{"w":"2345.6"}],"x":"hunter2"}`)
	say("hall/inlet/temp", "21.5")
	m.Until("heard", func() bool {
		r, err := inside.Read(within(t, time.Second))
		s, terr := temp.Sense(within(t, time.Second))
		return err == nil && terr == nil && r.Power == 2346 && len(s.Samples) == 1 && s.Samples[0].Value == 21.5 && s.Samples[0].Name == "temp"
	})
	if _, err := temp.Read(within(t, time.Second)); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("a temperature as power: %v", err)
	}
	cl.move(40 * time.Second)
	if s, err := temp.Sense(within(t, time.Second)); err != nil || s.Samples[0].Age != 40*time.Second {
		t.Errorf("%+v, %v", s, err)
	}
	cl.move(30 * time.Second)
	if _, err := inside.Read(within(t, time.Second)); err == nil || !strings.Contains(err.Error(), "1m10s old") {
		t.Errorf("an old message: %v", err)
	}
	for _, bad := range []string{"", "none", `{"phases":[]}`, `{"phases":{}}`, `{"phases":[0,{"w":null}]}`, `{"phases":[0,{"w":"NaN"}]}`, `{"phases":[0,{"w":true}]}`, `{"phases":[0,{"w":1}]} x`, "[" + strings.Repeat("[", 5000)} {
		say("meter", bad)
		m.Until("refused "+bad[:min(len(bad), 20)], func() bool {
			x, _ := inside.topic.Last()
			return string(x.Payload) == bad
		})
		if r, err := inside.Read(within(t, time.Second)); err == nil || r.HasPower || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.30q: %+v, %v", bad, r, err)
		}
	}
	// The broker dies: what it said holds until it is too old, then the reason is told.
	say("hall/power", "7")
	m.Until("heard", func() bool { r, err := plain.Read(within(t, time.Second)); return err == nil && r.Power == -14_000 })
	m.Stop()
	cl.move(2 * time.Minute)
	if _, err := plain.Read(within(t, time.Second)); err == nil {
		t.Error("a dead broker's value lives for ever")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := plain.Sense(ctx); err == nil {
		t.Error("a cancelled context")
	}
	for name, o := range map[string]Options{
		"quantity": {Topic: "x", Quantity: "volume"}, "unit": {Topic: "x", Unit: "kV"}, "path": {Topic: "x", Path: "a..b"}, "topic": {Topic: "a/#"}, "empty": {},
	} {
		if _, err := New(conn, o); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzNumber(f *testing.F) {
	f.Add([]byte("12.5"), "")
	f.Add([]byte(`{"a":[1,{"b":"2"}]}`), "a[1].b")
	f.Add([]byte(`{"a":1e999}`), "$.a")
	f.Add([]byte(`{"":1}`), "$")
	f.Fuzz(func(t *testing.T, payload []byte, path string) {
		p, err := parsePath(path)
		if err != nil {
			return
		}
		if x, err := number(payload, p); err == nil && (math.IsNaN(x) || math.IsInf(x, 0)) {
			t.Errorf("%v", x)
		}
	})
}
