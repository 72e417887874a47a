package docker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/compute"
	"sluice/compute/docker"
)

// server is what the other process is told.
type server struct {
	Config docker.Config
	Spec   compute.RunSpec
}

// serve is a server that starts the run of the spec in the file, waits for its
// end, and says so.
func serve(file, _ string) {
	var s server
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	var x *docker.Executor
	if err == nil {
		x, err = docker.New(s.Config)
	}
	var h compute.Handle
	if err == nil {
		h, err = x.Start(context.Background(), s.Spec)
	}
	fmt.Println("started", err)
	if err == nil {
		_, err = x.Wait(context.Background(), h)
	}
	fmt.Println("ended", err)
}

// other starts a server in a process of its own and returns what it says, and how
// it is killed: with its whole group, as a service manager would.
func other(t *testing.T, s server) (lines *bufio.Reader, kill func()) {
	t.Helper()
	return otherThat(t, "serve", s)
}

func otherThat(t *testing.T, serves string, s any) (lines *bufio.Reader, kill func()) {
	t.Helper()
	return otherBy(t, serves, s)
}

// otherBy starts it by a command that starts others.
func otherBy(t *testing.T, serves string, s any, by ...string) (lines *bufio.Reader, kill func()) {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(by, self, serves, file, "-")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dead := false
	kill = func() {
		if !dead {
			dead = true
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
		}
	}
	t.Cleanup(kill)
	return bufio.NewReader(out), kill
}

// A run outlives the kill -9 of its server, is not started again by the next, and
// loses no line of its output and doubles none, whenever that was.
func TestServerKilled(t *testing.T) { onEach(t, testServerKilled) }

func testServerKilled(t *testing.T, p *podman) {
	s := spec(t, t.TempDir(), `echo x >> count; i=0; while [ ! -e go ]; do echo "line $i"; i=$((i+1)); [ $((i%50)) = 0 ] && sleep 0.01; done; echo "last $i"; exit 9`)
	s.Secrets = []string{"TOKEN=secret"}
	for range 4 {
		lines, kill := other(t, server{config(p), s})
		if line, _ := lines.ReadString('\n'); line != "started <nil>\n" {
			t.Fatalf("the server said %q", line)
		}
		n := len(logOf(s))
		until(t, "the log grows", func() bool { return len(logOf(s)) > n+2000 })
		kill()
	}
	x := newExecutor(t, config(p))
	h := startRun(t, x, s) // its handle was never stored
	if err := os.WriteFile(filepath.Join(s.WorkDir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := waitRun(t, x, h); e.Code != 9 || e.Lost || e.Stopped {
		t.Errorf("exit %+v", e)
	}
	if n := text(s, "count"); n != "x" {
		t.Errorf("it ran %d times", strings.Count(n, "x"))
	}
	checkLines(t, s)
}

// checkLines checks that each line is there once and in its place.
func checkLines(t *testing.T, s compute.RunSpec) {
	t.Helper()
	i := 0
	for line := range strings.Lines(logOf(s)) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "[sluice]"):
		case line == fmt.Sprintf("line %d", i):
			i++
		case line == fmt.Sprintf("last %d", i) && i > 100:
			return
		default:
			t.Fatalf("%q where line %d should be", line, i)
		}
	}
	t.Fatalf("the log ends after line %d", i)
}

// way is a way to the engine on which something happens: through hands a request on.
func way(t *testing.T, p *podman, handle func(w http.ResponseWriter, r *http.Request, through http.Handler), answered func(*http.Response)) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sluice-gate-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "p.sock")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "podman"})
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", p.socket)
	}}
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	proxy.ModifyResponse = func(res *http.Response) error {
		answered(res)
		return nil
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r, proxy) })}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return socket
}

// gate is a way to the engine on which a server can be caught in the middle.
func gate(t *testing.T, p *podman, method, path string, after bool) (socket string, caught chan struct{}) {
	t.Helper()
	return gateWhen(t, p, method, path, after, func() bool { return true })
}

// gateWhen is a gate that lets all through until something is so.
func gateWhen(t *testing.T, p *podman, method, path string, after bool, so func() bool) (socket string, caught chan struct{}) {
	t.Helper()
	caught = make(chan struct{}, 100)
	hold := make(chan struct{})
	match := func(r *http.Request) bool { return so() && r.Method == method && strings.HasSuffix(r.URL.Path, path) }
	socket = way(t, p, func(w http.ResponseWriter, r *http.Request, through http.Handler) {
		if !after && match(r) {
			caught <- struct{}{}
			<-hold
			return
		}
		through.ServeHTTP(w, r)
	}, func(res *http.Response) {
		if after && match(res.Request) {
			caught <- struct{}{}
			<-hold
		}
	})
	t.Cleanup(func() { close(hold) })
	return socket, caught
}

// However far a server came before it was killed, the next one sees the run
// through, once, and leaves nothing of it.
func TestServerKilledInBetween(t *testing.T) { onEach(t, testServerKilledInBetween) }

