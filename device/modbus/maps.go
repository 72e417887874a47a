package modbus

import (
	"embed"
	"fmt"

	"sluice/device"
	"sluice/device/mapfile"
)

//go:embed maps/*.yaml
var builtin embed.FS

// Map tells where in a meter's registers its values stand.
type Map struct {
	Title     string     `yaml:"title"`
	Source    string     `yaml:"source"`  // where the addresses are from
	Kind      string     `yaml:"kind"`    // input or holding
	Order     string     `yaml:"order"`   // of the 16-bit words of a value: high (first) or low
	SunSpec   []uint16   `yaml:"sunspec"` // addresses count from the ID of the first of these models
	Registers []Register `yaml:"registers"`
}

// Register is one value of a Map. The one that is named power is the power that
// flows into the node.
type Register struct {
	Name     string          `yaml:"name"`
	Address  uint16          `yaml:"address"` // as it goes over the wire, from 0
	Type     string          `yaml:"type"`    // u16, i16, u32, i32, f32, u64, i64, f64
	Order    string          `yaml:"order"`   // where it is not the map's
	Scale    float64         `yaml:"scale"`   // what one count is in the unit; 0: 1
	ScaleAt  uint16          `yaml:"scale_at"`
	Unit     string          `yaml:"unit"` // W, kWh, …; empty: the quantity's own
	Quantity device.Quantity `yaml:"quantity"`
	Absent   *uint64         `yaml:"absent"` // the pattern of bits that means that there is no value

	factor float64 // from a count to the quantity's own unit
}

// PowerRegister is the name of the register that a meter's Read reads.
const PowerRegister = "power"

// words is how many registers each type takes.
var words = map[string]uint16{"u16": 1, "i16": 1, "u32": 2, "i32": 2, "f32": 2, "u64": 4, "i64": 4, "f64": 4}

const maxRegisters = 500

// LoadMap returns the map that ref names: one that comes with the program
// (eastron-sdm630), or a file of the operator's. A mistake in a file is an error
// with its place.
func LoadMap(ref string) (*Map, error) {
	var m Map
	f, err := mapfile.Open(builtin, "maps", ref, &m)
	if err != nil {
		return nil, err
	}
	return m.check(f)
}

// ParseMap reads a map from its text; name is the file's, for mistakes.
func ParseMap(name string, data []byte) (*Map, error) {
	var m Map
	f, err := mapfile.Parse(name, data, &m)
	if err != nil {
		return nil, err
	}
	return m.check(f)
}

// MapNames lists the maps that come with the program.
func MapNames() []string { return mapfile.Names(builtin, "maps") }

// check fills what is left out and finds what is wrong.
func (m *Map) check(f *mapfile.File) (*Map, error) {
	if m.Order == "" {
		m.Order = "high"
	}
	switch {
	case m.Kind != "input" && m.Kind != "holding":
		return nil, f.Errorf("kind", "", "kind is input or holding")
	case m.Order != "high" && m.Order != "low":
		return nil, f.Errorf("order", "", "order is high (word first) or low")
	case len(m.Registers) == 0 || len(m.Registers) > maxRegisters:
		return nil, f.Errorf("registers", "", "there are %d registers; it is 1 to %d", len(m.Registers), maxRegisters)
	case len(m.SunSpec) > 0 && m.Kind != "holding":
		return nil, f.Errorf("kind", "", "SunSpec models stand in holding registers")
	}
	seen := map[string]bool{}
	for i := range m.Registers {
		r := &m.Registers[i]
		at := func(key string) string { return fmt.Sprintf("registers[%d].%s", i, key) }
		if r.Order == "" {
			r.Order = m.Order
		}
		if r.Scale == 0 {
			r.Scale = 1
		}
		w, ok := words[r.Type]
		unit, quantity := r.Quantity.Unit()
		factor, known := r.Quantity.Factor(r.Unit)
		switch {
		case r.Name == "" || seen[r.Name]:
			return nil, f.Errorf(at("name"), "", "the name %q is empty or stands here a second time", r.Name)
		case !ok:
			return nil, f.Errorf(at("type"), "", "type %q is none of u16, i16, u32, i32, f32, u64, i64, f64", r.Type)
		case int(r.Address)+int(w) > 65536:
			return nil, f.Errorf(at("address"), "", "a value of type %s at %d ends behind the last register", r.Type, r.Address)
		case r.Order != "high" && r.Order != "low":
			return nil, f.Errorf(at("order"), "", "order is high (word first) or low")
		case !quantity:
			return nil, f.Errorf(at("quantity"), "", "%q is no quantity", r.Quantity)
		case !known:
			return nil, f.Errorf(at("unit"), "", "%q is no unit of %s, which is in %s", r.Unit, r.Quantity, unit)
		case !(r.Scale > -1e12 && r.Scale < 1e12):
			return nil, f.Errorf(at("scale"), "", "the scale is no number that makes sense")
		case r.ScaleAt != 0 && len(m.SunSpec) == 0:
			return nil, f.Errorf(at("scale_at"), "", "scale_at is of SunSpec models only")
		case r.Name == PowerRegister && r.Quantity != device.Power:
			return nil, f.Errorf(at("quantity"), "", "the register %s is what flows into the node: its quantity is power", r.Name)
		}
		r.factor = r.Scale * factor
		seen[r.Name] = true
	}
	if !seen[PowerRegister] {
		return nil, f.Errorf("registers", "", "no register is named %s: that is what flows into the node", PowerRegister)
	}
	return m, nil
}

// plain is the map of a meter of which only the register of its power is known.
func plain(register uint16) *Map {
	return &Map{Kind: "input", Order: "high", Registers: []Register{{
		Name: PowerRegister, Address: register, Type: "f32", Order: "high", Quantity: device.Power, Scale: 1, factor: 1,
	}}}
}
