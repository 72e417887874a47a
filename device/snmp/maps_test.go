package snmp

import (
	"math"
	"strings"
	"testing"

	"github.com/gosnmp/gosnmp"

	"sluice"
)

func TestMapsOfTheProgram(t *testing.T) {
	if len(MapNames()) < 3 {
		t.Fatalf("only %v", MapNames())
	}
	for _, n := range MapNames() {
		m, err := LoadMap(n)
		if err != nil || m.Title == "" || m.Source == "" || m.Total.OID == "" || m.Outlet.SwitchOff.OID == "" {
			t.Errorf("%s: %+v, %v", n, m, err)
		}
	}
}

func TestOwnMap(t *testing.T) {
	good := "outlet:\n  power: {oid: 1.3.6.1.9.{outlet}}\n  state: {oid: \"1.3.6.1.8.{outlet}\", on: [1], off: [0]}\n"
	good = strings.Replace(good, "1.3.6.1.9.{outlet}", `"1.3.6.1.9.{outlet}"`, 1)
	m, err := ParseMap("mine", []byte(good))
	if err != nil || object(m.Outlet.Power.OID, 1, 7) != ".1.3.6.1.9.7" {
		t.Fatalf("%+v, %v", m, err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"oid":     {strings.Replace(good, "1.3.6.1.9", "1.3.x.1.9", 1), "mine:2:16: "},
		"both":    {strings.Replace(good, "off: [0]", "off: [1]", 1), "mine:3:"},
		"no off":  {strings.Replace(good, ", off: [0]", "", 1), "mine:3:"},
		"one way": {good + "  switch_on: {oid: 1.3.6.1.7, value: 1}\n", "mine:4:"},
		"same":    {good + "  switch_on: {oid: 1.3.6.1.7, value: 1}\n  switch_off: {oid: 1.3.6.1.7, value: 1}\n", "mine:5:"},
		"unknown": {good + "  swich: 1\n", "mine:4:3: unknown field"},
		"nothing": {"title: x\n", "mine:1:1: the map says nothing"},
		"total":   {"total: {oid: \"1.3.6.1.{outlet}\"}\n", "mine:1:14: the total is not of one outlet"},
	} {
		_, err := ParseMap("mine", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		v  any
		x  float64
		ok bool
	}{
		{7, 7, true},
		{uint(8), 8, true},
		{uint32(9), 9, true},
		{uint64(10), 10, true},
		{float32(1.5), 1.5, true},
		{2.5, 2.5, true},
		{[]byte(" 345 "), 345, true},
		{[]byte("34 W"), 0, false},
		{[]byte("NaN"), 0, false},
		{math.Inf(1), 0, false},
		{nil, 0, false},
		{"1.3", 0, false},
	} {
		if x, ok := number(gosnmp.SnmpPDU{Value: c.v}); ok != c.ok || (ok && x != c.x) {
			t.Errorf("%v is %v, %v", c.v, x, ok)
		}
	}
}

func FuzzParseMap(f *testing.F) {
	for _, n := range MapNames() {
		data, err := builtin.ReadFile("maps/" + n + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMap("x.yaml", data)
		if err != nil {
			if sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), "x.yaml") {
				t.Errorf("%v", err)
			}
			return
		}
		if m.Outlet.SwitchOn.OID != "" && (len(m.Outlet.State.On) == 0 || m.Outlet.SwitchOff.OID == "") {
			t.Errorf("%+v", m)
		}
	})
}
