package dialect_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/devicetest"
	"sluice/device/dialect"
)

// TestWhatsminerPrefersTheNewerWire: a machine that answers at both of its usual
// ports is driven on the newer wire, which takes more commands. The usual ports are
// not free here: files as an operator's name others.
func TestWhatsminerPrefersTheNewerWire(t *testing.T) {
	m := devicetest.NewWhatsminer(t, "secret")
	dir := t.TempDir()
	for file, ports := range map[string][2]string{
		"whatsminer-v2.yaml": {"[4028]", fmt.Sprintf("[%d]", m.V2().APIPort)},
		"whatsminer-v3.yaml": {"[4433]", fmt.Sprintf("[%d]", m.V3().APIPort)},
	} {
		b, err := os.ReadFile(filepath.Join("data", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(strings.Replace(string(b), ports[0], ports[1], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := dialect.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, r, err := s.Identify(within(t, 10*time.Second), device.Address{Host: "127.0.0.1", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if d.Name() != "whatsminer-v3" || r.Driver != "whatsminer-v3" || r.PowerW == nil {
		t.Errorf("found %s: %+v", d.Name(), r)
	}
	set(t, d, sluice.ModeSleep, nil)
	if m.Power() > 100 {
		t.Errorf("draws %v", m.Power())
	}
}
