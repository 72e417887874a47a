package sim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// FuzzCommands sends arbitrary commands and configurations to one machine of
// each dialect: the answer is JSON, and the machine stays in a mode it has.
func FuzzCommands(f *testing.F) {
	f.Add("summary+stats", "", []byte(`{"miner-mode":1}`))
	f.Add("logon", "x", []byte(`{"bitmain-work-mode":"0","pools":[]}`))
	f.Add("curtail", "00000001,sleep", []byte(`null`))
	f.Add("get_token", "AAAA", []byte(`{"cmd":"set.miner.service","param":"stop","ts":1692302400}`))
	f.Add("ascset", "0,softoff,1:1692302405", []byte(`{"pw":"admin"}`))
	f.Add("mining/pause", "Bearer x", []byte(`{"miner":{"overclock":{"preset":"2550"}}}`))
	f.Add("settings", "", []byte(`{"miner":{"overclock":{"preset":"sleep"}}}`))
	f.Add("performance/power-target", "", []byte(`{"watt":2431}`))
	f.Add("+", ",", []byte(`[]`))
	f.Add("+\xfe", "", []byte(`{`))
	f.Add("a\"b\x00", "\xff", []byte(`{"":1}`))
	f.Fuzz(func(t *testing.T, command, parameter string, conf []byte) {
		var specs []MinerSpec
		for _, m := range FieldModels() {
			specs = append(specs, MinerSpec{Name: m.Name, Model: m.Name, Dialect: m.Dialect, Modes: m.Modes, Default: m.Default})
		}
		now := time.Unix(1692302400, 0)
		fleet, err := NewFleet(specs, FleetOptions{Instant: true, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		defer fleet.Close()
		for i, m := range fleet.machines {
			for _, q := range []request{
				{Command: command, Parameter: parameter, NewAPI: i%2 == 1},
				{Enc: 1.0, Data: base64.StdEncoding.EncodeToString(conf)},
				{Enc: 1.0, Data: parameter},
			} {
				out := fleet.api(m, nil, q)
				if !json.Valid(out[:len(out)-1]) || out[len(out)-1] != 0 {
					t.Errorf("%s: %+v is answered with %q", m.spec.Dialect, q, out)
				}
			}
			for _, message := range [][]byte{conf, fmt.Appendf(nil, `{"cmd":%s,"param":%s}`, js(command), js(parameter))} {
				if out := fleet.whatsminerV3(m, nil, message, now); !json.Valid(out) {
					t.Errorf("%q is answered with %q", message, out)
				}
			}
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
				req := &http.Request{Method: method, URL: &url.URL{Path: "/api/v1/" + command}, Header: http.Header{"Authorization": {parameter}}}
				_, reply := fleet.rest(m, req, conf)
				req.Header.Set("Authorization", "Bearer "+m.token())
				_, again := fleet.rest(m, req, conf)
				if !json.Valid(reply) || !json.Valid(again) {
					t.Errorf("%s %s is answered with %q and %q", method, command, reply, again)
				}
			}
			m.mode()
		}
		m := fleet.machines[3]
		status, reply := fleet.configure(m, conf)
		if status != http.StatusOK || !json.Valid(reply) || !json.Valid(m.configuration()) {
			t.Errorf("%q is answered with %d %q and leaves %q", conf, status, reply, m.configuration())
		}
	})
}
