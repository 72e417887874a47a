package site_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/site"
)

// ups is a sensor that tells what it is told to.
type ups struct {
	mu    sync.Mutex
	sense device.Sense
	err   error
}

func (u *ups) set(s device.Sense, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sense, u.err = s, err
}

func (u *ups) Sense(context.Context) (device.Sense, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.sense, u.err
}

// stuck answers only when its time is up.
type stuck struct{}

func (stuck) Sense(ctx context.Context) (device.Sense, error) {
	<-ctx.Done()
	return device.Sense{}, ctx.Err()
}

func TestSensors(t *testing.T) {
	u := &ups{}
	w := newWorld(t, worldSpec{miners: 2, limit: sluice.Megawatt, sensors: []site.SensorSpec{{Name: "ups", Node: "a", Device: u}}})
	look := func() site.Sensor {
		t.Helper()
		w.site.Sense(context.Background(), w.clock)
		w.run(30*time.Second, 15*time.Second)
		if n := len(w.site.Status().Sensors); n != 1 {
			t.Fatalf("%d sensors", n)
		}
		return w.site.Status().Sensors[0]
	}
	u.set(device.Sense{Samples: []device.Sample{{Name: "battery.charge", Quantity: device.Charge, Value: 98, Age: 3 * time.Second}}}, nil)
	s := look()
	if s.Stale || s.Error != "" || s.Node != "a" || len(s.Values) != 1 || s.Values[0] != (site.SensorValue{Name: "battery.charge", Quantity: device.Charge, Value: 98, Unit: "%", AgeS: 3}) {
		t.Errorf("%+v", s)
	}
	onBattery := device.Trouble{Name: "ups-on-battery", Severity: sluice.Critical, Text: "stands on its battery"}
	low := device.Trouble{Name: "ups-low-battery", Severity: sluice.Critical, Text: "is low"}
	u.set(device.Sense{Troubles: []device.Trouble{onBattery, low}}, nil)
	look()
	if !hasAlarm(w, "ups-on-battery") || !hasAlarm(w, "ups-low-battery") {
		t.Errorf("%+v", w.site.Status().Alarms)
	}
	// What it no longer complains of ends, and only that; a silent sensor ends
	// nothing.
	u.set(device.Sense{Troubles: []device.Trouble{onBattery}}, nil)
	look()
	u.set(device.Sense{}, errors.New("no route"))
	for range 4 {
		s = look()
	}
	if !hasAlarm(w, "ups-on-battery") || hasAlarm(w, "ups-low-battery") || !hasAlarm(w, "sensor-silent") || s.Error == "" {
		t.Errorf("%+v, %+v", w.site.Status().Alarms, s)
	}
	w.run(11*time.Minute, time.Minute)
	if s := w.site.Status().Sensors[0]; !s.Stale {
		t.Errorf("%+v is not stale after 11 minutes", s)
	}
	w.crash() // its alarms stand, as it is still there
	if !hasAlarm(w, "ups-on-battery") {
		t.Errorf("%+v", w.site.Status().Alarms)
	}
	u.set(device.Sense{}, nil)
	look()
	if as := w.site.Status().Alarms; len(as) != 0 {
		t.Errorf("all is well: %+v", as)
	}
	u.set(device.Sense{Troubles: []device.Trouble{onBattery}}, nil)
	look()
	w.spec.sensors = nil
	w.crash() // it is gone, and nothing else would end its alarm
	w.run(30*time.Second, 15*time.Second)
	if hasAlarm(w, "ups-on-battery") {
		t.Error("the alarm of a sensor that is gone stays")
	}
}

// A sensor that hangs holds up neither the loop nor another sensor.
func TestStuckSensor(t *testing.T) {
	u := &ups{}
	u.set(device.Sense{Samples: []device.Sample{{Name: "t", Quantity: device.Temperature, Value: 20}}}, nil)
	w := newWorld(t, worldSpec{miners: 2, limit: sluice.Megawatt, sensors: []site.SensorSpec{{Name: "stuck", Device: stuck{}}, {Name: "ups", Device: u}}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.site.RunSensors(ctx, w.clock, time.Hour) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(90 * time.Second)
	for len(w.site.Status().Sensors[1].Values) == 0 {
		select {
		case <-late:
			t.Fatal("the other one is not heard")
		case <-tick.C:
		}
		w.run(time.Second, time.Second)
	}
	cancel()
	<-done
	if s := w.site.Status().Sensors[0]; !s.Stale || s.At != nil {
		t.Errorf("%+v", s)
	}
}
