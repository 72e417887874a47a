// Package scan finds the devices of a network: it knocks at the ports that mining
// firmwares use, at a bounded rate, and lets whoever opens be identified. It sends
// nothing to an address where nobody opens.
package scan

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"sluice"
	"sluice/device"
)

// Options say where to look and how gently.
type Options struct {
	Prefixes []netip.Prefix // up to MaxAddresses in all
	Ports    []int          // to knock at, the most telling first
	Exact    bool           // ask at the port that opened, not at the firmwares' own
	// Rate is how many connections are tried each second (0: 4,000), Parallel how
	// many addresses are looked at at once (0: 512).
	Rate     float64
	Parallel int
	// Knock is how long a connection may take (0: 1 s): farther than a network is
	// wide. Answer is what one device has in all to tell what it is (0: 10 s).
	Knock, Answer time.Duration
	// Identify tells what opened. It is called from several goroutines.
	Identify func(context.Context, device.Address) (device.Report, error)
	// Found is told of each device, Nameless of who opened a port and was not known.
	// Progress is told how many addresses are done. None is called at once with
	// another.
	Found    func(device.Report)
	Nameless func(addr string, err error)
	Progress func(done, total int)
}

// MaxAddresses is the most that one scan looks at: a /12.
const MaxAddresses = 1 << 20

// Addresses returns how many addresses the prefixes hold: all but a network's first
// and last, where it has more than two.
func Addresses(prefixes []netip.Prefix) (int, error) {
	n := 0
	for _, p := range prefixes {
		if !p.IsValid() || !p.Addr().Is4() {
			return 0, sluice.Errorf(sluice.Invalid, "give an IPv4 prefix such as 10.0.1.0/24", "%v is no prefix to scan", p)
		}
		if 32-p.Bits() > 20 {
			return 0, sluice.Errorf(sluice.Invalid, "scan at most a /12 at a time", "%v has too many addresses", p)
		}
		if n += size(p); n > MaxAddresses {
			return 0, sluice.Errorf(sluice.Invalid, "scan at most a /12 at a time", "the prefixes have too many addresses")
		}
	}
	return n, nil
}

func size(p netip.Prefix) int {
	if n := 1 << (32 - p.Bits()); n > 2 {
		return n - 2
	}
	return 1 << (32 - p.Bits())
}

// Run scans. It returns how many devices were found; where ctx ends first, with
// its error: what was found by then was told.
func Run(ctx context.Context, o Options) (int, error) {
	total, err := Addresses(o.Prefixes)
	if err != nil {
		return 0, err
	}
	if o.Rate <= 0 {
		o.Rate = 4000
	}
	if o.Parallel <= 0 {
		o.Parallel = 512
	}
	if o.Knock <= 0 {
		o.Knock = time.Second
	}
	if o.Answer <= 0 {
		o.Answer = 10 * time.Second
	}
	s := &scan{o: o, total: total, gate: rate.NewLimiter(rate.Limit(o.Rate), max(1, min(int(o.Rate/20), 64)))}
	s.all(total, func(todo chan<- visit) { err = s.feed(ctx, todo) }, func(v visit) { s.look(ctx, v) })
	// Who opened and could not be named is asked once more, when the rush is over:
	// a device may have been busy, or its reply lost.
	again := s.again
	s.all(len(again), func(todo chan<- visit) {
		for _, v := range again {
			todo <- v
		}
	}, func(v visit) { s.identify(ctx, v, true) })
	if err == nil {
		err = ctx.Err()
	}
	return int(s.found.Load()), err
}

// visit is an address, and the port that somebody opened there.
type visit struct {
	addr netip.Addr
	port int
}

// all has up to Parallel goroutines do what feed hands out.
func (s *scan) all(n int, feed func(chan<- visit), do func(visit)) {
	todo := make(chan visit)
	var wg sync.WaitGroup
	for range min(s.o.Parallel, n) {
		wg.Go(func() {
			for v := range todo {
				do(v)
			}
		})
	}
	if n > 0 {
		feed(todo)
	}
	close(todo)
	wg.Wait()
}

type scan struct {
	o     Options
	total int
	gate  *rate.Limiter
	found atomic.Int64

	mu    sync.Mutex // of the calls to the outside
	done  int
	again []visit
}

// feed hands out the addresses in order.
func (s *scan) feed(ctx context.Context, todo chan<- visit) error {
	for _, p := range s.o.Prefixes {
		p = p.Masked()
		a := p.Addr()
		if size(p) > 2 {
			a = a.Next()
		}
		for range size(p) {
			select {
			case todo <- visit{addr: a}:
			case <-ctx.Done():
				return ctx.Err()
			}
			a = a.Next()
		}
	}
	return nil
}

// look knocks at one address, and asks whoever opens.
func (s *scan) look(ctx context.Context, v visit) {
	if v.port = s.opens(ctx, v.addr); v.port != 0 && ctx.Err() == nil {
		s.identify(ctx, v, false)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done++; s.o.Progress != nil {
		s.o.Progress(s.done, s.total)
	}
}

// identify asks what is at an address; last says that it is not asked again.
func (s *scan) identify(ctx context.Context, v visit, last bool) {
	at := device.Address{Host: v.addr.String()}
	if s.o.Exact {
		at.APIPort, at.WebPort = v.port, v.port
	}
	cctx, cancel := context.WithTimeout(ctx, s.o.Answer)
	defer cancel()
	r, err := s.o.Identify(cctx, at)
	if err != nil && ctx.Err() != nil {
		return // called off
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.found.Add(1)
		s.o.Found(r)
	case !last:
		s.again = append(s.again, v)
	case s.o.Nameless != nil:
		s.o.Nameless(v.addr.String(), err)
	}
}

// opens returns a port that somebody opens, 0 where nobody does. A port that refuses says that
// somebody is there, so the next is tried at once; one that is silent most likely
// that nobody is, but a firewall may be picky: all ports are tried before an
// address is given up.
func (s *scan) opens(ctx context.Context, a netip.Addr) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan int, len(s.o.Ports))
	left := len(s.o.Ports)
	for _, port := range s.o.Ports {
		if s.gate.Wait(ctx) != nil {
			return 0
		}
		select {
		case open := <-answers: // while it waited for its turn
			if left--; open != 0 {
				return open
			}
		default:
		}
		go func() {
			d := net.Dialer{Timeout: s.o.Knock, KeepAlive: -1}
			c, err := d.DialContext(ctx, "tcp4", net.JoinHostPort(a.String(), strconv.Itoa(port)))
			if err == nil {
				if t, ok := c.(*net.TCPConn); ok {
					_ = t.SetLinger(0) // tens of thousands would stay in TIME_WAIT
				}
				_ = c.Close()
				answers <- port
				return
			}
			answers <- 0
		}()
	}
	for range left {
		if open := <-answers; open != 0 {
			return open
		}
	}
	return 0
}
