package dialect_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
	"sluice/device/dialect"
)

// like compares a report with the JSON of what is expected of it: parts that are
// not in the JSON are not compared, null means that the part must be absent.
// Figures may differ by what a division rounds.
func like(t *testing.T, r device.Report, want string) {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got, exp map[string]any
	if json.Unmarshal(b, &got) != nil || json.Unmarshal([]byte(want), &exp) != nil {
		t.Fatalf("cannot compare %s\nwith %s", b, want)
	}
	for k, x := range exp {
		if g := got[k]; !same(g, x) {
			g, _ := json.Marshal(g)
			x, _ := json.Marshal(x)
			t.Errorf("%s is %s\n\twant %s", k, g, x)
		}
	}
}

func same(got, want any) bool {
	switch w := want.(type) {
	case float64:
		g, ok := got.(float64)
		return ok && g-w < 1e-9*(1+w) && w-g < 1e-9*(1+w)
	case []any:
		g, ok := got.([]any)
		return ok && slices.EqualFunc(g, w, same)
	case map[string]any:
		g, ok := got.(map[string]any)
		for k, x := range w {
			if ok && !same(g[k], x) {
				return false
			}
		}
		return ok
	}
	return reflect.DeepEqual(got, want)
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return c
}

// driver is that of a dialect by its name.
func driver(t *testing.T, name string, a device.Address) *dialect.Driver {
	t.Helper()
	d, err := load(t).New(name, a)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// set sends a mode that must be accepted.
func set(t *testing.T, d device.Miner, mode string, p device.Prior) {
	t.Helper()
	if o, err := d.Set(within(t, 10*time.Second), mode, p); o != sluice.Accepted || err != nil {
		t.Fatalf("Set(%q) = %q, %v", mode, o, err)
	}
}

// nowIn is the mode that a device reads as.
func nowIn(t *testing.T, d device.Miner) string {
	t.Helper()
	r, err := d.Read(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return r.Mode
}

func TestWhatsminerRecordings(t *testing.T) {
	for folder, want := range map[string]string{
		"whatsminer/stock-v1__asic-rs": `{"driver":"whatsminer-v2","vendor":"Whatsminer","firmware_version":"20210322.22.REL","algorithm":"sha256d",
			"mac":"c4:08:28:00:a4:19","hashrate_ths":67.39480097,"expected_ths":68.796,"power_w":3417,"power_source":"psu","power_limit_w":3500,
			"mode":"normal","chip_temp_c":92.5,"board_temps_c":[70,69.5,71.5],"fans_rpm":[6450,6480],"uptime_s":10154,"errors":null,"model":null,
			"boards":[{"index":0,"active":true,"chips":105,"chip_temp_c":90,"serial":"H5M14S69129A17K10095"},{"index":1,"chip_temp_c":90.11},{"index":2,"chip_temp_c":92.5}],
			"pools":[{"url":"stratum+tcp://btc.example.pool:3333","user":"account.worker1","active":true,"fee":false},{"active":false},{"active":false}]}`,
		"whatsminer/stock-v2__asic-rs": `{"driver":"whatsminer-v2","firmware_version":"20230803.11.REL","mac":"d4:01:02:03:04:05","hashrate_ths":124.5,
			"expected_ths":126,"power_w":3200,"power_limit_w":3300,"chip_temp_c":81,"fans_rpm":[5400,5280],"uptime_s":25000,"errors":null,
			"boards":[{"hashrate_ths":41.5,"expected_ths":42,"chips":135,"serial":"BHM5CSD1302803K30001"},{"index":1},{"index":2}],
			"pools":[{"active":true},{"active":false},{"active":false}]}`,
		// HS RT is in TH/s here, beside MHS av in MH/s.
		"whatsminer/stock-v2-M60SVK40__proto-fleet/rpc": `{"driver":"whatsminer-v2","model":"M60S_VK40","firmware_version":"20240624.18.REL",
			"mac":"c4:11:04:01:02:03","hashrate_ths":110.52,"expected_ths":110,"power_w":3200,"power_limit_w":3500,"mode":"normal","chip_temp_c":78,
			"fans_rpm":[4200,4100],"uptime_s":345600,"errors":null,"boards":[{"hashrate_ths":37,"chips":114},{"index":1},{"index":2}],
			"pools":[{"url":"stratum+tcp://pool.example.com:3333","active":true},{"url":"stratum+tcp://pool2.example.com:3333","active":false}]}`,
	} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			d, r := identify(t, devicetest.Replay(t, devicetest.Recordings(t, folder)))
			like(t, r, want)
			read, err := d.Read(within(t, 5*time.Second))
			if err != nil || !read.HasPower || !read.HasHashRate || read.Mode != "normal" {
				t.Errorf("reads %+v, %v", read, err)
			}
		})
	}
}

