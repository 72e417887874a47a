package gpu_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/device/gpu"
)

const (
	cdiYAML = `---
cdiVersion: 0.5.0
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void]
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: "0"
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: GPU-aaaa-1
kind: nvidia.com/gpu
`
	cdiJSON  = `{"cdiVersion":"0.5.0","kind":"nvidia.com/gpu","devices":[{"name":"1","containerEdits":{}}]}`
	cdiOther = `{"cdiVersion":"0.5.0","kind":"vendor.com/net","devices":[{"name":"2"}]}`
)

func TestCDI(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"nvidia.yaml": cdiYAML, "more.json": cdiJSON, "net.json": cdiOther} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dirs := []string{filepath.Join(dir, "none"), dir}
	for g, want := range map[gpu.GPU]string{
		{Index: 0, UUID: "GPU-aaaa-1"}: "nvidia.com/gpu=GPU-aaaa-1",
		{Index: 1, UUID: "GPU-bbbb-2"}: "nvidia.com/gpu=1",
		{Index: 2, UUID: "GPU-cccc-3"}: "", // that name is of another kind
		{Index: 0}:                     "",
	} {
		got, err := g.CDI(dirs)
		if got != want || (want == "") != (err != nil) {
			t.Errorf("%+v: %q, %v", g, got, err)
		}
	}
	if _, err := (gpu.GPU{Index: 2, UUID: "GPU-cccc-3"}).CDI(dirs); err == nil || !strings.Contains(err.Error(), "nvidia-ctk cdi generate") {
		t.Errorf("%v", err)
	}
}

func FuzzCDI(f *testing.F) {
	for _, s := range []string{cdiYAML, cdiJSON, cdiOther, ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, n := range gpu.CDINames(b) {
			if n == "" || strings.ContainsAny(n, " \n\"'=") {
				t.Errorf("a device is called %q", n)
			}
		}
	})
}
