package dialect

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/device"
)

// FuzzReport maps arbitrary replies through every dialect: nothing panics, and
// no figure is one that could not be.
func FuzzReport(f *testing.F) {
	s, err := Load("")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"STATS":[{"Type":"Antminer S9"}{"GHS 5s":"13630.55","fan1":"inf","chain_acn1":63,"temp_chip1":"78-50--"}],}`,
		`{"miner":{"miner_status":{"miner_state":"stopped","throttled":"70%"},"chains":{"id":1},"hr_realtime":1e300,"pools":[[],null,{"url":7}]}}`,
		`[{"name":"2550","pretty":"2550 watt ~ 170 TH"},[[{"Index":-1,"Data":[null,"nan"]}]]]`,
		`{"mining-status":{"hashrate_ghs":-1,"power_usage_watts":"58.94W"}}`, `null`, `[]`, `"x"`, `1e999`, `{"Fans Rpm":{"Fans Speed 10":1,"fans speed 2":2}}`,
		`{"SUMMARY":{"HS RT":110.52,"Factory GHS":110000},"Msg":"GHSspd[1] PS[0 1 2 3 4 5]"}`,
	} {
		f.Add([]byte(seed))
	}
	files, _ := filepath.Glob("../../../shared/devices/payloads/*/*/*.json")
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil && len(b) < 8<<10 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		v, err := parse(wire)
		if err != nil {
			return
		}
		for _, d := range s.list {
			root := map[string]any{}
			for name, r := range d.Requests {
				// Each request has its own copy: brackets changes what it reads.
				c, err := parse(wire)
				if err != nil {
					t.Fatal(err)
				}
				if r.Form == "brackets" {
					c = brackets(c, 0)
				}
				root[name] = c
			}
			r := d.report(root)
			checkReport(t, d.Name, r)
			drv := newDriver(d, device.Address{Host: "x"})
			drv.reading(root)
			for _, c := range d.Commands {
				c.If.holds(env{root: root})
				for _, st := range c.Steps {
					expandTree(st.Body, env{root: root}, nil)
				}
			}
			for _, m := range d.Fingerprint {
				for _, c := range m.Where {
					c.holds(env{root: map[string]any{m.Request: v}})
				}
			}
		}
	})
}

func checkReport(t *testing.T, name string, r device.Report) {
	t.Helper()
	if _, err := json.Marshal(r); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for what, x := range map[string]*float64{
		"hashrate": r.HashrateTHs, "expected": r.ExpectedTHs, "power": r.PowerW, "limit": r.PowerLimitW, "chip": r.ChipTempC, "uptime": r.UptimeS,
	} {
		if x != nil && (math.IsNaN(*x) || *x < 0 || *x > 1e9) {
			t.Errorf("%s: %s = %v", name, what, *x)
		}
	}
	if r.Mode == "" || (r.PowerW == nil) != (r.PowerSource == "") {
		t.Errorf("%s: mode %q, power source %q", name, r.Mode, r.PowerSource)
	}
}

// FuzzParse reads arbitrary files: no panic, and a mistake has a place.
func FuzzParse(f *testing.F) {
	names, err := embedded.ReadDir("data")
	if err != nil {
		f.Fatal(err)
	}
	for _, n := range names {
		b, err := embedded.ReadFile("data/" + n.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("name: x\nrequests: {a: {get: /}}\nreport: {model: '[a=]'}"))
	f.Add([]byte("name: [x]\nfingerprint: 3\ncommands: {sleep: {steps: [{post: x, body: {a: '{b.c}'}}]}}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b, "x.yaml")
		if err == nil {
			d.report(map[string]any{})
			return
		}
		var es Errors
		if !errors.As(err, &es) || len(es) == 0 {
			t.Fatalf("%T: %v", err, err)
		}
		for _, m := range es {
			if m.Line < 1 || m.Column < 1 || m.Message == "" {
				t.Errorf("%+v", m)
			}
		}
	})
}

// TestNoInjection: no value can leave the place that a template gives it.
func TestNoInjection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.String().Draw(t, "v")
		vars := map[string]any{"profile": v}
		tree, ok := expandTree(map[string]any{"a": map[string]any{"b": "{profile}", "c": "x{profile}y"}}, env{}, vars)
		if !ok {
			t.Fatal("not filled in")
		}
		b, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		var back struct{ A struct{ B, C string } }
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&back); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if p, ok := expandPath("/a/{profile}/b", env{}, vars); ok {
			u, err := url.Parse("http://h" + p)
			if err != nil {
				t.Fatal(err)
			}
			if parts := strings.Split(u.EscapedPath(), "/"); len(parts) != 4 || u.RawQuery != "" || u.Fragment != "" || parts[2] == ".." {
				t.Fatalf("%q became %s", v, p)
			}
		}
	})
}

// TestNumbers: what firmwares write, and what is none.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		v        any
		q        quantity
		unit     string
		want     float64
		isNumber bool
	}{
		{"58.94W", power, "", 58.94, true},
		{"58.94W", power, "kW", 58.94, true}, // the device's word goes first
		{"3.2 kW", power, "W", 3200, true},
		{3.2, power, "kW", 3200, true},
		{173870.94, hashrate, "GH/s", 173.87094, true},
		{"13630.55", hashrate, "GHs", 13.63055, true},
		{"170 TH", hashrate, "GH/s", 170, true},
		{67394800.97, hashrate, "MH/s", 67.39480097, true},
		{"inf", power, "W", 0, false},
		{"nan", power, "W", 0, false},
		{"", power, "W", 0, false},
		{"0x10", power, "W", 0, false},
		{"2025-01-02", power, "W", 0, false},
		{true, power, "W", 0, false},
		{math.Inf(1), power, "W", 0, false},
		{"1:55", seconds, "clock", 6900, true},
		{"2 days, 1:00", seconds, "clock", 176400, true},
		{"0:00:04", seconds, "clock", 4, true},
		{"later", seconds, "clock", 0, false},
	} {
		x, ok := number(c.v, c.q, c.unit)
		if ok != c.isNumber || (ok && math.Abs(x-c.want) > 1e-9*c.want) {
			t.Errorf("number(%v, %q) = %v, %v; want %v, %v", c.v, c.unit, x, ok, c.want, c.isNumber)
		}
	}
	if x := plausible([]float64{110.52e-6, 110.52}, 110); x != 110.52 {
		t.Errorf("beside 110 TH/s expected, 110.52 in MH/s or TH/s is %v", x)
	}
	if x := plausible([]float64{67.3, 67.3e6}, 0); x != 67.3 {
		t.Errorf("without an expectation: %v", x)
	}
}

// TestPaths: the language of paths and conditions.
func TestPaths(t *testing.T) {
	root, err := parse([]byte(`{"s":{"List":[{"id":1,"name":"Chip","v":[5,6]},{"id":2,"name":"board","v":7}],"one":{"id":9},
		"fan10":3,"fan2":2,"fan1":1,"ver":"1.3.10-rc","on":"Y","zero":0,"a.b":4,"nil":null,"cur":"board"}}`))
	if err != nil {
		t.Fatal(err)
	}
	e := env{root: root.(map[string]any)}
	for src, want := range map[string]string{
		"s.LIST.id": "1 2", "s.list.0.id": "1", "s.list.-1.id": "2", "s.list.*.id": "1 2", "s.one.id": "9", "s.one.*": "9",
		"s.fan*": "1 2 3", `s.a\.b`: "4", "s.list[name=chip].id": "1", "s.list[name~^b].id": "2", "s.list[name={s.cur}].id": "2",
		"s.list.v": "5 6 7", "s.none.x": "", "s.nil": "", "s.list.5.id": "", "s.zero": "0",
	} {
		p, err := parsePath(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		got := values{{Path: p}}.texts(e)
		if strings.Join(got, " ") != want {
			t.Errorf("%s = %v, want %s", src, got, want)
		}
	}
	for src, want := range map[string]bool{
		"s.ver >= 1.3.4": true, "s.ver >= 1.4": false, "s.ver < 2": true, "s.ver > 1.3.10": false, "s.ver <= 1.3.10": true, "s.none >= 1": false,
		"s.on": true, "not s.on": false, "not s.none": true, "s.zero": false, "s.nil exists": false, "s.list exists": true, "not s.none exists": true,
		"s.cur is ^b": true, "s.cur isnt ^b": false, "s.none isnt x": false, "s.on and s.zero": false, "s.zero or s.on": true, "s.zero or s.none and s.on": false,
	} {
		c, err := parseCond(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got := c.holds(e); got != want {
			t.Errorf("%s = %v", src, got)
		}
	}
	for _, src := range []string{"", "a..b", "a.", "a[b", "a[b~(]", "*.x", "a[x]"} {
		if p, err := parsePath(src); err == nil {
			t.Errorf("%q is read as %+v", src, p.segs)
		}
	}
}

// TestAlgorithms: what does not do SHA-256 is never counted as if it did.
func TestAlgorithms(t *testing.T) {
	for model, want := range map[string]string{
		"Antminer L3+": "scrypt", "Antminer L7": "scrypt", "L9": "scrypt", "Antminer D3": "x11", "Antminer D9": "x11", "Antminer KS3": "kheavyhash",
		"Antminer Z15": "equihash", "Antminer E9 Pro": "etchash", "Antminer S9": "sha256d", "Antminer S19 XP": "sha256d", "Antminer S21+ Hyd": "sha256d",
		"Whatsminer M50S VH50": "sha256d", "Whatsminer M30S++": "sha256d", "Avalon 1246": "sha256d", "Antminer T21": "sha256d",
	} {
		if got := algorithmOf("", model, sha256d); got != want {
			t.Errorf("%s does %s, want %s", model, got, want)
		}
	}
	for said, want := range map[string]string{"SHA-256": "sha256d", "sha256d": "sha256d", "Scrypt": "scrypt", "rx/0": "randomx"} {
		if got := algorithmOf(said, "", ""); got != want {
			t.Errorf("%s is %s, want %s", said, got, want)
		}
	}
}
