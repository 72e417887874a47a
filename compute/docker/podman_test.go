package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// podman is a Podman service of the tests' own: its storage, state and socket
// are in a folder that goes with it.
type podman struct {
	dir, socket string
	runtime     string
	cmd         *exec.Cmd
	cli         *client.Client
}

// busybox is the image of the tests.
const busybox = "localhost/sluice-test/busybox:1"

// What this machine lets us have; systems differ in what they allow.
const containersConf = `[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
[network]
network_config_dir = %q
`

var services struct {
	sync.Mutex
	of  map[string]*podman // by runtime
	why map[string]error
}

// without skips a test for want of something, but where all of it has to stand.
func without(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// service returns the Podman service with the runtime, or skips the test.
func service(t testing.TB, runtime string) *podman {
	t.Helper()
	programs := []string{"podman", runtime, "busybox"}
	if runtime == moby {
		programs = []string{"dockerd", "containerd", "runc", "busybox"}
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			without(t, "no "+p+" here: scripts/need installs it")
		}
	}
	if os.Getuid() != 0 {
		without(t, "these tests map users, as root")
	}
	services.Lock()
	defer services.Unlock()
	if services.of == nil {
		services.of, services.why = map[string]*podman{}, map[string]error{}
	}
	if services.of[runtime] == nil && services.why[runtime] == nil {
		p, err := startPodman(runtime)
		if err != nil {
			p.close()
			p = nil
		}
		services.of[runtime], services.why[runtime] = p, err
	}
	if err := services.why[runtime]; err != nil {
		t.Fatal(err)
	}
	return services.of[runtime]
}

// closeServices ends them and returns what the tests have left behind.
func closeServices() (left []string) {
	services.Lock()
	defer services.Unlock()
	for _, p := range services.of {
		if p == nil {
			continue
		}
		names, err := p.containers()
		if err != nil {
			left = append(left, err.Error())
		}
		secrets, _ := filepath.Glob(config(p).SecretDir + "/*")
		left = slices.Concat(left, names, secrets)
		for _, m := range mounts(p.dir) {
			if m != filepath.Join(p.dir, "root", "overlay") { // Podman's own, while it runs
				left = append(left, m)
			}
		}
		_ = os.Remove(config(p).SecretDir)
		p.close()
	}
	return left
}

func startPodman(runtime string) (*podman, error) {
	dir, err := os.MkdirTemp("", "sluice-podman-") // short: sockets have short names
	if err != nil {
		return &podman{}, err
	}
	p := &podman{dir: dir, socket: filepath.Join(dir, "p.sock")}
	// A sandbox runs as a user that root is mapped to, and has to get there.
	if err := os.Chmod(dir, 0o711); err != nil {
		return p, err
	}
	conf := filepath.Join(dir, "containers.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, containersConf, filepath.Join(dir, "networks")), 0o600); err != nil {
		return p, err
	}
	p.runtime = runtime
	if err := p.serve(); err != nil {
		return p, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return p, p.importBusybox(ctx)
}

// serve starts the service and waits until it answers.
func (p *podman) serve() error {
	start := p.servePodman
	if p.runtime == moby {
		start = p.serveDocker
	}
	if err := start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := p.cli.ServerVersion(ctx, client.ServerVersionOptions{}); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return fmt.Errorf("the engine does not come up: %w, see %s", err, filepath.Join(p.dir, "service.log"))
		}
		<-tick.C
	}
}

func (p *podman) servePodman() error {
	log, err := os.Create(filepath.Join(p.dir, "service.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{
		"--root", filepath.Join(p.dir, "root"), "--runroot", filepath.Join(p.dir, "run"), "--tmpdir", filepath.Join(p.dir, "tmp"),
		"--storage-driver", "overlay", "--runtime", p.runtime,
	}
	if p.runtime == "runsc" {
		args = append(args, "--runtime-flag", "network=none") // its own network fails in Podman's namespaces
	}
	_ = os.Remove(p.socket)
	p.cmd = exec.Command("podman", append(args, "system", "service", "--time", "0", "unix://"+p.socket)...)
	p.cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+filepath.Join(p.dir, "containers.conf"))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.cli, err = client.New(client.WithHost("unix://"+p.socket), client.WithAPIVersion("1.41"))
	return err
}

// stop ends the service; what it runs goes on.
func (p *podman) stop() {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.cmd.Wait()
	}
}

// killAll kills the containers of a run.
func (p *podman) killAll(t testing.TB, dir string) {
	t.Helper()
	res, err := p.cli.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", "sluice.dir="+dir)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range res.Items {
		if _, err := p.cli.ContainerKill(t.Context(), c.ID, client.ContainerKillOptions{Signal: "KILL"}); err != nil {
			t.Fatal(err)
		}
	}
}

