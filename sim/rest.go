package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// rest answers one request to firmware whose only interface is REST: VNish and
// Braiins OS. Both hand out a token for the password, which commands need.
func (f *Fleet) rest(m *machine, req *http.Request, body []byte) (status int, reply []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var q map[string]any
	_ = json.Unmarshal(body, &q) // what is no object asks for nothing
	now := f.now()
	if m.spec.Dialect == VNish {
		return f.vnish(m, req, q, now)
	}
	return f.braiins(m, req, q, now)
}

// token of a machine's session. It stands for the machine's whole run, as replays are
// no danger on a loopback.
func (m *machine) token() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", m.spec.Name, m.spec.Seed))
	return hex.EncodeToString(sum[:16])
}

// bears says whether a request shows the token.
func (m *machine) bears(req *http.Request, prefix string) bool {
	t, ok := strings.CutPrefix(req.Header.Get("Authorization"), prefix)
	return ok && t == m.token()
}

// obey carries out a command of a REST interface: status and the reason of a refusal.
func (m *machine) obey(act func() error) (int, string) {
	switch m.fault {
	case Refuses:
		return http.StatusConflict, "not now"
	case Ignores:
		return http.StatusOK, ""
	}
	if err := act(); err != nil {
		return http.StatusBadRequest, err.Error()
	}
	return http.StatusOK, ""
}

// vnish answers as VNish 1.2.7, which has no throttle. Reads of figures are free.
func (f *Fleet) vnish(m *machine, req *http.Request, q map[string]any, now time.Time) (int, []byte) {
	w, ths := f.measured(m, now)
	preset := m.spec.Modes[m.profile].Name
	path, ok := strings.CutPrefix(req.URL.Path, "/api/v1/")
	if !ok {
		return http.StatusNotFound, []byte(`{"err":"not found"}`)
	}
	switch req.Method + " " + path {
	case "GET info":
		return 200, fmt.Appendf(nil, `{"miner":%s,"model":"s21pro","fw_name":"Vnish","fw_version":"1.2.7","algorithm":"sha256d","hr_measure":"GH/s","platform":"aml",`+
			`"system":{"os":"GNU/Linux","uptime":"%d days,  0:01","network_status":{"mac":%s,"hostname":%s}}}`, js(m.spec.Model), m.uptime(now)/86400, js(m.mac()), js(m.spec.Name))
	case "GET summary":
		state := "mining"
		if m.asleep {
			state = "paused"
		}
		t := m.chipTemp(w)
		return 200, fmt.Appendf(nil, `{"miner":{"miner_status":{"miner_state":%q,"miner_state_time":%d},"miner_type":%s,"hr_realtime":%.2f,"hr_nominal":%.2f,"hr_average":%.2f,`+
			`"instant_hashrate":%.4f,"chip_temp":{"min":%.0f,"max":%.0f},"power_consumption":%.0f,"pools":[{"id":0,"url":"pool.example.com:3333","pool_type":"UserPool","user":"account.worker1","status":"active"},`+
			`{"id":1,"url":"DevFee","pool_type":"DevFee","user":"DevFee","status":"active"}],"cooling":{"fan_num":2,"fans":[{"id":0,"rpm":5880},{"id":1,"rpm":5880}]},`+
			`"chains":[{"id":1,"hashrate_rt":%.2f,"chip_temp":{"min":%.0f,"max":%.0f},"status":{"state":%q}}],"psu":{"psu_power_metering":true}}}`,
			state, m.uptime(now), js(m.spec.Model+" (Vnish 1.2.7)"), ths*1000, float64(m.spec.Modes[m.profile].HashRate)*1000, ths*1000, ths, t-9, t, w, ths*1000, t-9, t, state)
	case "GET perf-summary":
		return 200, fmt.Appendf(nil, `{"current_preset":{"name":%s,"pretty":%s}}`, js(preset), js(m.pretty(int(m.profile))))
	case "POST unlock":
		if q["pw"] != m.password() {
			return http.StatusForbidden, []byte(`{"err":"wrong password"}`)
		}
		return 200, fmt.Appendf(nil, `{"token":%q}`, m.token())
	}
	if !m.bears(req, "Bearer ") {
		return http.StatusUnauthorized, []byte(`{"err":"unauthorized"}`)
	}
	var act func() error
	answer := []byte(`{"success":true}`)
	switch req.Method + " " + path {
	case "GET autotune/presets":
		out := []byte(`[{"name":"disabled","pretty":"Disabled"}`)
		for i, p := range m.spec.Modes {
			if uint8(i) != m.sleep {
				out = fmt.Appendf(out, `,{"name":%s,"pretty":%s,"status":"untuned"}`, js(p.Name), js(m.pretty(i)))
			}
		}
		return 200, append(out, ']')
	case "GET settings":
		return 200, fmt.Appendf(nil, `{"miner":{"overclock":{"preset":%s},"pools":%s}}`, js(preset), deliveredPools)
	case "POST settings":
		miner, _ := q["miner"].(map[string]any)
		overclock, _ := miner["overclock"].(map[string]any)
		name, _ := overclock["preset"].(string)
		i := modeIndex(m.spec.Modes, name)
		if i < 0 || uint8(i) == m.sleep {
			return http.StatusBadRequest, []byte(`{"err":"no such preset"}`)
		}
		act = func() error { return f.set(m, m.asleep, uint8(i)) }
		answer = []byte(`{"restart_required":true,"reboot_required":false}`)
	case "POST mining/pause":
		act = func() error { return f.set(m, true, m.profile) }
	case "POST mining/resume", "POST mining/start":
		act = func() error { return f.set(m, false, m.profile) }
	case "POST mining/restart":
		act = func() error { return nil }
	default:
		return http.StatusNotFound, []byte(`{"err":"not found"}`)
	}
	if status, why := m.obey(act); why != "" {
		return status, fmt.Appendf(nil, `{"err":%s}`, js(why))
	}
	return 200, answer
}

