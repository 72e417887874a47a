package sim

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"sluice"
)

// pools that a virtual miner is delivered with.
const deliveredPools = `[{"url":"stratum+tcp://pool.example.com:3333","user":"account.worker1","pass":"x"},` +
	`{"url":"stratum+tcp://backup.example.com:3333","user":"account.worker1","pass":"x"},{"url":"","user":"","pass":""}]`

// api appends the reply to one command, or to several joined with plus. The
// caller holds m.mu.
func (f *Fleet) api(m *machine, out []byte, req request) []byte {
	now := f.now()
	if m.spec.Dialect == Antminer && m.closesAPI() && (m.asleep || f.restarting(m, now)) {
		return out // its mining program does not run
	}
	if !strings.Contains(req.Command, "+") {
		out = f.answer(m, out, req, now)
		return append(out, 0) // as cgminer ends its replies
	}
	out = append(out, '{')
	for name := range strings.SplitSeq(req.Command, "+") {
		out = fmt.Appendf(out, "%s:[", js(name))
		out = f.answer(m, out, request{Command: name}, now)
		out = append(out, "],"...)
	}
	return append(out, `"id":1}`+"\x00"...)
}

func (f *Fleet) answer(m *machine, out []byte, req request, now time.Time) []byte {
	switch m.spec.Dialect {
	case LuxOS:
		return f.luxos(m, out, req, now)
	case WhatsminerV2:
		return f.whatsminerV2(m, out, req, now)
	case Avalon:
		return f.avalon(m, out, req, now)
	case Antminer:
		return f.stock(m, out, req, now)
	}
	return m.no(out, now, 14, "Invalid command") // it is closed
}

// program is how a dialect's mining program calls itself.
func (m *machine) program() string {
	switch m.spec.Dialect {
	case LuxOS:
		return "LUXminer 2025.4.8.220305-57b389c7"
	case WhatsminerV2:
		return "btminer"
	case Avalon:
		return "cgminer 4.11.1"
	}
	return "cgminer 1.0.0"
}

// ok appends a reply's head with the name of its section, which the caller
// fills and ends with done.
func (m *machine) ok(out []byte, now time.Time, msg, section string) []byte {
	return fmt.Appendf(out, `{"STATUS":[{"STATUS":"S","When":%d,"Code":1,"Msg":%s,"Description":%s}],%s:[`,
		now.Unix(), js(msg), js(m.program()), js(section))
}

// js quotes text as JSON does.
func js(s string) []byte {
	b, _ := json.Marshal(s) // strings cannot fail
	return b
}

func done(out []byte) []byte { return append(out, `],"id":1}`...) }

func (m *machine) no(out []byte, now time.Time, code int, msg string) []byte {
	return fmt.Appendf(out, `{"STATUS":[{"STATUS":"E","When":%d,"Code":%d,"Msg":%s,"Description":%s}],"id":1}`,
		now.Unix(), code, js(msg), js(m.program()))
}

// uptime of a miner's program in seconds, for show.
func (m *machine) uptime(now time.Time) int64 {
	if m.changed.IsZero() {
		return 86400 + int64(m.spec.Seed%1e6)
	}
	return max(int64(now.Sub(m.changed).Seconds()), 0)
}

// chipTemp follows the load.
func (m *machine) chipTemp(watts float64) float64 {
	full := float64(m.spec.Modes[len(m.spec.Modes)-1].Power)
	return 28 + 42*min(watts/max(full, 1), 1)
}

func (f *Fleet) summary(m *machine, out []byte, now time.Time) []byte {
	_, ths := f.measured(m, now)
	out = m.ok(out, now, "Summary", "SUMMARY")
	out = fmt.Appendf(out, `{"Elapsed":%d,"GHS 5s":%.2f,"GHS av":%.2f,"GHS 30m":%.2f,"Accepted":4057,"Rejected":11,"Stale":1,"Hardware Errors":562,"Found Blocks":0}`,
		m.uptime(now), ths*1000, ths*1000, ths*1000)
	return done(out)
}

