package antminer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/antminer"
	"sluice/device/devicetest"
)

// cgi is a web interface without authentication, which digest clients take too.
func cgi(t *testing.T, api device.Address, pages map[string]string) (*antminer.Miner, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var posts []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		page, ok := pages[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method == http.MethodPost {
			mu.Lock()
			posts = append(posts, string(body))
			mu.Unlock()
		}
		_, _ = io.WriteString(w, page)
	}))
	t.Cleanup(s.Close)
	u, _ := url.Parse(s.URL)
	api.Host = u.Hostname()
	api.WebPort, _ = strconv.Atoi(u.Port())
	return antminer.New(api), func() []string {
		mu.Lock()
		defer mu.Unlock()
		return posts
	}
}

func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return c
}

const (
	getConf = "/cgi-bin/get_miner_conf.cgi"
	setConf = "/cgi-bin/set_miner_conf.cgi"
	success = `{"stats":"success","code":"M000","msg":"OK!"}`
)

// stats in the older form, with the quirks of an S9.
func stats(rate string) map[string][]byte {
	return map[string][]byte{"stats": []byte(`{"STATUS":[{"STATUS":"S","Code":70,"Msg":"BMMiner stats"}],"STATS":[` +
		`{"BMMiner":"2.0.0","CompileTime":"Fri Nov 17 17:57:49 CST 2017","Type":"Antminer S9"}` +
		`{"STATS":0,"Elapsed":100986,"GHS 5s":` + rate + `,"GHS av":13569.28,"temp2_1":0,"temp_chip1":"78-50-69-70","temp_chip2":"0-0"}],"id":1}` + "\x00")}
}

