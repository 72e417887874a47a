package gpu_test

import (
	"os"
	"testing"

	"sluice/device/gpu"
	"sluice/device/gpu/gputest"
)

// The embedded probe runs from memory and from a file.
func TestEmbedded(t *testing.T) {
	d := gputest.New(t, gputest.H100(0))
	if !gpu.Built() {
		n := gpu.Open(gpu.Options{Library: d.Library})
		defer n.Close()
		if _, err := n.Inventory(t.Context()); err == nil || err.Error() != gpu.ErrNotBuilt.Error() {
			t.Fatalf("without a probe: %v", err)
		}
		if os.Getenv("CI") == "true" {
			t.Fatal("built without the probe: make builds it first")
		}
		t.Skip("built without the probe")
	}
	for range 2 {
		n := gpu.Open(gpu.Options{Library: d.Library})
		gpus, err := n.Inventory(t.Context())
		if err != nil || len(gpus) != 1 {
			t.Errorf("%v, %v", gpus, err)
		}
		n.Close()
	}
	cmd, done, err := gpu.CommandFile(gpu.Embedded(), d.Library)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if out, err := cmd.Output(); err != nil || len(out) == 0 { // its input ends at once
		t.Errorf("%q, %v", out, err)
	}
}
