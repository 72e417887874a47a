package redfish

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
)

// bmc is a management controller as DMTF's schemas describe it (Chassis v1.25,
// EnvironmentMetrics v1.3, Power v1.7, ComputerSystem v1.22, SessionService).
type bmc struct {
	mu       sync.Mutex
	newer    bool // EnvironmentMetrics; else Power
	sessions bool // no basic authentication
	tokens   map[string]bool
	logins   int
	on       bool
	allowed  []string
	resets   []string
	watts    any // PowerConsumedWatts or PowerWatts.Reading
	limit    any
	mode     string
	version  int // of the ETag
	patches  []string
	fault    func(w http.ResponseWriter, r *http.Request) bool
}

func newBMC(newer bool) *bmc {
	return &bmc{newer: newer, on: true, watts: 5230.4, limit: nil, mode: "Disabled", tokens: map[string]bool{}, allowed: []string{"On", "ForceOff", "GracefulShutdown", "ForceRestart"}}
}

type obj = map[string]any

func refuse(w http.ResponseWriter, code int, why string) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(obj{"error": obj{"code": "Base.1.8.GeneralError", "message": "see ExtendedInfo", "@Message.ExtendedInfo": []obj{{"Message": why}}}})
}

func (b *bmc) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fault != nil && b.fault(w, r) {
		return
	}
	body, _ := io.ReadAll(r.Body)
	var in obj
	_ = json.Unmarshal(body, &in)
	if r.URL.Path == "/redfish/v1/SessionService/Sessions" && r.Method == http.MethodPost {
		if in["UserName"] != "operator" || in["Password"] != "hunter2" {
			refuse(w, 401, "no")
			return
		}
		b.logins++
		token := "token-" + strconv.Itoa(b.logins)
		b.tokens[token] = true
		w.Header().Set("X-Auth-Token", token)
		w.WriteHeader(201)
		return
	}
	user, pw, _ := r.BasicAuth()
	if !(b.tokens[r.Header.Get("X-Auth-Token")] || (!b.sessions && user == "operator" && pw == "hunter2")) {
		refuse(w, 401, "who are you")
		return
	}
	etag := `W/"` + strconv.Itoa(b.version) + `"`
	say := func(v any) { w.Header().Set("ETag", etag); _ = json.NewEncoder(w).Encode(v) }
	switch r.Method + " " + r.URL.Path {
	case "GET /redfish/v1/Chassis":
		say(obj{"Members": []obj{{"@odata.id": "/redfish/v1/Chassis/Backplane"}, {"@odata.id": "/redfish/v1/Chassis/1"}}})
	case "GET /redfish/v1/Chassis/Backplane":
		say(obj{"Id": "Backplane"})
	case "GET /redfish/v1/Chassis/1":
		if b.newer {
			say(obj{"Id": "1", "EnvironmentMetrics": obj{"@odata.id": "/redfish/v1/Chassis/1/EnvironmentMetrics"}, "PowerSubsystem": obj{"@odata.id": "/redfish/v1/Chassis/1/PowerSubsystem"}})
		} else {
			say(obj{"Id": "1", "Power": obj{"@odata.id": "/redfish/v1/Chassis/1/Power"}})
		}
	case "GET /redfish/v1/Chassis/1/EnvironmentMetrics":
		say(obj{"PowerWatts": obj{"Reading": b.watts}, "PowerLimitWatts": obj{"SetPoint": b.limit, "ControlMode": b.mode}})
	case "GET /redfish/v1/Chassis/1/Power":
		say(obj{"PowerControl": []obj{{"PowerConsumedWatts": b.watts, "PowerLimit": obj{"LimitInWatts": b.limit}}, {"Name": "CPU"}}})
	case "PATCH /redfish/v1/Chassis/1/EnvironmentMetrics", "PATCH /redfish/v1/Chassis/1/Power":
		if m := r.Header.Get("If-Match"); m != etag {
			refuse(w, 412, "the ETag "+m+" is not "+etag)
			return
		}
		b.patches = append(b.patches, string(body))
		b.version++
		if l, ok := in["PowerLimitWatts"].(obj); ok {
			b.mode, _ = l["ControlMode"].(string)
			if x, ok := l["SetPoint"]; ok {
				b.limit = x
			}
		}
		if list, ok := in["PowerControl"].([]any); ok {
			b.limit = list[0].(obj)["PowerLimit"].(obj)["LimitInWatts"]
		}
		w.WriteHeader(204)
	case "GET /redfish/v1/Systems":
		say(obj{"Members": []obj{{"@odata.id": "/redfish/v1/Systems/437XR"}}})
	case "GET /redfish/v1/Systems/437XR":
		state := "Off"
		if b.on {
			state = "On"
		}
		say(obj{"PowerState": state, "Actions": obj{"#ComputerSystem.Reset": obj{
			"target": "/redfish/v1/Systems/437XR/Actions/ComputerSystem.Reset", "ResetType@Redfish.AllowableValues": b.allowed,
		}}})
	case "POST /redfish/v1/Systems/437XR/Actions/ComputerSystem.Reset":
		how, _ := in["ResetType"].(string)
		b.resets = append(b.resets, how)
		b.on = how == "On" || how == "ForceOn"
		w.WriteHeader(204)
	default:
		refuse(w, 404, "no such resource")
	}
}

