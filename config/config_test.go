package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

var update = flag.Bool("update", false, "write the expected output of testdata anew")

const example = "../examples/site/sluice.yaml"

// Each testdata/NAME.yaml has what is said of it in NAME.txt.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files (%v)", len(files), err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse(data, filepath.Base(path))
			got := ""
			if err != nil {
				if _, ok := errors.AsType[Errors](err); !ok || sluice.KindOf(err) != sluice.Invalid {
					t.Fatalf("%T of the kind %d: %v", err, sluice.KindOf(err), err)
				}
				got = err.Error() + "\n"
			} else {
				for _, w := range c.Warnings {
					got += w.String() + " (warning)\n"
				}
				got += "OK: " + c.Summary().String() + "\n"
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestExampleSite(t *testing.T) {
	c, err := Load(example)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range c.Warnings {
		t.Errorf("the example should give no warning: %s", w)
	}
	if got, want := len(c.ExpandMachines()), 400; got != want {
		t.Errorf("%d machines, want %d", got, want)
	}
	if c.Site.Mode != "observe" {
		t.Errorf("the example is in mode %s", c.Site.Mode)
	}
	if !filepath.IsAbs(c.Feeds[1].Path) || filepath.Base(c.Feeds[1].Path) != "prices" {
		t.Errorf("the path is %q", c.Feeds[1].Path)
	}
}

func TestDefaults(t *testing.T) {
	c, err := Parse([]byte(`
site: {name: a}
nodes: [{name: n, limit: 1MW}]
meters: [{node: n, address: "10.0.0.1:502"}]
classes:
  - {name: c, node: n, min_off: 0s, modes: [{name: mine, power: 3kW, hashrate_ths: 100}, {name: sleep, power: 15W}]}
machines: [{name: m, class: c, driver: luxos, address: 10.0.0.1}]
hosts: [{name: here, node: n}]
feeds:
  - {name: f, type: mempool, max_age: 1h}
  - {name: g, type: csv, path: x}
`), "x")
	if err != nil {
		t.Fatal(err)
	}
	want := Site{
		Name: "a", Mode: "observe", Step: Duration(5 * time.Minute), Horizon: Duration(3 * time.Hour), Guard: 0.01, Ramp: 2_000_000,
		Overhead: 1, PoolFee: 0.02, Currency: "USD", USDPer: 1, MaxReadingAge: Duration(2 * time.Minute),
		ResidualShare: 0.05, ResidualAfter: Duration(5 * time.Minute),
	}
	if !reflect.DeepEqual(c.Site, want) {
		t.Errorf("the site is %+v, want %+v", c.Site, want)
	}
	if m := c.Meters[0]; m.Driver != "modbus" || m.Unit != 1 || m.Register != 52 {
		t.Errorf("the meter is %+v", m)
	}
	k := c.Classes[0]
	if k.Modes[0].Name != "sleep" || k.Modes[0].Power != 15 || k.MinOn != Duration(10*time.Minute) || k.MinOff != 0 || k.WakeTime != Duration(2*time.Minute) {
		t.Errorf("the class is %+v", k)
	}
	if f := c.Feeds[0]; f.URL != "https://mempool.space" || f.Refresh != Duration(5*time.Minute) || f.MaxAge != Duration(time.Hour) {
		t.Errorf("the feed is %+v", f)
	}
	if f := c.Feeds[1]; f.Refresh != Duration(time.Minute) || f.MaxAge != Duration(15*time.Minute) || f.PublishAt != "18:00" {
		t.Errorf("the feed is %+v", f)
	}
	if c.Hosts[0].Driver != "local" || c.Server.Listen != "127.0.0.1:8420" {
		t.Errorf("%+v %+v", c.Hosts[0], c.Server)
	}
}

func TestFilesThatAreTooMuch(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"long":     {strings.Repeat("# a comment of some length\n", 50_000), "longer than 1024 KB"},
		"line":     {"site: {name: " + strings.Repeat("a", 5000) + "}", "x:1:4096: the line is longer"},
		"nested":   {"site:\n" + strings.Repeat(" [\n", 100_000), "nested too deeply"},
		"sequence": {strings.Repeat("- ", 2000) + "a", "a mapping is wanted"},
		"keys":     {strings.Repeat("key: 1\n", 100_000), "x:501:4: there are more than 500 fields"},
		"binary":   {"site:\n  name: \xff\xfe", "x:2:1: the line is not UTF-8"},
	} {
		_, err := Parse([]byte(c.text), "x")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.200v", name, err)
		}
	}
	if _, err := Load(t.TempDir() + "/absent.yaml"); sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), "absent.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestExpandMachines(t *testing.T) {
	c := &Config{Machines: []Machine{
		{Name: "one", Driver: "luxos", Address: "10.0.1.9"},
		{Name: "named", Driver: "antminer", Address: "miner-7.lan:8080"},
		{Name: "rack1-", Driver: "luxos", Address: "10.0.1.9-10.0.1.11:4030"},
		{Name: "hall-", Driver: "antminer", Address: "10.0.1.254-10.0.2.1", APIPort: 4028},
		{Name: "v6", Driver: "luxos", Address: "[fd00::7]:4028"},
		{Name: "bare6", Driver: "luxos", Address: "fd00::8"},
	}}
	var got []string
	for _, m := range c.ExpandMachines() {
		got = append(got, fmt.Sprintf("%s %s api %d web %d", m.Name, m.Address, m.APIPort, m.WebPort))
	}
	want := []string{
		"one 10.0.1.9 api 0 web 0",
		"named miner-7.lan api 0 web 8080",
		"rack1-009 10.0.1.9 api 4030 web 0", "rack1-010 10.0.1.10 api 4030 web 0", "rack1-011 10.0.1.11 api 4030 web 0",
		"hall-1-254 10.0.1.254 api 4028 web 0", "hall-1-255 10.0.1.255 api 4028 web 0", "hall-2-000 10.0.2.0 api 4028 web 0", "hall-2-001 10.0.2.1 api 4028 web 0",
		"v6 fd00::7 api 4028 web 0", "bare6 fd00::8 api 0 web 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(path, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SLUICE_TEST_SECRET", "hunter2")
	for _, s := range []Secret{"hunter2", "env:SLUICE_TEST_SECRET", Secret("file:" + path)} {
		if got, err := s.Reveal(); err != nil || got != "hunter2" {
			t.Errorf("revealed %q (%v)", got, err)
		}
		m := Machine{Name: "m", Password: s}
		j, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		all := string(j)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
			all += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, m) + fmt.Sprintf(verb, &m) + fmt.Sprintf(verb, []Secret{s})
		}
		if strings.Contains(all, "hunter2") || strings.Contains(all, fmt.Sprintf("%x", "hunter2")) || strings.Contains(all, path) {
			t.Errorf("printed: %s", all)
		}
	}
	for _, s := range []Secret{"env:SLUICE_NO_SUCH", "file:/no/such/file"} {
		if got, err := s.Reveal(); err == nil || got != "" || sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%q gives %q, %v", string(s), got, err)
		}
	}
	if got, err := Secret("").Reveal(); err != nil || got != "" {
		t.Errorf("no secret gives %q, %v", got, err)
	}
}

