package config_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice/config"
)

func TestGangNetworks(t *testing.T) {
	parse := func(a, b string) error {
		text := fmt.Sprintf(`site: {name: a, region: US-TX}
nodes: [{name: n, limit: 1MW}]
hosts:
  - {name: g1, node: n, driver: agent, slots: 2, isolations: [container], containers: {gang_network: %s}}
  - {name: g2, node: n, driver: agent, slots: 2, isolations: [container], containers: {gang_network: %s}}
feeds: [{name: p, type: constant, values: {real_time_usd_per_mwh: 30}}]
`, a, b)
		_, err := config.Parse([]byte(text), "sluice.yaml")
		return err
	}
	const one = "{name: gangs, addresses: 10.30.0.16/28}"
	for b, says := range map[string]string{
		"{name: gangs, addresses: 10.30.0.32/28}": "", "{name: others, addresses: 10.30.0.16/28}": "",
		"{name: gangs, addresses: 10.30.0.24/29}": "g2: addresses of gangs are those of the host g1 too",
		"{name: gangs}": "needs a name and addresses", "{addresses: 10.30.0.32/28}": "needs a name and addresses",
		"{name: gangs, addresses: 10.30.0.17/28}": "no part of a network", "{name: gangs, addresses: fd00::/64}": "no part of a network",
		"{name: gangs, addresses: 10.0.0.0/4}": "no part of a network", "{name: gangs, addresses: x}": "no part of a network",
	} {
		err := parse(one, b)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", b, err, says)
		}
	}
}
