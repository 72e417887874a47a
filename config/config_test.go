package config

import (
	"testing"
)

func TestExampleSiteLoads(t *testing.T) {
	c, err := Load("../examples/site/sluice.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range c.Warnings {
		t.Errorf("the example should give no warning: %s", w)
	}
	if got, want := len(c.ExpandMachines()), 400; got != want {
		t.Errorf("%d machines, want %d", got, want)
	}
}
