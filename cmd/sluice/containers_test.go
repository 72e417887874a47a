package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/compute"
	"sluice/config"
)

// A host with containers gives them to work that needs them and processes to work
// that is trusted, each by its executor; a docker host never gives less than
// containers, also while its engine is down.
func TestHostsOfContainers(t *testing.T) {
	for driver, want := range map[string][]string{
		"local":  {"process process", "docker container", " "},
		"docker": {"docker container", "docker container", " "},
	} {
		file := filepath.Join(t.TempDir(), "sluice.yaml")
		text := fmt.Sprintf(`site: {name: a, region: US-TX}
nodes: [{name: n, limit: 1MW}]
hosts: [{name: here, node: n, driver: %s, containers: {socket: %s, image: busybox}}]
feeds: [{name: p, type: constant, values: {real_time_usd_per_mwh: 30}}]
`, driver, filepath.Join(t.TempDir(), "none.sock"))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := realParts(c)
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		h := p.hosts[0]
		for i, want := range want {
			iso := compute.Isolations()[i]
			x, got := h.ExecutorFor(iso)
			if fmt.Sprint(x, " ", got) != want {
				t.Errorf("%s, %s wanted: %q %q, want %q", driver, iso, x, got, want)
			}
		}
		if p.executors["docker"] == nil || !strings.Contains(p.banner, "does not answer") {
			t.Errorf("%s: executors %v, banner %s", driver, p.executors, p.banner)
		}
	}
}
