package dialect_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
	"sluice/device/dialect"
)

// open returns a driver of the firmware and its machine.
func open(t *testing.T, name string) (*dialect.Driver, *machine) {
	t.Helper()
	for _, f := range firmwares {
		if f.name == name {
			m := newMachine()
			a, _ := f.serve(t, m)
			d, err := load(t).New(name, a)
			if err != nil {
				t.Fatal(err)
			}
			return d, m
		}
	}
	t.Fatalf("no firmware %s", name)
	return nil, nil
}

func must(t *testing.T, d device.Miner, mode string, p device.Prior) {
	t.Helper()
	if o, err := d.Set(t.Context(), mode, p); o != sluice.Accepted || err != nil {
		t.Fatalf("Set(%q) = %q, %v", mode, o, err)
	}
}

func mustRefuse(t *testing.T, d device.Miner, mode, why string) {
	t.Helper()
	o, err := d.Set(t.Context(), mode, nil)
	var no *device.RefusedError
	if o != sluice.Refused || !errors.As(err, &no) || !strings.Contains(no.Why, why) {
		t.Errorf("Set(%q) = %q, %v; want refused for %q", mode, o, err, why)
	}
}

func modeOf(t *testing.T, d device.Miner) string {
	t.Helper()
	r, err := d.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r.Mode
}

func prior(t *testing.T, d device.Miner) device.Prior {
	t.Helper()
	p, err := d.Prior(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sent returns the commands since the last call, logins left out.
func (m *machine) sent() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := slices.DeleteFunc(m.commands, func(s string) bool { return strings.Contains(s, "login") || strings.Contains(s, "unlock") })
	m.commands = nil
	return out
}

func wantSent(t *testing.T, m *machine, want ...string) {
	t.Helper()
	if got := m.sent(); !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestVNishThrottle(t *testing.T) {
	d, m := open(t, "vnish")
	p := prior(t, d)
	must(t, d, "70%", p)
	wantSent(t, m, "POST /api/v1/mining/throttle")
	if got := modeOf(t, d); got != "70%" || m.watts() != 2380 {
		t.Errorf("mode %q at %d W", got, m.watts())
	}
	must(t, d, "70%", p)
	wantSent(t, m) // it is there already
	mustRefuse(t, d, "10%", "range")
	must(t, d, sluice.ModeMine, p) // the whole of it again
	wantSent(t, m, "POST /api/v1/mining/throttle")
	if got := modeOf(t, d); got != "3400" || m.watts() != 3400 {
		t.Errorf("mode %q at %d W", got, m.watts())
	}
	// From sleep: the firmware refuses to throttle what stands still, so it is
	// asked again once awake.
	must(t, d, sluice.ModeSleep, p)
	must(t, d, "50%", p)
	if got := modeOf(t, d); got != "50%" {
		t.Errorf("mode %q", got)
	}
	if r, err := d.Report(t.Context()); err != nil || !r.Capabilities.Throttle || r.Capabilities.Lanes["throttle"].Restarts {
		t.Errorf("%+v, %v", r.Capabilities, err)
	}
}

func TestVNishWithoutThrottle(t *testing.T) {
	d, m := open(t, "vnish")
	m.version = "1.2.7"
	mustRefuse(t, d, "70%", "no throttle")
	wantSent(t, m)
	if r, err := d.Report(t.Context()); err != nil || r.Capabilities.Throttle || !r.Capabilities.Profiles {
		t.Errorf("%+v, %v", r.Capabilities, err)
	}
}

func TestVNishPresets(t *testing.T) {
	d, m := open(t, "vnish")
	must(t, d, "2900", nil)
	wantSent(t, m, "POST /api/v1/settings", "POST /api/v1/mining/restart")
	must(t, d, "2900", nil)
	wantSent(t, m)
	p := prior(t, d)
	must(t, d, sluice.ModeSleep, p)
	must(t, d, "2400", p) // asleep nothing restarts before the wake
	wantSent(t, m, "POST /api/v1/mining/pause", "POST /api/v1/settings", "POST /api/v1/mining/resume")
	must(t, d, sluice.ModeMine, p)
	if got := modeOf(t, d); got != "2900" {
		t.Errorf("woke to %q", got)
	}
}

// TestVNishStopped: somebody else's stop is woken by start, not by resume; a
// firmware without pause is stopped.
func TestVNishStopped(t *testing.T) {
	d, m := open(t, "vnish")
	m.asleep, m.state = true, "stopped"
	must(t, d, sluice.ModeMine, nil)
	wantSent(t, m, "POST /api/v1/mining/start")

	sent := []string{}
	a := devicetest.ServeHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/unlock":
			reply(w, object{"token": "x"})
		case "/api/v1/mining/stop":
			sent = append(sent, r.URL.Path)
			reply(w, object{"success": true})
		default:
			http.NotFound(w, r)
		}
	}))
	d, err := load(t).New("vnish", a)
	if err != nil {
		t.Fatal(err)
	}
	must(t, d, sluice.ModeSleep, nil)
	if len(sent) != 1 {
		t.Errorf("sent %q", sent)
	}
}

// TestToken: an expired token is renewed once, a wrong password is a refusal
// that names neither.
func TestToken(t *testing.T) {
	d, m := open(t, "vnish")
	must(t, d, sluice.ModeSleep, nil)
	m.mu.Lock()
	m.locked = "another"
	m.mu.Unlock()
	must(t, d, sluice.ModeMine, nil)

	a := d.Address()
	a.Password = "hunter2"
	d, err := load(t).New("vnish", a)
	if err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, d, sluice.ModeSleep, "password not accepted")
	_, err = d.Set(t.Context(), sluice.ModeSleep, nil)
	if s := err.Error() + d.String(); strings.Contains(s, "hunter2") {
		t.Errorf("the password is in %s", s)
	}
}

