package sim

import "golang.org/x/sys/unix"

// bindToLoopback keeps a listener at all addresses off every other network.
func bindToLoopback(fd int) error { return unix.BindToDevice(fd, "lo") }

func (n *network) host() string { return "0.0.0.0" }
