package sim

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"sluice"
)

// Network gives every miner an address of its own at its protocol's usual ports,
// as on a real site. The addresses are of the loopback network, all of which is
// this machine: one listener a port serves them all and tells the miners apart by
// the address that was asked for. A connection to an address without a miner is
// reset at once.
type Network struct {
	Prefix  netip.Prefix // within 127.0.0.0/8; its first address is left out
	APIPort int          // 0: 4028
	WebPort int          // 0: 80, where this process may
	V3Port  int          // of the newer Whatsminers; 0: 4433
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// network is a Network at work.
type network struct {
	Network
	first     netip.Addr
	listeners []net.Listener
}

// check fills in the ports and says whether n miners fit.
func (o Network) check(n int) (*network, error) {
	p := o.Prefix.Masked()
	if !p.Addr().Is4() || p.Bits() < loopback.Bits() || !loopback.Contains(p.Addr()) {
		return nil, sluice.Errorf(sluice.Invalid, "give a part of 127.0.0.0/8, as 127.64.0.0/18", "%v is not of the loopback network", o.Prefix)
	}
	if room := 1<<(32-p.Bits()) - 2; n > room {
		return nil, sluice.Errorf(sluice.Invalid, "give a wider prefix", "%v has room for %d miners, not %d", p, max(0, room), n)
	}
	o.Prefix = p
	if o.APIPort == 0 {
		o.APIPort = 4028
	}
	if o.WebPort == 0 {
		o.WebPort = 80
	}
	if o.V3Port == 0 {
		o.V3Port = 4433
	}
	return &network{Network: o, first: p.Addr().Next()}, nil
}

// listen opens the ports on the loopback device alone, whatever address is
// asked for there.
func (n *network) listen(ctx context.Context) error {
	c := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if cerr := raw.Control(func(fd uintptr) { err = bindToLoopback(int(fd)) }); cerr != nil {
			return cerr
		}
		return err
	}}
	for _, port := range []int{n.APIPort, n.WebPort, n.V3Port} {
		l, err := c.Listen(ctx, "tcp4", net.JoinHostPort(n.host(), strconv.Itoa(port)))
		if err != nil {
			n.close()
			return &sluice.Error{
				Kind: sluice.Internal, Msg: fmt.Sprintf("listening at port %d of %v", port, n.Prefix), Cause: err,
				Hint: "is the port taken? ports under 1024 may need rights: give others",
			}
		}
		n.listeners = append(n.listeners, l)
	}
	return nil
}

func (n *network) close() {
	for _, l := range n.listeners {
		_ = l.Close()
	}
}

// address of miner i.
func (n *network) address(i int) string {
	b := n.first.As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	v += uint32(i)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}).String()
}

// miner returns the index of the miner that a connection was made to, -1 where
// the address is none's.
func (n *network) miner(c net.Conn) int {
	a, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return -1
	}
	at, ok := netip.AddrFromSlice(a.IP.To4())
	if !ok || !n.Prefix.Contains(at) {
		return -1
	}
	x, y := at.As4(), n.first.As4()
	d := 0
	for i := range x {
		d = d<<8 + int(x[i]) - int(y[i])
	}
	return d
}
