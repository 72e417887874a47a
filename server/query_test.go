package server

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// echo stands where the query API is mounted and tells what it was asked.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, r.Method+" "+r.URL.Path+" "+r.FormValue("query"))
})

func TestTheQueryAPIIsMounted(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Query = echo })
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for _, c := range []struct {
		method, path, body string
		header             []string
		status             int
		want               string
	}{
		{"GET", "/prometheus/api/v1/query?query=up", "", nil, 200, "GET /api/v1/query up"},
		{"POST", "/prometheus/api/v1/query", "query=up", form, 200, "POST /api/v1/query up"},
		{"POST", "/prometheus/api/v1/query", "query=up", append([]string{"Origin", "http://evil.example"}, form...), 403, "refused"},
		{"GET", "/prometheus/api/v1/query", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "refused"},
		{"GET", "/prometheus/api/v1/query", "", []string{"Host", "evil.example"}, 403, "not this server"},
		{"POST", "/prometheus/../api/v1/curtailments", "limit_kw=1", form, 0, ""},
		{"POST", "/prometheus%2f..%2fapi/v1/curtailments", "limit_kw=1", form, 0, ""},
	} {
		before := len(r.site.ordered)
		res := r.do(c.method, c.path, c.body, c.header...)
		b, _ := io.ReadAll(res.Body)
		if c.status != 0 && (res.StatusCode != c.status || !strings.Contains(string(b), c.want)) {
			t.Errorf("%s %s %v: %d %s", c.method, c.path, c.header, res.StatusCode, b)
		}
		if c.status != 200 && len(r.site.ordered) != before {
			t.Errorf("%s %s gave an order", c.method, c.path)
		}
	}
}

func TestTheQueryAPIAsksForTheToken(t *testing.T) {
	const token = "a-token-of-enough-characters"
	r := newRig(t, func(o *Options) { o.Query, o.Token = echo, token })
	for _, path := range []string{"/prometheus/api/v1/query", "/prometheus/", "/prometheus"} {
		if res := r.do("GET", path, "", "Authorization", ""); res.StatusCode != 401 {
			t.Errorf("%s without a token: %d", path, res.StatusCode)
		}
	}
	if res := r.do("GET", "/prometheus/api/v1/query", "", "Authorization", "Bearer "+token); res.StatusCode != 200 {
		t.Errorf("with the token: %d", res.StatusCode)
	}
}

func TestWithoutAHistoryItSaysSo(t *testing.T) {
	r := newRig(t, nil)
	if res := r.do("GET", "/prometheus/api/v1/query?query=up", ""); res.StatusCode != 503 {
		t.Errorf("%d", res.StatusCode)
	}
}
