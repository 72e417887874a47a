package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// smallSite is a real site without machines.
func smallSite(t testing.TB) []string {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "sluice.yaml")
	if err := os.WriteFile(config, []byte("site: {name: small}\nnodes:\n  - {name: grid, limit: 1MW}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", config, "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"}
}

// status of a request with these headers; Host is one of them.
func status(t testing.TB, method, url string, headers map[string]string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range headers {
		if req.Header.Set(k, v); k == "Host" {
			req.Host = v
		}
	}
	res, err := alone.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// With a token file nobody comes in without the token.
func TestToken(t *testing.T) {
	dir := t.TempDir()
	const token = "correct-horse-battery-staple"
	write := func(name, content string, mode os.FileMode) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	file := write("token", token+"\n", 0o600)
	wrong := write("wrong", token+"-not\n", 0o600)
	readable := write("readable", token, 0o644)
	short := write("short", "secret", 0o600)
	for _, f := range []string{readable, short, filepath.Join(dir, "none")} {
		r := run(t, append(append([]string{"up"}, smallSite(t)...), "--token-file", f)...)
		if r.status != 2 || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, f) {
			t.Errorf("%s: status %d, %q", f, r.status, r.err)
		}
	}

	p := start(t, append(append([]string{"up"}, smallSite(t)...), "--token-file", file)...)
	base := ""
	eventually(t, patience, func() error {
		m := printedURL.FindStringSubmatch(p.out.String())
		if m == nil {
			return os.ErrNotExist
		}
		base = m[1]
		return nil
	})
	for _, path := range []string{"/api/v1/site", "/api/v1/machines", "/api/v1/ledger/balance", "/api/v1/events", "/metrics"} {
		if got := status(t, http.MethodGet, base+path, nil); got != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", path, got)
		}
		if got := status(t, http.MethodGet, base+path, map[string]string{"Authorization": "Bearer " + token + "-not"}); got != http.StatusUnauthorized {
			t.Errorf("%s with a wrong token: %d", path, got)
		}
	}
	if got := status(t, http.MethodPost, base+"/api/v1/backup", nil); got != http.StatusUnauthorized {
		t.Errorf("backup without a token: %d", got)
	}
	if got := status(t, http.MethodGet, base+"/api/v1/site", map[string]string{"Authorization": "Bearer " + token}); got != http.StatusOK {
		t.Errorf("with the token: %d", got)
	}
	if r := run(t, "status", "--server", base); r.status == 0 || !strings.Contains(r.err, "token") {
		t.Errorf("status without a token: %d, %q", r.status, r.err)
	}
	if r := run(t, "status", "--server", base, "--token-file", wrong); r.status == 0 {
		t.Error("status with a wrong token succeeds")
	}
	if r := run(t, "status", "--server", base, "--token-file", file); r.status != 0 {
		t.Errorf("status with the token: %d, %q", r.status, r.err)
	}
	if r := runEnv(t, []string{"SLUICE_SERVER=" + base, "SLUICE_TOKEN_FILE=" + file}, "status"); r.status != 0 {
		t.Errorf("status with the token of the environment: %d, %q", r.status, r.err)
	}
	if strings.Contains(p.out.String()+p.err.String(), token) {
		t.Error("the token is printed")
	}
}

// Without a token, no web page reaches the site, under whatever name.
func TestStrangers(t *testing.T) {
	s := up(t, smallSite(t)...)
	_, port, _ := strings.Cut(strings.TrimPrefix(s.base, "http://"), ":")
	for name, h := range map[string]map[string]string{
		"rebound name":  {"Host": "evil.example:" + port},
		"other port":    {"Host": "127.0.0.1:1"},
		"other machine": {"Host": "192.0.2.1:" + port},
		"other origin":  {"Origin": "http://evil.example"},
		"no origin":     {"Origin": "null"},
		"neighbour":     {"Origin": "http://127.0.0.1:1"},
		"cross-site":    {"Sec-Fetch-Site": "cross-site"},
	} {
		for _, path := range []string{"/api/v1/site", "/metrics"} {
			if got := status(t, http.MethodGet, s.base+path, h); got != http.StatusForbidden {
				t.Errorf("%s: %s answers %d", name, path, got)
			}
		}
	}
	for name, h := range map[string]map[string]string{
		"itself":    {"Origin": s.base},
		"localhost": {"Host": "localhost:" + port},
	} {
		if got := status(t, http.MethodGet, s.base+"/api/v1/site", h); got != http.StatusOK {
			t.Errorf("%s: %d", name, got)
		}
	}
}

// Alarms reach a webhook, also one that fails at first, and it hears when they
// are over.
func TestWebhook(t *testing.T) {
	t.Parallel()
	type message struct {
		Site  string `json:"site"`
		Alarm struct {
			Name      string  `json:"name"`
			Subject   string  `json:"subject"`
			Severity  string  `json:"severity"`
			Text      string  `json:"text"`
			ClearedAt *string `json:"cleared_at"`
		} `json:"alarm"`
	}
	var mu sync.Mutex
	var got []message
	var wrong []string
	failed := false
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if !failed {
			failed = true
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		var m message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			wrong = append(wrong, r.Method+" "+r.Header.Get("Content-Type"))
		}
		got = append(got, m)
	}))
	defer hook.Close()
	site := newRealSite(t, 15, 20, "alarms: {webhook: "+hook.URL+"/alarms}\n", "--faults")
	s := up(t, site.args()...)
	has := func(name, subject string, over bool) error {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range got {
			if m.Site == "virtual" && m.Alarm.Name == name && m.Alarm.Subject == subject && m.Alarm.Text != "" && m.Alarm.Severity != "" && (m.Alarm.ClearedAt != nil) == over {
				return nil
			}
		}
		return &missing{name, subject, len(got)}
	}
	// m-00005 cuts its replies off: three in a row make it silent.
	eventually(t, 2*patience, func() error { return has("machine-silent", "m-00005", false) })
	as, err := all[alarm](s.client, "/alarms")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, a := range as {
		found = found || a.Name == "machine-silent" && a.Subject == "m-00005"
	}
	if !found {
		t.Errorf("the page does not show the alarm: %v", as)
	}
	if !strings.Contains(s.err.String(), "machine-silent") {
		t.Error("the log does not name the alarm")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(wrong) > 0 || !failed {
		t.Errorf("the webhook got %v; it failed first: %t", wrong, failed)
	}
}

type missing struct {
	name, subject string
	of            int
}

func (m *missing) Error() string {
	b, _ := json.Marshal([]any{m.name, m.subject, m.of})
	return "the webhook got no such alarm: " + string(b)
}
