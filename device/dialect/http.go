package dialect

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/antminer"
	"sluice/device/cgminer"
)

// maxReply is the most that is read of one reply, in bytes.
const maxReply = cgminer.MaxReply

// Two transports serve all devices. Reads keep a few connections for a moment,
// so that the requests of one visit share one; writes have their own, because a
// connection that the device has closed meanwhile would leave it unknown
// whether the command arrived.
var (
	reads  = newTransport(false)
	writes = newTransport(true)
)

func newTransport(fresh bool) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{KeepAlive: -1}).DialContext(ctx, network, addr)
			if err == nil {
				cgminer.HangUp(c) // thousands of devices would else leave sockets in TIME_WAIT
			}
			return c, err
		},
		// Devices sign their own certificates: TLS here keeps a password from
		// those who only listen, and proves nothing about the device.
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as said
		DisableKeepAlives:      fresh,
		DisableCompression:     true, // a bound on the reply is a bound on the bytes
		MaxIdleConns:           128,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        2 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         2 << 10,
		WriteBufferSize:        1 << 10,
	}
}

// web is a device's HTTP interface.
type web struct {
	addr, scheme   string
	user, password string
	auth           auth

	token  atomic.Pointer[string]
	logins chan struct{} // holds who logs in: firmware may keep one session alone
}

func newWeb(a device.Address, d *Dialect) *web {
	w := &web{addr: a.Web(first(d.Ports.Web, 80)), scheme: "http", user: a.User, password: a.Password, auth: d.Auth, logins: make(chan struct{}, 1)}
	if d.Ports.TLS {
		w.scheme = "https"
	}
	if w.user == "" {
		w.user = d.Auth.User
	}
	if w.password == "" {
		w.password = d.Auth.Password
	}
	return w
}

// do sends one request and returns the body of a reply with a good status.
func (w *web) do(ctx context.Context, method, path string, body []byte, write bool) ([]byte, error) {
	b, err := w.authorized(ctx, method, path, body, write)
	if err == nil {
		return b, nil
	}
	out := &sluice.Error{Kind: sluice.Unavailable, Msg: method + " " + w.scheme + "://" + w.addr + path, Cause: err}
	var st *StatusError
	if !errors.As(err, &st) {
		return nil, out
	}
	switch {
	case st.Status == http.StatusUnauthorized || st.Status == http.StatusForbidden:
		out.Kind, out.Hint = sluice.Invalid, "check user and password of this machine"
		out.Cause = errors.Join(&device.RefusedError{Why: "user or password not accepted"}, st)
	case st.Status == http.StatusRequestTimeout || st.Status == http.StatusTooManyRequests:
	case st.Status < 500 && st.Status >= 400 && write:
		out.Kind = sluice.Conflict
		out.Cause = errors.Join(&device.RefusedError{Why: st.Error()}, st)
	}
	return nil, out
}

func (w *web) authorized(ctx context.Context, method, path string, body []byte, write bool) ([]byte, error) {
	header, err := w.credentials(ctx, write)
	if err != nil {
		return nil, err
	}
	status, h, b, err := w.send(ctx, method, path, header, body, write)
	if err != nil {
		return nil, err
	}
	if status == http.StatusUnauthorized {
		again := false
		switch w.auth.Kind {
		case "digest":
			s, ok := antminer.Answer(h, method, path, w.user, w.password)
			header, again = [2]string{"Authorization", s}, ok
		case "bearer":
			if header, err = w.login(ctx, header[1]); err != nil {
				return nil, err
			}
			again = true
		}
		if again {
			if status, _, b, err = w.send(ctx, method, path, header, body, write); err != nil {
				return nil, err
			}
		}
	}
	if status < 200 || status > 299 {
		return nil, &StatusError{status, reason(b)}
	}
	return b, nil
}

// credentials returns the header to send with a request.
func (w *web) credentials(ctx context.Context, write bool) ([2]string, error) {
	switch w.auth.Kind {
	case "basic":
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(w.user, w.password)
		return [2]string{"Authorization", r.Header.Get("Authorization")}, nil
	case "token":
		if w.password != "" {
			return w.header(w.password), nil
		}
	case "bearer":
		if token := w.token.Load(); token != nil {
			return w.header(*token), nil
		}
		if write { // reads are often free; a write would only be sent twice
			return w.login(ctx, "")
		}
	}
	return [2]string{}, nil
}

