package site

import (
	"context"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/device"
)

// SensorSpec is something that tells values by which nothing is controlled: a
// UPS, a thermometer, the voltages of a meter.
type SensorSpec struct {
	Name, Node string // of the power tree, where it stands; may be empty
	Device     device.Sensor
}

// Sensor is what a sensor told last.
type Sensor struct {
	Name   string        `json:"name"`
	Node   string        `json:"node,omitempty"`
	At     *time.Time    `json:"at,omitempty"` // of the newest answer, site time
	Stale  bool          `json:"stale"`        // older than readings may be, or never heard of
	Error  string        `json:"error,omitempty"`
	Values []SensorValue `json:"values"`
}

// SensorValue is one value of a sensor.
type SensorValue struct {
	Name     string          `json:"name"`
	Quantity device.Quantity `json:"quantity"`
	Value    float64         `json:"value"`
	Unit     string          `json:"unit"`
	AgeS     float64         `json:"age_s"` // when it was told, since it was measured
}

// sensor is a sensor at run time.
type sensor struct {
	spec  SensorSpec
	at    time.Time
	err   error
	fails int
	last  device.Sense
}

// sensorSubject begins the subject of each alarm of a sensor's, so that what it
// no longer complains of can be told from the alarms of others.
const sensorSubject = "sensor/"

// buildSensors makes the sensors of the options.
func (s *Site) buildSensors() error {
	seen := map[string]bool{}
	for _, x := range s.o.Sensors {
		if seen[x.Name] {
			return sluice.Errorf(sluice.Invalid, "", "sensor %s is there twice", x.Name)
		}
		if x.Node != "" && s.nodeBy[x.Node] == nil {
			return sluice.Errorf(sluice.Invalid, "", "sensor %s stands at an unknown node %s", x.Name, x.Node)
		}
		seen[x.Name] = true
		s.sensors = append(s.sensors, &sensor{spec: x})
	}
	return nil
}

// Sense asks all sensors and waits for the answers; a silent one costs its own
// deadline and nobody else's. now tells the site time of an answer.
func (s *Site) Sense(ctx context.Context, now func() time.Time) {
	var wg sync.WaitGroup
	for _, x := range s.sensors {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, sensorTimeout)
			defer cancel()
			told, err := x.spec.Device.Sense(ctx)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.sensed(x, told, err, now())
		})
	}
	wg.Wait()
}

// sensorTimeout is the wall time that an answer may take, and silentAfter how
// many in a row may fail.
const (
	sensorTimeout = 5 * time.Second
	silentAfter   = 3
)

// sensed takes in an answer. The caller holds s.mu.
func (s *Site) sensed(x *sensor, told device.Sense, err error, at time.Time) {
	subject := sensorSubject + x.spec.Name
	if err != nil {
		x.err = err
		x.fails++
		if x.fails == silentAfter {
			s.alarm(at, sluice.Warning, "sensor-silent", subject, "does not answer: "+err.Error(), "look at its network and power, and at its entry under sensors")
		}
		return
	}
	x.at, x.err, x.fails, x.last = at, nil, 0, told
	wrong := map[string]bool{}
	for _, t := range told.Troubles {
		wrong[t.Name] = true
		s.alarm(at, t.Severity, t.Name, subject, t.Text, t.Hint)
	}
	for _, a := range s.openAlarms() {
		if a.Subject == subject && !wrong[a.Name] {
			s.clearAlarm(at, a.Name, a.Subject)
		}
	}
}

// RunSensors asks all sensors again and again until ctx ends, once in each period
// of wall time.
func (s *Site) RunSensors(ctx context.Context, now func() time.Time, period time.Duration) {
	if len(s.sensors) == 0 {
		return
	}
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		s.Sense(ctx, now)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// sensorViews is what people see of the sensors. The caller holds s.mu.
func (s *Site) sensorViews(now time.Time) []Sensor {
	out := []Sensor{}
	for _, x := range s.sensors {
		v := Sensor{Name: x.spec.Name, Node: x.spec.Node, Stale: x.at.IsZero() || now.Sub(x.at) > s.o.MaxReadingAge, Values: []SensorValue{}}
		if !x.at.IsZero() {
			at := x.at.UTC()
			v.At = &at
		}
		if x.err != nil {
			v.Error = x.err.Error()
		}
		for _, y := range x.last.Samples {
			unit, _ := y.Quantity.Unit()
			v.Values = append(v.Values, SensorValue{Name: y.Name, Quantity: y.Quantity, Value: y.Value, Unit: unit, AgeS: y.Age.Seconds()})
		}
		out = append(out, v)
	}
	return out
}

// hasSensor says whether an alarm's subject is a sensor that is still there.
func (s *Site) hasSensor(subject string) bool {
	name, ok := strings.CutPrefix(subject, sensorSubject)
	if !ok {
		return false
	}
	for _, x := range s.sensors {
		if x.spec.Name == name {
			return true
		}
	}
	return false
}
