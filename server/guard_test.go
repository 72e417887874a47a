package server

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
)

func TestLoopbackKeepsWebPagesOut(t *testing.T) {
	r := newRig(t, nil)
	u, _ := url.Parse(r.url)
	port := u.Port()
	order := `{"limit_kw":4000,"for_s":1800}`
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
	}{
		{"as it is", "GET", "/api/v1/site", "", nil, 200},
		{"localhost", "GET", "/api/v1/site", "", []string{"Host", "localhost:" + port}, 200},
		{"LocalHost", "GET", "/api/v1/site", "", []string{"Host", "LocalHost:" + port}, 200},
		{"IPv6 loopback", "GET", "/api/v1/site", "", []string{"Host", "[::1]:" + port}, 200},
		{"rebound name", "GET", "/api/v1/site", "", []string{"Host", "evil.example:" + port}, 403},
		{"rebound name, the page", "GET", "/", "", []string{"Host", "evil.example:" + port}, 403},
		{"rebound name, metrics", "GET", "/metrics", "", []string{"Host", "evil.example:" + port}, 403},
		{"name that begins well", "GET", "/api/v1/site", "", []string{"Host", "localhost.evil.example:" + port}, 403},
		{"name that begins like an address", "GET", "/api/v1/site", "", []string{"Host", "127.0.0.1.evil.example:" + port}, 403},
		{"another port", "GET", "/api/v1/site", "", []string{"Host", "127.0.0.1:1"}, 403},
		{"no port", "GET", "/api/v1/site", "", []string{"Host", "127.0.0.1"}, 403},
		{"another address", "GET", "/api/v1/site", "", []string{"Host", "10.0.0.1:" + port}, 403},
		{"own page writes", "POST", "/api/v1/curtailments", order, []string{"Origin", r.url}, 201},
		{"another page writes", "POST", "/api/v1/curtailments", order, []string{"Origin", "http://evil.example"}, 403},
		{"sandboxed page writes", "POST", "/api/v1/curtailments", order, []string{"Origin", "null"}, 403},
		{"another local server's page writes", "POST", "/api/v1/curtailments", order, []string{"Origin", "http://127.0.0.1:1"}, 403},
		{"own host under https", "POST", "/api/v1/curtailments", order, []string{"Origin", "https://127.0.0.1:" + port}, 403},
		{"another page reads", "GET", "/api/v1/site", "", []string{"Origin", "http://evil.example"}, 403},
		{"another page reads without Origin", "GET", "/api/v1/site", "", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"another port's page reads without Origin", "GET", "/metrics", "", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"a link from elsewhere opens the page", "GET", "/", "", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		{"form", "POST", "/api/v1/curtailments", order, []string{"Content-Type", "text/plain"}, 415},
		{"form without a body", "POST", "/api/v1/jobs/j-5/cancel", "", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{"body without a type", "POST", "/api/v1/curtailments", order, []string{"Content-Type", ""}, 415},
		{"JSON with a charset", "POST", "/api/v1/curtailments", order, []string{"Content-Type", "application/json; charset=utf-8"}, 201},
		{"nothing to send", "POST", "/api/v1/jobs/j-5/cancel", "", nil, 200},
		{"preflight", "OPTIONS", "/api/v1/curtailments", "", []string{"Origin", "http://evil.example", "Access-Control-Request-Method", "POST"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(r.site.ordered)
			res := r.do(c.method, c.path, c.body, c.header...)
			if res.StatusCode != c.status {
				t.Errorf("status %d, want %d", res.StatusCode, c.status)
			}
			if res.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Error("another origin is let in")
			}
			if c.status >= 400 && len(r.site.ordered) != before {
				t.Error("the order reached the site")
			}
		})
	}
}