func TestScalarsPrintAsTheyAreRead(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := Power(rapid.Int64Range(0, 1e12).Draw(rt, "p"))
		if got, err := parsePower(p.String()); err != nil || got != p {
			rt.Fatalf("%s is read as %v (%v)", p, got, err)
		}
		d := Duration(rapid.Int64Range(0, 1e15).Draw(rt, "d"))
		if got, err := parseDuration(d.String()); err != nil || got != d {
			rt.Fatalf("%s is read as %v (%v)", d, got, err)
		}
	})
	for text, want := range map[string]Power{"14MW": 14e6, "2.5 kW": 2500, "3250W": 3250, "0": 0, "0.5W": 1, " 1 MW ": 1e6} {
		if got, err := parsePower(text); err != nil || (got != want && text != "0.5W") {
			t.Errorf("%q is %d (%v)", text, got, err)
		}
	}
	for text, want := range map[string]Percent{"1%": 0.01, "0.01": 0.01, "2.5 %": 0.025, "0": 0, "99%": 0.99} {
		if got, err := parsePercent(text); err != nil || got < want-1e-12 || got > want+1e-12 {
			t.Errorf("%q is %g (%v)", text, got, err)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"name", "node", "modes", "address", "api_port", "hashrate_ths", "password"}
	for got, want := range map[string]string{"nmae": "name", "adress": "address", "APIPort": "api_port", "hashrate": "hashrate_ths", "passwd": "password", "xyz": "", "": "", "nodes": "node"} {
		if n := nearest(got, words); n != want {
			t.Errorf("%q is taken for %q, want %q", got, n, want)
		}
	}
}

var place = regexp.MustCompile(`^[^:\n]+:[0-9]+:[0-9]+: .`)

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(files, example) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("site: {name: a}\nnndes:\n  -\x10{name: doot,\r\r\r\r\r limit:"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data, "f.yaml")
		if err != nil {
			es, ok := errors.AsType[Errors](err)
			if !ok || len(es) == 0 {
				t.Fatalf("%T", err)
			}
			lines := bytes.Count(data, []byte("\n")) + bytes.Count(data, []byte("\r")) + 1 // YAML breaks lines at both
			for _, e := range es {
				if !place.MatchString(e.String()) || e.Line > lines+1 {
					t.Errorf("%q of a file of %d lines", e.String(), lines)
				}
			}
			return
		}
		// What passes is complete: each reference resolves, each machine is there.
		if c.Site.Name == "" || len(c.Nodes) == 0 || c.Site.Step <= 0 || time.Hour%c.Site.Step.Duration() != 0 {
			t.Errorf("%+v passes", c)
		}
		roots := 0
		for _, n := range c.Nodes {
			if n.Parent == "" {
				roots++
			}
		}
		if roots != 1 {
			t.Errorf("%d roots pass", roots)
		}
		for _, r := range c.Reserves {
			for _, name := range r.Classes {
				if !slices.ContainsFunc(c.Classes, func(k Class) bool { return k.Name == name }) {
					t.Errorf("the reserve %+v is of no class", r)
				}
			}
		}
		for _, m := range c.ExpandMachines() {
			if !slices.ContainsFunc(c.Classes, func(k Class) bool { return k.Name == m.Class && len(k.Modes) > 1 }) {
				t.Errorf("the machine %+v has no class", m)
			}
		}
	})
}
