package docker_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"sluice"
	"sluice/compute"
)

// asks makes the run try to connect to each of the addresses, and print those that
// it has reached, one a line. In its container only, it also tries to undo its filter.
func asks(s *compute.RunSpec, addresses ...string) {
	s.Task.Run = `cat > get.py <<'END'
import http.client, sys, time
for at in sys.argv[1:]:
    began = time.monotonic()
    try:
        c = http.client.HTTPConnection(at, timeout=8); c.request("GET", "/")
        print("reached", at, c.getresponse().read().decode())
    except OSError as e: print("kept from", at, e, "after %.0f s" % (time.monotonic() - began))
END
[ -d /run/sluice ] || exit 99
for undo in "nft delete table inet sluice" "ip route add default dev lo" "ip link set lo down"; do
	if $undo >/dev/null 2>&1; then echo "CAN: $undo"; fi
done
python3 get.py ` + strings.Join(addresses, " ")
	s.Env[0] = "PATH=/bin:/usr/bin:/usr/sbin"
	s.Task.Envs = map[string]string{"PATH": "/bin:/usr/bin:/usr/sbin"}
	hostPrograms(s)
}

// checkReached checks that of all the addresses it has reached these.
func checkReached(t *testing.T, log string, all []string, want ...string) {
	t.Helper()
	if strings.Contains(log, "CAN:") {
		t.Error("it can undo its filter")
	}
	for _, a := range all {
		reached := slices.Contains(want, a)
		switch {
		case strings.Contains(log, "reached "+a+" ") != reached:
			t.Errorf("reached %s: %v", a, !reached)
		case strings.Contains(log, "kept from "+a+" ") == reached:
			t.Errorf("nothing of %s", a)
		}
	}
	if t.Failed() {
		t.Log(log)
	}
}

// What a job reaches under each policy, on a host with a site's network around it.
func TestEgressPolicies(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	around(t)
	p := service(t, "runc")
	x := newExecutor(t, config(p))
	at := func(host string, port int) string { return fmt.Sprintf("%s:%d", host, port) }
	own, other := at(hostLAN, serveText(t, hostLAN+":0", "the host")), at(hostLAN, serveText(t, hostLAN+":0", "the host"))
	owned := at(hostPublic, serveText(t, hostPublic+":0", "the host"))
	miner, board, sets := at(lan, 4028), at(bmc, 80), "["+ula+"]:80"
	local := []string{own, other, owned, miner, at(lan, 80), board, at(carrier, 80), at(cloud, 80), sets}
	world := []string{at(internet4, 80), "[" + internet6 + "]:80", at(named, 80)}
	all := slices.Concat(local, world)
	for _, c := range []struct {
		egress compute.Egress
		allow  []string
		want   []string
	}{
		{compute.EgressOpen, nil, all},
		{compute.EgressInternet, nil, world},
		{compute.EgressInternet, []string{own, lan + "/32:4000-5000", "fd77:1::/64"}, slices.Concat([]string{own, miner, sets}, world)},
		{compute.EgressNone, []string{"192.168.77.2/31"}, []string{miner, at(lan, 80), board}},
		{compute.EgressNone, nil, nil},
	} {
		t.Run(fmt.Sprint(c.egress, c.allow), func(t *testing.T) {
			s := spec(t, t.TempDir(), "")
			s.Egress, s.EgressAllow = c.egress, c.allow
			asks(&s, all...)
			log, e := result(t, x, s)
			if e.Code != 0 {
				t.Errorf("exit %+v", e)
			}
			checkReached(t, log, all, c.want...)
			if c.egress == compute.EgressInternet && strings.Contains(log, "after 8 s") {
				t.Errorf("it waits for what is refused:\n%s", log)
			}
		})
	}
}

