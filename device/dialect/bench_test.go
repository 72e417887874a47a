package dialect_test

import (
	"testing"

	"sluice/device/devicetest"
)

// BenchmarkRead is a poll of one VNish over loopback, both sides in this
// process.
func BenchmarkRead(b *testing.B) {
	m := newMachine()
	a := devicetest.ServeHTTP(b, m.vnish())
	d, err := load(b).New("vnish", a)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Read(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
