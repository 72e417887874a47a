package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// avalon answers as Canaan's firmware of an A15: its figures stand in one long text,
// and a command begins at a time of the machine's clock. One for a time that is past
// is answered and forgotten.
func (f *Fleet) avalon(m *machine, out []byte, req request, now time.Time) []byte {
	w, ths := f.measured(m, now)
	model := strings.TrimPrefix(m.spec.Model, "Avalon A")
	switch req.Command {
	case "version":
		return done(fmt.Appendf(m.ok(out, now, "CGMiner versions", "VERSION"),
			`{"CGMiner":"4.11.1","API":"3.7","PROD":"AvalonMiner A%s","MODEL":%s,"CGVERSION":"24102401_25462b2_9ddf522","MAC":%s}`,
			model, js(model), js(strings.ReplaceAll(m.mac(), ":", ""))))
	case "stats", "estats", "litestats":
		state, off := "In Work", 0
		if m.asleep {
			state, off = "In Idle", 4
		}
		full := m.spec.Modes[m.profile]
		t := m.chipTemp(w)
		return done(fmt.Appendf(m.ok(out, now, "CGMiner stats", "STATS"),
			`{"STATS":0,"ID":"AVALON0","Elapsed":%d,"MM ID0":"Ver[A%s-24102401_25462b2_9ddf522] DNA[02010000] SYSTEMSTATU[Work: %s, Hash Board: 3] Elapsed[%d] TMax[%.0f] TAvg[%.0f] `+
				`Fan1[4960] Fan2[4980] FanR[80%%] PS[0 1215 2421 66 %.0f 2422 %d] GHSspd[%.2f] GHSmm[%.2f] GHSavg[%.2f] MGHS[%.2f %.2f %.2f] SoftOFF[%d] MPO[%d]"}`,
			m.uptime(now), model, state, m.uptime(now), t, t-8, w, full.Power, ths*1000, float64(full.HashRate)*1000, ths*1000, ths*1000/3, ths*1000/3, ths*1000/3, off, full.Power))
	case "summary":
		return done(fmt.Appendf(m.ok(out, now, "Summary", "SUMMARY"), `{"Elapsed":%d,"MHS 5s":%.0f,"MHS av":%.0f}`, m.uptime(now), ths*1e6, ths*1e6))
	case "pools":
		return done(fmt.Appendf(m.ok(out, now, "1 Pool(s)", "POOLS"),
			`{"POOL":0,"URL":"stratum+tcp://pool.example.com:3333","User":"account.worker1","Status":"Alive","Stratum Active":%t}`, !m.asleep))
	case "ascset":
		return f.ascset(m, out, req.Parameter, now)
	}
	return m.no(out, now, 14, "Invalid command")
}

func (f *Fleet) ascset(m *machine, out []byte, parameter string, now time.Time) []byte {
	board, rest, _ := strings.Cut(parameter, ",")
	name, value, _ := strings.Cut(rest, ",")
	kind, when, _ := strings.Cut(value, ":")
	at, err := strconv.ParseInt(when, 10, 64)
	if board != "0" || (name != "softoff" && name != "softon") || kind != "1" || err != nil {
		return m.no(out, now, 120, "ASC 0 set failed: unknown option")
	}
	if m.fault == Refuses {
		return m.no(out, now, 120, "ASC 0 set failed: busy")
	}
	if m.fault != Ignores && at > now.Unix() {
		if err := f.set(m, name == "softoff", m.profile); err != nil {
			return m.no(out, now, 120, err.Error())
		}
	}
	// A yes of this firmware is an "info".
	return fmt.Appendf(out, `{"STATUS":[{"STATUS":"I","When":%d,"Code":118,"Msg":"ASC 0 set info: success %s:%d","Description":"cgminer 4.11.1"}],"id":1}`, now.Unix(), name, at)
}
