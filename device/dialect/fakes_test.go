package dialect_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
)

// machine is the far side of the wire: what a firmware's handler turns into its
// replies and obeys.
type machine struct {
	mu       sync.Mutex
	asleep   bool
	state    string // VNish: paused or stopped
	preset   int    // VNish: watts
	percent  int
	limit    int
	pools    []any
	restarts int
	commands []string
	version  string
	locked   string // the token of the session that is good
	ramp     []int  // Braiins: seconds up and down; nil: the owner has set none
	paused   int    // Braiins: the seconds down when it was paused

	refuse, ignore, forget  bool
	refusePause, refuseRamp bool // Braiins: of one command alone
}

func newMachine() *machine {
	return &machine{
		preset: 3400, percent: 100, limit: 3400, version: "1.3.5",
		pools: []any{map[string]any{"url": "stratum+tcp://pool.example:3333", "user": "a.b", "pass": "x", "pool": "stratum+tcp://pool.example:3333", "login": "a.b"}},
	}
}

func (m *machine) watts() int {
	if m.asleep {
		return 20
	}
	return min(m.preset, m.limit) * m.percent / 100
}

func (m *machine) ths() float64 {
	if m.asleep {
		return 0
	}
	return float64(m.watts()) / 17
}

// obey runs act unless the machine refuses or ignores commands; it reports
// whether it says yes.
func (m *machine) obey(act func()) bool {
	if m.refuse {
		return false
	}
	if !m.ignore {
		act()
	}
	return true
}

func (m *machine) sleep() {
	m.asleep = true
	if m.forget {
		m.pools = []any{}
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

type object = map[string]any

// firmware is one dialect's interface to a machine.
type firmware struct {
	name    string
	handler func(m *machine) http.Handler
	profile string
	pools   bool
}

var firmwares = []firmware{
	{"vnish", (*machine).vnish, "2400", true},
	{"bitaxe", (*machine).bitaxe, "", false},
	{"braiins", (*machine).braiins, "", false},
	{"epic", (*machine).epic, "", true},
	{"proto", (*machine).proto, "", false},
}

// serve starts the firmware behind a wire that can spoil its replies.
func (f firmware) serve(t *testing.T, m *machine) (device.Address, *devicetest.Wire) {
	t.Helper()
	h := f.handler(m)
	a := devicetest.ServeHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if r.Method != http.MethodGet {
			m.commands = append(m.commands, r.Method+" "+r.URL.Path)
		}
		h.ServeHTTP(w, r)
	}))
	wire := devicetest.NewWire(t, a.Web(0))
	a = wire.Address(a)
	a.Password = "secret"
	return a, wire
}

func (m *machine) locking(t *testing.T, f func()) func() {
	t.Helper()
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		f()
	}
}

func (f firmware) device(t *testing.T) devicetest.Device {
	t.Helper()
	m := newMachine()
	a, wire := f.serve(t, m)
	set := load(t)
	again := func() device.Miner {
		d, err := set.New(f.name, a)
		if err != nil {
			t.Fatal(err)
		}
		if f.profile == "" {
			return struct{ device.Miner }{d} // the suite wants profiles of a Profiler
		}
		return d
	}
	d := devicetest.Device{
		Miner: again(), Again: again, Wire: wire, Profile: f.profile,
		Power: func() sluice.Watts {
			m.mu.Lock()
			defer m.mu.Unlock()
			return sluice.Watts(m.watts())
		},
		Refuse: m.locking(t, func() { m.refuse = true }),
		Ignore: m.locking(t, func() { m.ignore = true }),
		Behave: m.locking(t, func() { m.refuse, m.ignore = false, false }),
	}
	if f.pools {
		d.ForgetPools = m.locking(t, func() { m.forget = true })
		d.Pools = func() string {
			m.mu.Lock()
			defer m.mu.Unlock()
			b, _ := json.Marshal(m.pools)
			return string(b)
		}
	}
	return d
}

func body(r *http.Request) object {
	var v object
	_ = json.NewDecoder(r.Body).Decode(&v)
	return v
}

// guarded asks for the session's token.
func (m *machine) guarded(prefix string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if m.locked == "" || r.Header.Get("Authorization") != prefix+m.locked {
			w.WriteHeader(http.StatusUnauthorized)
			reply(w, object{"err": "unauthorized"})
			return
		}
		h(w, r)
	}
}

// login hands out a new token for the password.
func (m *machine) login(password, token string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if body(r)[password] != "secret" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		m.locked = "t" + strconv.Itoa(len(m.commands))
		reply(w, object{token: m.locked})
	}
}