// pretty is how VNish describes a preset.
func (m *machine) pretty(i int) string {
	p := m.spec.Modes[i]
	return fmt.Sprintf("%d watt ~ %g TH", p.Power, float64(p.HashRate))
}

// braiins answers as Braiins OS 26.04. Everything but its version needs the token. Its
// operating points are power targets: that of a mode stands in its name, as "2431W", else
// it is what the mode draws.
func (f *Fleet) braiins(m *machine, req *http.Request, q map[string]any, now time.Time) (int, []byte) {
	w, ths := f.measured(m, now)
	path, ok := strings.CutPrefix(req.URL.Path, "/api/v1/")
	if !ok {
		return http.StatusNotFound, []byte(`{"error":{"message":"not found"}}`)
	}
	path = strings.TrimSuffix(path, "/")
	switch req.Method + " " + path {
	case "GET version":
		return 200, []byte(`{"major":1,"minor":9,"patch":0}`)
	case "POST auth/login":
		if q["username"] != m.user() || q["password"] != m.password() {
			return http.StatusUnauthorized, []byte(`{"error":{"message":"wrong password"}}`)
		}
		return 200, fmt.Appendf(nil, `{"token":%q,"timeout_s":3600}`, m.token())
	}
	if !m.bears(req, "") {
		return http.StatusUnauthorized, []byte(`{"error":{"message":"unauthorized"}}`)
	}
	var act func() error
	switch req.Method + " " + path {
	case "GET miner/details":
		status := 2
		if m.asleep {
			status = 3
		}
		return 200, fmt.Appendf(nil, `{"status":%d,"bos_version":{"current":"2026-04-14-0-912d084c-26.04-plus"},"miner_identity":{"name":%s,"miner_model":%s},"hostname":%s,"mac_address":%s,`+
			`"system_uptime_s":%d,"sticker_hashrate":{"gigahash_per_second":%.0f}}`, status, js(m.spec.Model), js(m.spec.Model), js(m.spec.Name), js(m.mac()), m.uptime(now), float64(m.spec.Modes[m.profile].HashRate)*1000)
	case "GET miner/stats":
		return 200, fmt.Appendf(nil, `{"miner_stats":{"real_hashrate":{"last_15s":{"gigahash_per_second":%.2f},"last_1m":{"gigahash_per_second":%.2f},"last_15m":{"gigahash_per_second":%.2f}},`+
			`"nominal_hashrate":{"gigahash_per_second":%.2f}},"power_stats":{"approximated_consumption":{"watt":%.0f}}}`, ths*1000, ths*1000, ths*1000, float64(m.spec.Modes[m.profile].HashRate)*1000, w)
	case "GET cooling/state":
		return 200, fmt.Appendf(nil, `{"fans":[{"position":0,"rpm":5100},{"position":1,"rpm":5070}],"highest_temperature":{"location":1,"temperature":{"degree_c":%.1f}}}`, m.chipTemp(w))
	case "GET performance/tuner-state":
		return 200, fmt.Appendf(nil, `{"overall_tuner_state":3,"mode_state":{"powertargetmodestate":{"current_target":{"watt":%d}}}}`, m.target(int(m.profile)))
	case "GET configuration/miner":
		return 200, fmt.Appendf(nil, `{"tuner":{"enabled":true,"power_target":{"watt":%d}}}`, m.target(int(m.profile)))
	case "GET pools":
		return 200, []byte(`{"pools":[{"uid":"1","url":"stratum+tcp://pool.example.com:3333","user":"account.worker1","active":true,"enabled":true}]}`)
	case "PUT actions/pause":
		act = func() error { return f.set(m, true, m.profile) }
	case "PUT actions/resume":
		act = func() error { return f.set(m, false, m.profile) }
	case "PUT performance/power-target":
		watts, _ := q["watt"].(float64)
		act = func() error {
			for i := range m.spec.Modes {
				if uint8(i) != m.sleep && m.target(i) == int(watts) {
					return f.set(m, m.asleep, uint8(i))
				}
			}
			return fmt.Errorf("no virtual operating point has a target of %g W", watts)
		}
	default:
		return http.StatusNotFound, []byte(`{"error":{"message":"not found"}}`)
	}
	if status, why := m.obey(act); why != "" {
		return status, fmt.Appendf(nil, `{"error":{"message":%s}}`, js(why))
	}
	return 200, []byte("true")
}

// target is the power target of a mode.
func (m *machine) target(i int) int {
	p := m.spec.Modes[i]
	watts := 0
	if _, err := fmt.Sscanf(p.Name, "%dW", &watts); err == nil && watts > 0 {
		return watts
	}
	return int(p.Power)
}

// mac is an address that is nobody's: the second bit says that it was made up.
func (m *machine) mac() string {
	n := m.spec.Seed
	return fmt.Sprintf("02:53:%02x:%02x:%02x:%02x", byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
