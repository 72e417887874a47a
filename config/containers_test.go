package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/config"
)

func TestLoadContainers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "containers.yaml")
	load := func(text string) (config.Containers, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return config.LoadContainers(file)
	}
	k, err := load("image: localhost/a:1\nnetwork: jobs\nisolations: [container]\nfirst_uid: 2000000\n")
	if err != nil || k.Image != "localhost/a:1" || k.Network != "jobs" || k.FirstUID != 2_000_000 || k.Socket != "/run/podman/podman.sock" || k.Pull != "never" {
		t.Errorf("%+v, %v", k, err)
	}
	for text, says := range map[string]string{
		"imgae: a\n": "image", "socket: p.sock\n": `socket: "p.sock" is not the path of a socket`, "isolations: [jail]\n": `isolations[0]: "jail"`,
		"first_uid: 1\n": "first_uid", "": "empty", "a: [": "broken",
	} {
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
	if _, err := config.LoadContainers(file + ".not"); err == nil {
		t.Error("no file, no error")
	}
	if d := config.DefaultContainers(); d.Socket != "/run/podman/podman.sock" || d.FirstUID != 1<<20 {
		t.Errorf("defaults %+v", d)
	}
}

func FuzzLoadContainers(f *testing.F) {
	f.Add("image: a\nisolations: [container]\n")
	file := filepath.Join(f.TempDir(), "containers.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := config.LoadContainers(file); err == nil && (k.FirstUID < 65536 || !filepath.IsAbs(k.Socket) || k.LogGB <= 0) {
			t.Errorf("%q: %+v", text, k)
		}
	})
}
