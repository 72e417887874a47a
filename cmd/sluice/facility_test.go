package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/broker"
	"sluice/device"
	"sluice/device/devicetest"
	"sluice/site"
)

// A configuration with every driver of devices makes its parts; what is switched,
// measured and sensed is of the right kind.
func TestFacilityOfAConfiguration(t *testing.T) {
	m := devicetest.StartMosquitto(t)
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("pw", "hunter2\n")
	write("key", "hunter2-hunter2\n")
	write("mine.yaml", "kind: holding\nregisters:\n  - {name: power, address: 1, type: u32, quantity: power}\n")
	text := fmt.Sprintf(`
site: {name: hall}
nodes:
  - {name: grid, limit: 1MW}
  - {name: rack-1, parent: grid}
  - {name: rack-2, parent: grid}
  - {name: rack-3, parent: grid}
  - {name: rack-4, parent: grid}
devices:
  - {name: pdu, driver: snmp, address: 127.0.0.1, map: apc-rpdu2, community: file:pw}
  - {name: pdu3, driver: snmp, address: "127.0.0.1:1161", map: eaton-epdu, user: op, password: file:key, privacy_key: file:key}
  - {name: bmc, driver: redfish, address: "127.0.0.1:1", tls: insecure}
  - {name: broker, driver: mqtt, address: "127.0.0.1:%d", user: operator, password: file:pw, fingerprint: "%s"}
  - {name: ups, driver: nut, address: 127.0.0.1, ups: rack}
  - {name: main, driver: modbus, address: "127.0.0.1:1", map: ./mine.yaml, scale: -2}
meters:
  - {node: grid, device: main}
  - {node: rack-1, device: pdu, outlet: 3}
  - {node: rack-2, device: broker, topic: rack/2/power, path: w, in: kW}
  - {node: rack-3, device: bmc}
  - {node: rack-4, address: "127.0.0.1:1", map: eastron-sdm630, scale: 100}
sensors:
  - {name: ups, device: ups}
  - {name: inlet, device: broker, topic: hall/temp, quantity: temperature}
  - {name: volts, device: main}
classes:
  - {name: s21, node: rack-1, outlet_after: 3, modes: [{name: sleep, power: 15W}, {name: mine, power: 3500W, hashrate_ths: 200}]}
machines:
  - {name: a-, class: s21, driver: luxos, address: 127.0.0.1-127.0.0.3, outlet: pdu/7}
  - {name: b, class: s21, driver: luxos, address: 127.0.0.9, outlet: bmc}
feeds:
  - {name: price, type: constant, values: {real_time_usd_per_mwh: 30}}
  - {name: dso, type: mqtt, device: broker, topic: dso/limit}
publish: {device: broker, prefix: site/hall, every: 1s}
`, m.TLS, m.Certificate.Fingerprint)
	write("sluice.yaml", text)
	c, err := loadConfig(filepath.Join(dir, "sluice.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := realParts(c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	var kinds []string
	for _, n := range p.options.Nodes {
		kinds = append(kinds, fmt.Sprintf("%T", n.Meter))
	}
	for _, s := range p.options.Sensors {
		kinds = append(kinds, fmt.Sprintf("%T", s.Device))
	}
	want := "*modbus.Meter *snmp.Outlet *mqtt.Value *device.slow *modbus.Meter *nut.UPS *mqtt.Value *modbus.Meter"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, x := range p.options.Miners {
		if x.Outlet == nil {
			t.Errorf("%s has no outlet", x.Name)
		}
	}
	if p.options.Classes[0].OutletAfter != 3 {
		t.Errorf("%+v", p.options.Classes[0])
	}
	f, err := newFacility(c)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for i, x := range c.ExpandMachines() {
		if want := []string{"pdu/7", "pdu/8", "pdu/9", "bmc"}[i]; x.Outlet != want {
			t.Errorf("%s is plugged into %s, want %s", x.Name, x.Outlet, want)
		}
		if o, err := f.outlet(x.Outlet); err != nil || o == nil {
			t.Errorf("%s: %v", x.Outlet, err)
		}
	}
	if o, err := f.outlet(""); o != nil || err != nil {
		t.Errorf("%v, %v", o, err)
	}
	// What stands under a topic reaches the node's meter and the feed of orders.
	speak, err := broker.Dial(broker.Options{Address: device.Address{Host: "127.0.0.1", APIPort: m.Plain, User: "operator", Password: "hunter2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer speak.Close()
	ctx := t.Context()
	m.Until("the meter's and the feed's message", func() bool {
		_ = speak.Publish(ctx, "rack/2/power", []byte(`{"w": 12.5}`))
		_ = speak.Publish(ctx, "dso/limit", []byte("640"))
		r, err := p.options.Nodes[2].Meter.Read(ctx)
		_ = p.options.Feeds.Refresh(ctx, time.Now())
		orders := p.options.Feeds.Orders(time.Now())
		return err == nil && r.Power == 12_500 && len(orders) == 1 && orders[0].LimitKW == 640
	})
	for _, s := range p.options.Feeds.Status(time.Now()) {
		if s.Name == "dso" && s.Error != "" {
			t.Errorf("%+v", s)
		}
	}
	// A mistake in a map is named with its place, before anything runs.
	write("mine.yaml", "kind: holding\nregisters:\n  - {name: power, address: 1, type: u33, quantity: power}\n")
	if _, err := loadConfig(filepath.Join(dir, "sluice.yaml")); err == nil || !strings.Contains(err.Error(), "mine.yaml:3:37: ") {
		t.Errorf("a broken map: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "pw")); err != nil {
		t.Fatal(err)
	}
	if _, err := newFacility(c); err == nil || !strings.Contains(err.Error(), "device pdu: ") {
		t.Errorf("a secret that is not there: %v", err)
	}
}

func TestAnnounce(t *testing.T) {
	m := devicetest.StartMosquitto(t)
	a := device.Address{Host: "127.0.0.1", APIPort: m.Plain, User: "operator", Password: "hunter2"}
	dial := func(online string) *broker.Conn {
		c, err := broker.Dial(broker.Options{Address: a, Online: online})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		m.Until("connected", func() bool { return c.Err() == nil })
		return c
	}
	b, listener := dial("hall/online"), dial("")
	st := site.Status{
		Now: time.Now().UTC(), Mode: "observe", LoadKW: 512.5, LoadSource: sluice.SourceMeter, LimitKW: 640, MiningKW: 400,
		Nodes: []site.Node{{Name: "grid", LoadKW: 512.5}}, Balance: []site.PowerBalance{{Node: "grid", MeterKW: 512.5, ResidualKW: 12.5}},
		Alarms: []site.Alarm{{Name: "meter-silent"}}, Curtailments: []site.Curtailment{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		announce(ctx, b, "hall", 50*time.Millisecond, func() site.Status { return st }, slog.New(slog.DiscardHandler))
	}()
	read := func(topic string) map[string]any {
		t.Helper()
		x, err := listener.Watch(topic, nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Until("told "+topic, func() bool { _, ok := x.Last(); return ok })
		msg, _ := x.Last()
		var v any
		if err := json.Unmarshal(msg.Payload, &v); err != nil {
			t.Fatalf("%s: %v: %s", topic, err, msg.Payload)
		}
		if o, ok := v.(map[string]any); ok {
			return o
		}
		return map[string]any{"": v}
	}
	if s := read("hall/status"); s["load_kw"] != 512.5 || s["limit_kw"] != 640.0 || s["open_alarms"] != 1.0 || s["load_source"] != "meter" {
		t.Errorf("%v", s)
	}
	if s := read("hall/balance/grid"); s["residual_kw"] != 12.5 {
		t.Errorf("%v", s)
	}
	if s := read("hall/nodes/grid"); s["load_kw"] != 512.5 {
		t.Errorf("%v", s)
	}
	if s := read("hall/alarms"); len(s[""].([]any)) != 1 {
		t.Errorf("%v", s)
	}
	if s := read("hall/online"); s[""] != 1.0 {
		t.Errorf("%v", s)
	}
	cancel()
	<-done
}

// A glance shows where the power goes and what sensors tell, and only so many.
func TestStatusShowsTheFacility(t *testing.T) {
	st := site.Status{
		Balance: []site.PowerBalance{{Node: "grid", MeterKW: 1000, MiningKW: 700, AIKW: 200, CoolingLossesKW: 60, ResidualKW: 40}},
		Sensors: []site.Sensor{
			{Name: "ups", Values: []site.SensorValue{{Name: "battery.charge", Value: 98, Unit: "%"}}},
			{Name: "inlet", Stale: true},
		},
	}
	for len(st.Balance) < 20 {
		st.Balance = append(st.Balance, site.PowerBalance{Node: "more"})
	}
	var b strings.Builder
	writeFacility(&b, st, false)
	got := b.String()
	for _, want := range []string{"at grid = mining " + mw(700), "residual " + mw(40), "ups: battery.charge 98.0 %", "inlet: stale "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if n := strings.Count(got, "residual"); n != fewMeters {
		t.Errorf("%d balances:\n%s", n, got)
	}
}
