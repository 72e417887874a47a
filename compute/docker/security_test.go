package docker_test

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice"
	"sluice/compute"
)

func ownerOf(info fs.FileInfo) int {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(st.Uid)
}

// hostPrograms lets a run use this machine's programs, of which busybox has none.
func hostPrograms(s *compute.RunSpec) {
	for _, d := range []string{"/usr", "/lib", "/lib64"} {
		s.Mounts = append(s.Mounts, compute.RunMount{Source: d, Target: d, ReadOnly: true})
	}
}

// What an untrusted job finds: nothing that it could leave its container with.
func TestConfinement(t *testing.T) { onEach(t, testConfinement) }

func testConfinement(t *testing.T, p *podman) {
	x := newExecutor(t, config(p))
	s := spec(t, t.TempDir(), `
id -u; cat /proc/self/uid_map; grep -E '^(CapEff|CapBnd|CapPrm|NoNewPrivs|Seccomp):' /proc/self/status
try() { if "$@" >/dev/null 2>&1; then echo "CAN: $*"; else echo "cannot: $*"; fi; }
try touch /etc/new
try touch /bin/new
try mount -t tmpfs none /mnt
try mount -o remount,rw /
try mknod /tmp/disk b 254 0
try chown 1 /proc/self
try cat /proc/kcore
try cat /proc/sysrq-trigger
try sh -c 'echo 1 > /proc/sys/kernel/panic'
try hostname other
try chroot / true
try unshare -m true
try dmesg
try kill -0 -- -1
ls /dev; ls /sys/fs/cgroup/memory 2>/dev/null | head -1
cat /proc/1/cmdline | tr '\0' ' '; echo
echo x > /tmp/ok && echo x > /run/ok && echo x > /dev/shm/ok && echo x > ok && echo writes
echo "$PATH"; echo mine > "$SLUICE_VOLUME/w"; try touch /readonly/w; cat /readonly/r`)
	vol, ro := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(ro, "r"), []byte("read only\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Mounts = []compute.RunMount{{Source: vol, Target: "/volume"}, {Source: ro, Target: "/readonly", ReadOnly: true}}
	s.Env = append(s.Env, "SLUICE_VOLUME=/volume")
	log, e := result(t, x, s)
	if e.Code != 0 {
		t.Fatalf("exit %+v\n%s", e, log)
	}
	squeezed := strings.Join(strings.Fields(log), " ")
	for _, want := range []string{
		fmt.Sprintf(" 0 0 %d 65536 ", p.firstUser()), "CapPrm: 0000000000000000", "CapEff: 0000000000000000", "CapBnd: 0000000000000000",
		"NoNewPrivs: 1", "Seccomp: 2", "writes", "/bin:/image/bin", "read only", "cannot: touch /readonly/w",
	} {
		if !strings.Contains(squeezed, want) {
			t.Errorf("no %q in:\n%s", want, log)
		}
	}
	if strings.Contains(log, "CAN: ") {
		t.Errorf("too much is allowed:\n%s", log)
	}
	for _, dev := range []string{"vda", "sda", "kvm", "mem", "fuse", "loop0"} {
		if strings.Contains(log, "\n"+dev+"\n") {
			t.Errorf("it has the host's device %s:\n%s", dev, log)
		}
	}
	info, err := os.Stat(filepath.Join(vol, "w"))
	if err != nil || ownerOf(info) != p.firstUser() {
		t.Errorf("its file in the volume: owner %d, %v", ownerOf(info), err)
	}
}

// hostAddress is an address of this machine that is not the loopback's.
func hostAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return ""
}