func (m *machine) vnish() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/info", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, object{"miner": "Antminer S21 Pro", "fw_name": "Vnish", "fw_version": m.version, "algorithm": "sha256d", "hr_measure": "GH/s"})
	})
	mux.HandleFunc("GET /api/v1/summary", func(w http.ResponseWriter, _ *http.Request) {
		state := "mining"
		if m.asleep {
			state = m.state
		}
		reply(w, object{"miner": object{
			"miner_status": object{"miner_state": state, "throttled": m.percent},
			"hr_realtime":  m.ths() * 1000, "power_consumption": m.watts(), "pools": m.pools,
		}})
	})
	mux.HandleFunc("GET /api/v1/perf-summary", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, object{"current_preset": object{"name": strconv.Itoa(m.preset)}})
	})
	mux.HandleFunc("GET /api/v1/autotune/presets", m.guarded("Bearer ", func(w http.ResponseWriter, _ *http.Request) {
		var out []any
		for _, p := range []int{3400, 2400, 2900} {
			out = append(out, object{"name": strconv.Itoa(p), "pretty": fmt.Sprintf("%d watt ~ %d TH", p, p/17)})
		}
		reply(w, append(out, object{"name": "disabled", "pretty": "Disabled"}))
	}))
	mux.HandleFunc("GET /api/v1/settings", m.guarded("Bearer ", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, object{"miner": object{"overclock": object{"preset": strconv.Itoa(m.preset)}, "pools": m.pools}})
	}))
	mux.HandleFunc("POST /api/v1/unlock", m.login("pw", "token"))
	act := func(path string, f func(object) bool) {
		mux.HandleFunc("POST /api/v1/"+path, m.guarded("Bearer ", func(w http.ResponseWriter, r *http.Request) {
			ok := false
			b := body(r)
			yes := m.obey(func() { ok = f(b) })
			if !yes || (!ok && !m.ignore) {
				w.WriteHeader(http.StatusBadRequest)
				reply(w, object{"err": "not now"})
				return
			}
			reply(w, object{"success": true})
		}))
	}
	act("mining/pause", func(object) bool { m.sleep(); m.state = "paused"; return true })
	act("mining/resume", func(object) bool { return m.wake("paused") })
	act("mining/start", func(object) bool { return m.wake("stopped") })
	act("mining/restart", func(object) bool { m.restarts++; return !m.asleep })
	act("mining/throttle", func(b object) bool {
		p, ok := b["percent"].(float64)
		m.percent = int(p)
		return ok && p >= 20 && p <= 100 && !m.asleep
	})
	mux.HandleFunc("POST /api/v1/settings", m.guarded("Bearer ", func(w http.ResponseWriter, r *http.Request) {
		b, _ := body(r)["miner"].(object)
		m.obey(func() {
			if o, ok := b["overclock"].(object); ok {
				m.preset, _ = strconv.Atoi(o["preset"].(string))
			}
			if p, ok := b["pools"].([]any); ok {
				m.pools = p
			}
		})
		reply(w, object{"restart_required": true, "reboot_required": false})
	}))
	return mux
}

func (m *machine) wake(from string) bool {
	if m.asleep && m.state != from {
		return false
	}
	m.asleep = false
	return true
}

func (m *machine) bitaxe() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/system/info", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, object{
			"ASICModel": "BM1370", "hashRate": m.ths() * 1000, "power": m.watts(), "miningPaused": m.asleep, "version": "v2.14.0",
			"stratumURL": "pool.example", "stratumPort": 3333,
		})
	})
	for path, asleep := range map[string]bool{"pause": true, "resume": false} {
		mux.HandleFunc("POST /api/system/"+path, func(w http.ResponseWriter, _ *http.Request) {
			if !m.obey(func() { m.asleep = asleep }) {
				http.Error(w, "not now", http.StatusConflict)
				return
			}
			_, _ = w.Write([]byte("Mining " + path + "d"))
		})
	}
	return mux
}