// TestWhatsminerErrors: they stand in summary on the first versions, in
// get_error_code on later ones, under keys that are the codes.
func TestWhatsminerErrors(t *testing.T) {
	one := devicetest.Recordings(t, "whatsminer/stock-v1__asic-rs")
	one["summary"] = one["summary_with_errors"]
	_, r := identify(t, devicetest.Replay(t, one))
	if got := strings.Join(r.Errors, "; "); got != "110: no speed from the intake fan; 600: ambient temperature too high" {
		t.Errorf("%s", got)
	}
	two := devicetest.Recordings(t, "whatsminer/stock-v2__asic-rs")
	two["get_error_code"] = two["get_error_code_with_errors"]
	_, r = identify(t, devicetest.Replay(t, two))
	if got := strings.Join(r.Errors, "; "); got != "218; 110: no speed from the intake fan" {
		t.Errorf("%s", got)
	}
}

// TestWhatsminerNeighbours: later versions of the older wire have the figures in Msg,
// errors as an object, and no figure at all while they are off.
func TestWhatsminerNeighbours(t *testing.T) {
	ok := `{"STATUS":"S","When":1,"Code":131,"Description":"","Msg":`
	d, r := identify(t, devicetest.Replay(t, map[string][]byte{
		"get_version":    []byte(ok + `{"api_ver":"2.2.2","fw_ver":"20241115.16.REL1","miner_type":"M66S_VK30"}}`),
		"status":         []byte(ok + `{"mineroff":"false","mineroff_reason":"","power_mode":"high"}}`),
		"summary":        []byte(ok + `{"elapsed":900,"HS RT":298000000.5,"Factory GHS":298000,"Power":5513,"Power Limit":0,"Power Mode":"High","Chip Temp Max":81.5}}` + "\x00"),
		"get_error_code": []byte(ok + `{"error_code":{"2010":"2025-01-02 03:04:05"}}}`),
	}))
	like(t, r, `{"driver":"whatsminer-v2","model":"M66S_VK30","firmware_version":"20241115.16.REL1","hashrate_ths":298.0000005,"power_w":5513,
		"power_limit_w":null,"mode":"high","chip_temp_c":81.5,"uptime_s":900,"errors":["2010"],"fans_rpm":null,"boards":null}`)
	if read, err := d.Read(within(t, 5*time.Second)); err != nil || read.Power != 5513 {
		t.Errorf("reads %+v, %v", read, err)
	}
	m := devicetest.NewWhatsminer(t, "secret")
	off := driver(t, "whatsminer-v2", m.V2())
	set(t, off, sluice.ModeSleep, nil)
	m.Deafen()
	r, err := off.Report(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	like(t, r, `{"mode":"sleep","hashrate_ths":null,"power_w":null,"boards":null,"pools":null}`)
}

// miner hides that a driver may know profiles: this firmware does not tell what
// they draw.
type miner struct{ device.Miner }

// TestWhatsminerConformance runs the suite on both wires, and with firmware whose
// mining program is silent while it is off.
func TestWhatsminerConformance(t *testing.T) {
	for _, name := range []string{"whatsminer-v2", "whatsminer-v2 deaf", "whatsminer-v3"} {
		t.Run(name, func(t *testing.T) {
			devicetest.Run(t, func(t *testing.T) devicetest.Device {
				m := devicetest.NewWhatsminer(t, "secret")
				a := m.V2()
				name, deaf := strings.CutSuffix(name, " deaf")
				behave := m.Behave
				if deaf {
					behave = m.Deafen
					m.Deafen()
				}
				if name == "whatsminer-v3" {
					a = m.V3()
				}
				w := devicetest.NewWire(t, a.API(0))
				again := func() device.Miner { return miner{driver(t, name, w.Address(a))} }
				return devicetest.Device{
					Miner: again(), Again: again, Wire: w, Power: m.Power,
					Refuse: m.Refuse, Ignore: m.Ignore, Behave: behave,
					Pools: m.Pools, ForgetPools: m.Forget,
				}
			})
		})
	}
}

// TestWhatsminerLanes goes through all that can be asked of one machine, on both
// wires, and sees what became of it.
func TestWhatsminerLanes(t *testing.T) {
	for _, name := range []string{"whatsminer-v2", "whatsminer-v3"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := devicetest.NewWhatsminer(t, "secret")
			a := m.V2()
			if name == "whatsminer-v3" {
				a = m.V3()
			}
			d := driver(t, name, a)
			p, err := d.Prior(within(t, 5*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			check := func(want string, watts sluice.Watts) {
				t.Helper()
				if got := nowIn(t, d); got != want {
					t.Errorf("mode %q, want %q", got, want)
				}
				if got := m.Power(); got != watts {
					t.Errorf("draws %v, want %v", got, watts)
				}
			}
			check("normal", 3276)
			set(t, d, "70%", p)
			check("70%", 2293)
			set(t, d, "normal", p) // which it is in: the throttle alone is lifted
			check("normal", 3276)
			set(t, d, sluice.ModeSleep, p)
			set(t, d, "70%", p)
			check("70%", 2293)
			set(t, d, "50%", p)
			check("50%", 1638)
			set(t, d, sluice.ModeMine, p)
			check("normal", 3276)
			set(t, d, "3000W", p)
			check("3000W", 3000)
			m.Asked()
			set(t, d, "3000W", p)
			if got := m.Asked(); len(got) != 0 {
				t.Errorf("asked %q for what it has", got)
			}
			set(t, d, sluice.ModeMine, p)
			check("normal", 3276)
			set(t, d, "low", p)
			check("low", 2700)
			set(t, d, sluice.ModeSleep, p)
			check("sleep", 15)
			set(t, d, sluice.ModeMine, p)
			check("normal", 3276)
			for _, bad := range []string{"120%", "turbo", "0W"} {
				if o, err := d.Set(within(t, 5*time.Second), bad, p); o != sluice.Refused {
					t.Errorf("Set(%q) = %q, %v", bad, o, err)
				}
			}
			if o, err := d.Reboot(within(t, 5*time.Second)); o != sluice.Accepted || m.Reboots() != 1 {
				t.Errorf("Reboot = %q, %v, %d times", o, err, m.Reboots())
			}
			for on, led := range map[bool]string{true: "manual", false: "auto"} {
				if o, err := d.Locate(within(t, 5*time.Second), on); o != sluice.Accepted || m.LED() != led {
					t.Errorf("Locate(%v) = %q, %v; the light is %s", on, o, err, m.LED())
				}
			}
			_, r := identify(t, a)
			like(t, r, `{"driver":"`+name+`","hashrate_ths":126,"power_w":3276,"mode":"normal","power_limit_w":3500,"errors":null,
				"boards":[{"index":0,"hashrate_ths":42,"chips":135,"serial":"B0"},{"index":1},{"index":2}],
				"pools":[{"url":"stratum+tcp://pool.example.com:3333","active":true},{"active":false}],
				"capabilities":{"sleep":true,"profiles":true,"power_limit":true,"throttle":true,"pools":true,"reboot":true,"locate":true}}`)
		})
	}
}

// TestWhatsminerWakesOnce: firmware that tells no mode and no limit while it is off
// is woken by one command. Setting what it has anyway would restart it twice.
func TestWhatsminerWakesOnce(t *testing.T) {
	m := devicetest.NewWhatsminer(t, "secret")
	m.Deafen()
	d := driver(t, "whatsminer-v2", m.V2())
	p, err := d.Prior(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	set(t, d, sluice.ModeSleep, p)
	set(t, d, sluice.ModeMine, p)
	if got := strings.Join(m.Asked(), "; "); got != `power_off {"respbefore":"true"}; power_on` {
		t.Errorf("asked %s", got)
	}
	set(t, d, "low", p)
	m.Asked()
	set(t, d, sluice.ModeMine, p)
	if got := strings.Join(m.Asked(), "; "); !strings.HasPrefix(got, "set_normal_power") {
		t.Errorf("awake it is put back: asked %s", got)
	}
}

// TestWhatsminerThrottleIsNotBelieved: the older wire has no read for it, so that
// only the power tells. A machine that says yes and does nothing is not reported as
// throttled.
func TestWhatsminerThrottleIsNotBelieved(t *testing.T) {
	m := devicetest.NewWhatsminer(t, "secret")
	d := driver(t, "whatsminer-v2", m.V2())
	m.Ignore()
	set(t, d, "70%", nil)
	if got := nowIn(t, d); got != "normal" {
		t.Errorf("mode %q of a machine that ignored it", got)
	}
	m.Behave()
	set(t, d, "70%", nil)
	if got := nowIn(t, d); got != "70%" {
		t.Errorf("mode %q", got)
	}
}

// TestWhatsminerRefusals: a person reads why, and what to do.
func TestWhatsminerRefusals(t *testing.T) {
	m := devicetest.NewWhatsminer(t, "secret")
	for name, a := range map[string]device.Address{"whatsminer-v2": m.V2(), "whatsminer-v3": m.V3()} {
		check := func(what, hint string, a device.Address) {
			t.Helper()
			o, err := driver(t, name, a).Set(within(t, 5*time.Second), sluice.ModeSleep, nil)
			var no *device.RefusedError
			if o != sluice.Refused || !errors.As(err, &no) || !strings.Contains(err.Error(), hint) {
				t.Errorf("%s, %s: %q, %v", name, what, o, err)
			}
		}
		wrong := a
		wrong.Password = "guessed"
		check("wrong password", "is the password", wrong)
		m.CloseAPI()
		check("API switched off", "WhatsMinerTool", a)
		m.Behave()
	}
	if m.Power() < 3000 {
		t.Error("a refused command was obeyed")
	}
}

// TestWhatsminerOnItsPort: each wire is told from the other by what answers at the
// port.
func TestWhatsminerOnItsPort(t *testing.T) {
	m := devicetest.NewWhatsminer(t, "secret")
	for name, a := range map[string]device.Address{"whatsminer-v2": m.V2(), "whatsminer-v3": m.V3()} {
		d, r := identify(t, a)
		if d.Name() != name || d.Address().APIPort != a.APIPort || r.Driver != name {
			t.Errorf("found %s at %v, want %s", d.Name(), d.Address(), name)
		}
	}
}
