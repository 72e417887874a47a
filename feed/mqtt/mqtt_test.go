package mqtt

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/broker"
	"sluice/device"
	"sluice/device/devicetest"
	"sluice/feed"
	"sluice/feed/feedtest"
)

var t0 = time.Date(2026, 1, 31, 17, 0, 0, 0, time.UTC)

func within(t testing.TB, d time.Duration) context.Context {
	c, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return c
}

func TestMosquitto(t *testing.T) {
	m := devicetest.StartMosquitto(t)
	dial := func() *broker.Conn {
		c, err := broker.Dial(broker.Options{Address: device.Address{Host: "127.0.0.1", APIPort: m.Plain, User: "operator", Password: "hunter2"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	conn, speaker := dial(), dial()
	s, err := New(conn, Options{Topic: "dso/limit"})
	if err != nil {
		t.Fatal(err)
	}
	m.Until("connected", func() bool { return conn.Err() == nil && speaker.Err() == nil })
	orders := func() []feed.Order {
		t.Helper()
		out, err := s.FetchOrders(within(t, time.Second), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if n := len(orders()); n != 0 {
		t.Errorf("%d orders before any message", n)
	}
	m.Until("the first order", func() bool {
		_ = speaker.Publish(within(t, time.Second), "dso/limit", []byte("1500"))
		got := orders()
		return len(got) == 1 && got[0].LimitKW == 1500 && got[0].Node == ""
	})
	feedtest.Contract(t, s, time.Now())
	// A source that starts while an order stands hears of it.
	late, err := New(dial(), Options{Topic: "dso/limit"})
	if err != nil {
		t.Fatal(err)
	}
	m.Until("the order is kept for those who come late", func() bool {
		got, _ := late.FetchOrders(within(t, time.Second), time.Now())
		return len(got) == 1 && got[0].LimitKW == 1500
	})
	id := orders()[0].ID
	say := func(payload string, ok func([]feed.Order, error) bool) {
		t.Helper()
		if err := speaker.Publish(within(t, 5*time.Second), "dso/limit", []byte(payload)); err != nil {
			t.Fatal(err)
		}
		m.Until("the message "+payload, func() bool { return ok(s.FetchOrders(within(t, time.Second), time.Now())) })
	}
	say("1200.5", func(o []feed.Order, err error) bool {
		return err == nil && len(o) == 1 && o[0].LimitKW == 1200.5 && o[0].ID == id // it goes on
	})
	say("{broken", func(o []feed.Order, err error) bool {
		return err != nil && strings.Contains(err.Error(), "dso/limit") && len(o) == 1 && o[0].LimitKW == 1200.5
	})
	say("off", func(o []feed.Order, err error) bool { return err == nil && o != nil && len(o) == 0 })
	say("0", func(o []feed.Order, err error) bool {
		return err == nil && len(o) == 1 && o[0].LimitKW == 0 && o[0].ID != id
	})
	// The broker dies: what it ordered holds, and the feed says why it hears nothing.
	m.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; conn.Err() == nil; n++ {
		if n > 400 {
			t.Fatal("the end of the broker is not noticed")
		}
		<-tick.C
	}
	if o, err := s.FetchOrders(within(t, time.Second), time.Now()); err == nil || len(o) != 1 {
		t.Errorf("%v, %v", o, err)
	}
	if o, _ := s.FetchOrders(within(t, time.Second), time.Now().Add(time.Hour)); len(o) != 0 {
		t.Errorf("an order without an end outlives its hold: %v", o)
	}
}

func TestParse(t *testing.T) {
	opt := Options{Topic: "dso", Node: "hall", Hold: 15 * time.Minute}
	for text, want := range map[string][]feed.Order{
		"1500":              {{Node: "hall", LimitKW: 1500, From: t0, To: t0.Add(15 * time.Minute)}},
		`{"limit_kw": 0}`:   {{Node: "hall", From: t0, To: t0.Add(15 * time.Minute)}},
		`{"limit_kw":"12"}`: {{Node: "hall", LimitKW: 12, From: t0, To: t0.Add(15 * time.Minute)}},
		`{"id":"x","limit_kw":7,"node":"b","until":"2026-01-31T18:00:00Z"}`: {{ID: "x", Node: "b", LimitKW: 7, From: t0, To: t0.Add(time.Hour)}},
		`[{"id":"x","limit_kw":7,"from":"2026-02-01T01:00:00+01:00","to":"2026-02-01T02:00:00Z"},{"id":"y","limit_kw":8}]`: {
			{ID: "x", Node: "hall", LimitKW: 7, From: t0.Add(7 * time.Hour), To: t0.Add(9 * time.Hour)}, {ID: "y", Node: "hall", LimitKW: 8, From: t0, To: t0.Add(15 * time.Minute)},
		},
		"": nil, " off ": nil, "null": nil, "{}": nil, "[]": nil,
	} {
		got, err := parse([]byte(text), opt, t0)
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %+v, %v", text, got, err)
			continue
		}
		for i := range got {
			w := want[i]
			w.Published, w.Origin = t0, "mqtt topic dso"
			if got[i] != w {
				t.Errorf("%s: %+v, want %+v", text, got[i], w)
			}
		}
	}
	for _, bad := range []string{
		"-1", "NaN", "inf", "1500 kW", "1e10", `"1500"`, "true", `{"limit":5}`, `{"limit_kw":-5}`, `{"limit_kw":5,"until":"tomorrow"}`,
		`{"limit_kw":5,"until":"2026-01-31T16:00:00Z"}`, `{"limit_kw":5,"from":"2026-01-31T18:00:00Z","to":"2026-01-31T17:30:00Z"}`,
		`{"limit_kw":5,"until":"2026-01-31T18:00:00Z","to":"2026-01-31T18:00:00Z"}`, `[{"limit_kw":5},{"limit_kw":6}]`, `[{"id":"a","limit_kw":5},{"id":"a","limit_kw":6}]`,
		`{"limit_kw":5} {}`, `[1]`, `{"node":"b"}`, "[" + strings.Repeat(`{"limit_kw":1},`, 200) + `{"limit_kw":1}]`,
	} {
		if got, err := parse([]byte(bad), opt, t0); err == nil {
			t.Errorf("%s is %+v", bad, got)
		}
	}
}

// Messages that go on with an order keep its ID, so that the site follows it; a
// new one after the end is a new order, which the site obeys anew.
func TestOneOrderAfterAnother(t *testing.T) {
	c, err := broker.Dial(broker.Options{Address: device.Address{Host: "127.0.0.1", APIPort: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := New(c, Options{Topic: "t/x"})
	if err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration, payload string) feed.Order {
		t.Helper()
		s.take(broker.Message{Payload: []byte(payload), At: t0.Add(d)})
		got, _ := s.FetchOrders(context.Background(), t0.Add(d))
		if len(got) != 1 {
			t.Fatalf("%s gives %v", payload, got)
		}
		return got[0]
	}
	a := at(0, "1000")
	if strings.ContainsAny(a.ID, "/ ?#") || !strings.HasPrefix(a.ID, "mqtt-t.x--") {
		t.Errorf("the ID %q cannot stand in a path", a.ID)
	}
	b := at(10*time.Minute, "900")
	if b.ID != a.ID || !b.From.Equal(a.From) || !b.To.Equal(t0.Add(25*time.Minute)) || b.LimitKW != 900 {
		t.Errorf("%+v after %+v", b, a)
	}
	if c := at(30*time.Minute, "800"); c.ID == a.ID || !c.From.Equal(t0.Add(30*time.Minute)) {
		t.Errorf("%+v goes on with %+v, which was over", c, a)
	}
	if d := at(31*time.Minute, `{"limit_kw":5,"node":"b"}`); d.ID == a.ID || d.Node != "b" {
		t.Errorf("%+v", d)
	}
	// What the broker gives again after a break prolongs nothing; a new message does.
	before := at(40*time.Minute, "700")
	s.take(broker.Message{Payload: []byte("700"), At: t0.Add(50 * time.Minute), Retained: true})
	if got, _ := s.FetchOrders(context.Background(), t0.Add(51*time.Minute)); len(got) != 1 || !got[0].To.Equal(before.To) {
		t.Errorf("%v after %v", got, before)
	}
	if got := at(52*time.Minute, "700"); !got.To.After(before.To) || got.ID != before.ID {
		t.Errorf("%v after %v", got, before)
	}
	if _, err := New(c, Options{Topic: "t/x"}); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("two feeds of a topic: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"1500", "off", `{"limit_kw":5,"until":"2026-01-31T18:00:00Z"}`, `[{"id":"a","limit_kw":5}]`, "[", "{", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parse(b, Options{Topic: "t", Hold: time.Minute}, t0)
		if err != nil && got != nil {
			t.Errorf("both %v and %v", got, err)
		}
		for _, o := range got {
			if !o.From.Before(o.To) || o.LimitKW < 0 || math.IsNaN(o.LimitKW) || o.Origin == "" {
				t.Errorf("%+v", o)
			}
		}
	})
}