func (w *web) header(token string) [2]string {
	name := w.auth.Header
	if name == "" {
		name = "Authorization"
	}
	return [2]string{name, w.auth.Prefix + token}
}

// login gets a new token, unless somebody did since the failed one. One that hangs
// holds up those who need a token, within their own time, and nobody who has one.
func (w *web) login(ctx context.Context, failed string) ([2]string, error) {
	select {
	case w.logins <- struct{}{}:
		defer func() { <-w.logins }()
	case <-ctx.Done():
		return [2]string{}, ctx.Err()
	}
	if token := w.token.Load(); token != nil && w.auth.Prefix+*token != failed {
		return w.header(*token), nil
	}
	vars := map[string]any{"user": w.user, "password": w.password}
	method, path := w.auth.Login.method()
	tree, _ := expandTree(w.auth.Login.Body, env{}, vars)
	body, err := json.Marshal(tree)
	if err != nil {
		return [2]string{}, err
	}
	status, _, b, err := w.send(ctx, method, path, [2]string{}, body, true)
	if err != nil {
		return [2]string{}, err
	}
	if status < 200 || status > 299 {
		if status >= 400 && status < 500 && status != http.StatusNotFound {
			status = http.StatusUnauthorized
		}
		return [2]string{}, &StatusError{status, ""}
	}
	v, err := parse(b)
	if err != nil {
		return [2]string{}, err
	}
	token := ""
	if p, err := parsePath("." + w.auth.Token); err == nil {
		for _, n := range p.find(env{item: v}) {
			token, _ = n.v.(string)
		}
	}
	if token == "" || strings.ContainsAny(token, "\r\n\x00") {
		return [2]string{}, &sluice.Error{Kind: sluice.Unavailable, Msg: "the reply to the login has no token"}
	}
	w.token.Store(&token)
	return w.header(token), nil
}

func (w *web) send(ctx context.Context, method, path string, header [2]string, body []byte, write bool) (int, http.Header, []byte, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, w.scheme+"://"+w.addr+path, r)
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "sluice")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if header[1] != "" {
		req.Header.Set(header[0], header[1])
	}
	c := http.Client{Transport: reads, CheckRedirect: stay}
	if write {
		c.Transport = writes
	}
	resp, err := c.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		var named *url.Error // the caller names method and address already
		if errors.As(err, &named) {
			err = named.Err
		}
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return 0, nil, nil, ctx.Err()
	case err != nil:
		return 0, nil, nil, err
	case len(b) > maxReply:
		return 0, nil, nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "the reply is longer than 1 MiB"}
	}
	return resp.StatusCode, resp.Header, b, nil
}

// stay follows a redirect only on the same host and port, and never one of a
// write: a device must not send us, or its password, elsewhere.
func stay(req *http.Request, via []*http.Request) error {
	if len(via) > 3 || req.URL.Host != via[0].URL.Host || via[0].Method != http.MethodGet {
		return http.ErrUseLastResponse
	}
	return nil
}

// reason returns what a body says of a failure: a short text, or a usual key of
// an object. A page of HTML says nothing.
func reason(b []byte) string {
	v, err := parse(b)
	if err != nil {
		if len(b) > 120 || bytes.ContainsAny(b, "<>") {
			return ""
		}
		return printable(string(b))
	}
	for _, key := range []string{"error", "err", "message", "msg", "detail", "reason"} {
		if m, ok := v.(map[string]any); ok {
			if c, _, ok := field(m, key); ok {
				if s, ok := text(c); ok {
					return printable(s)
				}
				v = c // {"error":{"message":…}}
			}
		}
	}
	s, _ := v.(string)
	return printable(s)
}

// printable keeps a device's words to a line.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return ' '
		}
		return r
	}, s)
	if s = strings.TrimSpace(s); len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "")
	}
	return s
}