// The habits of stock firmware that differ between versions, by seed.

// modern firmware has the new form of stats, with watts and the mode in it, and
// obeys bitmain-work-mode; older obeys miner-mode and reports the other.
func (m *machine) modern() bool { return m.spec.Seed%2 == 0 }

// closesAPI says that nothing listens while the machine sleeps.
func (m *machine) closesAPI() bool { return m.spec.Seed%4 == 3 }

// answersLate is what the reply to a new configuration takes: from nothing to
// the 21 s that operators report.
func (m *machine) answersLate() time.Duration {
	switch m.spec.Seed % 3 {
	case 0:
		return time.Duration(15+m.spec.Seed%7) * time.Second
	case 1:
		return 2 * time.Second
	}
	return 0
}

// stock answers as Bitmain's firmware.
func (f *Fleet) stock(m *machine, out []byte, req request, now time.Time) []byte {
	w, ths := f.measured(m, now)
	ideal := float64(m.spec.Modes[m.profile].HashRate) * 1000
	switch req.Command {
	case "summary":
		return f.summary(m, out, now)
	case "stats":
		t := m.chipTemp(w)
		if req.NewAPI && m.modern() {
			mode := 0
			if m.asleep {
				mode = 1
			}
			return fmt.Appendf(out, `{"STATUS":{"STATUS":"S","when":%d,"Msg":"stats","api_version":"1.0.0"},`+
				`"INFO":{"miner_version":"71.0.1.3","CompileTime":"Thu Oct  9 18:55:45 CST 2025","type":%s},`+
				`"STATS":[{"elapsed":%d,"rate_5s":%.2f,"rate_30m":%.2f,"rate_avg":%.2f,"rate_ideal":%.1f,"rate_unit":"GH/s","chain_num":3,"fan_num":4,`+
				`"fan":[5880,5880,5040,5040],"miner-mode":%d,"watt":%.0f,"chain":[{"index":0,"rate_real":%.2f,"asic_num":108,"temp_chip":[%.0f,%.0f,%.0f,%.0f]}]}],"id":1}`,
				now.Unix(), js(m.spec.Model), m.uptime(now), ths*1000, ths*1000, ths*1000, ideal, mode, w, ths*1000/3, t, t-20, t-1, t-2)
		}
		out = m.ok(out, now, "CGMiner stats", "STATS")
		out = fmt.Appendf(out, `{"BMMiner":"1.0.0","Miner":"49.0.1.3","CompileTime":"Tue Dec  6 16:12:30 CST 2022","Type":%s},`+
			`{"STATS":0,"ID":"BTM_SOC0","Elapsed":%d,"Calls":0,"GHS 5s":%.2f,"GHS av":%.2f,"rate_30m":%.2f,"rate_unit":"GH","Mode":2,"miner_count":3,"fan_num":4,`+
			`"fan1":6000,"fan2":5880,"fan3":5040,"fan4":5040,"temp_num":3,"temp_chip1":"%.0f-%.0f-%.0f-%.0f","temp_chip4":"0-0-0-0","chain_rate1":"%.2f","chain_rate4":"","total_rateideal":%.1f}`,
			js(m.spec.Model), m.uptime(now), ths*1000, ths*1000, ths*1000, t, t-20, t-1, t-2, ths*1000/3, ideal)
		return done(out)
	case "version":
		out = m.ok(out, now, "CGMiner versions", "VERSION")
		return done(fmt.Appendf(out, `{"API":"3.1","BMMiner":"1.0.0","Miner":"49.0.1.3","Type":%s}`, js(m.spec.Model)))
	}
	return m.no(out, now, 14, "Invalid command")
}

// sessionLife is how long an unused LuxOS session lives, in wall time: it is
// part of the protocol, not of the machine's physics.
const sessionLife = time.Minute

