//go:build !linux

package sim

// Elsewhere an address must be set up before it can be listened at (ifconfig lo0
// alias): only the first miner has one.
func bindToLoopback(int) error { return nil }

func (n *network) host() string { return n.first.String() }
