package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice"
)

// rig is a server over fakes, on a real socket.
type rig struct {
	t     *testing.T
	site  *fakeSite
	jobs  *fakeJobs
	books *fakeBooks
	srv   *Server
	url   string
}

func newRig(t *testing.T, set func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, site: newFakeSite(), jobs: newFakeJobs(), books: newFakeBooks()}
	o := Options{Site: r.site, Jobs: r.jobs, Books: r.books, Backup: fakeBackup, Now: func() time.Time { return t0 }, TempDir: t.TempDir(), Version: "1.2.3"}
	if set != nil {
		set(&o)
	}
	srv, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.srv = srv
	ts := httptest.NewUnstartedServer(srv.Handler())
	ts.Config.WriteTimeout = srv.o.WriteTimeout
	ts.Config.ReadTimeout = srv.o.ReadTimeout
	ts.Start()
	t.Cleanup(func() { srv.halt(); ts.Close() })
	r.url = ts.URL
	return r
}

// do makes a request; header values come in pairs, "Host" sets the host.
func (r *rig) do(method, path, body string, header ...string) *http.Response {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		switch {
		case header[i] == "Host":
			req.Host = header[i+1]
		case header[i+1] == "":
			req.Header.Del(header[i])
		default:
			req.Header.Set(header[i], header[i+1])
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { res.Body.Close() })
	return res
}

// want makes a request and returns the body of its answer, which must have the
// status.
func (r *rig) want(status int, method, path, body string, header ...string) []byte {
	r.t.Helper()
	res := r.do(method, path, body, header...)
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.StatusCode != status {
		r.t.Fatalf("%s %s: status %d, want %d: %s", method, path, res.StatusCode, status, b)
	}
	if status >= 400 && res.Header.Get("Content-Type") != "application/problem+json" {
		r.t.Errorf("%s %s: %d is a %q, want a problem", method, path, status, res.Header.Get("Content-Type"))
	}
	return b
}

func decode[T any](t *testing.T, b []byte) T {
	t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

func TestNewNeedsASiteAndAClock(t *testing.T) {
	if _, err := New(Options{}); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("New without a site: %v, want Invalid", err)
	}
}

func TestSiteGoesOutAsItMarshals(t *testing.T) {
	r := newRig(t, nil)
	got := decode[any](t, r.want(200, "GET", "/api/v1/site", ""))
	b, err := json.Marshal(r.site.status)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(got)
	b2, _ := json.Marshal(decode[any](t, b))
	if !bytes.Equal(a, b2) {
		t.Errorf("GET /site gives\n%s\nwant\n%s", a, b2)
	}
}