// luxos answers as LuxOS.
func (f *Fleet) luxos(m *machine, out []byte, req request, now time.Time) []byte {
	switch req.Command {
	case "summary":
		return f.summary(m, out, now)
	case "power":
		w, _ := f.measured(m, now)
		return done(fmt.Appendf(m.ok(out, now, "Power usage", "POWER"), `{"PSU":true,"Watts":%.0f}`, w))
	case "temps":
		w, _ := f.measured(m, now)
		t := m.chipTemp(w)
		return done(fmt.Appendf(m.ok(out, now, "1 Temp(s)", "TEMPS"),
			`{"ID":0,"TEMP":0,"TopLeft":%.1f,"TopRight":%.1f,"BottomLeft":%.1f,"BottomRight":%.1f}`, t, t-13, t, t-13))
	case "config":
		curtail := "None"
		if m.asleep {
			curtail = "Sleep"
		}
		return done(fmt.Appendf(m.ok(out, now, "LUXminer config", "CONFIG"),
			`{"CurtailMode":%s,"Hostname":%s,"IsPowerSupplyOn":%t,"IsTuning":false,"Model":%s,"OS":"LuxOS","Profile":%s,"SystemStatus":"Normal"}`,
			js(curtail), js(m.spec.Name), !m.asleep, js(m.spec.Model), js(m.spec.Modes[m.profile].Name)))
	case "profiles":
		out = m.ok(out, now, "List profiles", "PROFILES")
		first := true
		for _, p := range m.spec.Modes {
			if p.Name == sluice.ModeSleep {
				continue
			}
			if !first {
				out = append(out, ',')
			}
			first = false
			out = fmt.Appendf(out, `{"Profile Name":%s,"Watts":%d,"Hashrate":%g}`, js(p.Name), p.Power, float64(p.HashRate))
		}
		return done(out)
	case "pools":
		return done(fmt.Appendf(m.ok(out, now, "1 Pool(s)", "POOLS"),
			`{"POOL":0,"URL":"stratum+tcp://pool.example.com:3333","User":"account.worker1","Status":"Alive"}`))
	case "version":
		return done(fmt.Appendf(m.ok(out, now, "LUXminer versions", "VERSION"),
			`{"API":"3.7","LUXminer":"2025.4.8.220305-57b389c7","Type":%s}`, js(m.spec.Model)))
	case "logon":
		if m.session != "" && time.Since(m.sessionAt) < sessionLife {
			return m.no(out, now, 318, "Another session is active")
		}
		m.sessions++
		m.session, m.sessionAt = fmt.Sprintf("%08x", uint32(m.spec.Seed*2654435761)^m.sessions), time.Now()
		return done(fmt.Appendf(m.ok(out, now, "Session created", "SESSION"), `{"SessionID":%q}`, m.session))
	}
	session, arg, _ := strings.Cut(req.Parameter, ",")
	switch req.Command {
	case "logoff", "curtail", "profileset":
		if session == "" || session != m.session {
			return m.no(out, now, 319, "Invalid session id")
		}
		m.sessionAt = time.Now()
	default:
		return m.no(out, now, 14, "Invalid command")
	}
	if req.Command == "logoff" {
		m.session = ""
		return done(m.ok(out, now, "Session dropped", "SESSION"))
	}
	if err := f.luxosWrite(m, req.Command, arg); err != nil {
		return m.no(out, now, 315, err.Error())
	}
	return done(m.ok(out, now, "Done", "RESULT"))
}

func (f *Fleet) luxosWrite(m *machine, command, arg string) error {
	switch m.fault {
	case Refuses:
		return fmt.Errorf("command rejected")
	case Ignores:
		return nil
	}
	if command == "profileset" {
		i := modeIndex(m.spec.Modes, arg)
		if i < 0 || uint8(i) == m.sleep {
			return fmt.Errorf("unknown profile %q", arg)
		}
		if m.asleep && m.spec.Seed%2 == 1 {
			return fmt.Errorf("not while curtailed") // some versions
		}
		return f.set(m, m.asleep, uint8(i))
	}
	switch arg {
	case "sleep":
		return f.set(m, true, m.profile)
	case "wakeup":
		return f.set(m, false, m.profile)
	}
	return fmt.Errorf("unknown curtail mode %q", arg)
}
