package dialect_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice"
	"sluice/device"
	"sluice/device/dialect"
)

func TestNames(t *testing.T) {
	names := load(t).Names()
	if !slices.IsSorted(names) {
		t.Errorf("%v", names)
	}
	for _, want := range []string{"antminer", "bitaxe", "braiins", "braiins-graphql", "epic", "luxos", "proto", "vnish", "xmrig"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s in %v", want, names)
		}
		if _, err := load(t).New(want, device.Address{Host: "127.0.0.1"}); err != nil {
			t.Error(err)
		}
	}
	if _, err := load(t).New("nosuch", device.Address{}); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("%v", err)
	}
}

const tiny = `name: tiny
requests: {s: {get: /s}}
`

// TestMistakes: each has its place, and all of a file are told at once.
func TestMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		yaml string
		want []string
	}{
		"an unknown key":       {tiny + "colour: red\n", []string{`x.yaml:3:1: there is no "colour" here (one of `}},
		"two at once":          {"requests: {s: {get: s}}\nreport: {power: s.w in V}\n", []string{`x.yaml:1:1: the dialect has no name`, `does not begin with a slash (write /s)`, `x.yaml:2:17: there is no unit "V" (such as TH/s`}},
		"a request not there":  {tiny + "report:\n  model: t.model\n", []string{`x.yaml:4:10: there is no request "t" (a path begins with`}},
		"in a condition":       {tiny + "report:\n  sleeping: s.x is (\n", []string{`x.yaml:4:13: the condition cannot be read: `}},
		"in a template":        {tiny + "commands:\n  reboot: {steps: [{post: /r, body: {a: '{t.x}'}}]}\n", []string{`x.yaml:4:41: there is no request "t"`}},
		"a fingerprint of all": {tiny + "fingerprint: [{request: s}]\n", []string{`x.yaml:3:15: a fingerprint without a condition fits every device (give where:)`}},
		"sleep without wake":   {tiny + "commands: {sleep: {steps: [{post: /x}]}}\n", []string{`a machine that can be put to sleep must be woken`}},
		"two ways to ask":      {"name: x\nrequests: {s: {get: /s, command: s}}\n", []string{`a request is one exchange, this has 2`}},
		"a command not known":  {tiny + "commands: {fly: {steps: [{post: /x}]}}\n", []string{`there is no command "fly" (one of sleep, wake`}},
		"no list":              {tiny + "report: 3\n", []string{`x.yaml:3:9: a mapping is needed here, not a single value`}},
		"a key twice":          {tiny + "vendor: a\nvendor: b\n", []string{`x.yaml:4:1: "vendor" stands twice`}},
		"broken YAML":          {"name: [x\n", []string{`x.yaml:1:7: the YAML is broken`}},
		"nothing":              {"# only a comment\n", []string{`x.yaml:1:1: the file is empty`}},
		"a wire not there":     {"name: x\nrequests: {s: {command: s, via: pigeon}}\n", []string{`there is no wire "pigeon"`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dialect.Parse([]byte(c.yaml), "x.yaml")
			if err == nil {
				t.Fatal("no mistake")
			}
			if sluice.KindOf(err) != sluice.Invalid {
				t.Errorf("kind %v", sluice.KindOf(err))
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v\nwant %s", err, w)
				}
			}
			if n := len(strings.Split(err.Error(), "\n")); n != len(c.want) {
				t.Errorf("%d mistakes, want %d: %v", n, len(c.want), err)
			}
		})
	}
}

// TestOperatorsFolder: a dialect of one's own, and one of ours replaced.
func TestOperatorsFolder(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("mine.yaml", strings.ReplaceAll(tiny, "tiny", "mine"))
	put("bitaxe.yaml", strings.ReplaceAll(tiny, "tiny", "bitaxe-mine"))
	put("notes.txt", "not a dialect")
	s, err := dialect.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Names(); !slices.Contains(n, "mine") || !slices.Contains(n, "bitaxe-mine") || slices.Contains(n, "bitaxe") {
		t.Errorf("%v", n)
	}
	put("again.yaml", strings.ReplaceAll(tiny, "tiny", "vnish"))
	put("bad.yaml", "name: 3\nx: 1\n")
	_, err = dialect.Load(dir)
	var es dialect.Errors
	if !errors.As(err, &es) || !strings.Contains(err.Error(), `the dialect "vnish" is in`) || !strings.Contains(err.Error(), filepath.Join(dir, "bad.yaml")+":2:1:") {
		t.Errorf("%v", err)
	}
	if _, err := dialect.Load(filepath.Join(dir, "none")); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("%v", err)
	}
}