// server starts the controller, with TLS, and returns what reaches it.
func server(t *testing.T, h http.Handler) Options {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	srv.Config.ErrorLog = nil
	t.Cleanup(srv.Close)
	host, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(port)
	ca := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return Options{Address: device.Address{Host: host, WebPort: n, User: "operator", Password: "hunter2"}, TLS: device.TLS{CAFile: ca}}
}

func host(t *testing.T, o Options) *Host {
	t.Helper()
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func within(t testing.TB, d time.Duration) context.Context {
	c, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return c
}

func TestPowerAndLimit(t *testing.T) {
	for name, newer := range map[string]bool{"EnvironmentMetrics": true, "Power": false} {
		for _, session := range []bool{false, true} {
			b := newBMC(newer)
			b.sessions = session
			o := server(t, b)
			o.Session = session
			h := host(t, o)
			ctx := within(t, 10*time.Second)
			r, err := h.Read(ctx)
			if err != nil || r.Power != 5230 || !r.HasPower || r.PowerSource != sluice.SourceDevice {
				t.Fatalf("%s: read %+v, %v", name, r, err)
			}
			limit := func(want sluice.Watts, set bool) {
				t.Helper()
				w, is, err := h.PowerLimit(ctx)
				if err != nil || is != set || (set && w != want) {
					t.Errorf("%s: the limit is %v, %v, %v; want %v, %v", name, w, is, err, want, set)
				}
			}
			limit(0, false)
			for _, w := range []sluice.Watts{4000, 4000, 3500, 0, 0} {
				if got, err := h.SetPowerLimit(ctx, w); err != nil || got != sluice.Accepted {
					t.Errorf("%s: set to %v: %v, %v", name, w, got, err)
				}
				limit(w, w > 0)
			}
			if n := len(b.patches); n != 3 {
				t.Errorf("%s: %d changes, want 3: %v", name, n, b.patches)
			}
			b.mu.Lock()
			b.watts = nil
			b.mu.Unlock()
			if r, err := h.Read(ctx); err == nil || r.HasPower || sluice.KindOf(err) != sluice.Unavailable {
				t.Errorf("%s: no figure: %+v, %v", name, r, err)
			}
			if got, err := h.SetPowerLimit(ctx, -5); got != sluice.Refused || err == nil {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
	}
}

func TestSwitch(t *testing.T) {
	b := newBMC(true)
	h := host(t, server(t, b))
	ctx := within(t, 10*time.Second)
	stands := func(want bool) {
		t.Helper()
		if on, known, err := h.State(ctx); on != want || !known || err != nil {
			t.Errorf("on %v, %v, %v; want %v", on, known, err, want)
		}
	}
	stands(true)
	for _, on := range []bool{true, false, false, true} {
		if got, err := h.Switch(ctx, on); got != sluice.Accepted || err != nil {
			t.Errorf("%v: %v, %v", on, got, err)
		}
		stands(on)
	}
	if s := strings.Join(b.resets, " "); s != "GracefulShutdown On" {
		t.Errorf("it did %s", s)
	}
	set := func(allowed ...string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.allowed = allowed
	}
	set("On", "ForceOff")
	if got, err := h.Switch(ctx, false); got != sluice.Accepted || err != nil || b.resets[2] != "ForceOff" {
		t.Errorf("%v, %v, %v", got, err, b.resets)
	}
	set("PushPowerButton")
	var no *device.RefusedError
	if got, err := h.Switch(ctx, true); got != sluice.Refused || !errors.As(err, &no) {
		t.Errorf("%v, %v", got, err)
	}
	stands(false)
}

// A session that has ended is made anew, once; a wrong password is told, not tried
// for ever.
func TestSessions(t *testing.T) {
	b := newBMC(true)
	b.sessions = true
	o := server(t, b)
	o.Session = true
	h := host(t, o)
	for range 3 {
		if _, err := h.Read(within(t, 10*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	b.mu.Lock()
	clear(b.tokens)
	b.mu.Unlock()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := h.Read(within(t, 10*time.Second)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if b.logins != 2 {
		t.Errorf("%d logins, want 2", b.logins)
	}
	for _, session := range []bool{true, false} {
		o.Session, o.Address.Password = session, "hunter3"
		wrong := host(t, o)
		if _, err := wrong.Read(within(t, 10*time.Second)); err == nil || strings.Contains(err.Error(), "hunter") || !strings.Contains(err.Error(), "401") {
			t.Errorf("a wrong password: %v", err)
		}
		if got, err := wrong.Switch(within(t, 10*time.Second), false); got == sluice.Accepted || err == nil {
			t.Errorf("%v, %v", got, err)
		}
	}
}

func TestCertificates(t *testing.T) {
	b := newBMC(true)
	o := server(t, b)
	for name, c := range map[string]struct {
		tls device.TLS
		ok  bool
	}{
		"authority": {o.TLS, true}, "insecure": {device.TLS{Insecure: true}, true},
		"the system's": {device.TLS{}, false}, "another": {device.TLS{Fingerprint: strings.Repeat("00", 32)}, false},
	} {
		o.TLS = c.tls
		_, err := host(t, o).Read(within(t, 10*time.Second))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b.logins != 0 {
		t.Error("it logged in")
	}
}

func TestFaults(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("another host was asked for %s", r.URL)
	}))
	defer other.Close()
	raw := func(code int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"500": raw(500, "oops"), "404": raw(404, ""), "403": raw(403, `{"error":{"message":"no"}}`), "html": raw(200, "<html>"), "empty": raw(200, ""), "a list": raw(200, "[]"), "null": raw(200, "null"),
		"no members": raw(200, `{"Members":[]}`), "elsewhere": raw(200, `{"Members":[{"@odata.id":"`+other.URL+`/x"}]}`), "dots": raw(200, `{"Members":[{"@odata.id":"/redfish/v1/../../etc"}]}`),
		"to itself": raw(200, `{"Members":[{"@odata.id":"/redfish/v1/Chassis"}],"EnvironmentMetrics":{"@odata.id":"/redfish/v1/Chassis"}}`),
		"oversized": raw(200, strings.Repeat(" ", maxBody+10)), "absurd": raw(200, `{"Members":[{"@odata.id":"/a"}],"EnvironmentMetrics":{"@odata.id":"/a"},"PowerWatts":{"Reading":-7}}`),
		"truncated": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"Members":`)
			return true
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
			return true
		},
		"dropped": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
	} {
		b := newBMC(true)
		b.fault = fault
		h := host(t, server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.ServeHTTP(w, r) })))
		ctx := within(t, 10*time.Second)
		if r, err := h.Read(ctx); err == nil || r.HasPower || sluice.KindOf(err) != sluice.Unavailable {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if got, err := h.Switch(ctx, false); got == sluice.Accepted || err == nil {
			t.Errorf("%s: switched: %v, %v", name, got, err)
		}
		if got, err := h.SetPowerLimit(ctx, 100); got == sluice.Accepted || err == nil {
			t.Errorf("%s: limited: %v, %v", name, got, err)
		}
	}
	// A controller that hangs costs its own deadline.
	b := newBMC(true)
	release := make(chan struct{})
	o := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer close(release)
	took := devicetest.OwnTime(t)
	if _, err := host(t, o).Read(within(t, 200*time.Millisecond)); err == nil || took() > 3*time.Second {
		t.Errorf("%v after %v", err, took())
	}
	// An act whose answer is lost is unknown, not refused; one that is refused is.
	for code, want := range map[int]sluice.Outcome{500: sluice.Unknown, 503: sluice.Unknown, 400: sluice.Refused, 403: sluice.Refused, 412: sluice.Refused} {
		b.fault = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				return false
			}
			refuse(w, code, "because")
			return true
		}
		h := host(t, server(t, b))
		if got, err := h.Switch(within(t, 10*time.Second), false); got != want || err == nil || !strings.Contains(err.Error(), "because") {
			t.Errorf("%d: %v, %v", code, got, err)
		}
		if got, _ := h.SetPowerLimit(within(t, 10*time.Second), 1000); got != want {
			t.Errorf("%d: %v", code, got)
		}
	}
	for _, id := range []string{"../x", "a/b", "a?b", "a%2fb"} {
		o := server(t, newBMC(true))
		o.Chassis = id
		if _, err := host(t, o).Read(within(t, 5*time.Second)); err == nil {
			t.Errorf("the chassis %q", id)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"Members":[{"@odata.id":"/redfish/v1/Chassis/1"}]}`), "/redfish/v1/Chassis/1")
	f.Add([]byte(`{"PowerControl":[{"PowerConsumedWatts":344,"PowerLimit":{"LimitInWatts":500}}]}`), "//evil/x")
	f.Add([]byte(`{"PowerWatts":{"Reading":1e400}}`), "http://evil/")
	f.Add([]byte(`{"error":{"@Message.ExtendedInfo":[{"Message":"x"}]}}`), "/a/../b")
	f.Fuzz(func(t *testing.T, body []byte, ref string) {
		var e environment
		if json.Unmarshal(body, &e) == nil && e.PowerWatts != nil {
			if w, ok := sane(e.PowerWatts.Reading); ok && !(w >= 0 && w <= 1e7) {
				t.Errorf("%v", w)
			}
		}
		if m := message(body); len(m) > 200 {
			t.Errorf("%q", m)
		}
		if p := local(ref); p != "" && (!strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.Contains(p, "/../")) {
			t.Errorf("%q leads to %q", ref, p)
		}
	})
}
