package modbus_test

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
	"sluice/device/modbus"
)

// words are what stands in a meter's registers, by address.
type words map[string]uint16

func (w words) put(at int, vs ...uint16) words {
	for i, v := range vs {
		w[strconv.Itoa(at+i)] = v
	}
	return w
}

func f32(v float64) []uint16 {
	b := math.Float32bits(float32(v))
	return []uint16{uint16(b >> 16), uint16(b)}
}

func i32(v int32) []uint16 { return []uint16{uint16(uint32(v) >> 16), uint16(uint32(v))} }

func i32low(v int32) []uint16 { return []uint16{uint16(uint32(v)), uint16(uint32(v) >> 16)} }

func i64(v int64) []uint16 {
	u := uint64(v)
	return []uint16{uint16(u >> 48), uint16(u >> 32), uint16(u >> 16), uint16(u)}
}

// pymodbus starts a server of Debian's python3-pymodbus with the units.
func pymodbus(t *testing.T, units map[string]map[string]words) device.Address {
	t.Helper()
	arg, err := json.Marshal(units)
	if err != nil {
		t.Fatal(err)
	}
	p := devicetest.StartPeer(t, "/usr/bin/python3", "testdata/server.py", string(arg))
	return address(t, "127.0.0.1:"+p.Says("port "))
}

