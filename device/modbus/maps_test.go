package modbus

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice"
	"sluice/device"
)

func TestMapsOfTheProgram(t *testing.T) {
	names := MapNames()
	if len(names) < 10 {
		t.Fatalf("only %v", names)
	}
	for _, n := range names {
		m, err := LoadMap(n)
		if err != nil {
			t.Errorf("%s: %v", n, err)
			continue
		}
		if m.Title == "" || m.Source == "" {
			t.Errorf("%s does not say what it is of, and where from", n)
		}
		for _, s := range spansOf(all(m)) {
			if s.n > maxSpan+4 || s.n == 0 {
				t.Errorf("%s asks for %d registers at once", n, s.n)
			}
		}
	}
}

func all(m *Map) []*Register {
	var out []*Register
	for i := range m.Registers {
		out = append(out, &m.Registers[i])
	}
	return out
}

func TestOwnMap(t *testing.T) {
	own := filepath.Join(t.TempDir(), "mine.yaml")
	text := "kind: holding\norder: low\nregisters:\n  - {name: power, address: 0x10, type: i32, scale: 0.1, unit: kW, quantity: power}\n"
	if err := os.WriteFile(own, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := LoadMap(own)
	if err != nil || m.Registers[0].Address != 16 || m.Registers[0].factor != 100 || m.Registers[0].Order != "low" {
		t.Fatalf("%+v, %v", m, err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"kind":       {strings.Replace(text, "holding", "coil", 1), "mine:1:7: kind is"},
		"type":       {strings.Replace(text, "i32", "i33", 1), `mine:4:40: type "i33"`},
		"unit":       {strings.Replace(text, "kW", "kV", 1), `mine:4:63: "kV" is no unit of power`},
		"quantity":   {strings.Replace(text, "quantity: power", "quantity: volume", 1), `mine:4:77: "volume" is no quantity`},
		"field":      {strings.Replace(text, "scale:", "sclae:", 1), `mine:4:45: unknown field "sclae"`},
		"address":    {strings.Replace(text, "0x10", "65535", 1), "mine:4:28: a value of type i32"},
		"negative":   {strings.Replace(text, "0x10", "-1", 1), "mine:4:28:"},
		"no power":   {strings.Replace(text, "name: power", "name: watts", 1), "mine:4:3: no register is named power"},
		"two":        {text + "  - {name: power, address: 1, type: u16, quantity: power}\n", "mine:5:12: the name"},
		"scale_at":   {strings.Replace(text, "scale: 0.1", "scale_at: 3", 1), "mine:4:55: scale_at is of SunSpec"},
		"no YAML":    {"kind: [", "mine:1:"},
		"empty":      {"", "mine:1:1:"},
		"a list":     {"- a\n- b\n", "mine:1:"},
		"documents":  {text + "---\n" + text, "it is one"},
		"nothing":    {"kind: input\n", "there are 0 registers"},
		"wrong type": {strings.Replace(text, "i32", "[i32]", 1), "mine:4:"},
	} {
		_, err := ParseMap("mine", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := LoadMap("eastron-sdm631"); err == nil || !strings.Contains(err.Error(), "eastron-sdm630") {
		t.Errorf("a name that is none: %v", err)
	}
	if _, err := LoadMap("./no-such.yaml"); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("a file that is not there: %v", err)
	}
}

// Whatever is written into registers is read back, in either order of words.
func TestDecodeIsTheReverseOfEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom([]string{"u16", "i16", "u32", "i32", "f32", "u64", "i64", "f64"}).Draw(t, "type")
		var bits uint64
		var want float64
		switch typ {
		case "u16":
			v := rapid.Uint16().Draw(t, "v")
			bits, want = uint64(v), float64(v)
		case "i16":
			v := rapid.Int16().Draw(t, "v")
			bits, want = uint64(uint16(v)), float64(v)
		case "u32":
			v := rapid.Uint32().Draw(t, "v")
			bits, want = uint64(v), float64(v)
		case "i32":
			v := rapid.Int32().Draw(t, "v")
			bits, want = uint64(uint32(v)), float64(v)
		case "u64":
			v := rapid.Uint64().Draw(t, "v")
			bits, want = v, float64(v)
		case "i64":
			v := rapid.Int64().Draw(t, "v")
			bits, want = uint64(v), float64(v)
		case "f32":
			v := rapid.Float32().Draw(t, "v")
			bits, want = uint64(math.Float32bits(v)), float64(v)
		case "f64":
			want = rapid.Float64().Draw(t, "v")
			bits = math.Float64bits(want)
		}
		n := int(words[typ])
		ws := make([]uint16, n)
		order := rapid.SampledFrom([]string{"high", "low"}).Draw(t, "order")
		for i := range ws {
			w := uint16(bits >> (16 * i))
			if order == "low" {
				ws[i] = w
			} else {
				ws[n-1-i] = w
			}
		}
		r := Register{Type: typ, Order: order, factor: 1}
		if got, ok := r.decode(ws, 0); !ok || got != want {
			t.Fatalf("%s %s: wrote %v, read %v, %v", typ, order, want, got, ok)
		}
		r.Absent = &bits
		if got, ok := r.decode(ws, 0); ok {
			t.Fatalf("the absent pattern gives %v", got)
		}
	})
}

// Spans cover every register, once, and nothing else.
func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var regs []*Register
		want := map[int]bool{}
		for range rapid.IntRange(1, 40).Draw(t, "n") {
			r := &Register{
				Address: uint16(rapid.IntRange(0, 300).Draw(t, "address")),
				Type:    rapid.SampledFrom([]string{"u16", "i32", "f64"}).Draw(t, "type"),
			}
			regs = append(regs, r)
			for i := range words[r.Type] {
				want[int(r.Address+i)] = true
			}
		}
		got := map[int]bool{}
		for _, s := range spansOf(regs) {
			if s.n > maxSpan {
				t.Fatalf("a span of %d", s.n)
			}
			for i := range s.n {
				got[int(s.from+i)] = true
			}
		}
		for a := range got {
			if !want[a] {
				t.Fatalf("%d is asked for and no register's", a)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d of %d are covered", len(got), len(want))
		}
	})
}

func FuzzParseMap(f *testing.F) {
	for _, n := range MapNames() {
		data, err := builtin.ReadFile("maps/" + n + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("registers: [{absent: 0xFFFFFFFFFFFFFFFF}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMap("x.yaml", data)
		if err != nil {
			if sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), "x.yaml") {
				t.Errorf("%v", err)
			}
			return
		}
		for i := range m.Registers {
			r := &m.Registers[i]
			v, ok := r.decode(make([]uint16, words[r.Type]), 0)
			if ok && (math.IsNaN(v) || math.IsInf(v, 0)) {
				t.Errorf("%v", v)
			}
			if _, known := r.Quantity.Unit(); !known || r.Quantity == device.Quantity("") {
				t.Errorf("%q", r.Quantity)
			}
		}
	})
}
