package dialect

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/cgminer"
)

// Wire carries requests to one device in a way that is code and not data: with
// a session, or with cryptography. A request names it by via:. Wires are listed
// in hooks.go.
type Wire interface {
	// Call sends one request and returns the reply as it came, at most 1 MiB of
	// it. A device that says no is a *device.RefusedError in the chain.
	Call(ctx context.Context, q Request) ([]byte, error)
}

// Request is what a Wire is given: the request of a file with its templates
// filled in.
type Request struct {
	Command   string
	Parameter string
	Body      any  // of the file, filled in; nil without one
	Write     bool // it is a step of a command, and may change the device
}

// defaultTimeout bounds a call whose context has no deadline.
const defaultTimeout = 10 * time.Second

// link is a device's wires: those that its address and dialect make.
type link struct {
	addr    device.Address
	api     cgminer.Client
	web     *web
	special map[string]Wire
}

func newLink(a device.Address, d *Dialect) *link {
	l := &link{addr: a, special: map[string]Wire{}}
	l.api = cgminer.Client{Addr: a.API(first(d.Ports.API, cgminer.Port))}
	l.web = newWeb(a, d)
	for _, r := range d.Requests {
		l.via(r.Via, d)
	}
	for _, c := range d.Commands {
		for _, s := range c.Steps {
			l.via(s.Via, d)
		}
	}
	return l
}

// via makes a wire. The file's port and credentials go before the wire's own.
func (l *link) via(name string, d *Dialect) {
	if name != "" && l.special[name] == nil {
		a := l.addr
		if a.APIPort == 0 {
			a.APIPort = first(d.Ports.API, 0)
		}
		a.User, a.Password = cmp.Or(a.User, d.Auth.User), cmp.Or(a.Password, d.Auth.Password)
		l.special[name] = wires[name](a)
	}
}

func first(list []int, def int) int {
	if len(list) > 0 {
		return list[0]
	}
	return def
}

// do sends a request and returns the parsed reply. vars are what the templates
// need; write says that it may change the device.
func (l *link) do(ctx context.Context, r *request, e env, vars map[string]any, write bool) (any, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}
	if err := ctx.Err(); err != nil {
		return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "asking " + l.addr.String(), Cause: err}
	}
	if r.Via == "" && r.Command != "" {
		return l.command(ctx, r, e, vars)
	}
	b, err := l.send(ctx, r, e, vars, write)
	if r.Else != nil && missing(err) {
		return l.do(ctx, r.Else, e, vars, write)
	}
	if err != nil {
		return nil, err
	}
	if r.Form == "text" {
		return string(b), nil
	}
	v, err := parse(b)
	if err != nil {
		if write && len(bytes.TrimSpace(b)) == 0 && r.Via == "" {
			return nil, nil // a good status without a body is a yes
		}
		return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "the reply of " + l.addr.String() + " to " + r.name(), Cause: err}
	}
	if r.Form == "brackets" {
		v = brackets(v, 0)
	}
	return v, nil
}

// missing reports whether the firmware has no such path.
func missing(err error) bool {
	var st *StatusError
	return errors.As(err, &st) && (st.Status == http.StatusNotFound || st.Status == http.StatusMethodNotAllowed || st.Status == http.StatusNotImplemented)
}

func (r *request) name() string {
	if m, p := r.method(); p != "" {
		return m + " " + p
	}
	return r.Command
}

// unknown is the error of a request that cannot be filled in.
func (l *link) unknown(r *request) error {
	return sluice.Errorf(sluice.Unavailable, "", "asking %s for %s: a value that the request needs is not known", l.addr, r.name())
}

func (l *link) send(ctx context.Context, r *request, e env, vars map[string]any, write bool) ([]byte, error) {
	var body any
	if r.Body != nil {
		var ok bool
		if body, ok = expandTree(r.Body, e, vars); !ok {
			return nil, l.unknown(r)
		}
	}
	if r.Via != "" {
		param, ok := expand(r.Parameter, e, vars)
		if !ok {
			return nil, l.unknown(r)
		}
		return l.special[r.Via].Call(ctx, Request{r.Command, param, body, write})
	}
	method, path := r.method()
	path, ok := expandPath(path, e, vars)
	if !ok {
		return nil, l.unknown(r)
	}
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	return l.web.do(ctx, method, path, b, write)
}

// command asks the cgminer API.
func (l *link) command(ctx context.Context, r *request, e env, vars map[string]any) (any, error) {
	param, ok := expand(r.Parameter, e, vars)
	if !ok {
		return nil, l.unknown(r)
	}
	reply, err := l.api.Call(ctx, cgminer.Request{Command: r.Command, Parameter: param, NewAPI: r.NewAPI})
	if err != nil {
		return nil, err
	}
	switch v := any(map[string]any(reply)); r.Form {
	case "brackets":
		return brackets(v, 0), nil
	case "text":
		b, err := json.Marshal(v)
		return string(b), err
	default:
		return v, nil
	}
}

// parse reads JSON of any form and mends the quirks that are known of
// firmwares. What ends too early, or is no JSON, is an error.
func parse(wire []byte) (any, error) {
	b := bytes.Trim(wire, "\x00 \t\r\n")
	if len(b) == 0 {
		return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: "the reply is empty"}
	}
	var v any
	if json.Unmarshal(b, &v) == nil {
		return v, nil
	}
	fixed := cgminer.Mend(b)
	err := json.Unmarshal(fixed, &v)
	if err == nil {
		return v, nil
	}
	msg := "it is not JSON"
	if errors.Is(json.NewDecoder(bytes.NewReader(fixed)).Decode(&v), io.ErrUnexpectedEOF) {
		msg = "it is truncated after " + strconv.Itoa(len(b)) + " bytes"
	}
	return nil, &sluice.Error{Kind: sluice.Unavailable, Msg: msg, Cause: err}
}

// StatusError is an HTTP status that is no success.
type StatusError struct {
	Status int
	Why    string // what the body says, in short
}

func (e *StatusError) Error() string {
	if e.Why == "" {
		return fmt.Sprintf("HTTP %d", e.Status)
	}
	return fmt.Sprintf("HTTP %d: %s", e.Status, e.Why)
}
