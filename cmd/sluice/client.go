package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"
	"time"

	"sluice"
	"sluice/server"

	"github.com/spf13/cobra"
)

const (
	defaultServer = "http://127.0.0.1:8420"
	// askTimeout bounds a request that does not stream, wall time.
	askTimeout = 30 * time.Second
	// maxAnswer bounds an answer that is read whole.
	maxAnswer = 64 << 20
)

// remote is how a command finds the site that it talks to.
type remote struct{ server, tokenFile string }

// talks gives the command, and those below it, the flags that name the site.
func talks(cmd *cobra.Command) (*cobra.Command, *remote) {
	r := &remote{}
	f := cmd.PersistentFlags()
	f.StringVar(&r.server, "server", "", "URL of the site (default "+defaultServer+", or SLUICE_SERVER)")
	f.StringVar(&r.tokenFile, "token-file", "", "file with the site's token (or SLUICE_TOKEN_FILE)")
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return sluice.Errorf(sluice.Invalid, "see "+c.CommandPath()+" --help", "%s: %v", c.CommandPath(), err)
	})
	return cmd, r
}

// client talks to a running site.
type client struct {
	base  string
	token string
	http  *http.Client
}

// open makes the client. The token comes from a file and never from the command
// line, which every user of the machine can read.
func (r *remote) open() (*client, error) {
	at := first(r.server, os.Getenv("SLUICE_SERVER"), defaultServer)
	u, err := url.Parse(at)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		return nil, sluice.Errorf(sluice.Invalid, "write it as "+defaultServer, "%q is no address of a site", at)
	}
	c := &client{base: strings.TrimRight(u.Scheme+"://"+u.Host+u.Path, "/")}
	if file := first(r.tokenFile, os.Getenv("SLUICE_TOKEN_FILE")); file != "" {
		if c.token, err = server.ReadToken(file); err != nil {
			return nil, err
		}
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout:   5 * time.Second,
			ResponseHeaderTimeout: 10 * time.Minute, // a backup is made before its first byte
		},
		// The token goes to the site that was named and to no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func first(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}

// stream makes a request and returns the body of its good answer.
func (c *client) stream(ctx context.Context, method, path string, in any) (io.ReadCloser, error) {
	res, err := c.response(ctx, method, path, in)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// response makes a request and returns its good answer, whose body is open.
func (c *client) response(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("writing the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/api/v1"+path, body)
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "", "asking %s: %v", c.base, err)
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.silent(ctx, err)
	}
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, c.refusal(res)
}

// silent says that the site does not answer, or why it was not waited for.
func (c *client) silent(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	text := "no site answers at " + c.base
	if errors.Is(err, context.DeadlineExceeded) {
		text = "the site at " + c.base + " does not answer in time"
	} else if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "dial" {
		text = "the connection to " + c.base + " broke: " + err.Error()
	}
	return sluice.Errorf(sluice.Unavailable, "start one with sluice up --demo, or name yours with --server", "%s", text)
}

// refusal makes an error of a problem, of the kind that the site meant.
func (c *client) refusal(res *http.Response) error {
	kind := sluice.Internal
	switch res.StatusCode {
	case http.StatusNotFound:
		kind = sluice.NotFound
	case http.StatusConflict:
		kind = sluice.Conflict
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		kind = sluice.Unavailable
	default:
		if res.StatusCode >= 300 && res.StatusCode < 500 {
			kind = sluice.Invalid
		}
	}
	b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	var p server.Problem
	if err := json.Unmarshal(b, &p); err != nil || p.Detail == "" {
		return sluice.Errorf(kind, "is this the address of a site?", "%s answers %s", c.base, res.Status)
	}
	text := p.Detail
	for _, e := range p.Errors {
		text += ": " + strings.TrimPrefix(e.Location, "body.") + " " + e.Message
	}
	lines := strings.Split(text, "\n") // a task file may have many mistakes
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	return sluice.Errorf(kind, plain(p.Hint), "%s", strings.Join(lines, "\n"))
}

// ask makes a request and returns its whole answer.
func (c *client) ask(ctx context.Context, method, path string, in any) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := c.stream(ctx, method, path, in)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	if err != nil {
		return nil, c.silent(ctx, err)
	}
	return b, nil
}

// askFor makes a request and reads its answer as a T.
func askFor[T any](ctx context.Context, c *client, method, path string, in any) (T, json.RawMessage, error) {
	var v T
	raw, err := c.ask(ctx, method, path, in)
	if err != nil {
		return v, nil, err
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, nil, sluice.Errorf(sluice.Internal, "is it another version?", "%s answers what is not understood: %v", c.base, err)
	}
	return v, raw, nil
}

// shows lets a command ask for one thing at a path of the API and write it for a person, or
// as the API's JSON.
func shows[T any](cmd *cobra.Command, at *remote, path func(args []string) string, write func(w io.Writer, v T) error) *cobra.Command {
	var asJSON bool
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the API's JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := at.open()
		if err != nil {
			return err
		}
		v, raw, err := askFor[T](cmd.Context(), c, http.MethodGet, path(args), nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), raw)
		}
		return write(cmd.OutOrStdout(), v)
	}
	return cmd
}

// list reads up to limit items of a list, 0 for all, page by page. The raw
// answer is one page of them all.
func list[T any](ctx context.Context, c *client, path string, q url.Values, limit int) ([]T, json.RawMessage, error) {
	if q == nil {
		q = url.Values{}
	}
	var items []T
	all := server.Page[json.RawMessage]{Items: []json.RawMessage{}}
	for {
		n := 1000
		if limit > 0 {
			n = min(n, limit-len(items))
		}
		q.Set("limit", fmt.Sprint(n))
		p, _, err := askFor[server.Page[json.RawMessage]](ctx, c, http.MethodGet, path+"?"+q.Encode(), nil)
		if err != nil {
			return nil, nil, err
		}
		for _, raw := range p.Items {
			var v T
			if err := json.Unmarshal(raw, &v); err != nil {
				return nil, nil, sluice.Errorf(sluice.Internal, "is it another version?", "%s answers what is not understood: %v", c.base, err)
			}
			items = append(items, v)
		}
		all.Items = append(all.Items, p.Items...)
		all.Next = p.Next
		if p.Next == "" || len(p.Items) == 0 || limit > 0 && len(items) >= limit {
			break
		}
		q.Set("after", p.Next)
	}
	raw, err := json.Marshal(all)
	return items, raw, err
}

// events calls on for each event of the site until ctx ends.
func (c *client) events(ctx context.Context, on func(kind string, data []byte) error) error {
	body, err := c.stream(ctx, http.MethodGet, "/events", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := readEvents(body, on); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return sluice.Errorf(sluice.Unavailable, "the site may have stopped", "%s ended the stream of events", c.base)
}

// readEvents calls on for each event of a stream to its end, or to where it
// breaks off: both mean that the site is gone.
func readEvents(r io.Reader, on func(kind string, data []byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxAnswer)
	kind := ""
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "":
			kind = "" // the end of an event; of a comment it is the name too
		case "event":
			kind = value
		case "data":
			if err := on(kind, []byte(value)); err != nil {
				return err
			}
		}
	}
	return nil
}

// me names the person at the terminal, for the record.
func me() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return first(os.Getenv("USER"), "cli")
}
