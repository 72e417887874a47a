package idle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice"
)

// Bounds of an answer.
const (
	callTimeout = 3 * time.Second
	maxAnswer   = 1 << 20
	maxCards    = 64
	maxRate     = 1e18 // H/s
)

// api is a miner's HTTP API. What it says in errors never holds a secret: queries
// and headers are left out.
type api struct {
	name   string // of the program, for errors
	base   *url.URL
	client *http.Client
}

func newAPI(name, base string) (*api, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, sluice.Errorf(sluice.Invalid, "write http://127.0.0.1:PORT", "%s: %q is no address of an API", name, base)
	}
	if u.User != nil || u.RawQuery != "" {
		return nil, sluice.Errorf(sluice.Invalid, "give the secret in token_file", "%s: the address of the API holds a user or a query", name)
	}
	return &api{name, u, &http.Client{
		Timeout: callTimeout,
		// A miner has nowhere to send us.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// errStatus is an answer that is not 200.
type errStatus int

func (e errStatus) Error() string { return fmt.Sprintf("HTTP %d %s", int(e), http.StatusText(int(e))) }

// call asks for a path below the base. body may be nil.
func (a *api) call(ctx context.Context, method, path string, query url.Values, header http.Header, body []byte) ([]byte, error) {
	u := a.base.JoinPath(path)
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, a.wrap(path, errors.New("the request cannot be made"))
	}
	for k, v := range header {
		r.Header[k] = v
	}
	resp, err := a.client.Do(r)
	if err != nil {
		var ue *url.Error // its text holds the query
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, a.wrap(path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, a.wrap(path, err)
	case resp.StatusCode != http.StatusOK:
		return nil, a.wrap(path, errStatus(resp.StatusCode))
	case len(b) > maxAnswer:
		return nil, a.wrap(path, errors.New("the answer is too long"))
	}
	return b, nil
}

func (a *api) wrap(path string, err error) error {
	hint := "does it run, with its API on?"
	var s errStatus
	if errors.As(err, &s) && (s == http.StatusUnauthorized || s == http.StatusForbidden) {
		hint = "give its token in token_file, and let its API control it"
	}
	return &sluice.Error{Kind: sluice.Unavailable, Msg: fmt.Sprintf("%s at %s, %s", a.name, a.base.Host, path), Hint: hint, Cause: err}
}

// rate turns a figure times a factor into MH/s.
func rate(v, factor float64) (float64, error) {
	h := v * factor
	if !(h >= 0) || h > maxRate {
		return 0, fmt.Errorf("a hashrate of %g × %g", v, factor)
	}
	return h / 1e6, nil
}

// watts checks a power that a miner tells.
func watts(v float64) float64 {
	if !(v > 0) || v > 1e5 {
		return 0
	}
	return v
}

// first is the first figure of a list whose elements may be null.
func first(l []*float64) float64 {
	for _, v := range l {
		if v != nil && !math.IsNaN(*v) {
			return *v
		}
	}
	return 0
}

// decode reads JSON of any fields.
func decode(what string, b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return sluice.Errorf(sluice.Unavailable, "is it the API of this program?", "%s: %v", what, err)
	}
	return nil
}

// clean keeps what a miner tells printable and short.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 64)]
}
