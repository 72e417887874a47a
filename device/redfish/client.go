// Package redfish reads and switches servers, blade chassis and racks over DMTF's
// Redfish: the power that a chassis draws, a limit of it, and a system's power
// button. It takes the newer PowerSubsystem and EnvironmentMetrics as well as the
// older Power resource, whichever a device has.
package redfish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/device"
)

// Port is HTTPS's own, and DefaultTimeout bounds a call whose context has no
// deadline: management controllers are slow.
const (
	Port           = 443
	DefaultTimeout = 10 * time.Second
	maxBody        = 1 << 20
)

// Options describe one management controller.
type Options struct {
	Address device.Address
	TLS     device.TLS // by what its certificate is known; many have one that signs itself
	// Plain speaks HTTP without TLS: the password can be read on the way.
	Plain bool
	// Session logs in once and uses the session's token; else each request carries
	// user and password.
	Session bool
	Chassis string // its ID; empty: the only one, or the first that measures its power
	System  string // its ID; empty: the only one
}

// client speaks to one controller.
type client struct {
	o    Options
	base string
	http *http.Client

	mu    sync.Mutex // guards the token, and is held while a session is made
	token string
}

func newClient(o Options) (*client, error) {
	scheme, port := "https", Port
	tr := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: DefaultTimeout,
		MaxResponseHeaderBytes: 64 << 10, MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second,
	}
	if o.Plain {
		scheme, port = "http", 80
	} else {
		c, err := o.TLS.Config(o.Address.Host)
		if err != nil {
			return nil, err
		}
		tr.TLSClientConfig = c
	}
	return &client{o: o, base: scheme + "://" + o.Address.Web(port), http: &http.Client{
		Transport: tr,
		// Nothing here needs a redirect, and one to elsewhere would carry the password.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// statusError is an answer that is not a success.
type statusError struct {
	code int
	why  string
}

func (e *statusError) Error() string {
	s := fmt.Sprintf("it answers %d %s", e.code, http.StatusText(e.code))
	if e.why != "" {
		s += ": " + e.why
	}
	return s
}

// missing says whether the resource is not there.
func missing(err error) bool {
	var s *statusError
	return errors.As(err, &s) && (s.code == http.StatusNotFound || s.code == http.StatusMethodNotAllowed || s.code == http.StatusNotImplemented)
}

// link is a reference to a resource.
type link struct {
	ID string `json:"@odata.id"`
}

// local returns the path of a reference on this controller, "" for one that leads
// elsewhere: nothing that a device says makes us talk to another.
func local(ref string) string {
	u, err := url.Parse(ref)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, "/") || path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") {
		return ""
	}
	return u.EscapedPath()
}

// get reads a resource; the header's ETag comes with it.
func (c *client) get(ctx context.Context, ref string, into any) (etag string, err error) {
	h, err := c.do(ctx, http.MethodGet, ref, nil, "", into)
	return h.Get("ETag"), err
}

// do sends a request, with a new session where the old one has ended.
func (c *client) do(ctx context.Context, method, ref string, body any, etag string, into any) (http.Header, error) {
	p := local(ref)
	if p == "" {
		return nil, fmt.Errorf("it refers to %.80q, which is not a path of its own", ref)
	}
	token, err := c.session(ctx, "")
	if err != nil {
		return nil, err
	}
	h, err := c.once(ctx, method, p, body, etag, token, into)
	var s *statusError
	if errors.As(err, &s) && s.code == http.StatusUnauthorized && c.o.Session {
		if token, err = c.session(ctx, token); err != nil {
			return nil, err
		}
		return c.once(ctx, method, p, body, etag, token, into)
	}
	return h, err
}

// session returns the token of a session, a new one where old is the present one
// (which has then ended); "" where there are no sessions.
func (c *client) session(ctx context.Context, old string) (string, error) {
	if !c.o.Session {
		return "", nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" && c.token != old {
		return c.token, nil
	}
	c.token = ""
	h, err := c.once(ctx, http.MethodPost, "/redfish/v1/SessionService/Sessions",
		map[string]string{"UserName": c.o.Address.User, "Password": c.o.Address.Password}, "", "", nil)
	if err != nil {
		return "", fmt.Errorf("logging in: %w", err)
	}
	if c.token = h.Get("X-Auth-Token"); c.token == "" {
		return "", errors.New("logging in: it gives no token")
	}
	return c.token, nil
}

// once sends one request.
func (c *client) once(ctx context.Context, method, p string, body any, etag, token string, into any) (http.Header, error) {
	var in io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+p, in)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("OData-Version", "4.0")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if etag != "" {
		req.Header.Set("If-Match", etag)
	}
	switch {
	case token != "":
		req.Header.Set("X-Auth-Token", token)
	case !c.o.Session && c.o.Address.User != "":
		req.SetBasicAuth(c.o.Address.User, c.o.Address.Password)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxBody {
		return nil, fmt.Errorf("its answer is longer than %d MiB", maxBody>>20)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return nil, &statusError{res.StatusCode, message(data)}
	}
	if into != nil {
		if err := json.Unmarshal(data, into); err != nil {
			return nil, fmt.Errorf("%s is no JSON that Redfish knows: %w", p, err)
		}
	}
	return res.Header, nil
}

// message finds what an error answer says in words.
func message(data []byte) string {
	var e struct {
		Error struct {
			Message  string `json:"message"`
			Extended []struct {
				Message string `json:"Message"`
			} `json:"@Message.ExtendedInfo"`
		} `json:"error"`
	}
	if json.Unmarshal(data, &e) != nil {
		return ""
	}
	s := e.Error.Message
	if len(e.Error.Extended) > 0 && e.Error.Extended[0].Message != "" {
		s = e.Error.Extended[0].Message
	}
	return s[:min(len(s), 200)]
}

// outcome tells how an act went by its error: what the device said no to was
// refused, else nobody knows.
func outcome(err error) (sluice.Outcome, error) {
	var s *statusError
	if errors.As(err, &s) && s.code >= 400 && s.code < 500 && s.code != http.StatusRequestTimeout && s.code != http.StatusTooManyRequests {
		return sluice.Refused, &device.RefusedError{Why: s.Error()}
	}
	return sluice.Unknown, err
}
