// Package cgminer owns the TCP transport that cgminer introduced and most
// firmwares still speak: one JSON command per connection, answered by one JSON
// object after which the machine closes. It bounds and mends what comes back;
// what the fields mean is the drivers' business.
package cgminer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"sluice"
)

// Port is the protocol's usual port.
const Port = 4028

// MaxReply is the most that is read of one reply, in bytes.
const MaxReply = 1 << 20

// DefaultTimeout bounds a call whose context has no deadline.
const DefaultTimeout = 10 * time.Second

// Client asks one machine. It holds no connection and may be used by several
// goroutines at once.
type Client struct {
	Addr string // host:port
}

// Request is one command. Parameter is left out when empty; NewAPI asks recent
// Antminer firmware for its newer form, and is ignored by all others.
type Request struct {
	Command   string `json:"command"`
	Parameter string `json:"parameter,omitempty"`
	NewAPI    bool   `json:"new_api,omitempty"`
}

// Call sends one command and returns the parsed reply. A machine that says no
// is a *device.RefusedError in the chain; all other errors are of kind
// Unavailable: the machine may have obeyed a command or not.
func (c Client) Call(ctx context.Context, req Request) (Reply, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, c.fail(req, err)
	}
	wire, err := c.Exchange(ctx, body)
	if err != nil {
		return nil, c.fail(req, err)
	}
	r, err := Parse(wire)
	if err != nil {
		return nil, c.fail(req, err)
	}
	return r, nil
}

func (c Client) fail(req Request, err error) error {
	kind := sluice.Unavailable
	if k := sluice.KindOf(err); k != sluice.Internal {
		kind = k
	}
	return &sluice.Error{Kind: kind, Msg: "asking " + c.Addr + " for " + req.Command, Cause: err}
}

// Exchange sends a request as it is and returns the bytes of the reply, for
// firmwares whose requests are more than a command and a parameter.
func (c Client) Exchange(ctx context.Context, body []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(DefaultTimeout)
	}
	d := net.Dialer{Deadline: deadline, KeepAlive: -1}
	conn, err := d.DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// A cancelled context ends reads and writes at once.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if ctx.Err() != nil { // the line above may have undone a cancellation
		return nil, ctx.Err()
	}
	if _, err := conn.Write(body); err != nil {
		return nil, err
	}
	b, err := readReply(conn)
	switch {
	case err == nil:
		HangUp(conn)
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	return b, err
}

// HangUp lets the coming Close of a connection whose last reply is complete
// reset it. Thousands of machines polled every few seconds would otherwise
// leave tens of thousands of sockets in TIME_WAIT, on both sides.
func HangUp(conn net.Conn) {
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0) // without it the close is merely slower
	}
}

// readReply reads to the end of the stream, or to the first NUL at the end of
// a read: firmwares that keep the connection open end the reply with one.
func readReply(r io.Reader) ([]byte, error) {
	buf := make([]byte, 0, 2048)
	for {
		if len(buf) == cap(buf) {
			if cap(buf) >= MaxReply {
				return nil, &sluice.Error{
					Kind: sluice.Unavailable, Msg: "the reply is longer than 1 MiB",
					Hint: "is this a mining machine's API?",
				}
			}
			buf = append(make([]byte, 0, min(4*cap(buf), MaxReply)), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil && n == 0 && len(buf) > 0 && errors.Is(err, syscall.ECONNRESET):
			// Some firmwares reset instead of closing; Parse judges what came.
			return buf, nil //nolint:nilerr // as said
		case err != nil:
			return nil, err
		case n > 0 && buf[len(buf)-1] == 0:
			return buf, nil
		}
	}
}

// Silent reports whether the error says that no mining program listens: the
// connection was refused, or closed before a byte of the reply. A machine that
// sleeps may look so; one that is slow or garbled does not.
func Silent(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, errEmpty) || errors.Is(err, syscall.ECONNRESET)
}
