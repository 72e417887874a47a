package devicetest

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/device"
)

// Wire is a TCP proxy in front of a machine that can spoil the replies. The
// driver under test gets its address instead of the machine's.
type Wire struct {
	target   string
	listener net.Listener
	ctx      context.Context
	wg       sync.WaitGroup

	mu     sync.Mutex
	how    spoil
	conns  map[net.Conn]bool // whether it is silent and nobody has used it
	closed bool

	// Flooded counts the bytes of an oversized reply that the driver took.
	flooded atomic.Int64
}

// spoil is what happens to the bytes from the machine to the driver.
type spoil struct {
	silent bool
	delay  time.Duration
	cut    int  // bytes that pass before the connection closes; 0: all
	flood  bool // an endless reply of JSON
}

// NewWire starts a proxy to host:port that ends with the test.
func NewWire(t *testing.T, target string) *Wire {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	w := &Wire{target: target, listener: l, ctx: ctx, conns: map[net.Conn]bool{}}
	w.wg.Go(w.accept)
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		w.mu.Lock()
		w.closed = true
		for c := range w.conns {
			_ = c.Close()
		}
		w.mu.Unlock()
		w.wg.Wait()
	})
	return w
}

// Address returns a with host and ports of the proxy.
func (w *Wire) Address(a device.Address) device.Address {
	_, port, _ := net.SplitHostPort(w.listener.Addr().String())
	a.Host = "127.0.0.1"
	a.APIPort, _ = strconv.Atoi(port)
	a.WebPort = a.APIPort
	return a
}

// set changes what happens from now on. Silent connections that nobody has used end: a
// client may have made one for a call that it gave up, and would wait on it at the next.
func (w *Wire) set(how spoil) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.how = how
	for c, unused := range w.conns {
		if unused {
			_ = c.Close()
		}
	}
}

// gone refuses connections from now on. The port stays taken, or a server of
// another test could get it and answer.
func (w *Wire) gone(t *testing.T) {
	t.Helper()
	a, ok := w.listener.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("the wire listens on %v", w.listener.Addr())
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	_ = w.listener.Close()
	// The listener lets go of the port when nobody waits at it any more.
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())})
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-late.C:
			t.Fatal(err)
		}
	}
}

// track registers a connection, false when the wire is closed already.
func (w *Wire) track(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		_ = c.Close()
		return false
	}
	w.conns[c] = false
	return true
}

func (w *Wire) untrack(c net.Conn) {
	_ = c.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}

func (w *Wire) accept() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		if w.track(c) {
			w.wg.Go(func() { w.serve(c) })
		}
	}
}

func (w *Wire) serve(near net.Conn) {
	defer w.untrack(near)
	w.mu.Lock()
	how := w.how
	w.conns[near] = how.silent
	w.mu.Unlock()
	switch {
	case how.silent:
		if _, err := near.Read(make([]byte, 1)); err == nil {
			w.track(near)                    // now it is used
			_, _ = io.Copy(io.Discard, near) // until the driver gives up
		}
		return
	case how.flood:
		w.flood(near)
		return
	}
	far, err := (&net.Dialer{}).DialContext(w.ctx, "tcp", w.target)
	if err != nil || !w.track(far) {
		return
	}
	defer w.untrack(far)
	w.wg.Go(func() {
		_, _ = io.Copy(far, near)
		if c, ok := far.(*net.TCPConn); ok {
			_ = c.CloseWrite()
		}
	})
	if how.delay > 0 {
		timer := time.NewTimer(how.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-w.ctx.Done():
			return
		}
	}
	if how.cut > 0 {
		_, _ = io.CopyN(near, far, int64(how.cut))
		return
	}
	_, _ = io.Copy(near, far)
}

// floodMax is where a flood ends by itself, so that a driver without a bound
// fails instead of filling the memory.
const floodMax = 64 << 20

func (w *Wire) flood(near net.Conn) {
	first := make([]byte, 1)
	if _, err := io.ReadFull(near, first); err != nil {
		return
	}
	w.wg.Go(func() { _, _ = io.Copy(io.Discard, near) })
	head, fill := `{"STATS":[{"x":"`, make([]byte, 64<<10)
	if first[0] != '{' {
		head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + head
	}
	for i := range fill {
		fill[i] = 'a'
	}
	n, err := near.Write([]byte(head))
	for total := n; err == nil && total < floodMax; total += n {
		n, err = near.Write(fill)
		w.flooded.Add(int64(n))
	}
}
