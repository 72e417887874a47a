package nut

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"sluice"
	"sluice/device"
)

// samples are the variables that are told as samples, with the names of NUT.
var samples = []struct {
	name     string
	quantity device.Quantity
}{
	{"ups.realpower", device.Power},
	{"ups.power", device.ApparentPower},
	{"ups.load", device.Load},
	{"ups.temperature", device.Temperature},
	{"battery.charge", device.Charge},
	{"battery.runtime", device.Runtime},
	{"battery.voltage", device.Voltage},
	{"battery.temperature", device.Temperature},
	{"input.voltage", device.Voltage},
	{"input.frequency", device.Frequency},
	{"output.voltage", device.Voltage},
	{"output.current", device.Current},
	{"ambient.temperature", device.Temperature},
	{"ambient.humidity", device.Humidity},
}

// Read returns what the UPS carries, in watts: as it measures it, else its load in
// percent of its nominal real power. HasPower is false where it tells neither.
func (u *UPS) Read(ctx context.Context) (sluice.Reading, error) {
	vars, err := u.Vars(ctx)
	if err != nil {
		return sluice.Reading{}, err
	}
	w, ok := carries(vars)
	if !ok {
		return sluice.Reading{}, nil
	}
	return sluice.Reading{Power: sluice.Watts(math.Round(w)), HasPower: true, PowerSource: sluice.SourcePDU, Model: vars["ups.model"]}, nil
}

func carries(vars map[string]string) (float64, bool) {
	if w, ok := number(vars["ups.realpower"]); ok && w >= 0 && w <= 1e9 {
		return w, true
	}
	load, ok := number(vars["ups.load"])
	nominal, known := number(vars["ups.realpower.nominal"])
	if !ok || !known || load < 0 || load > 200 || nominal <= 0 || nominal > 1e9 {
		return 0, false
	}
	return load / 100 * nominal, true
}

// Sense returns the figures of the UPS and what is wrong with it.
func (u *UPS) Sense(ctx context.Context) (device.Sense, error) {
	vars, err := u.Vars(ctx)
	if err != nil {
		return device.Sense{}, err
	}
	return sense(vars), nil
}

func sense(vars map[string]string) device.Sense {
	var s device.Sense
	for _, x := range samples {
		if v, ok := number(vars[x.name]); ok {
			s.Samples = append(s.Samples, device.Sample{Name: x.name, Quantity: x.quantity, Value: v})
		}
	}
	status := strings.Fields(vars["ups.status"])
	is := func(flag string) bool { return slices.Contains(status, flag) }
	add := func(name string, sev sluice.Severity, text, hint string) {
		s.Troubles = append(s.Troubles, device.Trouble{Name: name, Severity: sev, Text: text, Hint: hint})
	}
	left := ""
	if c, ok := number(vars["battery.charge"]); ok {
		left = fmt.Sprintf(", charge %.0f %%", c)
	}
	if r, ok := number(vars["battery.runtime"]); ok {
		left += fmt.Sprintf(", %.0f min left", r/60)
	}
	if is("OB") {
		add("ups-on-battery", sluice.Critical, "stands on its battery"+left, "the power in front of it is gone: what it carries ends with the battery")
	}
	if is("LB") {
		add("ups-low-battery", sluice.Critical, "its battery is low"+left, "shut down in order what it carries")
	}
	if is("RB") {
		add("ups-replace-battery", sluice.Warning, "asks for a new battery", "replace it: it may not carry its load when the power fails")
	}
	if is("OVER") {
		add("ups-overload", sluice.Critical, "carries more than it can", "take load off it: it may switch off")
	}
	if is("BYPASS") {
		add("ups-bypass", sluice.Warning, "is bypassed: nothing is protected", "look at its panel")
	}
	if is("OFF") {
		add("ups-off", sluice.Critical, "is off: it carries nothing", "look at its panel")
	}
	return s
}

// number reads a variable's value; ok is false where it is none.
func number(s string) (float64, bool) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}