// A run whose server is killed before it has its filter has not begun, and begins
// with its filter once there is a server again.
func TestFilterAfterKill(t *testing.T) {
	t.Parallel()
	p := service(t, "runc")
	host := hostAddress(t)
	if host == "" {
		without(t, "this machine has no address")
	}
	for _, moment := range []struct {
		method, path string
		after, asked bool // once it has asked for its filter
	}{
		{http.MethodPost, "/start", false, false},
		{http.MethodPost, "/start", true, false},
		{http.MethodGet, "/json", true, true},
	} {
		t.Run(fmt.Sprint(moment), func(t *testing.T) {
			at := fmt.Sprintf("%s:%d", host, serveText(t, host+":0", "the host"))
			s := spec(t, t.TempDir(), "")
			asks(&s, at)
			s.Task.Run = "echo x >> count\n" + s.Task.Run
			s.Egress = compute.EgressInternet
			waits := func() bool { return onDisk(s.Dir, "out/asks") }
			cfg := config(p)
			var caught chan struct{}
			cfg.Socket, caught = gateWhen(t, p, moment.method, moment.path, moment.after, func() bool { return !moment.asked || waits() })
			_, kill := other(t, server{cfg, s})
			select {
			case <-caught:
			case <-time.After(time.Minute):
				t.Fatal("never caught")
			}
			kill()
			if moment.after {
				until(t, "it waits for its filter", waits)
			}
			if onDisk(s.Dir, "out/up") || text(s, "count") != "" {
				t.Error("it has begun without its filter")
			}
			x := newExecutor(t, config(p))
			if moment.after {
				_, err := x.Exec(t.Context(), compute.Handle(s.Dir), []string{"true"}, nil, io.Discard)
				wantKind(t, err, sluice.Conflict, "waits for the filter")
			}
			e := waitRun(t, x, startRun(t, x, s))
			if e.Code != 0 || text(s, "count") != "x" {
				t.Errorf("exit %+v, ran %q", e, text(s, "count"))
			}
			checkReached(t, logOf(s), []string{at})
			if left := p.inspect(t, s.Dir); left != "" {
				t.Errorf("left: %.200s", left)
			}
		})
	}
}

// What an image brings as a check of its health the engine runs when it likes: not
// here.
func TestImageChecksNothing(t *testing.T) {
	t.Parallel()
	p := service(t, "runc")
	const image = "localhost/sluice-test/checked:1"
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	text := []byte("FROM " + busybox + "\nHEALTHCHECK --interval=1s CMD touch /tmp/checked\n")
	err := w.WriteHeader(&tar.Header{Name: "Dockerfile", Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(text))})
	if err == nil {
		_, err = w.Write(text)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	res, err := p.cli.ImageBuild(t.Context(), &files, client.ImageBuildOptions{Tags: []string{image}, Remove: true, ForceRemove: true})
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	made, err := p.get("/v4.0.0/libpod/images/" + image + "/json")
	if err != nil || !strings.Contains(made, "/tmp/checked") {
		t.Fatalf("no such image: %v, %s\n%s", err, made, said)
	}
	s := spec(t, t.TempDir(), "echo up > up; sleep 1000")
	s.Image = image
	startRun(t, newExecutor(t, config(p)), s)
	if got := p.inspect(t, s.Dir); strings.Contains(got, "/tmp/checked") {
		t.Errorf("the engine checks it: %.3000s", got)
	}
}

func onDisk(dir, name string) bool {
	_, err := os.Stat(dir + "/" + name)
	return err == nil
}

// Where the filter cannot be had nothing of the job runs, and the start says why.
func TestFilterRefused(t *testing.T) {
	t.Parallel()
	p := service(t, "runc")
	s := spec(t, t.TempDir(), "echo x >> count")
	s.Egress = compute.EgressInternet
	lines, _ := otherBy(t, "serve", server{config(p), s}, "setpriv", "--bounding-set=-sys_admin")
	line, _ := lines.ReadString('\n')
	if !strings.Contains(line, "its network cannot be filtered") || !strings.Contains(line, "as root") {
		t.Errorf("the server said %q", line)
	}
	if text(s, "count") != "" || p.inspect(t, s.Dir) != "" {
		t.Error("it ran, or is left")
	}
	sandbox := service(t, "runsc")
	s = spec(t, t.TempDir(), "true")
	s.Egress = compute.EgressInternet
	s.Isolation = compute.IsolationSandbox
	_, err := newExecutor(t, config(sandbox)).Start(t.Context(), s)
	wantKind(t, err, sluice.Invalid, "the network of a sandbox cannot be filtered")
	s.Isolation, s.EgressAllow = compute.IsolationContainer, []string{"10.0.0.1/8"}
	_, err = newExecutor(t, config(p)).Start(t.Context(), s)
	wantKind(t, err, sluice.Invalid, "did you mean 10.0.0.0/8")
}
