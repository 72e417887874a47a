package fabric

import (
	"fmt"
	"net"
	"time"
)

// from dials from one address of this machine.
type from string

// Dial is what NATS calls.
func (f from) Dial(network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(string(f))}}
	c, err := d.Dial(network, address)
	if err != nil {
		return nil, fmt.Errorf("dial from %s: %w", string(f), err)
	}
	return c, nil
}
