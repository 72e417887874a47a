package config

import "testing"

// Which drivers there are the caller says; a name that is none has its place.
func TestCheckDrivers(t *testing.T) {
	c, err := Parse([]byte(`site: {name: s}
nodes:
  - {name: grid, limit: 1MW}
classes:
  - {name: a, node: grid, modes: [{name: sleep, power: 20W}, {name: mine, power: 3kW, hashrate_ths: 100}]}
machines:
  - {name: m1, class: a, driver: vnish, address: 10.0.0.1}
  - {name: m2, class: a,
     driver: vnihs, address: 10.0.0.2}
`), "site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckDrivers([]string{"luxos", "vnish", "vnihs"}); err != nil {
		t.Error(err)
	}
	err = c.CheckDrivers([]string{"luxos", "vnish"})
	if want := `site.yaml:9:14: machines[1].driver: "vnihs" is not one of luxos, vnish (did you mean "vnish"?)`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if err := (&Config{Machines: []Machine{{Driver: "x"}}}).CheckDrivers(nil); err == nil {
		t.Error("a driver of a configuration without a file was taken")
	}
}