func testServerKilledInBetween(t *testing.T, p *podman) {
	create := "/libpod/containers/create"
	if p.runtime == moby {
		create = "/containers/create"
	}
	for _, c := range []struct{ method, path string }{
		{http.MethodPost, create},
		{http.MethodPost, "/start"},
		{http.MethodDelete, ""},
	} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprint(c.method, c.path, after), func(t *testing.T) {
				s := spec(t, t.TempDir(), `echo x >> count; printf %s "$TOKEN" > token; sleep 0.3; exit 4`)
				s.Secrets = []string{"TOKEN=of mine"}
				cfg := config(p)
				var caught chan struct{}
				cfg.Socket, caught = gate(t, p, c.method, c.path, after)
				_, kill := other(t, server{cfg, s})
				select {
				case <-caught:
				case <-t.Context().Done():
					t.Fatal("never caught")
				}
				kill()
				x := newExecutor(t, config(p))
				h := startRun(t, x, s)
				if e := waitRun(t, x, h); e.Code != 4 || e.Lost || e.Stopped {
					t.Errorf("exit %+v", e)
				}
				if n := text(s, "count"); n != "x" {
					t.Errorf("it ran %d times", strings.Count(n, "x"))
				}
				if got := text(s, "token"); got != "of mine" {
					t.Errorf("its secret is %q", got)
				}
				if left := p.inspect(t, s.Dir); left != "" {
					t.Errorf("left: %.200s", left)
				}
			})
		}
	}
}

// orphan starts a run whose server is then killed.
func orphan(t *testing.T, p *podman, s compute.RunSpec) {
	t.Helper()
	lines, kill := other(t, server{config(p), s})
	if line, _ := lines.ReadString('\n'); line != "started <nil>\n" {
		t.Fatalf("the server said %q", line)
	}
	until(t, "up", func() bool { return text(s, "up") != "" })
	kill()
}

// A stop whose asker was killed is seen through by whoever comes next: the run has
// its notice, and no more.
func TestStopResumed(t *testing.T) { onEach(t, testStopResumed) }

func testStopResumed(t *testing.T, p *podman) {
	for _, c := range []struct {
		asked string
		until time.Duration
		code  int
		told  string
	}{
		{"false", time.Minute, 7, "told"}, // killed before the signal
		{"true", 0, 137, ""},              // killed in the grace
	} {
		s := spec(t, t.TempDir(), `trap 'echo told > told; exit 7' TERM; echo up > up; while :; do sleep 0.02; done`)
		orphan(t, p, s)
		req := fmt.Sprintf(`{"until":%q,"signaled":%s}`, time.Now().Add(c.until).Format(time.RFC3339Nano), c.asked)
		if err := os.WriteFile(filepath.Join(s.Dir, "stop.json"), []byte(req), 0o600); err != nil {
			t.Fatal(err)
		}
		x := newExecutor(t, config(p))
		h := compute.Handle(s.Dir)
		if err := x.Attach(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		if e := waitRun(t, x, h); e.Code != c.code || !e.Stopped || text(s, "told") != c.told {
			t.Errorf("exit %+v, told %q", e, text(s, "told"))
		}
	}
}

// Somebody removes a container while nobody looks: the run is lost, and does not
// run again.
func TestContainerRemoved(t *testing.T) {
	t.Parallel()
	p := service(t, "runc")
	s := spec(t, t.TempDir(), `echo x >> count; echo said; echo up > up; sleep 1000`)
	orphan(t, p, s)
	p.killAll(t, s.Dir) // else Podman stops it first, and it knows of that
	p.removeAll(t, s.Dir)
	x := newExecutor(t, config(p))
	h := compute.Handle(s.Dir)
	if e := waitRun(t, x, h); !e.Lost || e.Why != "its container is gone" || !strings.Contains(logOf(s), "said\n") {
		t.Errorf("exit %+v\n%s", e, logOf(s))
	}
	if again := startRun(t, newExecutor(t, config(p)), s); again != h {
		t.Errorf("handle %q, then %q", h, again)
	}
	if n := text(s, "count"); n != "x" {
		t.Errorf("it ran %d times", strings.Count(n, "x"))
	}
}

// A container that somebody else stops, as at the end of a machine, is not taken
// for one that has failed or is done.
func TestStoppedFromOutside(t *testing.T) { onEach(t, testStoppedFromOutside) }

func testStoppedFromOutside(t *testing.T, p *podman) {
	x := newExecutor(t, config(p))
	s := spec(t, t.TempDir(), `trap 'echo saved > saved; exit 0' TERM; echo up > up; while :; do sleep 0.02; done`)
	h := startRun(t, x, s)
	until(t, "up", func() bool { return text(s, "up") != "" })
	p.stopAll(t, s.Dir)
	p.removeAll(t, s.Dir)
	if e := waitRun(t, x, h); !e.Stopped || e.Lost || e.Code == 0 && e.At.IsZero() || text(s, "saved") != "saved" {
		t.Errorf("exit %+v", e)
	}
}

// The engine's service goes and comes back: what it runs goes on, and so do we.
func TestEngineRestarts(t *testing.T) {
	t.Parallel()
	service(t, "runc") // or skip
	p, err := startPodman("runc")
	t.Cleanup(p.close)
	if err != nil {
		t.Fatal(err)
	}
	x := newExecutor(t, config(p))
	s := spec(t, t.TempDir(), `i=0; while [ ! -e go ]; do echo "line $i"; i=$((i+1)); sleep 0.01; done; echo "last $i"; exit 5`)
	h := startRun(t, x, s)
	p.stop()
	n := len(logOf(s))
	until(t, "the log grows without the engine", func() bool { return len(logOf(s)) > n+1000 })
	if err := os.WriteFile(filepath.Join(s.WorkDir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "it has ended", func() bool { return strings.Contains(logOf(s), "last ") })
	if err := p.serve(); err != nil {
		t.Fatal(err)
	}
	if e := waitRun(t, x, h); e.Code != 5 || e.Lost {
		t.Errorf("exit %+v", e)
	}
	checkLines(t, s)
}