// TestPymodbus reads meters of every kind of map from an independent server: its
// registers are filled by what the makers' manuals say, not by our maps.
func TestPymodbus(t *testing.T) {
	sdm := words{}.put(52, f32(-4321.5)...).put(0, f32(230.1)...).put(2, f32(231)...).put(4, f32(229.5)...).
		put(6, f32(6)...).put(8, f32(7)...).put(10, f32(8)...).put(12, f32(-1440)...).put(14, f32(-1441)...).put(16, f32(-1440.5)...).
		put(62, f32(-0.98)...).put(70, f32(50.02)...).put(72, f32(12345.5)...).put(74, f32(7.25)...)
	schneider := words{}.put(3059, f32(812.25)...).put(3053, f32(270)...).put(3055, f32(271)...).put(3057, f32(271.25)...).
		put(3027, f32(230)...).put(3029, f32(230)...).put(3031, f32(230)...).put(2999, f32(1200)...).put(3001, f32(1201)...).put(3003, f32(1202)...).
		put(3109, f32(49.98)...).put(3203, i64(9_876_543_210)...)
	em340 := words{}.put(0x28, i32low(-123456)...).put(0x12, i32low(1)...).put(0x14, i32low(2)...).put(0x16, i32low(3)...).
		put(0, i32low(2301)...).put(2, i32low(2302)...).put(4, i32low(2303)...).put(0x0C, i32low(5123)...).put(0x0E, i32low(5124)...).put(0x10, i32low(5125)...).
		put(0x31, uint16(0xFFFF-979)).put(0x33, 500).put(0x34, i32low(1_000_001)...).put(0x4E, i32low(20)...)
	abb := words{}.put(0x5B14, i32(1_234_567)...).put(0x5B16, i32(100)...).put(0x5B18, 0x7FFF, 0xFFFF).put(0x5B1A, 0x7FFF, 0xFFFF).
		put(0x5B00, i32(2305)...).put(0x5B02, 0xFFFF, 0xFFFF).put(0x5B04, 0xFFFF, 0xFFFF).put(0x5B0C, i32(1234)...).put(0x5B0E, 0xFFFF, 0xFFFF).put(0x5B10, 0xFFFF, 0xFFFF).
		put(0x5B2C, 4999).put(0x5B3A, 987).put(0x5000, i64(123_456)...).put(0x5004, i64(0)...)
	// SunSpec: a common model of 66 registers, then the meter.
	sun := words{}.put(40000, 0x5375, 0x6e53, 1, 66).put(40070, 203, 105)
	for i := 2; i < 107; i++ {
		sun.put(40070+i, 0x8000)
	}
	sun.put(40070+18, 5123, 0x8000).put(40070+22, 1).put(40070+16, 5001).put(40070+17, 0xFFFE).
		put(40070+46, i32(70_000)...).put(40070+38, 0, 0).put(40070+54, 2).put(40177, 0xFFFF, 0)
	float := words{}.put(40000, 0x5375, 0x6e53, 213, 124)
	for i := 4; i < 128; i++ {
		float.put(40000+i, 0x7FC0) // not a number
	}
	float.put(40002+28, f32(98_765)...).put(40002+26, f32(60)...)
	a := pymodbus(t, map[string]map[string]words{
		"1": {"input": sdm}, "2": {"holding": schneider}, "3": {"input": em340}, "4": {"holding": abb},
		"5": {"holding": sun}, "6": {"holding": float}, "7": {"holding": words{}.put(40000, 1, 2)},
	})
	for _, c := range []struct {
		unit  uint8
		ref   string
		power sluice.Watts
		want  map[string]float64
		n     int
	}{
		{1, "eastron-sdm630", -4322, map[string]float64{"power": -4321.5, "voltage-l1": 230.1, "energy-import": 12_345_500, "pf": -0.98, "frequency": 50.02}, 14},
		{2, "schneider-pm5000", 812_250, map[string]float64{"power-l3": 271_250, "energy-import": 9_876_543_210, "current-l3": 1202}, 12},
		{2, "schneider-iem3000", 812_250, map[string]float64{"frequency": 49.98}, 12},
		{3, "gavazzi-em340", -12_346, map[string]float64{"power": -12_345.6, "voltage-l3": 230.3, "current-l2": 5.124, "pf": -0.98, "frequency": 50, "energy-import": 100_000_100}, 14},
		{4, "abb-b23", 12_346, map[string]float64{"power": 12_345.67, "voltage-l1": 230.5, "frequency": 49.99, "energy-import": 1_234_560, "pf": 0.987}, 8},
		{5, "sunspec-meter", 51_230, map[string]float64{"power": 51_230, "frequency": 50.01, "energy-import": 7_000_000}, 3},
		{6, "sunspec-meter-float", 98_765, map[string]float64{"frequency": 60}, 2},
	} {
		m, err := modbus.LoadMap(c.ref)
		if err != nil {
			t.Fatal(err)
		}
		meter := modbus.NewMapped(a, c.unit, m, 0)
		r, err := meter.Read(within(t, 10*time.Second))
		if err != nil || r.Power != c.power || !r.HasPower || r.PowerSource != sluice.SourceMeter {
			t.Errorf("%s: read %+v, %v; want %v", c.ref, r, err, c.power)
		}
		s, err := meter.Sense(within(t, 10*time.Second))
		if err != nil {
			t.Errorf("%s: %v", c.ref, err)
		}
		got := map[string]float64{}
		for _, x := range s.Samples {
			got[x.Name] = x.Value
		}
		for name, want := range c.want {
			if math.Abs(got[name]-want) > 1e-5*math.Abs(want) {
				t.Errorf("%s: %s is %v, want %v", c.ref, name, got[name], want)
			}
		}
		if len(got) != c.n {
			t.Errorf("%s: %d values, want %d: %v", c.ref, len(got), c.n, got)
		}
	}
	load := func(ref string) *modbus.Map {
		m, err := modbus.LoadMap(ref)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	// Current transformers of 1:200, the wrong way round.
	r, err := modbus.NewMapped(a, 1, load("eastron-sdm630"), -200).Read(within(t, 10*time.Second))
	if err != nil || r.Power != 864_300 {
		t.Errorf("scaled: %v, %v", r.Power, err)
	}
	// What is not the meter that the map is of says so, and is not guessed at.
	for unit, ref := range map[uint8]string{1: "abb-b23", 2: "eastron-sdm630", 7: "sunspec-meter", 6: "sunspec-meter", 4: "sunspec-meter", 9: "abb-b23"} {
		if r, err := modbus.NewMapped(a, unit, load(ref), 0).Read(within(t, time.Second)); err == nil || r.HasPower || sluice.KindOf(err) != sluice.Unavailable {
			t.Errorf("unit %d by %s: %+v, %v", unit, ref, r, err)
		}
	}
}
