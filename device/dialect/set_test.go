package dialect_test

import (
	"testing"

	"sluice/device/devicetest"
)

func TestConformance(t *testing.T) {
	for _, f := range firmwares {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			devicetest.Run(t, f.device)
		})
	}
}
