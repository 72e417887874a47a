package luxos_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
	"sluice/device/luxos"
)

func within(t *testing.T, d time.Duration) context.Context {
	c, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return c
}

// far is a scripted machine that records what it was asked.
type far struct {
	mu     sync.Mutex
	asked  []string
	answer map[string]string // command → reply
	busy   int               // logons that are refused first
	// forgets: the machine restarts after so many acts, and knows the session no more.
	forgets int
	acts    int
}

const okay = `{"STATUS":[{"STATUS":"S","Msg":"ok"}],"id":1}`

func (f *far) reply(command, parameter string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, strings.TrimSpace(command+" "+parameter))
	if command == "logon" && f.busy != 0 {
		f.busy--
		return []byte(`{"STATUS":[{"STATUS":"E","Code":402,"Msg":"Another session is active"}],"id":1}`)
	}
	if command == "curtail" {
		if f.acts++; f.forgets > 0 && f.acts == f.forgets+1 {
			return []byte(`{"STATUS":[{"STATUS":"E","Code":319,"Msg":"Invalid session id"}],"id":1}`)
		}
	}
	if r, ok := f.answer[command]; ok {
		return []byte(r)
	}
	switch command {
	case "logon":
		return []byte(`{"STATUS":[{"STATUS":"S","Msg":"Session created"}],"SESSION":[{"SessionID":"s1"}],"id":1}`)
	case "curtail", "profileset", "logoff":
		return []byte(okay)
	}
	return []byte(`{"STATUS":[{"STATUS":"E","Code":14,"Msg":"Invalid command"}],"id":1}`)
}

func (f *far) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

func (f *far) miner(t *testing.T) *luxos.Miner { return luxos.New(devicetest.Serve(t, f.reply)) }

func config(curtail, profile string) string {
	return `{"STATUS":[{"STATUS":"S"}],"CONFIG":[{"CurtailMode":"` + curtail + `","Profile":"` + profile + `","Model":"Antminer S19k Pro"}],"id":1}`
}

func TestSessionIsWaitedFor(t *testing.T) {
	f := &far{busy: 2}
	if o, err := f.miner(t).Set(within(t, 10*time.Second), sluice.ModeSleep, nil); o != sluice.Accepted {
		t.Errorf("Set = %q, %v", o, err)
	}
	want := []string{"logon", "logon", "logon", "curtail s1,sleep"}
	if got := f.log(); !reflect.DeepEqual(got, want) {
		t.Errorf("asked %q\nwant  %q", got, want)
	}
}

func TestSessionThatStaysBusy(t *testing.T) {
	f := &far{busy: -1}
	o, err := f.miner(t).Set(within(t, 400*time.Millisecond), sluice.ModeSleep, nil)
	var no *device.RefusedError
	if o != sluice.Refused || !errors.As(err, &no) {
		t.Errorf("Set = %q, %v; want refused: nothing was sent", o, err)
	}
}

// TestUsesItsSessionAgain: what follows before Finish needs no second one, and what
// the machine has forgotten meanwhile is opened again.
func TestUsesItsSessionAgain(t *testing.T) {
	f := &far{answer: map[string]string{"config": config("Sleep", "default")}}
	m := f.miner(t)
	for _, mode := range []string{sluice.ModeSleep, sluice.ModeMine} {
		if o, err := m.Set(within(t, 5*time.Second), mode, nil); o != sluice.Accepted {
			t.Errorf("Set = %q, %v", o, err)
		}
	}
	m.Finish(within(t, 5*time.Second))
	m.Finish(within(t, 5*time.Second)) // there is nothing left
	if got := strings.Join(f.log(), ";"); got != "logon;curtail s1,sleep;config;curtail s1,wakeup;logoff s1" {
		t.Errorf("asked %s", got)
	}
	f = &far{forgets: 1}
	m = f.miner(t)
	for range 2 {
		if o, err := m.Set(within(t, 5*time.Second), sluice.ModeSleep, nil); o != sluice.Accepted {
			t.Errorf("Set = %q, %v", o, err)
		}
	}
	if got := strings.Join(f.log(), ";"); got != "logon;curtail s1,sleep;curtail s1,sleep;logon;curtail s1,sleep" {
		t.Errorf("asked %s", got)
	}
}

