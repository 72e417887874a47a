package main

import (
	"maps"
	"slices"
	"testing"

	"sluice/config"
)

// A controller limits the host that it alone measures: one that two hosts name, or that
// measures a node, would limit more, and a PDU limits nothing.
func TestWhichHostsCanBeLimited(t *testing.T) {
	c, err := config.Parse([]byte(`site: {name: x, mode: control}
nodes:
  - {name: grid, limit: 1MW}
  - {name: rack, parent: grid}
devices:
  - {name: own, driver: redfish, address: "127.0.0.1:1", tls: insecure}
  - {name: blades, driver: redfish, address: "127.0.0.1:2", tls: insecure}
  - {name: racks, driver: redfish, address: "127.0.0.1:3", tls: insecure}
  - {name: plug, driver: modbus, address: "127.0.0.1:4", map: eastron-sdm630}
meters:
  - {node: rack, device: racks}
fabric: {listen: "127.0.0.1:8421"}
hosts:
  - {name: a, node: grid, driver: agent, slots: 2, meter: own}
  - {name: b, node: grid, driver: agent, slots: 2, meter: blades}
  - {name: c, node: grid, driver: agent, slots: 2, meter: blades}
  - {name: d, node: rack, driver: agent, slots: 2, meter: racks}
  - {name: e, node: rack, driver: agent, slots: 2, meter: plug}
  - {name: f, node: rack, driver: agent, slots: 2}
feeds:
  - {name: fixed, type: constant, values: {real_time_usd_per_mwh: 30}}
`), "x.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFacility(c)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if got := slices.Sorted(maps.Keys(hostLimiters(c, f))); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%v can be limited", got)
	}
}
