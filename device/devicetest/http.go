package devicetest

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"

	"sluice/device"
)

// ServeHTTP serves the handler on loopback until the test ends. The address has
// the web port only.
func ServeHTTP(t testing.TB, h http.Handler) device.Address {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections() // what waits on purpose must not hold up the test
		s.Close()
	})
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return device.Address{Host: u.Hostname(), WebPort: port}
}

// ReplayHTTP answers "GET /path" (the method and path of a request, without the
// query) with recorded bytes, and all else with 404.
func ReplayHTTP(t *testing.T, replies map[string][]byte) device.Address {
	t.Helper()
	return ServeHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := replies[r.Method+" "+r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
	}))
}