func TestTokenMatrix(t *testing.T) {
	const token = "correct-horse-battery"
	r := newRig(t, func(o *Options) { o.Token = token })
	for _, c := range []struct {
		path, auth string
		status     int
	}{
		{"/api/v1/site", "", 401},
		{"/api/v1/site", "Bearer " + token, 200},
		{"/api/v1/site", "bearer " + token, 200},
		{"/api/v1/site", "Bearer " + token + "x", 401},
		{"/api/v1/site", "Bearer " + token[:len(token)-1], 401},
		{"/api/v1/site", "Bearer ", 401},
		{"/api/v1/site", "Basic " + token, 401},
		{"/api/v1/site", token, 401},
		{"/api/v1/site?token=" + token, "", 401},
		{"/api/v1/nothing", "", 401},
		{"/api/", "", 401},
		{"/metrics", "", 401},
		{"/metrics", "Bearer " + token, 200},
		{"/", "", 200},
		{"/healthz", "", 200},
		{"/openapi.json", "", 200},
		{"//api/v1/site", "", 301}, // cleaned by the mux: shows nothing, and the next request is asked again
		{"/x/../api/v1/site", "", 301},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", r.url+c.path, nil)
		if c.auth != "" {
			req.Header.Set("Authorization", c.auth)
		}
		req.Host = "site.example" // a proxy's name is fine where a token is asked for
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode == 307 || res.StatusCode == 308 {
			res.StatusCode = 301
		}
		if res.StatusCode != c.status {
			t.Errorf("GET %s with %q: status %d, want %d", c.path, c.auth, res.StatusCode, c.status)
		}
		if c.status == 401 && !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("GET %s: a 401 that does not say Bearer", c.path)
		}
	}
	// A page elsewhere that got hold of the token is still another page.
	r.want(403, "GET", "/api/v1/site", "", "Authorization", "Bearer "+token, "Origin", "https://evil.example")
}

func TestSecurityHeaders(t *testing.T) {
	r := newRig(t, nil)
	for _, path := range []string{"/", "/api/v1/site", "/api/v1/nothing", "/openapi.json"} {
		h := r.do("GET", path, "").Header
		for k, v := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'", "X-Content-Type-Options": "nosniff",
			"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if !strings.HasPrefix(h.Get(k), v) {
				t.Errorf("GET %s: %s is %q", path, k, h.Get(k))
			}
		}
		if strings.HasPrefix(path, "/api") && h.Get("Cache-Control") != "no-store" {
			t.Errorf("GET %s may be cached: %q", path, h.Get("Cache-Control"))
		}
	}
}

func TestWithoutAConnectionNobodyIsLocal(t *testing.T) {
	if _, err := New(Options{Site: newFakeSite(), Now: nil}); err == nil {
		t.Fatal("a server without a clock")
	}
	r := newRig(t, nil)
	srv := r.srv
	w := httptest.NewRecorder()
	srv.Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1:8420/api/v1/site", nil))
	if w.Code != 403 {
		t.Errorf("status %d for a request of unknown address, want 403", w.Code)
	}
	far := httptest.NewRequest("GET", "http://127.0.0.1:8420/api/v1/site", nil)
	far = far.WithContext(context.WithValue(far.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(192, 168, 1, 2), Port: 8420}))
	w = httptest.NewRecorder()
	srv.Handler().ServeHTTP(w, far)
	if w.Code != 403 {
		t.Errorf("status %d for a request at 192.168.1.2, want 403", w.Code)
	}
}

// farListener pretends to listen beyond loopback.
type farListener struct{ net.Listener }

func (farListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 8420} }

func TestServeRefusesTheWorldWithoutAToken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := newRig(t, nil).srv.Serve(t.Context(), farListener{l}); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("Serve on 0.0.0.0 without a token: %v, want Invalid", err)
	}
}

func TestServeStopsItsStreamsAndReturns(t *testing.T) {
	r := newRig(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.srv.Serve(ctx, l) }()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.Addr().String()+"/api/v1/events", nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || lines.Text() != "event: status" {
		t.Fatalf("first line %q", lines.Text())
	}
	cancel()
	for lines.Scan() { // to the end of the stream, which must come
	}
	if err := <-done; err != nil {
		t.Errorf("Serve after its context ended: %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

func TestReadToken(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if got, err := ReadToken(write("good", "0123456789abcdef\n", 0o600)); err != nil || got != "0123456789abcdef" {
		t.Errorf("good token: %q, %v", got, err)
	}
	for name, p := range map[string]string{
		"group may read": write("group", "0123456789abcdef\n", 0o640),
		"all may read":   write("all", "0123456789abcdef\n", 0o604),
		"short":          write("short", "0123456789abcde\n", 0o600),
		"empty":          write("empty", "", 0o600),
		"two words":      write("two", "0123456789abcdef 0123456789abcdef", 0o600),
		"absent":         filepath.Join(dir, "none"),
		"folder":         dir,
	} {
		if got, err := ReadToken(p); sluice.KindOf(err) != sluice.Invalid || got != "" {
			t.Errorf("%s: %q, %v, want Invalid", name, got, err)
		}
	}
}