func serveText(t *testing.T, address, text string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

func TestEgress(t *testing.T) {
	t.Parallel()
	p := service(t, "runc")
	x := newExecutor(t, config(p))
	inside := serveText(t, "127.0.0.1:0", "the host's loopback\n")
	host := hostAddress(t)
	outside := inside
	if host == "" {
		host = "192.0.2.1"
	} else {
		outside = serveText(t, host+":0", "the outside\n")
	}
	script := fmt.Sprintf(`cat > get.py <<'X'
import sys, urllib.request
for url in sys.argv[1:]:
    try: print(urllib.request.urlopen(url, timeout=5).read().decode(), end="")
    except OSError as e: print(url, e)
X
ip -o addr | awk '{print $2}' | sort -u | tr '\n' ' '; echo
python3 get.py http://127.0.0.1:%[1]d http://10.0.2.2:%[1]d http://10.0.2.3:%[1]d http://localhost:%[1]d http://%[2]s:%[3]d`, inside, host, outside)
	for egress, want := range map[compute.Egress]bool{compute.EgressNone: false, "": false, compute.EgressOpen: true} {
		s := spec(t, t.TempDir(), script)
		s.Egress = egress
		s.Env[0] = "PATH=/bin:/usr/bin"
		s.Task.Envs = map[string]string{"PATH": "/bin:/usr/bin"}
		hostPrograms(&s)
		log, e := result(t, x, s)
		if e.Code != 0 || strings.Contains(log, "the host's loopback") {
			t.Errorf("%q: exit %+v\n%s", egress, e, log)
		}
		if got := strings.Contains(log, "the outside\n"); outside != inside && got != want {
			t.Errorf("%q: reached the outside: %v\n%s", egress, got, log)
		}
		if only := strings.Contains(log, "\nlo \n"); only == want {
			t.Errorf("%q: its interfaces:\n%s", egress, log)
		}
	}
	s := spec(t, t.TempDir(), "true")
	s.Egress = compute.EgressHost
	_, err := x.Start(t.Context(), s)
	wantKind(t, err, sluice.Invalid, "host's own network")
}

// A sandbox whose runtime cannot give it the network that it was promised does
// not start without one.
func TestEgressRefused(t *testing.T) {
	t.Parallel()
	p := service(t, "runsc")
	x := newExecutor(t, config(p))
	s := spec(t, t.TempDir(), "echo ran > ran")
	s.Isolation, s.Egress = compute.IsolationSandbox, compute.EgressOpen
	_, err := x.Start(t.Context(), s)
	wantKind(t, err, sluice.Unavailable, "did not give the container a network")
	if text(s, "ran") != "" {
		t.Error("it ran")
	}
}

func TestIsolations(t *testing.T) {
	t.Parallel()
	plain, sandbox := service(t, "runc"), service(t, "runsc")
	both := config(plain)
	both.SandboxSocket = sandbox.socket
	got, err := newExecutor(t, both).Isolations(t.Context())
	if err != nil || fmt.Sprint(got) != "[container sandbox]" {
		t.Errorf("%v, %v", got, err)
	}
	x := newExecutor(t, config(plain))
	if got, err := x.Isolations(t.Context()); err != nil || fmt.Sprint(got) != "[container]" {
		t.Errorf("%v, %v", got, err)
	}
	// What is missing is refused, and the mend said.
	s := spec(t, t.TempDir(), "true")
	s.Isolation = compute.IsolationSandbox
	_, err = x.Start(t.Context(), s)
	wantKind(t, err, sluice.Invalid, "which is no sandbox (install runsc")
	// One engine for both, each run in its own.
	z := newExecutor(t, both)
	s = spec(t, t.TempDir(), "dmesg | head -1")
	s.Isolation = compute.IsolationSandbox
	if log, e := result(t, z, s); e.Code != 0 || !strings.Contains(log, "Starting gVisor") {
		t.Errorf("exit %+v\n%s", e, log)
	}
	down := config(plain)
	down.Socket = filepath.Join(t.TempDir(), "none.sock")
	y := newExecutor(t, down)
	_, err = y.Isolations(t.Context())
	wantKind(t, err, sluice.Unavailable, "podman.socket")
	_, err = y.Start(t.Context(), spec(t, t.TempDir(), "true"))
	wantKind(t, err, sluice.Unavailable, "does not answer")
}

func TestImages(t *testing.T) { onEach(t, testImages) }

func testImages(t *testing.T, p *podman) {
	x := newExecutor(t, config(p))
	s := spec(t, t.TempDir(), "true")
	s.Image = "localhost/sluice-test/none:1"
	_, err := x.Start(t.Context(), s)
	wantKind(t, err, sluice.Invalid, "the image localhost/sluice-test/none:1 is not on this host")
	cfg := config(p)
	cfg.Image = ""
	_, err = newExecutor(t, cfg).Start(t.Context(), spec(t, t.TempDir(), "true"))
	wantKind(t, err, sluice.Invalid, "names no image")
	cfg.Pull = "missing"
	s.Image = "127.0.0.1:1/none:1"
	_, err = newExecutor(t, cfg).Start(t.Context(), s)
	wantKind(t, err, sluice.Invalid, "pull the image 127.0.0.1:1/none:1")
	s = spec(t, t.TempDir(), "true")
	s.Image = p.importEmpty(t)
	_, err = x.Start(t.Context(), s)
	wantKind(t, err, sluice.Invalid, "has no /bin/sh")
	// The same run can be tried again.
	s.Image = busybox
	if _, e := result(t, x, s); e.Code != 0 {
		t.Errorf("exit %+v", e)
	}
}

// The socket on which a job tells of a checkpoint is reached from inside, also
// when the server has made it anew; those of other jobs beside it are not.
func TestControl(t *testing.T) { onEach(t, testControl) }

func testControl(t *testing.T, p *podman) {
	x := newExecutor(t, config(p))
	dir, err := os.MkdirTemp("", "sluice-ctl-") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := spec(t, t.TempDir(), `cat > tell.py <<'X'
import socket, sys, time
for i in range(2000):
    try:
        s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); said = s.recv(100).decode()
    except OSError as e:
        said = str(e)
    if said == sys.argv[2]: break
    time.sleep(0.02)
print(said)
X
ls "${SLUICE_CONTROL%/*}"
python3 tell.py "$SLUICE_CONTROL" first; echo up > up; python3 tell.py "$SLUICE_CONTROL" second`)
	s.Control = filepath.Join(dir, s.RunID+".sock")
	s.Env = append(s.Env, "SLUICE_CONTROL="+s.Control)
	s.Env[0] = "PATH=/bin:/usr/bin"
	s.Task.Envs = map[string]string{"PATH": "/bin:/usr/bin"}
	hostPrograms(&s)
	listen := func(path, text string) func() {
		_ = os.Remove(path)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // its folder is closed
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte(text))
				_ = c.Close()
			}
		}()
		return func() { _ = l.Close() }
	}
	defer listen(filepath.Join(dir, "another.sock"), "another")()
	stop := listen(s.Control, "first")
	h := startRun(t, x, s)
	until(t, "up", func() bool { return text(s, "up") != "" })
	stop()
	defer listen(s.Control, "second")()
	if e := waitRun(t, x, h); e.Code != 0 || !strings.Contains(logOf(s), "\n"+s.RunID+".sock\nfirst\nsecond\n") {
		t.Errorf("exit %+v\n%s", e, logOf(s))
	}
	if info, err := os.Stat(dir); err != nil || ownerOf(info) != 0 {
		t.Errorf("the folder of all sockets belongs to %d, %v", ownerOf(info), err)
	}
}

