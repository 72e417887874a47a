package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const gpuHost = `site: {name: a}
nodes: [{name: n, limit: 1MW}]
hosts:
  - name: h
    node: n
    gpus: auto
    usd_per_slot_hour: 2.5
`

func TestGPUs(t *testing.T) {
	c, err := Parse([]byte(gpuHost+`    idle_mining:
      driver: trex
      url: http://127.0.0.1:4067
      token_file: trex.password
      algorithm: kawpow
      hashrate_mhs: 58
      power: 250W
      values_file: values.json
`), "dir/x.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := c.Hosts[0].IdleMining
	if m.MaxAge != Duration(48*time.Hour) || m.Fee != 0.02 || m.Margin != 0.1 || m.MinOn != Duration(10*time.Minute) || m.MinOff != Duration(5*time.Minute) || m.Power != 250 {
		t.Errorf("%+v", m)
	}
	if filepath.Base(m.TokenFile) != "trex.password" {
		t.Errorf("%+v", m)
	}
	full := "      driver: xmrig\n      url: http://127.0.0.1:4067\n      hashrate_mhs: 5\n      power: 250W\n      usd_per_mh_day: 0.01\n      as_of: 2026-03-01\n"
	for _, x := range []struct{ old, new, want string }{
		{"", "", ""},
		{"    gpus: auto\n", "", "for a host whose GPUs"},
		{"    gpus: auto\n", "    gpus: all\n", "gpus"},
		{"    gpus: auto\n", "    gpus: auto\n    slots: 4\n", "its slots are the GPUs"},
		{"      driver: xmrig\n", "", "the driver is missing"},
		{"      driver: xmrig\n", "      driver: lolminer\n", "cannot stop it"},
		{"      driver: xmrig\n", "      driver: phoenix\n", "phoenix"},
		{"      url: http://127.0.0.1:4067\n", "", "url of its API is missing"},
		{"127.0.0.1:4067", "u:p@127.0.0.1:4067", "token_file"},
		{"      hashrate_mhs: 5\n", "", "hashrate_mhs of one GPU is missing"},
		{"      power: 250W\n", "", "power of one GPU"},
		{"      as_of: 2026-03-01\n", "", "of which day"},
		{"      as_of: 2026-03-01\n", "      as_of: yesterday\n", "date"},
		{"      usd_per_mh_day: 0.01\n      as_of: 2026-03-01\n", "      values_file: v.json\n", "algorithm says"},
		{"      as_of: 2026-03-01\n", "      as_of: 2026-03-01\n      values_file: v.json\n      algorithm: x\n", "give values_file, or"},
	} {
		text := strings.Replace(gpuHost+"    idle_mining:\n"+full, x.old, x.new, 1)
		_, err := Parse([]byte(text), "x")
		if (x.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%q for %q: %v", x.new, x.old, err)
		}
	}
	if _, err := Parse([]byte("site: {name: a}\nnodes: [{name: n, limit: 1MW}]\nhosts: [{name: h, node: n, driver: virtual, slots: 8, gpus: auto}]\n"), "x"); err == nil || !strings.Contains(err.Error(), "virtual host names its gpu") {
		t.Errorf("a virtual host: %v", err)
	}
}