func TestPowerTargets(t *testing.T) {
	for name, path := range map[string]string{"braiins": "PUT /api/v1/performance/power-target", "proto": "PUT /api/v1/mining/target"} {
		t.Run(name, func(t *testing.T) {
			d, m := open(t, name)
			p := prior(t, d)
			must(t, d, "2800W", p)
			wantSent(t, m, path)
			must(t, d, "2800W", p)
			wantSent(t, m)
			if got := modeOf(t, d); m.limit != 2800 || got != "2800W" {
				t.Errorf("limit %d, mode %q", m.limit, got)
			}
			mustRefuse(t, d, "50W", "range")
			mustRefuse(t, d, "70%", "no throttle")
			must(t, d, sluice.ModeSleep, p)
			must(t, d, sluice.ModeMine, p)
			if got := modeOf(t, d); m.limit != 3400 || got != sluice.ModeMine {
				t.Errorf("limit %d, mode %q after the wake", m.limit, got)
			}
		})
	}
}

// TestDPS: what the firmware lowered by itself is not taken for the owner's.
func TestDPS(t *testing.T) {
	var got []float64
	a := devicetest.ServeHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/miner/details":
			reply(w, object{"status": 3})
		case "/api/v1/performance/tuner-state":
			reply(w, object{"mode_state": object{"powertargetmodestate": object{"current_target": object{"watt": 3100}}}})
		case "/api/v1/configuration/miner":
			reply(w, object{"tuner": object{"power_target": object{"watt": 3500}}})
		case "/api/v1/auth/login":
			reply(w, object{"token": "x"})
		case "/api/v1/performance/power-target":
			got = append(got, body(r)["watt"].(float64))
		case "/api/v1/actions/resume": // a good status and no body
		default:
			http.NotFound(w, r)
		}
	}))
	d, err := load(t).New("braiins", a)
	if err != nil {
		t.Fatal(err)
	}
	p := prior(t, d)
	var was struct {
		PowerW float64 `json:"power_w"`
	}
	if err := json.Unmarshal(p, &was); err != nil || was.PowerW != 3500 {
		t.Errorf("prior %s", p)
	}
	must(t, d, sluice.ModeMine, p)
	if len(got) != 0 {
		t.Errorf("set %v W though nothing had changed", got)
	}
}

func TestXmrig(t *testing.T) {
	paused, restricted := false, false
	a := devicetest.ServeHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.Method + r.URL.Path {
		case "GET/2/summary":
			rate := 9000.5
			if paused {
				rate = 0
			}
			reply(w, object{
				"ua": "XMRig/6.21.0 (Linux x86_64)", "version": "6.21.0", "algo": "rx/0", "paused": paused, "restricted": restricted, "uptime": 77,
				"hashrate": object{"total": []any{rate, 8900.0, nil}}, "cpu": object{"brand": "AMD EPYC 7543"},
				"connection": object{"pool": "pool.example:3333", "uptime": 70, "accepted": 3},
			})
		case "POST/json_rpc":
			switch body(r)["method"] {
			case "pause":
				paused = true
			case "resume":
				paused = false
			default:
				reply(w, object{"error": object{"code": -32601, "message": "Method not found"}})
				return
			}
			reply(w, object{"jsonrpc": "2.0", "result": object{"status": "OK"}})
		default:
			http.NotFound(w, r)
		}
	}))
	a.Password = "secret"
	d, r := identify(t, a)
	check(t, r, []fact{
		{"driver", "xmrig"},
		{"algorithm", "randomx"},
		{"hashrate_ths", 9000.5e-12},
		{"model", "AMD EPYC 7543"},
		{"firmware_version", "6.21.0"},
		{"pools.0.url", "pool.example:3333"},
		{"pools.0.active", true},
		{"uptime_s", 77.0},
		{"power_w", nil},
		{"mode", "mine"},
		{"capabilities.sleep", true},
	})
	if got, err := d.Read(t.Context()); err != nil || got.HasHashRate {
		t.Errorf("its hashrate is counted: %+v, %v", got, err)
	}
	must(t, d, sluice.ModeSleep, nil)
	if !paused || modeOf(t, d) != sluice.ModeSleep {
		t.Error("not paused")
	}
	must(t, d, sluice.ModeMine, nil)
	if paused {
		t.Error("not resumed")
	}
	restricted = true
	mustRefuse(t, d, sluice.ModeSleep, "no sleep")
}

// TestOldBitaxe: firmware without a pause says so instead of accepting.
func TestOldBitaxe(t *testing.T) {
	a := devicetest.ServeHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reply(w, object{"ASICModel": "BM1368", "hashRate": 700, "version": "v2.4.5"})
	}))
	d, r := identify(t, a)
	if r.Capabilities.Sleep {
		t.Error("it can sleep")
	}
	mustRefuse(t, d, sluice.ModeSleep, "no sleep")
}

// TestRedirects: a device sends nobody elsewhere.
func TestRedirects(t *testing.T) {
	other := devicetest.ServeHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("followed to another port")
		reply(w, object{"ASICModel": "BM1368", "hashRate": 700})
	}))
	a := devicetest.ServeHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+other.Web(0)+r.URL.Path, http.StatusFound)
	}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, _, err := load(t).Identify(ctx, a); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("%v", err)
	}
}