// TestAlwaysLogsOff: a session left open would lock everybody out.
func TestAlwaysLogsOff(t *testing.T) {
	for name, curtail := range map[string]string{
		"refused":   `{"STATUS":[{"STATUS":"E","Msg":"no"}],"id":1}`,
		"garbage":   `?`,
		"cut":       `{"STATUS":[{"STA`,
		"succeeded": okay,
	} {
		t.Run(name, func(t *testing.T) {
			f := &far{answer: map[string]string{"curtail": curtail, "config": config("None", "default")}}
			m := f.miner(t)
			_, _ = m.Set(within(t, 5*time.Second), sluice.ModeSleep, nil)
			m.Finish(within(t, 5*time.Second))
			got := strings.Join(f.log(), ";")
			if !strings.HasPrefix(got, "logon;curtail s1,sleep;") || strings.Count(got, "logoff s1") != 1 {
				t.Errorf("asked %s", got)
			}
		})
	}
	t.Run("deadline passed", func(t *testing.T) {
		f := &far{}
		ctx, cancel := context.WithCancel(within(t, 10*time.Second))
		m := luxos.New(devicetest.Serve(t, func(command, parameter string) []byte {
			if command == "curtail" {
				cancel() // the caller gives up while the machine works
				<-ctx.Done()
			}
			return f.reply(command, parameter)
		}))
		if o, err := m.Set(ctx, sluice.ModeSleep, nil); o != sluice.Unknown && err == nil {
			t.Errorf("Set = %q, %v", o, err)
		}
		m.Finish(ctx)
		if got := strings.Join(f.log(), ";"); !strings.Contains(got, "logoff s1") {
			t.Errorf("asked %s", got)
		}
	})
}

// TestSessionOfACallThatWasGivenUp: the caller leaves while the machine opens the
// session; it is closed all the same, and nothing is sent in it.
func TestSessionOfACallThatWasGivenUp(t *testing.T) {
	f := &far{}
	ctx, cancel := context.WithCancel(within(t, 10*time.Second))
	m := luxos.New(devicetest.Serve(t, func(command, parameter string) []byte {
		if command == "logon" {
			cancel()
			<-ctx.Done()
		}
		return f.reply(command, parameter)
	}))
	if o, err := m.Set(ctx, sluice.ModeSleep, nil); o != sluice.Unknown || err == nil {
		t.Errorf("Set = %q, %v", o, err)
	}
	m.Finish(ctx)
	if got := strings.Join(f.log(), ";"); got != "logon;logoff s1" {
		t.Errorf("asked %s", got)
	}
}

func TestRefusesToSleepTwice(t *testing.T) {
	f := &far{answer: map[string]string{
		"curtail": `{"STATUS":[{"STATUS":"E","Msg":"already curtailed"}],"id":1}`, "config": config("Sleep", "default"),
	}}
	if o, err := f.miner(t).Set(within(t, 5*time.Second), sluice.ModeSleep, nil); o != sluice.Accepted {
		t.Errorf("Set = %q, %v", o, err)
	}
}

// TestWakesAtTheLowerProfile: the profile goes first, so that the machine never
// draws more than it is to end at.
func TestWakesAtTheLowerProfile(t *testing.T) {
	f := &far{answer: map[string]string{"config": config("Sleep", "default")}}
	if o, err := f.miner(t).Set(within(t, 5*time.Second), "290MHz", nil); o != sluice.Accepted {
		t.Errorf("Set = %q, %v", o, err)
	}
	want := []string{"config", "logon", "profileset s1,290MHz", "curtail s1,wakeup"}
	if got := f.log(); !reflect.DeepEqual(got, want) {
		t.Errorf("asked %q\nwant  %q", got, want)
	}
}