// Files and volumes of a task stand where it wants them, also below its home.
func TestMountTargets(t *testing.T) {
	t.Parallel()
	p := service(t, "runc")
	x := newExecutor(t, config(p))
	dir := t.TempDir()
	for _, f := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("file "+f+"\n"), 0o644); err != nil { //nolint:gosec // what is read only stays its owner's
			t.Fatal(err)
		}
	}
	s := spec(t, t.TempDir(), `cat ~/in/home below/x /data/deep/c; echo more >> below/x`)
	s.Mounts = []compute.RunMount{
		{Source: filepath.Join(dir, "a"), Target: "~/in/home"},
		{Source: filepath.Join(dir, "b"), Target: "below/x"},
		{Source: filepath.Join(dir, "c"), Target: "/data/deep/c", ReadOnly: true},
	}
	if log, e := result(t, x, s); e.Code != 0 || !strings.Contains(log, "file a\nfile b\nfile c\n") {
		t.Errorf("exit %+v\n%s", e, log)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "b")); err != nil || string(b) != "file b\nmore\n" {
		t.Errorf("%q, %v", b, err)
	}
	for _, at := range []string{"/", "/proc/sys", "/dev/../sys", "/run/sluice/box", "/a,b"} {
		s := spec(t, t.TempDir(), "true")
		s.Mounts = []compute.RunMount{{Source: dir, Target: at}}
		_, err := x.Start(t.Context(), s)
		wantKind(t, err, sluice.Invalid, "cannot mount")
	}
}
