package sim

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// FuzzCommands sends arbitrary commands and configurations to one machine of
// each dialect: the answer is JSON, and the machine stays in a mode it has.
func FuzzCommands(f *testing.F) {
	f.Add("summary+stats", "", []byte(`{"miner-mode":1}`))
	f.Add("logon", "x", []byte(`{"bitmain-work-mode":"0","pools":[]}`))
	f.Add("curtail", "00000001,sleep", []byte(`null`))
	f.Add("+", ",", []byte(`[]`))
	f.Add("+\xfe", "", []byte(`{`))
	f.Add("a\"b\x00", "\xff", []byte(`{"":1}`))
	f.Fuzz(func(t *testing.T, command, parameter string, conf []byte) {
		models := Models()
		fleet, err := NewFleet([]MinerSpec{
			{Dialect: LuxOS, Modes: models[0].Modes, Default: models[0].Default},
			{Dialect: Antminer, Modes: models[3].Modes, Default: models[3].Default},
		}, FleetOptions{Instant: true, Now: func() time.Time { return time.Unix(1692302400, 0) }})
		if err != nil {
			t.Fatal(err)
		}
		defer fleet.Close()
		for i, m := range fleet.machines {
			out := fleet.api(m, nil, request{Command: command, Parameter: parameter, NewAPI: i == 1})
			if !json.Valid(out[:len(out)-1]) || out[len(out)-1] != 0 {
				t.Errorf("%q is answered with %q", command, out)
			}
			m.mode()
		}
		m := fleet.machines[1]
		status, reply := fleet.configure(m, conf)
		if status != http.StatusOK || !json.Valid(reply) || !json.Valid(m.configuration()) {
			t.Errorf("%q is answered with %d %q and leaves %q", conf, status, reply, m.configuration())
		}
	})
}
