package devicetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
)

// Whatsminer is a virtual machine of MicroBT's behind real sockets. It speaks both
// of the firmware's wires, does the far side of their cryptography itself, and
// keeps the state that commands change. It obeys at once.
type Whatsminer struct {
	t        *testing.T
	password string
	v2, v3   net.Addr

	mu     sync.Mutex
	log    []string
	state  wmState
	fault  wmFault
	tokens map[string]bool // of the older wire, by the sign that goes with each
	issued int
}

// wmState is what commands change.
type wmState struct {
	off     bool
	mode    string // low, normal, high
	percent int    // 100 is none
	limit   int    // W
	pools   []wmPool
	led     string
	reboots int
}

type wmPool struct{ URL, User, Pass string }

// wmFault is what is wrong with the machine.
type wmFault struct {
	refuse, ignore, forget bool
	closed                 bool // the API switch is off
	tokens                 int  // that are still to expire as they are used
	deaf                   bool // it has the oldest firmware
}

// wmModes are the operating points, of an M50S.
var wmModes = map[string]struct{ watts, ths float64 }{"low": {2700, 106}, "normal": {3276, 126}, "high": {3700, 138}}

const wmSleep = 15 // W, with the board of the PSU off

// NewWhatsminer starts a machine whose admin and super have the password. It ends
// with the test.
func NewWhatsminer(t *testing.T, password string) *Whatsminer {
	t.Helper()
	m := &Whatsminer{t: t, password: password, tokens: map[string]bool{}, state: wmState{
		mode: "normal", percent: 100, limit: 3500, led: "auto",
		pools: []wmPool{{"stratum+tcp://pool.example.com:3333", "account.worker1", "x"}, {"stratum+tcp://backup.example.com:3333", "account.worker1", "x"}},
	}}
	m.v2 = listen(t, m.serveV2)
	m.v3 = listen(t, m.serveV3)
	return m
}

// V2 is where the machine answers on the older wire, with the right password.
func (m *Whatsminer) V2() device.Address { return m.address(m.v2) }

// V3 is where the machine answers on the newer wire, with the right password.
func (m *Whatsminer) V3() device.Address { return m.address(m.v3) }

func (m *Whatsminer) address(a net.Addr) device.Address {
	_, port, _ := net.SplitHostPort(a.String())
	n, _ := strconv.Atoi(port)
	return device.Address{Host: "127.0.0.1", APIPort: n, Password: m.password}
}

// Power is what the machine draws.
func (m *Whatsminer) Power() sluice.Watts {
	m.mu.Lock()
	defer m.mu.Unlock()
	w, _ := m.draws()
	return sluice.Watts(w + 0.5)
}

// draws returns W and TH/s.
func (m *Whatsminer) draws() (watts, ths float64) {
	if m.state.off {
		return wmSleep, 0
	}
	at := wmModes[m.state.mode]
	full := min(at.watts, float64(m.state.limit))
	watts = full * float64(m.state.percent) / 100
	return watts, at.ths * watts / at.watts
}

// Pools are the URLs and users that the machine holds.
func (m *Whatsminer) Pools() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprint(m.state.pools)
}

// Percent is the throttle, 100 where there is none; Limit the power limit; Mode the
// power mode; LED what it shows; Reboots how often it was told to.
func (m *Whatsminer) Percent() int { return m.seen().percent }

// Limit is the power limit in W.
func (m *Whatsminer) Limit() int { return m.seen().limit }

// Mode is the power mode.
func (m *Whatsminer) Mode() string { return m.seen().mode }

// LED is auto, or manual.
func (m *Whatsminer) LED() string { return m.seen().led }

// Reboots says how often it was told to.
func (m *Whatsminer) Reboots() int { return m.seen().reboots }

func (m *Whatsminer) seen() wmState {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// Asked returns the commands since the last call, without reads.
func (m *Whatsminer) Asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.log
	m.log = nil
	return out
}

// Tokens says how many V2 tokens were handed out.
func (m *Whatsminer) Tokens() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.issued
}

// Refuse makes it say no to commands; Ignore makes it say yes and do nothing;
// Forget makes it lose its pools when it is switched off; Behave ends all that.
func (m *Whatsminer) Refuse() { m.setFault(wmFault{refuse: true}) }

// Ignore makes it say yes and do nothing.
func (m *Whatsminer) Ignore() { m.setFault(wmFault{ignore: true}) }

// Forget makes it lose its pools when it is switched off.
func (m *Whatsminer) Forget() { m.setFault(wmFault{forget: true}) }

// CloseAPI is the machine as it is delivered: it takes no commands.
func (m *Whatsminer) CloseAPI() { m.setFault(wmFault{closed: true}) }

// Deafen gives it the oldest firmware: while it is off there are no figures, and
// status tells that it is off and nothing else.
func (m *Whatsminer) Deafen() { m.setFault(wmFault{deaf: true}) }

// Behave ends all faults.
func (m *Whatsminer) Behave() { m.setFault(wmFault{}) }

// ExpireTokens makes the next n uses of a V2 token fail as those of an expired one.
func (m *Whatsminer) ExpireTokens(n int) { m.setFault(wmFault{tokens: n}) }

func (m *Whatsminer) setFault(f wmFault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// act obeys a command in the words of the older wire.
func (m *Whatsminer) act(command string, p map[string]any) (ok bool, why string) {
	m.log = append(m.log, strings.TrimSpace(command+" "+wmParams(p)))
	if m.fault.refuse {
		return false, "busy"
	}
	if m.fault.ignore {
		return true, ""
	}
	word := func(key string) string { return fmt.Sprint(p[key]) }
	number := func(key string, low, high int) int {
		n, err := strconv.Atoi(word(key))
		if err != nil || n < low || n > high {
			ok, why = false, key+" is out of range"
		}
		return n
	}
	next := m.state
	ok = true
	switch command {
	case "power_off":
		next.off = true
		if m.fault.forget {
			next.pools = []wmPool{}
		}
	case "power_on":
		next.off = false
		next.percent = 100
	case "set_power_pct", "set_power_pct_v2":
		if next.off {
			return false, "the machine is off"
		}
		next.percent = number("percent", 1, 100)
	case "adjust_power_limit":
		next.limit, next.percent = number("power_limit", 0, 99999), 100
	case "set_low_power", "set_normal_power", "set_high_power":
		next.mode = strings.TrimSuffix(strings.TrimPrefix(command, "set_"), "_power")
		next.percent = 100
	case "update_pools":
		next.pools = nil
		for _, n := range []string{"1", "2", "3"} {
			if u, _ := p["pool"+n].(string); u != "" {
				next.pools = append(next.pools, wmPool{u, word("worker" + n), word("passwd" + n)})
			}
		}
	case "restart_btminer":
		next.percent = 100
	case "reboot":
		next.reboots++
		next.percent = 100
	case "set_led":
		next.led = "manual"
		if p["param"] == "auto" {
			next.led = "auto"
		}
	default:
		return false, "invalid cmd"
	}
	if ok {
		m.state = next
	}
	return ok, why
}

// wmParams is how a command is written down.
func wmParams(p map[string]any) string {
	if len(p) == 0 {
		return ""
	}
	b, _ := json.Marshal(p)
	return string(b)
}

// listen serves connections until the test ends, each for ten seconds at most.
func listen(t *testing.T, serve func(net.Conn)) net.Addr {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr()
}

// without returns a copy of the parameters less some keys.
func without(p map[string]any, keys ...string) map[string]any {
	p = maps.Clone(p)
	for _, k := range keys {
		delete(p, k)
	}
	return p
}
