package main

import (
	"testing"

	"sluice/site"
)

// An order to set a mode that no selected machine has is a mistake; one that all of them follow already is none.
func TestImpossibleMode(t *testing.T) {
	none := site.NoMode + "3000W"
	for _, c := range []struct {
		skipped map[string]int
		want    bool
	}{
		{map[string]int{none: 19}, true},
		{map[string]int{none: 19, "pinned so already": 1}, false},
		{map[string]int{"pinned so already": 20}, false},
		{nil, false},
	} {
		if got := impossible(site.FleetPreview{Skipped: c.skipped}); got != c.want {
			t.Errorf("%v: %v", c.skipped, got)
		}
	}
}