func TestAsksForNothingItHas(t *testing.T) {
	f := &far{answer: map[string]string{"config": config("None", "290MHz")}}
	m := f.miner(t)
	for _, mode := range []string{"290MHz", sluice.ModeMine} {
		if o, err := m.Set(within(t, 5*time.Second), mode, device.Prior(`{"profile":"290MHz"}`)); o != sluice.Accepted {
			t.Errorf("Set = %q, %v", o, err)
		}
	}
	if got := strings.Join(f.log(), ";"); got != "config;config" {
		t.Errorf("asked %s", got)
	}
}

// TestRecording is the LuxOS machine of payloads/INDEX.md, first with single
// commands as old firmware takes them, then joined.
func TestRecording(t *testing.T) {
	rec := devicetest.Recordings(t, "antminer/luxos-v1__asic-rs")
	joined := map[string]json.RawMessage{"id": json.RawMessage("1")}
	for _, name := range []string{"summary", "power", "config", "temps"} {
		joined[name] = json.RawMessage("[" + string(rec[name]) + "]")
	}
	for name, replies := range map[string]map[string][]byte{
		"single": rec, "joined": {"summary+power+config+temps": must(json.Marshal(joined))},
	} {
		t.Run(name, func(t *testing.T) {
			m := luxos.New(devicetest.Replay(t, replies))
			r, err := m.Read(within(t, 5*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			want := sluice.Reading{
				Mode: "290MHz", Power: 1051, HasPower: true, PowerSource: sluice.SourceDevice, HashRate: 59.75606, HasHashRate: true,
				TempC: 47, HasTemp: true, Uptime: 3453 * time.Second, Model: "Antminer S19k Pro",
				Firmware: "LUXminer 2025.4.8.220305-57b389c7",
			}
			if !reflect.DeepEqual(r, want) {
				t.Errorf("read %+v\nwant %+v", r, want)
			}
		})
	}
	m := luxos.New(devicetest.Replay(t, rec))
	list, err := m.Profiles(within(t, 5*time.Second))
	if err != nil || len(list) != 25 {
		t.Fatalf("%d profiles, %v; want 25", len(list), err)
	}
	if list[0] != (sluice.Mode{Name: "190MHz", Power: 784, HashRate: 39.2}) {
		t.Errorf("the lowest is %+v", list[0])
	}
	p, err := m.Prior(within(t, 5*time.Second))
	if err != nil || string(p) != `{"profile":"290MHz","curtail":"None"}` {
		t.Errorf("Prior = %s, %v", p, err)
	}
	// Each other recording of the machine parses too.
	for name := range rec {
		if _, err := luxos.New(devicetest.Replay(t, map[string][]byte{"config": rec[name]})).Prior(within(t, 5*time.Second)); (err == nil) != (name == "config") {
			t.Errorf("%s as a configuration: %v", name, err)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// FuzzReading feeds arbitrary replies to a whole Read.
func FuzzReading(f *testing.F) {
	f.Add([]byte(config("Sleep", "default")))
	f.Add([]byte(`{"STATUS":[{"STATUS":"S"}],"config":[` + config("None", "x") + `],"power":[{"POWER":[{"Watts":"1e9"}]}]}`))
	f.Add([]byte(`{"config":[{"CONFIG":[{"Profile":1}]}],"summary":[{"SUMMARY":[{"GHS 5s":"-1","Elapsed":-5}]}],"temps":[{"TEMPS":{"TopLeft":999}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := luxos.Parse(b)
		if err != nil {
			return
		}
		if r.Mode == "" || r.Power < 0 || r.HashRate < 0 || r.Uptime < 0 || r.TempC < 0 || (!r.HasPower && r.Power != 0) {
			t.Errorf("read %+v", r)
		}
	})
}
