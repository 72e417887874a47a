package mapfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"sluice"
)

type thing struct {
	Name  string `yaml:"name"`
	Items []struct {
		At int `yaml:"at"`
	} `yaml:"items"`
}

var files = fstest.MapFS{
	"maps/one.yaml":   {Data: []byte("name: one\nitems:\n  - {at: 1}\n  - {at: 2}\n")},
	"maps/two.yaml":   {Data: []byte("name: two\n")},
	"maps/readme.txt": {Data: []byte("no")},
}

func TestOpen(t *testing.T) {
	var x thing
	f, err := Open(files, "maps", "one", &x)
	if err != nil || x.Name != "one" || len(x.Items) != 2 || x.Items[1].At != 2 {
		t.Fatalf("%+v, %v", x, err)
	}
	for at, want := range map[string]string{"items[1].at": "one.yaml:4:10: ", "items[1].no": "one.yaml:4:5: ", "name": "one.yaml:1:7: ", "nothing": "one.yaml:1:1: ", "": "one.yaml:1:1: "} {
		if err := f.Errorf(at, "", "x"); !strings.HasPrefix(err.Error(), want) || sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%q: %v, want %s", at, err, want)
		}
	}
	if got := strings.Join(Names(files, "maps"), " "); got != "one two" {
		t.Errorf("%s", got)
	}
	if _, err := Open(files, "maps", "three", &x); sluice.KindOf(err) != sluice.NotFound || !strings.Contains(err.Error(), "one, two") {
		t.Errorf("%v", err)
	}
	own := filepath.Join(t.TempDir(), "own.yaml")
	if err := os.WriteFile(own, []byte("name: own\nnmae: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(files, "maps", own, &x); err == nil || !strings.Contains(err.Error(), "own.yaml:2:1: ") {
		t.Errorf("%v", err)
	}
	if _, err := Parse("big", make([]byte, maxFile+1), &x); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("%v", err)
	}
}
