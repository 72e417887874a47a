package antminer

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/cgminer"
)

// web is the machine's HTTP CGI interface. It remembers the last challenge, so
// that most requests need one exchange.
type web struct {
	addr, user, password string

	mu   sync.Mutex // guards auth
	auth *challenge
}

// visit is a run of requests on one connection.
type visit struct {
	*web
	conn net.Conn
	r    *bufio.Reader
	stop func() bool
}

func (w *web) visit() *visit { return &visit{web: w} }

func (v *visit) close() {
	if v.conn != nil {
		v.stop()
		_ = v.conn.Close()
		v.conn = nil
	}
}

// do sends one request and returns the body of a 200 reply. A 401 to right
// credentials' form is a *device.RefusedError.
func (v *visit) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	b, err := v.authorized(ctx, method, path, body)
	if err != nil {
		kind := sluice.Unavailable
		if k := sluice.KindOf(err); k != sluice.Internal {
			kind = k
		}
		return nil, &sluice.Error{Kind: kind, Msg: method + " http://" + v.addr + path, Cause: err}
	}
	return b, nil
}

func (v *visit) authorized(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	known := v.header(method, path)
	status, h, b, err := v.send(ctx, method, path, known, body)
	if err != nil {
		return nil, err
	}
	if status == http.StatusUnauthorized {
		c := parseChallenge(h)
		if c == nil {
			return nil, &sluice.Error{
				Kind: sluice.Unavailable, Msg: "the machine asks for credentials in a way that is not supported",
				Hint: "stock firmware asks for digest authentication: is this the right driver?",
			}
		}
		v.mu.Lock()
		v.auth = c
		v.mu.Unlock()
		if status, _, b, err = v.send(ctx, method, path, v.header(method, path), body); err != nil {
			return nil, err
		}
	}
	switch status {
	case http.StatusOK:
		return b, nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, &sluice.Error{
			Kind: sluice.Invalid, Msg: "HTTP " + strconv.Itoa(status), Hint: "check user and password of this machine",
			Cause: &device.RefusedError{Why: "user or password not accepted"},
		}
	}
	return nil, fmt.Errorf("HTTP %d", status)
}

func (v *visit) header(method, path string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.auth == nil {
		return ""
	}
	return v.auth.authorize(method, path, v.user, v.password)
}

func (v *visit) dial(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(cgminer.DefaultTimeout)
	}
	conn, err := (&net.Dialer{Deadline: deadline, KeepAlive: -1}).DialContext(ctx, "tcp", v.addr)
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(deadline); err != nil {
		_ = conn.Close()
		return err
	}
	v.conn, v.r = conn, bufio.NewReaderSize(conn, 1024)
	// Registered after the deadline is set: a cancelled context has the last word.
	v.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return nil
}

func (v *visit) send(ctx context.Context, method, path, authorization string, body []byte) (int, http.Header, []byte, error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, nil, err
	}
	if v.conn == nil {
		if err := v.dial(ctx); err != nil {
			return 0, nil, nil, err
		}
	}
	status, h, b, keep, err := v.exchange(method, path, authorization, body)
	if err == nil {
		cgminer.HangUp(v.conn) // for whenever it closes; a next request goes on as usual
	}
	if err != nil || !keep {
		v.close()
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return status, h, b, err
}

// exchange is one request and its reply. The few headers are written by hand:
// lighttpd 1.4 on these control boards needs no more, and a transport's
// goroutines for each of thousands of machines would be a waste.
func (v *visit) exchange(method, path, authorization string, body []byte) (status int, h http.Header, b []byte, keep bool, err error) {
	var q bytes.Buffer
	fmt.Fprintf(&q, "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n", method, path, v.addr)
	if authorization != "" {
		q.WriteString("Authorization: " + authorization + "\r\n")
	}
	if method == http.MethodPost {
		fmt.Fprintf(&q, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	q.WriteString("\r\n")
	q.Write(body)
	if _, err := v.conn.Write(q.Bytes()); err != nil {
		return 0, nil, nil, false, err
	}
	// The header counts too: a flood without a line end must not fill memory.
	v.r.Reset(&io.LimitedReader{R: v.conn, N: cgminer.MaxReply + 1})
	resp, err := http.ReadResponse(v.r, &http.Request{Method: method})
	if err != nil {
		return 0, nil, nil, false, err
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(io.LimitReader(resp.Body, cgminer.MaxReply+1))
	if err != nil {
		return 0, nil, nil, false, err
	}
	if len(b) > cgminer.MaxReply {
		return 0, nil, nil, false, &sluice.Error{Kind: sluice.Unavailable, Msg: "the reply is longer than 1 MiB"}
	}
	return resp.StatusCode, resp.Header, b, !resp.Close, nil
}
