package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// realSite is a site of virtual devices that run in a process of their own, with
// this machine as a host and prices from a file. Its server may die: they do not.
type realSite struct {
	devices *process
	config  string // sluice.yaml
	state   string // one byte for each miner, written by the devices
	prices  string
	data    string
	listen  string
	miners  int
	began   time.Time
}

// asleepBit of a miner's byte in the state file.
const asleepBit = 0x80

// cheap and dear are prices at which all miners mine, and none does.
const (
	cheap = 20
	dear  = 2000
)

// priceStep is how long a price holds.
const priceStep = 10 * time.Second

// newRealSite starts the devices, at speed times the wall's pace, and describes
// the site. more is added to the configuration.
func newRealSite(t testing.TB, miners int, speed float64, more string, flags ...string) *realSite {
	t.Helper()
	dir := t.TempDir()
	r := &realSite{
		miners: miners, began: time.Now().UTC().Truncate(time.Minute), config: filepath.Join(dir, "sluice.yaml"), state: filepath.Join(dir, "devices"),
		prices: filepath.Join(dir, "prices.csv"), data: filepath.Join(dir, "data"), listen: fmt.Sprintf("127.0.0.1:%d", freePort(t)),
	}
	made := filepath.Join(dir, "made.yaml")
	r.devices = start(t, append([]string{"sim", "devices", "--count", fmt.Sprint(miners), "--speed", fmt.Sprint(speed), "--out", made, "--state", r.state}, flags...)...)
	var text []byte
	eventually(t, patience, func() (err error) {
		select {
		case <-r.devices.ended:
			t.Fatalf("the devices ended: %v", r.devices.failed)
		default:
		}
		text, err = os.ReadFile(made)
		return err
	})
	s := string(text)
	for _, change := range []struct{ from, to string }{
		{"mode: control}", "mode: control, step: 1m, horizon: 10m}"},
		{"real_time_usd_per_mwh: 40, hashprice_usd_per_ph_day: 60}\n", "hashprice_usd_per_ph_day: 60}\n" +
			"  - {name: prices, type: csv, path: prices.csv, interval: " + priceStep.String() + ", refresh: 1s}\n"},
		{"    node: site\n    model:", "    node: site\n    min_on: 0s\n    min_off: 0s\n    wake_time: 10s\n    model:"},
	} {
		if !strings.Contains(s, change.from) {
			t.Fatalf("sim devices wrote no %q:\n%s", change.from, s)
		}
		s = strings.ReplaceAll(s, change.from, change.to)
	}
	s += `hosts:
  - {name: here, node: site, driver: local, slots: 8, memory_gb: 4, idle_power: 80W, slot_power: 100W, usd_per_slot_hour: 1, spot_usd_per_slot_hour: 0.02}
` + more
	if err := os.WriteFile(r.config, []byte(s), 0o600); err != nil {
		t.Fatal(err)
	}
	r.setPrices(t, func(time.Time) float64 { return cheap })
	must(t, "config", "check", r.config)
	return r
}

// setPrices writes the prices from the site's beginning on, as a whole.
func (r *realSite) setPrices(t testing.TB, price func(at time.Time) float64) {
	t.Helper()
	var b strings.Builder
	b.WriteString("ts_utc,real_time_usd_per_mwh\n")
	for at := r.began; at.Before(r.began.Add(time.Hour)); at = at.Add(priceStep) {
		fmt.Fprintf(&b, "%s,%g\n", at.Format(time.RFC3339), price(at))
	}
	if err := errors.Join(os.WriteFile(r.prices+".new", []byte(b.String()), 0o600), os.Rename(r.prices+".new", r.prices)); err != nil {
		t.Fatal(err)
	}
}

// args start the site.
func (r *realSite) args() []string {
	return []string{"--config", r.config, "--data", r.data, "--listen", r.listen}
}

// asleep counts the miners that sleep, by their own account.
func (r *realSite) asleep() (int, error) {
	b, err := os.ReadFile(r.state)
	if err != nil {
		return 0, err
	}
	if len(b) != r.miners {
		return 0, fmt.Errorf("%d bytes of state for %d miners", len(b), r.miners)
	}
	n := 0
	for _, m := range b {
		if m&asleepBit != 0 {
			n++
		}
	}
	return n, nil
}

// allMine says which miners do not.
func (r *realSite) allMine(c *client) error {
	if n, err := r.asleep(); err != nil || n > 0 {
		return fmt.Errorf("%d of %d miners are asleep, they say (%v)", n, r.miners, err)
	}
	ms, err := c.machines()
	if err != nil {
		return err
	}
	n := 0
	for _, m := range ms {
		if m.Kind != "miner" {
			continue
		}
		if n++; m.State != "mining" || m.Mode == "sleep" || m.Asleep {
			return fmt.Errorf("%s is %s: mode %s, wanted %s, put to sleep by Sluice: %t (%s)", m.Name, m.State, m.Mode, m.Want, m.Asleep, m.Error)
		}
	}
	if n != r.miners {
		return fmt.Errorf("%d miners of %d are listed", n, r.miners)
	}
	return nil
}
