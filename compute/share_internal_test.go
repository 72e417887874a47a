package compute

import "testing"

// A container that asks for nothing gets its units' part of the host, and what it asks
// for where it asks; a process of a trusted tenant is left alone.
func TestInShare(t *testing.T) {
	h := Host{Units: 8, CPUs: 64, MemoryGB: 512, DiskGB: 4096}
	const gb = int64(1 << 30)
	for _, c := range []struct {
		name string
		host Host
		spec RunSpec
		cpus float64
		mem  int64
		disk int64
	}{
		{"nothing asked", h, RunSpec{Units: 1, Isolation: IsolationContainer}, 8, 64 * gb, 512 * gb},
		{"a sandbox", h, RunSpec{Units: 8, Isolation: IsolationSandbox}, 64, 512 * gb, 4096 * gb},
		{"all asked", h, RunSpec{Units: 1, Isolation: IsolationContainer, CPULimit: 2, MemoryLimit: 100 * gb, DiskLimit: 7}, 2, 100 * gb, 7},
		{"a process", h, RunSpec{Units: 1, Isolation: IsolationNone}, 0, 0, 0},
		{"nothing known", Host{Units: 2}, RunSpec{Units: 1, Isolation: IsolationContainer}, 0, 0, 0},
	} {
		if c.spec.inShare(c.host); c.spec.CPULimit != c.cpus || c.spec.MemoryLimit != c.mem || c.spec.DiskLimit != c.disk {
			t.Errorf("%s: %g CPUs, %d and %d bytes", c.name, c.spec.CPULimit, c.spec.MemoryLimit, c.spec.DiskLimit)
		}
	}
}
