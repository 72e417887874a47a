package config

import (
	"strings"
	"testing"
)

const fabricSite = `site: {name: s}
nodes: [{name: grid, limit: 1MW}]
hosts:
  - {name: gpu1, node: grid, driver: agent, gpu: H200, slots: 8, cpus: 64, region: DE-HE, labels: [cert=iso27001, rack=], isolations: [process, container]}
  - {name: here, node: grid}
`

func TestFabric(t *testing.T) {
	c, err := Parse([]byte(fabricSite+"fabric: {listen: '0.0.0.0:8421', keep: 1h}\n"), "s.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if h := c.Hosts[0]; h.Slots != 8 || h.Region != "DE-HE" || len(h.Labels) != 2 || c.Fabric.Listen != "0.0.0.0:8421" {
		t.Fatalf("%+v, %v", h, c.Warnings)
	}
	for text, want := range map[string]string{
		"fabric: {url: 'http://x:1'}":                         "is not tls://host:port",
		"fabric: {url: 'tls://u:p@x:1'}":                      "user and the password by themselves",
		"fabric: {url: 'tls://x:1', listen: ':1'}":            "nothing is listened on",
		"fabric: {ca: x.pem}":                                 "give its url",
		"fabric: {listen: nowhere}":                           "is not host:port",
		"fabric: {url: 'tls://x:1', credentials: a, user: b}": "or a user and a password",
	} {
		_, err := Parse([]byte(fabricSite+text+"\n"), "s.yaml")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for old, next := range map[string]string{
		"slots: 8, ":                       "",
		"labels: [cert=iso27001, rack=]":   "labels: [iso27001]",
		"isolations: [process, container]": "isolations: [podman]",
		"{name: here, node: grid}":         "{name: here, node: grid, address: 10.0.0.1}",
		"- {name: here, node: grid}":       "- {name: gpu1, node: grid}",
	} {
		if _, err := Parse([]byte(strings.Replace(fabricSite, old, next, 1)), "s.yaml"); err == nil {
			t.Errorf("accepted %s", next)
		}
	}
}
