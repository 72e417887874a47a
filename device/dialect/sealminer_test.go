package dialect_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
)

// seal is a virtual SealMiner A2.
type seal struct {
	mu             sync.Mutex
	off            bool
	refuse, ignore bool
	asked          []string
}

func (m *seal) power() sluice.Watts {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.off {
		return 30
	}
	return 3500
}

func (m *seal) fault(refuse, ignore bool) func() {
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.refuse, m.ignore = refuse, ignore
	}
}

func (m *seal) reply(command, parameter string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	say := func(letter, msg, rest string) []byte {
		return fmt.Appendf(nil, `{"STATUS":[{"STATUS":%q,"When":1773869552,"Code":1,"Msg":%q,"Description":"bdminer 4.11.1"}]%s,"id":1}`, letter, msg, rest)
	}
	state, watts, ths := "Running", 3500, 206.9
	if m.off {
		state, watts, ths = "Suspend", 30, 0
	}
	switch command {
	case "version":
		return say("S", "versions", `,"VERSION":[{"BDMiner":"4.11.1","API":"3.7"}]`)
	case "stats":
		return say("S", "stats", fmt.Sprintf(`,"STATS":[{"ASIC":"Seal02-V1","Model":"A2","PM State":%q,"Mining Mode":"Normal","MHS(30s)":%.1f,"PSU Input Power":%d,"Power Limit":3500,"Elapsed":100}]`, state, ths*1e6, watts))
	case "summary":
		return say("S", "summary", fmt.Sprintf(`,"SUMMARY":[{"Elapsed":100,"MHS av":%.1f,"MHS 5s":%.1f}]`, ths*1e6, ths*1e6))
	case "ascset", "restart":
		m.asked = append(m.asked, strings.TrimSpace(command+" "+parameter))
		switch {
		case m.refuse:
			return say("E", "busy", "")
		case !m.ignore && parameter == "0,suspend":
			m.off = true
		case !m.ignore && command == "restart":
			m.off = false
		}
		return say("S", "ok", "")
	}
	return say("E", "Invalid command", "")
}

func TestSealMinerConformance(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) devicetest.Device {
		m := &seal{}
		a := devicetest.Serve(t, m.reply)
		w := devicetest.NewWire(t, a.API(0))
		again := func() device.Miner { return miner{driver(t, "sealminer", w.Address(a))} }
		return devicetest.Device{
			Miner: again(), Again: again, Wire: w, Power: m.power,
			Refuse: m.fault(true, false), Ignore: m.fault(false, true), Behave: m.fault(false, false),
		}
	})
}

// One that runs is not restarted for being told to.
func TestSealMinerWakesOnlyWhatSleeps(t *testing.T) {
	m := &seal{}
	d := driver(t, "sealminer", devicetest.Serve(t, m.reply))
	p, err := d.Prior(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{sluice.ModeMine, sluice.ModeSleep, sluice.ModeMine, sluice.ModeMine} {
		set(t, d, mode, p)
	}
	if got := strings.Join(m.asked, "; "); got != "ascset 0,suspend; restart" {
		t.Errorf("asked %s", got)
	}
}
