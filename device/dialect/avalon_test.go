package dialect_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
)

// canaan is a virtual Avalon Q. It obeys commands that begin at a time of its own
// clock, and only those: one for a time that is past is answered and forgotten.
type canaan struct {
	mu             sync.Mutex
	off            bool
	workmode       int
	refuse, ignore bool
	politely       bool // it says no as STATUS I
	asked          []string
}

// when is the machine's clock: years off.
const when = 1753434816

var canaanModes = []struct{ watts, ths int }{{800, 54}, {1300, 81}, {1600, 93}}

func (c *canaan) address(t *testing.T) device.Address { return devicetest.Serve(t, c.reply) }

func (c *canaan) draws() (watts, ths int) {
	if c.off {
		return 12, 0
	}
	return canaanModes[c.workmode].watts, canaanModes[c.workmode].ths
}

func (c *canaan) power() sluice.Watts {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, _ := c.draws()
	return sluice.Watts(w)
}

func (c *canaan) fault(refuse, ignore, politely bool) func() {
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refuse, c.ignore, c.politely = refuse, ignore, politely
	}
}

func (c *canaan) reply(command, parameter string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	say := func(letter string, code int, msg, rest string) []byte {
		return fmt.Appendf(nil, `{"STATUS":[{"STATUS":"%s","When":%d,"Code":%d,"Msg":"%s","Description":"cgminer 4.11.1"}]%s,"id":1}`, letter, when, code, msg, rest)
	}
	w, ths := c.draws()
	status, soft := "In Work", 0
	if c.off {
		status, soft = "In Idle", 4
	}
	switch command {
	case "version":
		return say("S", 22, "CGMiner versions", `,"VERSION":[{"CGMiner":"4.11.1","API":"3.7","PROD":"Avalon Q","MODEL":"Q","CGVERSION":"25052801_14a19a2","MAC":"AA:BB:CC:DD:EE:FF"}]`)
	case "stats":
		return say("S", 70, "CGMiner stats", fmt.Sprintf(`,"STATS":[{"STATS":0,"ID":"AVALON0","Elapsed":37819,"MM ID0:Summary":"'STATS':{Ver[Q-25052801_14a19a2] `+
			`SYSTEMSTATU[Work: %s, Hash Board: 1] Elapsed[37850] TMax[%d] TAvg[60] Fan1[2671] Fan2[2665] FanR[40%%] FanErr[0] PS[0 1221 2421 66 %d 2422 1670] `+
			`GHSspd[%d.00] GHSmm[%d.00] GHSavg[%d.10] SoftOFF[%d] WORKMODE[%d] WORKLEVEL[0] MPO[%d]}"}]`,
			status, 70, w, ths*1000, canaanModes[c.workmode].ths*1000, ths*1000, soft, c.workmode, canaanModes[c.workmode].watts))
	case "summary":
		return say("S", 11, "Summary", fmt.Sprintf(`,"SUMMARY":[{"Elapsed":37714,"MHS 5s":%d}]`, ths*1_000_000))
	case "pools":
		return say("S", 7, "1 Pool(s)", `,"POOLS":[{"POOL":0,"URL":"stratum+tcp://pool.example.com:4444","User":"account.worker1","Stratum Active":true}]`)
	case "ascset":
		return c.ascset(parameter, say)
	}
	return say("E", 14, "Invalid command", "")
}

func (c *canaan) ascset(parameter string, say func(letter string, code int, msg, rest string) []byte) []byte {
	c.asked = append(c.asked, parameter)
	switch {
	case c.refuse && c.politely:
		return say("I", 118, "ASC 0 set info: failed to set", "")
	case c.refuse:
		return say("E", 120, "ASC 0 set failed: busy", "")
	}
	name, value, _ := strings.Cut(strings.TrimPrefix(parameter, "0,"), ",")
	switch name {
	case "softoff", "softon":
		at, err := strconv.Atoi(strings.TrimPrefix(value, "1:"))
		if err != nil {
			return say("E", 120, "ASC 0 set failed: no time", "")
		}
		if at > when && !c.ignore {
			c.off = name == "softoff"
		}
		return say("I", 118, fmt.Sprintf("ASC 0 set info: success %s:%d", name, at), "")
	case "workmode":
		n, err := strconv.Atoi(strings.TrimPrefix(value, "set,"))
		if err != nil || n < 0 || n > 2 {
			return say("E", 120, "ASC 0 set failed: workmode", "")
		}
		if !c.ignore {
			c.workmode = n
		}
		return say("S", 119, "ASC 0 set OK", "")
	}
	return say("E", 14, "unknown option", "")
}

