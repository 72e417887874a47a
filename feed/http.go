package feed

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
	"time"

	"sluice"
)

// MaxBody is the most that is read of an answer.
const MaxBody = 8 << 20

// Client fetches over HTTP for sources: bounded answers, timeouts, no redirect to
// another host, errors that name the URL without credentials or query. It is safe
// for concurrent use.
type Client struct {
	http *http.Client
	// Auth adds what the origin asks for to each request; it may be nil.
	Auth func(*http.Request) error
}

// NewClient makes a client. The context of each call may be shorter than its
// overall limit of 30s.
func NewClient() *Client {
	dial := &net.Dialer{Timeout: 10 * time.Second}
	return &Client{http: &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dial.DialContext,
			TLSHandshakeTimeout:    10 * time.Second,
			ResponseHeaderTimeout:  20 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        90 * time.Second,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme {
				return fmt.Errorf("it redirects to another host, %s", r.URL.Host)
			}
			if len(via) > 5 {
				return errors.New("it redirects in a circle")
			}
			return nil
		},
	}}
}

// Get returns the body of an answer with the status 200.
func (c *Client) Get(ctx context.Context, address string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, address, nil, "application/json")
}

// GetJSON reads an answer into v.
func (c *Client) GetJSON(ctx context.Context, address string, v any) error {
	data, err := c.Get(ctx, address)
	if err != nil {
		return err
	}
	return decode(data, address, v)
}

// PostJSON sends body and reads the answer into v. Answers of other statuses than
// 200 are errors.
func (c *Client) PostJSON(ctx context.Context, address string, body, v any) error {
	out, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("asking %s: %w", Bare(address), err)
	}
	data, err := c.do(ctx, http.MethodPost, address, out, "application/json")
	if err != nil {
		return err
	}
	return decode(data, address, v)
}

func decode(data []byte, address string, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return sluice.Errorf(sluice.Unavailable, "check that the URL is that of the feed's type", "%s does not answer in the JSON that is expected: %v", Bare(address), err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, address string, body []byte, accept string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "check the feed's url", "%s is no URL to ask", Bare(address))
	}
	r.Header.Set("Accept", accept)
	r.Header.Set("User-Agent", "sluice")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.Auth != nil {
		if err := c.Auth(r); err != nil {
			return nil, err
		}
	}
	resp, err := c.http.Do(r)
	if err != nil {
		var ue *url.Error // its text has the URL, with the query
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("asking %s: %w", Bare(address), &sluice.Error{Kind: sluice.Unavailable, Msg: "no answer", Cause: err})
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		hint := ""
		switch resp.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			hint = "check the credentials, and whether it answers to this network at all"
		case http.StatusTooManyRequests:
			hint = "raise refresh"
		case http.StatusNotFound:
			hint = "check the feed's url"
		}
		return nil, sluice.Errorf(sluice.Unavailable, hint, "%s answers with the status %d", Bare(address), resp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", Bare(address), &sluice.Error{Kind: sluice.Unavailable, Msg: "it broke off", Cause: err})
	}
	if len(data) > MaxBody {
		return nil, sluice.Errorf(sluice.Unavailable, "", "the answer of %s is longer than %d MiB", Bare(address), MaxBody>>20)
	}
	return data, nil
}

// Bare returns the address without user, password, query and fragment, for errors
// and origins.
func Bare(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "an address that is no URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}
