package devicetest

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"sluice/device"
)

// BMC is a server's management controller at a real socket, as DMTF's schemas describe
// it: a session, one chassis with EnvironmentMetrics, and a power limit that it keeps
// the server's load below. Set its faults under Do.
type BMC struct {
	Address device.Address

	mu       sync.Mutex
	load     float64  // what the server would draw
	limit    *float64 // as it is set
	tokens   map[string]bool
	sessions int
	sets     []float64 // each limit that was asked for, 0 where it was lifted

	Silent  bool // takes requests and never answers
	Ignores bool // says yes to a limit and does nothing
	Cheats  bool // shows the limit and draws on as before
	Refuses bool // says no to a limit
	Loses   bool // sets a limit, and its answer is lost
	done    chan struct{}
}

// StartBMC starts one, without TLS. The operator's own limit is 0 for none.
func StartBMC(t testing.TB, load, limit float64) *BMC {
	b := &BMC{load: load, tokens: map[string]bool{}, done: make(chan struct{})}
	if limit > 0 {
		b.limit = &limit
	}
	srv := httptest.NewServer(b)
	t.Cleanup(func() { close(b.done); srv.Close() })
	host, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(port)
	b.Address = device.Address{Host: host, WebPort: n, User: "operator", Password: "hunter2"}
	return b
}

// Do changes it, or looks into it, while nothing else does.
func (b *BMC) Do(f func(b *BMC)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}

// Limit is the limit in force, 0 for none.
func (b *BMC) Limit() (w float64) {
	b.Do(func(b *BMC) {
		if b.limit != nil {
			w = *b.limit
		}
	})
	return w
}

// SetLimit is the operator's hand, 0 to lift it.
func (b *BMC) SetLimit(w float64) {
	b.Do(func(b *BMC) {
		if b.limit = &w; w == 0 {
			b.limit = nil
		}
	})
}

// Sets are the limits that were asked for so far.
func (b *BMC) Sets() (out []float64) {
	b.Do(func(b *BMC) { out = append(out, b.sets...) })
	return out
}

// Reboot forgets the limit and all sessions.
func (b *BMC) Reboot() { b.Do(func(b *BMC) { b.limit, b.tokens = nil, map[string]bool{} }) }

// draws is what the server draws. The caller holds mu.
func (b *BMC) draws() float64 {
	if b.limit != nil && !b.Cheats {
		return min(b.load, *b.limit)
	}
	return b.load
}

func (b *BMC) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	if b.Silent {
		b.mu.Unlock()
		select {
		case <-r.Context().Done():
		case <-b.done:
		}
		return
	}
	defer b.mu.Unlock()
	no := func(code int, why string) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": "Base.1.8.GeneralError", "message": why}})
	}
	if r.Method+" "+r.URL.Path == "POST /redfish/v1/SessionService/Sessions" {
		b.sessions++
		token := "token-" + strconv.Itoa(b.sessions)
		b.tokens[token] = true
		w.Header().Set("X-Auth-Token", token)
		w.WriteHeader(http.StatusCreated)
		return
	}
	if !b.tokens[r.Header.Get("X-Auth-Token")] {
		no(http.StatusUnauthorized, "who are you")
		return
	}
	say := func(s string) { _, _ = w.Write([]byte(s)) }
	switch r.Method + " " + r.URL.Path {
	case "GET /redfish/v1/Chassis":
		say(`{"Members":[{"@odata.id":"/redfish/v1/Chassis/1"}]}`)
	case "GET /redfish/v1/Chassis/1":
		say(`{"Id":"1","EnvironmentMetrics":{"@odata.id":"/redfish/v1/Chassis/1/EnvironmentMetrics"}}`)
	case "GET /redfish/v1/Chassis/1/EnvironmentMetrics":
		mode := "Disabled"
		if b.limit != nil {
			mode = "Automatic"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"PowerWatts":      map[string]any{"Reading": b.draws()},
			"PowerLimitWatts": map[string]any{"SetPoint": b.limit, "ControlMode": mode},
		})
	case "PATCH /redfish/v1/Chassis/1/EnvironmentMetrics":
		var in struct{ PowerLimitWatts struct{ SetPoint *float64 } }
		if json.NewDecoder(r.Body).Decode(&in) != nil {
			no(http.StatusBadRequest, "no JSON")
			return
		}
		to := in.PowerLimitWatts.SetPoint
		if to == nil {
			b.sets = append(b.sets, 0)
		} else {
			b.sets = append(b.sets, *to)
		}
		switch {
		case b.Refuses:
			no(http.StatusBadRequest, "the value is out of range")
			return
		case !b.Ignores:
			b.limit = to
		}
		if b.Loses {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		no(http.StatusNotFound, "no such resource")
	}
}
