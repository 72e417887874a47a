package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/config"
)

func TestLoadAgent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.yaml")
	load := func(text string) (*config.Agent, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return config.LoadAgent(file)
	}
	a, err := load("containers:\n  image: localhost/a:1\n  network: jobs\n  isolations: [container]\n  first_uid: 2000000\n")
	if err != nil {
		t.Fatal(err)
	}
	if k := a.Containers; a.IdleMining.Driver != "" || k.Image != "localhost/a:1" || k.Network != "jobs" || k.FirstUID != 2_000_000 || k.Socket != "/run/podman/podman.sock" || k.Pull != "never" {
		t.Errorf("%+v", k)
	}
	for text, says := range map[string]string{
		"containers:\n  imgae: a\n": "image", "containers: {socket: p.sock}\n": `containers.socket: "p.sock" is not the path of a socket`,
		"containers: {isolations: [jail]}\n": `containers.isolations[0]: "jail"`, "containers: {first_uid: 1}\n": "first_uid",
		"image: a\n": "image", "": "empty", "a: [": "broken", "idle_mining: {driver: trex}\n": "the url of its API is missing",
	} {
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
	if _, err := config.LoadAgent(file + ".not"); err == nil {
		t.Error("no file, no error")
	}
	a, err = load("idle_mining: {driver: trex, url: \"http://127.0.0.1:4067\", token_file: t, hashrate_mhs: 1, power: 300W, algorithm: x, values_file: /v.json}\n")
	if m := a.IdleMining; err != nil || m.TokenFile != filepath.Join(filepath.Dir(file), "t") || m.Values != "/v.json" || m.Fee != 0.02 {
		t.Errorf("%+v, %v", m, err)
	}
	if d := config.DefaultAgent().Containers; d.Socket != "/run/podman/podman.sock" || d.FirstUID != 1<<20 {
		t.Errorf("defaults %+v", d)
	}
}

func FuzzLoadAgent(f *testing.F) {
	f.Add("containers: {image: a, isolations: [container]}\n")
	f.Add("idle_mining: {driver: xmrig, url: \"http://h\"}\n")
	file := filepath.Join(f.TempDir(), "agent.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := config.LoadAgent(file)
		if err != nil {
			return
		}
		if k := a.Containers; k.FirstUID < 65536 || !filepath.IsAbs(k.Socket) || k.LogGB <= 0 {
			t.Errorf("%q: %+v", text, k)
		}
	})
}
