package sim

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const realm = "antMiner Configuration"

// cgi answers one HTTP request, and how late: stock firmware's pages, or the REST interface
// of others.
func (f *Fleet) cgi(m *machine, req *http.Request, body []byte) (status int, reply []byte, delay time.Duration) {
	switch m.spec.Dialect {
	case VNish, Braiins:
		status, reply = f.rest(m, req, body)
		return status, reply, 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.spec.Dialect != Antminer {
		return http.StatusNotFound, nil, 0
	}
	if !m.authorized(req) {
		return http.StatusUnauthorized, nil, 0
	}
	switch req.Method + " " + req.URL.Path {
	case "GET /cgi-bin/get_miner_conf.cgi":
		return http.StatusOK, m.configuration(), 0
	case "POST /cgi-bin/set_miner_conf.cgi":
		status, reply = f.configure(m, body)
		return status, reply, m.answersLate()
	case "GET /cgi-bin/get_system_info.cgi":
		return http.StatusOK, fmt.Appendf(nil, `{"minertype":%s,"hostname":%s,"firmware_type":"Release","system_mode":"GNU/Linux","system_filesystem_version":"FR-1.12(251009)"}`,
			js(m.spec.Model), js(m.spec.Name)), 0
	}
	return http.StatusNotFound, nil, 0
}

// nonce of a machine's digest authentication. It stands for the machine's whole
// run: replays are no danger on a loopback.
func (m *machine) nonce() string { return fmt.Sprintf("%016x", m.spec.Seed^0x5eed) }

func (m *machine) authorized(req *http.Request) bool {
	h, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Digest ")
	if !ok {
		return false
	}
	p := map[string]string{}
	for kv := range strings.SplitSeq(h, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(kv), "=")
		p[k] = strings.Trim(v, `"`)
	}
	want := md5hex(md5hex(m.user()+":"+realm+":"+m.password()) + ":" + m.nonce() + ":" + p["nc"] + ":" + p["cnonce"] +
		":auth:" + md5hex(req.Method+":"+req.URL.RequestURI()))
	return p["username"] == m.user() && p["nonce"] == m.nonce() && p["uri"] == req.URL.RequestURI() && p["response"] == want
}

func md5hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func appendHTTP(out []byte, m *machine, status int, body []byte) []byte {
	out = fmt.Appendf(out, "HTTP/1.1 %d %s\r\nServer: lighttpd/1.4\r\nContent-Type: application/json\r\nContent-Length: %d\r\n",
		status, http.StatusText(status), len(body))
	if status == http.StatusUnauthorized && m.spec.Dialect == Antminer {
		out = fmt.Appendf(out, "WWW-Authenticate: Digest realm=%q, nonce=%q, qop=\"auth\"\r\n", realm, m.nonce())
	}
	out = append(out, "\r\n"...)
	return append(out, body...)
}

// deliveredConf is what stock firmware holds besides the mode.
const deliveredConf = `{"pools":` + deliveredPools + `,"api-listen":true,"api-network":true,"api-groups":"A:stats:pools:devs:summary:version",` +
	`"api-allow":"A:0/0,W:*","bitmain-fan-ctrl":false,"bitmain-fan-pwm":"100","bitmain-use-vil":true,"bitmain-freq":"525","bitmain-voltage":"1360",` +
	`"bitmain-ccdelay":"0","bitmain-pwth":"0","bitmain-freq-level":"100"}`

// configuration is what the firmware reports: the mode as text under the one
// key, and on modern machines as a number under the other too.
func (m *machine) configuration() []byte {
	c := m.conf
	if c == nil {
		c = []byte(deliveredConf)
	}
	mode := 0
	if m.asleep {
		mode = 1
	}
	out := fmt.Appendf(nil, `{"bitmain-work-mode":"%d",`, mode)
	if m.modern() {
		out = fmt.Appendf(out, `"miner-mode":%d,`, mode)
	}
	return append(out, c[1:]...)
}

// configure takes a whole configuration. Like the real one it forgets what the
// post leaves out, takes the chips' speed as freq-level, and obeys one of the
// two keys of the mode.
func (f *Fleet) configure(m *machine, body []byte) (int, []byte) {
	no := func(msg string) (int, []byte) {
		return http.StatusOK, fmt.Appendf(nil, `{"stats":"error","code":"M002","msg":%s}`, js(msg))
	}
	var c map[string]json.RawMessage
	if err := json.Unmarshal(body, &c); err != nil || c == nil {
		return no("Json parse error!")
	}
	key := "miner-mode"
	if m.modern() {
		key = "bitmain-work-mode"
	}
	mode := strings.Trim(string(c[key]), `"`)
	switch m.fault {
	case Refuses:
		return no("Set config error!")
	case Ignores:
		return http.StatusOK, []byte(`{"stats":"success","code":"M000","msg":"OK!"}`)
	}
	delete(c, "miner-mode")
	delete(c, "bitmain-work-mode")
	level := c["freq-level"]
	if level == nil {
		level = json.RawMessage(`"100"`)
	}
	delete(c, "freq-level")
	c["bitmain-freq-level"] = level
	conf, err := json.Marshal(c)
	if err != nil {
		return no("Json parse error!")
	}
	m.conf = conf
	if mode == "0" || mode == "1" { // else it stays as it is
		if err := f.set(m, mode == "1", m.profile); err != nil {
			return no(err.Error())
		}
	}
	return http.StatusOK, []byte(`{"stats":"success","code":"M000","msg":"OK!"}`)
}

// Configuration returns what a stock miner reports of itself, for tests.
func (f *Fleet) Configuration(i int) []byte {
	m := f.machines[i]
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.configuration()
}
