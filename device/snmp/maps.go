package snmp

import (
	"embed"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sluice/device/mapfile"
)

//go:embed maps/*.yaml
var builtin embed.FS

// Map tells which objects of a PDU's MIB hold what. In an object identifier
// {outlet} stands for the outlet's number, {module} for that of the PDU within a
// chain.
type Map struct {
	Title  string     `yaml:"title"`
	Source string     `yaml:"source"` // the MIB
	Module int        `yaml:"module"` // of a PDU that stands alone
	Total  Value      `yaml:"total"`  // what the whole PDU draws
	Outlet OutletSpec `yaml:"outlet"`
}

// OutletSpec holds the objects of one outlet; what a PDU does not have is left out.
type OutletSpec struct {
	Power     Value   `yaml:"power"`
	State     State   `yaml:"state"`
	SwitchOn  Command `yaml:"switch_on"`
	SwitchOff Command `yaml:"switch_off"`
}

// Value is a power.
type Value struct {
	OID    string  `yaml:"oid"`
	Scale  float64 `yaml:"scale"`  // watts of one count; 0: 1
	Digits string  `yaml:"digits"` // the object that says how many decimal digits the count has
}

// State is whether an outlet is on.
type State struct {
	OID string `yaml:"oid"`
	On  []int  `yaml:"on"`
	Off []int  `yaml:"off"`
}

// Command is what is set to switch an outlet.
type Command struct {
	OID   string `yaml:"oid"`
	Value int    `yaml:"value"`
}

// LoadMap returns the map that ref names: one that comes with the program
// (apc-rpdu2), or a file of the operator's. A mistake in a file is an error with
// its place.
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

var oidForm = regexp.MustCompile(`^\.?[0-2](\.([0-9]{1,10}|\{outlet\}|\{module\})){2,100}$`)

func (m *Map) check(f *mapfile.File) (*Map, error) {
	for at, oid := range map[string]string{
		"total.oid": m.Total.OID, "total.digits": m.Total.Digits,
		"outlet.power.oid": m.Outlet.Power.OID, "outlet.power.digits": m.Outlet.Power.Digits, "outlet.state.oid": m.Outlet.State.OID,
		"outlet.switch_on.oid": m.Outlet.SwitchOn.OID, "outlet.switch_off.oid": m.Outlet.SwitchOff.OID,
	} {
		if oid != "" && !oidForm.MatchString(oid) {
			return nil, f.Errorf(at, "such as 1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.{outlet}", "%q is no object identifier", oid)
		}
		if at[:5] == "total" && strings.Contains(oid, "{outlet}") {
			return nil, f.Errorf(at, "", "the total is not of one outlet")
		}
	}
	for _, v := range []*Value{&m.Total, &m.Outlet.Power} {
		if v.Scale == 0 {
			v.Scale = 1
		}
		if !(v.Scale > 0 && v.Scale <= 1e6) {
			return nil, f.Errorf("outlet.power.scale", "", "a count is worth more than 0 and up to 1,000,000 watts")
		}
	}
	o := m.Outlet
	switch {
	case o.State.OID != "" && (len(o.State.On) == 0 || len(o.State.Off) == 0):
		return nil, f.Errorf("outlet.state", "", "state needs the values that mean on, and those that mean off")
	case slices.ContainsFunc(o.State.On, func(v int) bool { return slices.Contains(o.State.Off, v) }):
		return nil, f.Errorf("outlet.state.on", "", "a value means both on and off")
	case (o.SwitchOn.OID == "") != (o.SwitchOff.OID == ""):
		return nil, f.Errorf("outlet.switch_on", "", "an outlet that can be switched has switch_on and switch_off")
	case o.SwitchOn.OID != "" && o.SwitchOn == o.SwitchOff:
		return nil, f.Errorf("outlet.switch_off", "", "switch_on and switch_off do the same")
	case o.SwitchOn.OID != "" && o.State.OID == "":
		return nil, f.Errorf("outlet", "", "an outlet that can be switched has a state: else nothing proves it")
	case m.Total.OID == "" && o.Power.OID == "" && o.State.OID == "":
		return nil, f.Errorf("outlet", "", "the map says nothing")
	case m.Module < 0 || m.Module > 1000:
		return nil, f.Errorf("module", "", "the module is 0 to 1000")
	}
	for _, c := range []Command{o.SwitchOn, o.SwitchOff} {
		if c.Value < -1<<31 || c.Value > 1<<31-1 {
			return nil, f.Errorf("outlet.switch_on.value", "", "the value is no 32-bit integer")
		}
	}
	return m, nil
}

// object puts the numbers into an object identifier.
func object(oid string, module, outlet int) string {
	oid = strings.NewReplacer("{module}", strconv.Itoa(module), "{outlet}", strconv.Itoa(outlet)).Replace(oid)
	return "." + strings.TrimPrefix(oid, ".")
}