// stopAll stops the containers of a run as the end of a machine does: with Podman its
// removal begins so.
func (p *podman) stopAll(t testing.TB, dir string) {
	t.Helper()
	if p.runtime != moby {
		return
	}
	res, err := p.cli.ContainerList(t.Context(), client.ContainerListOptions{Filters: client.Filters{}.Add("label", "sluice.dir="+dir)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range res.Items {
		if _, err := p.cli.ContainerStop(t.Context(), c.ID, client.ContainerStopOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// removeAll removes the containers of a run as an operator might.
func (p *podman) removeAll(t testing.TB, dir string) {
	t.Helper()
	res, err := p.cli.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", "sluice.dir="+dir)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range res.Items {
		until(t, "it is removed", func() bool { // Podman may find its mounts busy
			_, err := p.cli.ContainerRemove(t.Context(), c.ID, client.ContainerRemoveOptions{Force: true})
			return err == nil || errdefs.IsNotFound(err)
		})
	}
}

// importBusybox packs Debian's static busybox as an image: no registry is needed.
func (p *podman) importBusybox(ctx context.Context) error {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	names, err := exec.Command(path, "--list").Output()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, body []byte) {
		h.Size = int64(len(body))
		if err == nil {
			err = w.WriteHeader(&h)
		}
		if err == nil {
			_, err = w.Write(body)
		}
	}
	for _, d := range []string{"bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "lib", "lib64", "var", "var/tmp"} {
		add(tar.Header{Name: d + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	add(tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, program)
	add(tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\n"))
	for name := range strings.FieldsSeq(string(names)) {
		if name != "busybox" {
			add(tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, nil)
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return err
	}
	name, tag, _ := strings.Cut(busybox, ":")
	res, err := p.cli.ImageImport(ctx, client.ImageImportSource{Source: &b, SourceName: "-"}, name, client.ImageImportOptions{
		Changes: []string{"ENV PATH=/bin:/image/bin"},
	})
	if err != nil {
		return fmt.Errorf("import busybox: %w", err)
	}
	defer res.Close()
	if _, err = io.Copy(io.Discard, res); err != nil {
		return err
	}
	// Podman 4.3 takes the tag for the source's.
	_, err = p.cli.ImageTag(ctx, client.ImageTagOptions{Source: name + ":latest", Target: name + ":" + tag})
	return err
}

// importEmpty makes an image that has nothing to run.
func (p *podman) importEmpty(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755})
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	const name = "localhost/sluice-test/empty"
	res, err := p.cli.ImageImport(t.Context(), client.ImageImportSource{Source: &b, SourceName: "-"}, name, client.ImageImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if _, err := io.Copy(io.Discard, res); err != nil {
		t.Fatal(err)
	}
	return name + ":latest"
}

// containers returns the names of all containers that there are.
func (p *podman) containers() ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	res, err := p.cli.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, c := range res.Items {
		out = append(out, c.Names...)
	}
	return out, nil
}

// inspect returns what the engine tells of a run's container, in Docker's words
// and in its own, and the names of its environment's files.
func (p *podman) inspect(t testing.TB, dir string) string {
	t.Helper()
	res, err := p.cli.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", "sluice.dir="+dir)})
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, c := range res.Items {
		got, err := p.cli.ContainerInspect(t.Context(), c.ID, client.ContainerInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		all.Write(got.Raw)
		if p.runtime == moby {
			continue
		}
		own, err := p.get("/v4.0.0/libpod/containers/" + c.ID + "/json")
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(own)
	}
	return all.String()
}

func (p *podman) get(path string) (string, error) {
	h := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", p.socket)
	}}}
	res, err := h.Get("http://podman" + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

// close ends the service, and what a failed test may have left.
func (p *podman) close() {
	if p == nil || p.dir == "" {
		return
	}
	names, _ := p.containers()
	for _, n := range names {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_, _ = p.cli.ContainerRemove(ctx, strings.TrimPrefix(n, "/"), client.ContainerRemoveOptions{Force: true})
		cancel()
	}
	p.stop()
	p.killRest()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range 50 { // what removes a container may still be at it
		for _, m := range mounts(p.dir) {
			_ = syscall.Unmount(m, syscall.MNT_DETACH)
		}
		if err := os.RemoveAll(p.dir); err == nil {
			return
		}
		<-tick.C
	}
	fmt.Fprintln(os.Stderr, "clean up: cannot remove", p.dir)
}

// killRest ends what Podman leaves for some minutes: whoever keeps the exit status
// of a command, and the containers of a test that has failed without its engine.
// All of them name the service's own folder, and their children are theirs.
func (p *podman) killRest() {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(b, []byte(p.dir+"/")) || !bytes.HasPrefix(b, []byte("/usr/bin/conmon\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			continue
		}
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		for c := range strings.FieldsSeq(string(children)) {
			if n, err := strconv.Atoi(c); err == nil && n > 1 {
				_ = syscall.Kill(n, syscall.SIGKILL)
			}
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// mounts returns what is mounted below the folder, the deepest first.
func mounts(dir string) []string {
	b, _ := os.ReadFile("/proc/self/mounts")
	var out []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			out = append(out, f[1])
		}
	}
	slices.Reverse(out)
	return out
}