func (m *machine) braiins() http.Handler {
	mux := http.NewServeMux()
	get := func(path string, f func() any) {
		mux.HandleFunc("GET /api/v1/"+path, m.guarded("", func(w http.ResponseWriter, _ *http.Request) { reply(w, f()) }))
	}
	get("miner/details", func() any {
		status := 2
		if m.asleep {
			status = 3
		}
		return object{"status": status, "bos_version": object{"current": "2026-04-14-0-912d084c-26.04-plus"}, "miner_identity": object{"name": "Antminer S21 Pro"}}
	})
	get("miner/stats", func() any {
		return object{
			"miner_stats": object{"real_hashrate": object{"last_15s": object{"gigahash_per_second": m.ths() * 1000}}},
			"power_stats": object{"approximated_consumption": object{"watt": m.watts()}},
		}
	})
	get("cooling/state", func() any { return object{"fans": []any{}} })
	get("configuration/miner", func() any {
		boards := object{"quick_ramping_time_up_s": nil, "quick_ramping_time_down_s": nil}
		if m.ramp != nil {
			boards = object{"quick_ramping_time_up_s": m.ramp[0], "quick_ramping_time_down_s": m.ramp[1]}
		}
		return object{"tuner": object{"power_target": object{"watt": m.limit}}, "hashboard_config": boards}
	})
	get("configuration/constraints", func() any {
		return object{"hashboards_constraints": object{"hashboard_ids": []any{"1", "2", "3"}, "quick_ramping_time_s": object{"default": 5, "min": 1, "max": 600}}}
	})
	mux.HandleFunc("POST /api/v1/auth/login", m.login("password", "token"))
	put := func(path string, f func(object)) {
		mux.HandleFunc("PUT /api/v1/"+path, m.guarded("", func(w http.ResponseWriter, r *http.Request) {
			b := body(r)
			if (m.refusePause && path == "actions/pause") || (m.refuseRamp && path == "performance/quick-ramping") || !m.obey(func() { f(b) }) {
				w.WriteHeader(http.StatusUnprocessableEntity)
				reply(w, object{"error": object{"message": "not now"}})
				return
			}
			reply(w, true)
		}))
	}
	put("actions/pause", func(object) {
		m.sleep()
		if m.ramp != nil {
			m.paused = m.ramp[1]
		}
	})
	put("performance/quick-ramping", func(b object) { m.ramp = []int{int(b["up_s"].(float64)), int(b["down_s"].(float64))} })
	put("actions/resume", func(object) { m.asleep = false })
	put("performance/power-target", func(b object) { m.limit = int(b["watt"].(float64)) })
	return mux
}

func (m *machine) epic() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /capabilities", func(w http.ResponseWriter, _ *http.Request) { reply(w, object{"Model": "AntMiner S19 XP"}) })
	mux.HandleFunc("GET /summary", func(w http.ResponseWriter, _ *http.Request) {
		state := "Mining"
		if m.asleep {
			state = "Idling"
		}
		reply(w, object{
			"Software": "PowerPlay-BMS v1.5.13", "Status": object{"Operating State": state}, "Mining": object{"Algorithm": "SHA-256", "Coin": "BTC"},
			"HBs":                []any{object{"Index": 0, "Hashrate": []any{m.ths() * 1e6, 100}}},
			"Power Supply Stats": object{"Input Power": m.watts()}, "Stratum": object{"Config Id": 0}, "StratumConfigs": m.pools,
		})
	})
	act := func(path string, f func(param any)) {
		mux.HandleFunc("POST /"+path, func(w http.ResponseWriter, r *http.Request) {
			b := body(r)
			switch {
			case b["password"] != "secret":
				reply(w, object{"result": false, "error": "wrong password"})
			case !m.obey(func() { f(b["param"]) }):
				reply(w, object{"result": false, "error": "not now"})
			default:
				reply(w, object{"result": true, "error": nil})
			}
		})
	}
	act("miner", func(p any) {
		switch p {
		case "Stop":
			m.sleep()
		case "Autostart":
			m.asleep = false
		}
	})
	act("coin", func(p any) { m.pools = p.(object)["stratum_configs"].([]any) })
	return mux
}

func (m *machine) proto() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/system", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, object{"system-info": object{"product_name": "Proto Rig", "manufacturer": "Proto", "os": object{"name": "ProtoOS", "version": "1.8.0"}}})
	})
	mux.HandleFunc("GET /api/v1/mining", func(w http.ResponseWriter, _ *http.Request) {
		state := "Mining"
		if m.asleep {
			state = "Stopped"
		}
		reply(w, object{"mining-status": object{"status": state, "hashrate_ghs": m.ths() * 1000, "power_usage_watts": m.watts(), "power_target_watts": m.limit}})
	})
	mux.HandleFunc("POST /api/v1/auth/login", m.login("password", "access_token"))
	act := func(path string, f func(object)) {
		mux.HandleFunc(path, m.guarded("Bearer ", func(w http.ResponseWriter, r *http.Request) {
			b := body(r)
			if !m.obey(func() { f(b) }) {
				w.WriteHeader(http.StatusConflict)
				reply(w, object{"error": object{"code": "X", "message": "not now"}})
				return
			}
			reply(w, object{"message": "ok"})
		}))
	}
	act("POST /api/v1/mining/stop", func(object) { m.sleep() })
	act("POST /api/v1/mining/start", func(object) { m.asleep = false })
	act("PUT /api/v1/mining/target", func(b object) { m.limit = int(b["power_target_watts"].(float64)) })
	return mux
}
