package site

import "testing"

// Prices of any size are read without powers of ten.
func TestPerMWh(t *testing.T) {
	for v, want := range map[float64]string{30: "30", 68.54321: "68.54", -12.5: "-12.5", 2400: "2400", 500_000: "500000", 0: "0"} {
		if got := perMWh(v); got != want {
			t.Errorf("%g is written %q, want %q", v, got, want)
		}
	}
}
