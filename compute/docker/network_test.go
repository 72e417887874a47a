package docker_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

const ownNetwork = "SLUICE_TEST_NETWORK"

// alone runs the test again in a process with a network and mounts of its own,
// which go with it, and says whether this is that process.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownNetwork) != "" {
		// Where an engine keeps its namespaces, and its plugins who has which address.
		for _, dir := range []string{"/run", "/var/lib"} {
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
		}
		return true
	}
	service(t, "runc") // or skip
	if _, err := exec.LookPath("ip"); err != nil {
		without(t, "no ip here: scripts/need iproute2 installs it")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), ownNetwork+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Setpgid: true}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "--- SKIP") {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// The network around the host of a test: the site's own, and what stands for the
// internet, whose addresses are those of anycast services that answer nobody.
const (
	hostLAN, hostPublic           = "192.168.77.1", "192.31.196.1"
	lan, bmc, carrier, cloud, ula = "192.168.77.2", "192.168.77.3", "100.64.0.9", "169.254.169.254", "fd77:1::9"
	internet4, internet6          = "192.31.196.7", "2620:4f:8000::7"
	named                         = "public.example" // internet4
)

// around makes that network and its other end, a process in a namespace of its own
// that answers on each of its addresses with the address.
func around(t *testing.T) {
	t.Helper()
	conf := t.TempDir() + "/resolv.conf"
	if err := os.WriteFile(conf, []byte("nameserver "+lan+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(conf, "/etc/resolv.conf", "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	far := exec.Command(self, "outside", "-", "-")
	far.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	far.Stderr = os.Stderr
	in, err := far.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := far.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := far.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = far.Wait()
	})
	lines := bufio.NewReader(out)
	wait := func(want string) {
		if line, err := lines.ReadString('\n'); line != want+"\n" {
			t.Fatalf("the other end: %q, %v", line, err)
		}
	}
	wait("here")
	ip(t, "link set lo up")
	ip(t, fmt.Sprintf("link add site0 type veth peer name far0 netns %d", far.Process.Pid))
	ip(t, "address add "+hostLAN+"/24 dev site0")
	ip(t, "address add "+hostPublic+"/32 dev site0")
	ip(t, "address add fd77::1/64 dev site0 nodad")
	ip(t, "link set site0 up")
	ip(t, "route add default via "+lan+" src "+hostLAN)
	ip(t, "-6 route add default via fd77::2")
	fmt.Fprintln(in, "connected")
	wait("ready")
}

// outside is the other end of the network around a host.
func outside() error {
	in := bufio.NewReader(os.Stdin)
	fmt.Println("here")
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	for _, args := range []string{
		"link set lo up", "address add " + lan + "/24 dev far0", "address add " + bmc + "/24 dev far0", "address add fd77::2/64 dev far0 nodad",
		"link set far0 up", "address add " + carrier + "/32 dev lo", "address add " + cloud + "/32 dev lo",
		"address add " + ula + "/128 dev lo", "address add " + internet4 + "/32 dev lo", "address add " + internet6 + "/128 dev lo",
		"route add " + hostPublic + "/32 dev far0",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
	}
	for _, port := range []string{"80", "4028"} {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		go answer(l)
	}
	names, err := net.ListenPacket("udp", ":53")
	if err != nil {
		return err
	}
	go resolve(names)
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, in) // until the test is over
	return nil
}

// answer says to whom it was that somebody connected.
func answer(l net.Listener) {
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "this is %s", r.Context().Value(http.LocalAddrContextKey))
	}))
}

// resolve answers every question with the internet's address.
func resolve(c net.PacketConn) {
	b := make([]byte, 512)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		end := 12
		for end < n && b[end] != 0 {
			end += int(b[end]) + 1
		}
		if end += 5; end > n {
			continue
		}
		a := append([]byte{}, b[:end]...)
		copy(a[2:12], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
		if binary.BigEndian.Uint16(b[end-4:]) == 1 {
			a[7] = 1
			a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
			a = append(a, netip.MustParseAddr(internet4).AsSlice()...)
		}
		_, _ = c.WriteTo(a, from)
	}
}
