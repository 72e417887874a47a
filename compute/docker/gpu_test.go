package docker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice"
)

// fakeCDI describes devices of these names, where the engine looks for such
// descriptions. Their nodes are /dev/null under other names: node0, node1, …
func fakeCDI(t *testing.T, dir, kind, node string, names ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		without(t, err.Error())
	}
	var devices []string
	for i, name := range names {
		// With a user namespace the runtime binds the host's own node.
		node := fmt.Sprintf("%s%d", node, i)
		if err := syscall.Mknod(node, syscall.S_IFCHR|0o666, 1<<8|3); err != nil && !os.IsExist(err) {
			without(t, err.Error())
		}
		_ = os.Chmod(node, 0o666) //nolint:gosec // it is /dev/null
		t.Cleanup(func() { _ = os.Remove(node) })
		devices = append(devices, fmt.Sprintf(`{"name":%q,"containerEdits":{"deviceNodes":[{"path":%q,"type":"c","major":1,"minor":3}]}}`, name, node))
	}
	file := filepath.Join(dir, strings.ReplaceAll(kind, "/", "-")+".json")
	text := fmt.Sprintf(`{"cdiVersion":"0.3.0","kind":%q,"devices":[%s]}`, kind, strings.Join(devices, ","))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(file); _ = os.Remove(dir) }) // the folder only where it is empty
}

func TestGPUs(t *testing.T) {
	p := service(t, "runc")
	cfg := config(p)
	cfg.GPUKind = fmt.Sprintf("sluice.test/fake%d", os.Getpid())
	script := `for i in 0 1 2; do [ -c /dev/sluice-fake$i ] && echo "has $i"; done; echo x > /dev/sluice-fake2 && echo written`
	// Podman 4.3 looks in two folders that nobody can tell it otherwise.
	fakeCDI(t, "/var/run/cdi", cfg.GPUKind, "/dev/sluice-fake", "0", "1", "2")
	s := spec(t, t.TempDir(), script)
	s.GPUs = []int{0, 2}
	if log, e := result(t, newExecutor(t, cfg), s); e.Code != 0 || !strings.Contains(log, "\nhas 0\nhas 2\nwritten\n") {
		t.Errorf("exit %+v\n%s", e, log)
	}
	// One that nobody describes.
	s = spec(t, t.TempDir(), script)
	s.GPUs = []int{3}
	_, err := newExecutor(t, cfg).Start(t.Context(), s)
	wantKind(t, err, sluice.Invalid, "has the device "+cfg.GPUKind+"=3")
	// One that the engine gives, but not all of it: it is not let run.
	part := cfg
	part.CDIDirs = []string{t.TempDir()}
	described := fmt.Sprintf(`kind: %s
devices: [{name: "1", containerEdits: {deviceNodes: [{path: /dev/sluice-fake1}, {path: /dev/sluice-fake9}]}}]`, cfg.GPUKind)
	if err := os.WriteFile(filepath.Join(part.CDIDirs[0], "x.yaml"), []byte(described), 0o600); err != nil {
		t.Fatal(err)
	}
	s = spec(t, t.TempDir(), "echo ran > ran")
	s.GPUs = []int{1}
	_, err = newExecutor(t, part).Start(t.Context(), s)
	wantKind(t, err, sluice.Unavailable, "did not give the container /dev/sluice-fake9")
	if text(s, "ran") != "" {
		t.Error("it ran")
	}
	// One that is described where the engine does not look.
	cfg.GPUKind += "x"
	cfg.CDIDirs = []string{t.TempDir()}
	fakeCDI(t, cfg.CDIDirs[0], cfg.GPUKind, "/dev/sluice-fake", "0", "1", "2")
	s = spec(t, t.TempDir(), "echo ran > ran")
	s.GPUs = []int{1}
	if _, err = newExecutor(t, cfg).Start(t.Context(), s); err == nil || text(s, "ran") != "" {
		t.Errorf("error %v, ran %q", err, text(s, "ran"))
	}
}