func TestAvalonConformance(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) devicetest.Device {
		c := &canaan{workmode: 2}
		a := c.address(t)
		w := devicetest.NewWire(t, a.API(0))
		again := func() device.Miner { return miner{driver(t, "avalon", w.Address(a))} }
		return devicetest.Device{
			Miner: again(), Again: again, Wire: w, Power: c.power,
			Refuse: c.fault(true, false, false), Ignore: c.fault(false, true, false), Behave: c.fault(false, false, false),
		}
	})
}

func TestAvalonLanes(t *testing.T) {
	c := &canaan{workmode: 1}
	d := driver(t, "avalon", c.address(t))
	p, err := d.Prior(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		mode, reads string
		watts       sluice.Watts
	}{
		{"eco", "eco", 800},
		{"super", "super", 1600},
		{sluice.ModeSleep, "sleep", 12},
		{sluice.ModeMine, "standard", 1300},
	} {
		set(t, d, step.mode, p)
		if got := nowIn(t, d); got != step.reads || c.power() != step.watts {
			t.Errorf("%s: reads %q at %v, want %q at %v", step.mode, got, c.power(), step.reads, step.watts)
		}
	}
	if got := fmt.Sprint(c.asked); got != fmt.Sprintf("[0,workmode,set,0 0,workmode,set,2 0,softoff,1:%d 0,workmode,set,1 0,softon,1:%d]", when+5, when+5) {
		t.Errorf("asked %s", got)
	}
	for _, bad := range []string{"turbo", "70%", "1000W"} {
		if o, err := d.Set(within(t, 5*time.Second), bad, p); o != sluice.Refused {
			t.Errorf("Set(%q) = %q, %v", bad, o, err)
		}
	}
	c.fault(true, false, true)()
	if o, err := d.Set(within(t, 5*time.Second), sluice.ModeSleep, p); o != sluice.Refused || !strings.Contains(err.Error(), "failed to set") {
		t.Errorf("a polite no: %q, %v", o, err)
	}
}

func TestAvalonRecordings(t *testing.T) {
	b := devicetest.Recordings(t, "avalon/stock__asic-rs")
	for name, test := range map[string]struct {
		replies map[string][]byte
		want    string
	}{
		"Q": {b, `{"driver":"avalon","vendor":"Avalon","model":"Q","firmware_version":"25052801_14a19a2","algorithm":"sha256d","mac":"aa:bb:cc:dd:ee:ff",
			"hashrate_ths":0,"expected_ths":55.03279,"power_w":0,"power_source":"psu","power_limit_w":800,"mode":"sleep","fans_rpm":[0,0,0,0],
			"boards":[{"index":0,"chips":160}],"uptime_s":37850,"pools":[{"url":"stratum+tcp://pool.example.com:4444","active":true}]}`},
		"Q that mines": {
			map[string][]byte{"version": b["version"], "stats": b["stats_empty_parsed"], "litestats": b["litestats_parsed"]},
			`{"model":"Q","power_w":1598,"power_limit_w":1600,"hashrate_ths":93.8974,"expected_ths":96.78571,"mode":"mine","fans_rpm":[2671,2665,2661,2679]}`,
		},
		"A1246": {map[string][]byte{"stats": b["avalon_a_stats"]}, `{"driver":"avalon","model":"A1246","firmware_version":"21072802_4ec6bb0_211fc46",
			"hashrate_ths":81.07268,"expected_ths":83.92304,"power_w":3189,"power_source":"psu","power_limit_w":3200,"mode":"mine","chip_temp_c":77,
			"board_temps_c":[66,65,64],"fans_rpm":[5344,5392,5349,5309],"uptime_s":24684,
			"boards":[{"index":0,"hashrate_ths":26.90701,"chips":120,"chip_temp_c":77},{"chips":120},{"chips":120,"chip_temp_c":76}]}`},
		"A1246 as objects": {
			map[string][]byte{"stats": b["avalon_a_stats_parsed"]},
			`{"driver":"avalon","power_w":3189,"expected_ths":83.92304,"chip_temp_c":77,"fans_rpm":[5344,5392,5349,5309]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, r := identify(t, devicetest.Replay(t, test.replies))
			like(t, r, test.want)
		})
	}
}
