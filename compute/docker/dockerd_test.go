package docker_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/moby/moby/client"

	"sluice"
	"sluice/compute/executortest"
)

// moby is the service that is Docker's own engine, where others are Podman's with the
// runtime of that name.
const moby = "docker"

// dockerBase is the first user of the host that Docker's containers have.
const dockerBase = 1_300_000

// serveDocker starts Docker's engine with a folder, mounts and users of its own: it makes
// no bridge and no firewall rule.
func (p *podman) serveDocker() error {
	log, err := os.OpenFile(filepath.Join(p.dir, "service.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	ids := filepath.Join(p.dir, "subid")
	if err := os.WriteFile(ids, fmt.Appendf(nil, "nobody:%[1]d:65536\nnogroup:%[1]d:65536\n", dockerBase), 0o644); err != nil { //nolint:gosec // as /etc/subuid
		return err
	}
	_ = os.Remove(p.socket)
	p.cmd = exec.Command("unshare", "--mount", "/bin/sh", "-c", `set -e
for f in /etc/subuid /etc/subgid; do [ -e $f ] || touch $f; mount --bind "$1" $f; done
shift; exec "$@"`, "sh", ids, "dockerd",
		"--data-root", filepath.Join(p.dir, "root"), "--exec-root", filepath.Join(p.dir, "run"), "--pidfile", filepath.Join(p.dir, "pid"),
		"--host", "unix://"+p.socket, "--userns-remap", "nobody:nogroup", "--exec-opt", "native.cgroupdriver=cgroupfs",
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--log-level=warn")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.cli, err = client.New(client.WithHost("unix://"+p.socket), client.WithAPIVersion("1.41"))
	return err
}

// firstUser is the user of the host that root is in containers.
func (p *podman) firstUser() int {
	if p.runtime == moby {
		return dockerBase
	}
	return 1 << 20
}

// onEach runs a test on Podman and on Docker.
func onEach(t *testing.T, f func(t *testing.T, p *podman)) {
	t.Parallel()
	for _, e := range []string{"runc", moby} {
		t.Run(e, func(t *testing.T) { t.Parallel(); f(t, service(t, e)) })
	}
}

// Docker's own engine passes what Podman's passes.
func TestDocker(t *testing.T) { t.Parallel(); executortest.Run(t, subject(moby)) }

// An engine that does not know how to give a container GPUs says so before there is one.
func TestDockerWithoutCDI(t *testing.T) {
	t.Parallel()
	p := service(t, moby)
	cfg := config(p)
	cfg.Socket = way(t, p, func(w http.ResponseWriter, r *http.Request, through http.Handler) { through.ServeHTTP(w, r) },
		func(res *http.Response) { res.Header.Set("Api-Version", "1.43") }) // whatever this Docker's is
	cfg.CDIDirs = []string{t.TempDir()}
	described := `{"cdiVersion":"0.3.0","kind":"nvidia.com/gpu","devices":[{"name":"0","containerEdits":{"deviceNodes":[{"path":"/dev/null"}]}}]}`
	if err := os.WriteFile(filepath.Join(cfg.CDIDirs[0], "gpu.json"), []byte(described), 0o600); err != nil {
		t.Fatal(err)
	}
	s := spec(t, t.TempDir(), "true")
	s.GPUs = []int{0}
	_, err := newExecutor(t, cfg).Start(t.Context(), s)
	wantKind(t, err, sluice.Invalid, "does not know GPUs by CDI (use Docker 25 or later")
}
