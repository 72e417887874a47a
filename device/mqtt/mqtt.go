// Package mqtt reads values that meters, thermometers and other systems publish
// under a topic of an MQTT broker: a plain number, or a number within JSON.
package mqtt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"sluice"
	"sluice/broker"
	"sluice/device"
)

// DefaultMaxAge is the age above which a message counts as silence.
const DefaultMaxAge = time.Minute

// Options describe one value.
type Options struct {
	Name     string // of the sample; empty: the topic's last part
	Topic    string
	Path     string          // within JSON, such as power.total or phases[0].w; empty: the message is the number
	Quantity device.Quantity // empty: power
	Unit     string          // that the message is in; empty: the quantity's own
	Scale    float64         // by which it is multiplied; 0: 1
	MaxAge   time.Duration   // 0: DefaultMaxAge
	Now      func() time.Time
}

// Value is one value of a topic.
type Value struct {
	o     Options
	path  []string
	scale float64
	topic *broker.Topic
}

var (
	_ device.Meter  = (*Value)(nil)
	_ device.Sensor = (*Value)(nil)
)

// New watches the value. The connection is the caller's, who closes it.
func New(c *broker.Conn, o Options) (*Value, error) {
	if o.Quantity == "" {
		o.Quantity = device.Power
	}
	if o.Scale == 0 {
		o.Scale = 1
	}
	if o.MaxAge <= 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Name == "" {
		o.Name = o.Topic[strings.LastIndex(o.Topic, "/")+1:]
	}
	if _, ok := o.Quantity.Unit(); !ok {
		return nil, sluice.Errorf(sluice.Invalid, "", "%q is no quantity", o.Quantity)
	}
	f, ok := o.Quantity.Factor(o.Unit)
	if !ok {
		return nil, sluice.Errorf(sluice.Invalid, "", "%q is no unit of %s", o.Unit, o.Quantity)
	}
	path, err := parsePath(o.Path)
	if err != nil {
		return nil, err
	}
	t, err := c.Watch(o.Topic, nil)
	if err != nil {
		return nil, err
	}
	return &Value{o: o, path: path, scale: f * o.Scale, topic: t}, nil
}

// Read returns the newest value as the power that flows into a node. A message
// that the broker kept from before, or one that is too old, is none: how old the
// former is nobody knows.
func (v *Value) Read(ctx context.Context) (sluice.Reading, error) {
	if v.o.Quantity != device.Power {
		return sluice.Reading{}, sluice.Errorf(sluice.Invalid, "", "the topic %s tells %s, not power", v.o.Topic, v.o.Quantity)
	}
	x, _, err := v.newest(ctx)
	if err != nil {
		return sluice.Reading{}, err
	}
	return sluice.Reading{Power: sluice.Watts(math.Round(x)), HasPower: true, PowerSource: sluice.SourceMeter}, nil
}

// Sense returns the newest value with its age.
func (v *Value) Sense(ctx context.Context) (device.Sense, error) {
	x, age, err := v.newest(ctx)
	if err != nil {
		return device.Sense{}, err
	}
	return device.Sense{Samples: []device.Sample{{Name: v.o.Name, Quantity: v.o.Quantity, Value: x, Age: age}}}, nil
}

func (v *Value) newest(ctx context.Context) (x float64, age time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, v.fail(err)
	}
	m, ok := v.topic.Last()
	age = v.o.Now().Sub(m.At)
	switch {
	case !ok, m.Retained, age > v.o.MaxAge:
		// Where nothing can be heard the age says less than why.
		if err := v.topic.Err(); err != nil {
			return 0, 0, v.fail(err)
		}
		if ok && !m.Retained {
			return 0, 0, v.fail(fmt.Errorf("the newest message is %s old", age.Round(time.Second)))
		}
		return 0, 0, v.fail(fmt.Errorf("there was no message yet"))
	}
	x, err = number(m.Payload, v.path)
	if err != nil {
		return 0, 0, v.fail(err)
	}
	if x *= v.scale; math.IsNaN(x) || math.Abs(x) > 1e15 {
		return 0, 0, v.fail(fmt.Errorf("its value makes no sense"))
	}
	return x, max(age, 0), nil
}

func (v *Value) fail(err error) error {
	return &sluice.Error{Kind: sluice.Unavailable, Msg: "the topic " + v.o.Topic, Cause: err}
}

// parsePath takes a path apart: names with dots between them, numbers of list
// items in brackets or as names, with or without $ at its beginning.
func parsePath(s string) ([]string, error) {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "$"), ".")
	if s == "" {
		return nil, nil
	}
	parts := strings.Split(strings.NewReplacer("[", ".", "]", "").Replace(s), ".")
	for i, p := range parts {
		if p == "" && i == 0 && strings.HasPrefix(s, "[") {
			continue
		}
		if p == "" {
			return nil, sluice.Errorf(sluice.Invalid, "write it as power.total or phases[0].w", "%q is no path into JSON", s)
		}
	}
	if parts[0] == "" {
		parts = parts[1:]
	}
	return parts, nil
}

// number reads the number at the path.
func number(payload []byte, path []string) (float64, error) {
	if len(path) == 0 {
		x, err := strconv.ParseFloat(strings.TrimSpace(string(payload[:min(len(payload), 64)])), 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return 0, fmt.Errorf("%.40q is no number", payload)
		}
		return x, nil
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var at any
	if err := d.Decode(&at); err != nil {
		return 0, fmt.Errorf("%.40q is no JSON", payload)
	}
	if _, err := d.Token(); err != io.EOF {
		return 0, fmt.Errorf("%.40q is more than one piece of JSON", payload)
	}
	for _, p := range path {
		switch x := at.(type) {
		case map[string]any:
			at = x[p]
		case []any:
			i, err := strconv.Atoi(p)
			if err != nil || i < 0 || i >= len(x) {
				return 0, fmt.Errorf("there is no %s in the message", strings.Join(path, "."))
			}
			at = x[i]
		default:
			return 0, fmt.Errorf("there is no %s in the message", strings.Join(path, "."))
		}
	}
	var text string
	switch x := at.(type) {
	case json.Number:
		text = string(x)
	case string:
		text = strings.TrimSpace(x)
	case nil:
		return 0, fmt.Errorf("there is no %s in the message", strings.Join(path, "."))
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("%s in the message is no number", strings.Join(path, "."))
	}
	return x, nil
}