func TestReadsOldStats(t *testing.T) {
	m, _ := cgi(t, devicetest.Replay(t, stats(`"13630.55"`)), nil)
	r, err := m.Read(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	want := sluice.Reading{
		Mode: sluice.ModeMine, HashRate: 13.63055, HasHashRate: true, TempC: 78, HasTemp: true,
		Uptime: 100986 * time.Second, Model: "Antminer S9", Firmware: "Fri Nov 17 17:57:49 CST 2017",
	}
	if got, _ := json.Marshal(r); string(got) != string(must(json.Marshal(want))) {
		t.Errorf("read %s\nwant %s", got, must(json.Marshal(want)))
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestReadsNewStats(t *testing.T) {
	m, _ := cgi(t, devicetest.Replay(t, map[string][]byte{"stats": []byte(`{"STATUS":{"STATUS":"S","Msg":"stats"},"INFO":{"type":"Antminer S21","CompileTime":"C"},` +
		`"STATS":[{"elapsed":5,"rate_5s":200123.4,"rate_unit":"GH/s","watt":3498,"miner-mode":0,"chain":[{"temp_chip":[40,61]},{"temp_chip":[59]}]}]}`)}), nil)
	r, err := m.Read(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	if r.Mode != sluice.ModeMine || r.HashRate != 200.1234 || r.Power != 3498 || !r.HasPower || r.PowerSource != sluice.SourceDevice ||
		r.TempC != 61 || r.Model != "Antminer S21" || r.Uptime != 5*time.Second {
		t.Errorf("read %+v", r)
	}
}

// TestStandingStill: only the firmware's own word makes it sleep.
func TestStandingStill(t *testing.T) {
	const asleep, awake = `{"bitmain-work-mode":"1","pools":[]}`, `{"bitmain-work-mode":"0","miner-mode":0}`
	shut := func(t *testing.T) device.Address {
		return devicetest.Serve(t, func(string, string) []byte { return nil })
	}
	zero := func(t *testing.T) device.Address { return devicetest.Replay(t, stats(`"0.00"`)) }
	nan := func(t *testing.T) device.Address { return devicetest.Replay(t, stats(`"nan"`)) }
	hashing := func(t *testing.T) device.Address { return devicetest.Replay(t, stats(`5.0`)) }
	for _, c := range []struct {
		name  string
		api   func(*testing.T) device.Address
		conf  string
		mode  string
		warns bool
	}{
		{"no hashrate, ordered to sleep", zero, asleep, sluice.ModeSleep, false},
		{"no hashrate, ordered to mine", zero, awake, sluice.ModeMine, false},
		{"no hashrate, no configuration", zero, "", sluice.ModeMine, true},
		{"rate not a number, ordered to sleep", nan, asleep, sluice.ModeSleep, false},
		{"API closed, ordered to sleep", shut, asleep, sluice.ModeSleep, false},
		{"API closed, ordered to mine", shut, awake, sluice.ModeMine, true},
		{"hashing, ordered to sleep", hashing, asleep, sluice.ModeMine, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			pages := map[string]string{}
			if c.conf != "" {
				pages[getConf] = c.conf
			}
			m, _ := cgi(t, c.api(t), pages)
			r, err := m.Read(ctx(t))
			if err != nil || r.Mode != c.mode || len(r.Errors) > 0 != c.warns || r.HasPower {
				t.Errorf("read %+v, %v; want %q, warning %v", r, err, c.mode, c.warns)
			}
		})
	}
	m, _ := cgi(t, shut(t), nil)
	if r, err := m.Read(ctx(t)); err == nil {
		t.Errorf("a machine that answers nothing reads as %+v", r)
	}
}

// TestPostsTheWholeConfiguration: what the driver does not know goes back in
// value as it came, numbers to the digit.
func TestPostsTheWholeConfiguration(t *testing.T) {
	const conf = `{"pools":[{"url":"stratum+tcp://p:3333","user":"a.w","pass":"é\u003c","extra":[1.50]}],"bitmain-work-mode":"3",` +
		`"bitmain-freq-level":"70","unknown":{"big":12345678901234567890.10,"n":null}}`
	m, posts := cgi(t, devicetest.Replay(t, stats("1")), map[string]string{getConf: conf, setConf: success})
	prior, err := m.Prior(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	if o, err := m.Set(ctx(t), sluice.ModeSleep, prior); o != sluice.Accepted || err != nil {
		t.Fatalf("Set = %q, %v", o, err)
	}
	if len(posts()) != 1 {
		t.Fatalf("%d posts", len(posts()))
	}
	var got, want map[string]json.RawMessage
	if err := json.Unmarshal([]byte(posts()[0]), &got); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal([]byte(conf), &want)
	want["miner-mode"], want["bitmain-work-mode"] = json.RawMessage("1"), json.RawMessage("1")
	want["freq-level"] = json.RawMessage(`"70"`)
	if len(got) != len(want) {
		t.Errorf("posted %s", posts()[0])
	}
	for key, v := range want {
		var a, b any
		_ = json.Unmarshal(v, &a)
		_ = json.Unmarshal(got[key], &b)
		if string(must(json.Marshal(a))) != string(must(json.Marshal(b))) {
			t.Errorf("%s: posted %s, was %s", key, got[key], v)
		}
	}
	if !strings.Contains(posts()[0], "12345678901234567890.10") {
		t.Error("a number lost digits")
	}
	// The far side still says 3, which is the prior's mode: nothing to do.
	if o, err := m.Set(ctx(t), sluice.ModeMine, prior); o != sluice.Accepted || err != nil || len(posts()) != 1 {
		t.Errorf("waking what is awake: %q, %v, %d posts", o, err, len(posts()))
	}
	// Without a prior it goes to normal mode.
	if o, err := m.Set(ctx(t), sluice.ModeMine, nil); o != sluice.Accepted || err != nil || len(posts()) != 2 ||
		!strings.Contains(posts()[1], `"miner-mode":0`) {
		t.Errorf("waking without a prior: %q, %v, %v", o, err, posts())
	}
}

func TestAnswersToAPost(t *testing.T) {
	const conf = `{"miner-mode":0}`
	for reply, want := range map[string]sluice.Outcome{
		success:                                sluice.Accepted,
		`{"stats":"success"}` + "\x00":         sluice.Accepted,
		`{"stats":"error","code":"M002"}`:      sluice.Refused,
		`{"stats":"error","msg":"Json error"}`: sluice.Refused,
		`<html>`:                               sluice.Unknown,
		``:                                     sluice.Unknown,
	} {
		m, _ := cgi(t, device.Address{}, map[string]string{getConf: conf, setConf: reply})
		o, err := m.Set(ctx(t), sluice.ModeSleep, nil)
		var no *device.RefusedError
		if o != want || (err == nil) != (want == sluice.Accepted) || errors.As(err, &no) != (want == sluice.Refused) {
			t.Errorf("%q: %q, %v; want %q", reply, o, err, want)
		}
	}
	m, _ := cgi(t, device.Address{}, map[string]string{getConf: `{"pools":[]}`})
	if o, err := m.Set(ctx(t), sluice.ModeSleep, nil); o != sluice.Refused {
		t.Errorf("firmware without a mode: %q, %v", o, err)
	}
}

func TestWrongPassword(t *testing.T) {
	f, _ := open(t, 0)
	a := f.Address(0)
	a.Password = "secret-1"
	m := antminer.New(a)
	o, err := m.Set(ctx(t), sluice.ModeSleep, nil)
	if o != sluice.Refused || sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("Set = %q, %v", o, err)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is in %q", err)
	}
	if f.Mode(0) != sluice.ModeMine {
		t.Error("a stranger put the machine to sleep")
	}
	// Reading needs no password while the machine hashes.
	if r, err := m.Read(ctx(t)); err != nil || r.Mode != sluice.ModeMine {
		t.Errorf("Read = %+v, %v", r, err)
	}
}

// TestStaleNonce: a server whose challenge changes after each request costs one
// exchange more, and the body is sent again with the new answer.
func TestStaleNonce(t *testing.T) {
	var mu sync.Mutex
	nonce, tries, posted := 0, 0, ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		tries++
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(r.Header.Get("Authorization"), fmt.Sprintf(`nonce="n%d"`, nonce)) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Digest realm="r", nonce="n%d", qop="auth", stale=true`, nonce))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		nonce++
		if r.Method == http.MethodPost {
			posted = string(body)
			_, _ = io.WriteString(w, success)
			return
		}
		_, _ = io.WriteString(w, `{"miner-mode":0}`)
	}))
	defer s.Close()
	u, _ := url.Parse(s.URL)
	port, _ := strconv.Atoi(u.Port())
	m := antminer.New(device.Address{Host: u.Hostname(), WebPort: port})
	if o, err := m.Set(ctx(t), sluice.ModeSleep, nil); o != sluice.Accepted {
		t.Fatal(o, err)
	}
	if tries != 4 || !strings.Contains(posted, `"miner-mode":1`) {
		t.Errorf("%d exchanges, posted %q", tries, posted)
	}
}

// TestKeepsFrequency: stock firmware falls back to 100 % where freq-level is
// not posted, under another name than it is reported.
func TestKeepsFrequency(t *testing.T) {
	f, d := open(t, 1)
	if o, err := d.Miner.Set(ctx(t), sluice.ModeSleep, nil); o != sluice.Accepted {
		t.Fatal(o, err)
	}
	var c map[string]any
	if err := json.Unmarshal(f.Configuration(0), &c); err != nil || c["bitmain-freq-level"] != "100" || c["freq-level"] != nil {
		t.Errorf("configuration %v, %v", c, err)
	}
}

// TestRecording is the stock machine of payloads/INDEX.md.
func TestRecording(t *testing.T) {
	rec := devicetest.Recordings(t, "antminer/stock-v2020__asic-rs")
	m, _ := cgi(t, devicetest.Replay(t, rec), map[string]string{"/cgi-bin/get_system_info.cgi": string(rec["system_info"])})
	r, err := m.Read(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	want := sluice.Reading{
		Mode: sluice.ModeMine, HashRate: 110.56689, HasHashRate: true, TempC: 78, HasTemp: true,
		Uptime: 50474 * time.Second, Model: "Antminer S19 Pro", Firmware: "FR-1.12(251009-S21)",
	}
	if got, w := string(must(json.Marshal(r))), string(must(json.Marshal(want))); got != w {
		t.Errorf("read %s\nwant %s", got, w)
	}
}

// TestLegacyRecording is an S9, whose stats are not JSON on the wire.
func TestLegacyRecording(t *testing.T) {
	rec := devicetest.Recordings(t, "cgminer/legacy-S7-S9-T9-L3-D3__go-cgminer-api")
	for _, name := range []string{"TestStats", "TestStatsS9"} {
		m, _ := cgi(t, devicetest.Replay(t, map[string][]byte{"stats": rec[name]}), nil)
		r, err := m.Read(ctx(t))
		if err != nil || r.HashRate != 13.63055 || r.Model != "Antminer S9" || r.Mode != sluice.ModeMine || r.HasPower {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}
