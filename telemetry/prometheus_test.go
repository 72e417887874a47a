package telemetry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// debian is Debian's Prometheus, found or unpacked once.
var debian = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("../scripts/prometheus").Output()
	return strings.TrimSpace(string(out)), err
})

// receiver is a Prometheus that runs and takes remote write.
type receiver struct {
	t    testing.TB
	dir  string
	addr string
	cmd  *exec.Cmd
}

func (r *receiver) url() string { return "http://" + r.addr }

// startPrometheus runs Debian's Prometheus on a port of its own, over loopback.
func startPrometheus(t testing.TB) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{t: t, dir: t.TempDir(), addr: l.Addr().String()}
	_ = l.Close()
	conf := "global: {scrape_interval: 1h}\nstorage: {tsdb: {out_of_order_time_window: 1h}}\n"
	if err := os.WriteFile(filepath.Join(r.dir, "prometheus.yml"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	r.start()
	return r
}

func (r *receiver) start() {
	r.t.Helper()
	bin, err := debian()
	if err != nil {
		r.t.Fatalf("scripts/prometheus: %v", err)
	}
	r.cmd = exec.Command(bin, "--config.file="+filepath.Join(r.dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(r.dir, "data"),
		"--web.listen-address="+r.addr, "--web.enable-remote-write-receiver", "--log.level=error",
		"--web.console.libraries="+r.dir, "--web.console.templates="+r.dir)
	r.cmd.Stderr = os.Stderr
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	await(r.t, "Prometheus is ready", func() error {
		resp, err := http.Get(r.url() + "/-/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", resp.Status)
		}
		return nil
	})
}

// stop ends it as a machine that fails does.
func (r *receiver) stop() {
	if r.cmd != nil {
		_ = r.cmd.Process.Signal(syscall.SIGKILL)
		_ = r.cmd.Wait()
		r.cmd = nil
	}
}

// await asks until there is no error, for a while.
func await(t testing.TB, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waiting until %s: %v", what, err)
		case <-tick.C:
		}
	}
}
