package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is the deadline of whatever takes a moment: long, for slow machines.
const patience = 60 * time.Second

// eventually asks again and again until f agrees or the deadline has passed.
func eventually(t testing.TB, d time.Duration, f func() error) {
	t.Helper()
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-end.C:
			t.Fatalf("after %v still: %v", d, err)
		case <-tick.C:
		}
	}
}

// text is output that is read while it is written.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *text) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *text) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// environment is that of every command: nothing of the user's own site.
func environment(t testing.TB, more ...string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + os.TempDir()}
	return append(env, more...)
}

// process is a running sluice.
type process struct {
	cmd      *exec.Cmd
	out, err text
	ended    chan struct{} // closed at its end
	failed   error         // of the end, once ended is closed
}

// start starts sluice with the arguments; it is killed at the end of the test.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	return startIn(t, environment(t), args...)
}

// startIn is start with that environment.
func startIn(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	p := &process{ended: make(chan struct{})}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	// What it started may hold its output open; its end is what counts.
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.failed = p.cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("sluice %s\n%s%s", strings.Join(args, " "), tail(p.out.String()), tail(p.err.String()))
		}
	})
	return p
}

func tail(s string) string {
	const most = 6000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

// kill ends it as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// stop ends it as Ctrl-C does and returns its exit status.
func (p *process) stop(t testing.TB, within time.Duration) int {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatalf("it had ended before Ctrl-C: %v\n%s", p.failed, p.err.String())
	}
	return p.status(t, within)
}

// status waits for its end and returns the exit status.
func (p *process) status(t testing.TB, within time.Duration) int {
	t.Helper()
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // its stacks tell why
		t.Fatalf("it has not ended within %v", within)
	}
	return p.cmd.ProcessState.ExitCode()
}

var printedURL = regexp.MustCompile(`(?m)^  (http://\S+)/$`)

// server is a running `sluice up`.
type server struct {
	*process
	*client
}

// up starts a site and waits until it answers at the URL that it prints.
func up(t testing.TB, args ...string) *server {
	t.Helper()
	p := start(t, append([]string{"up"}, args...)...)
	s := &server{process: p}
	eventually(t, patience, func() error {
		if m := printedURL.FindStringSubmatch(p.out.String()); m != nil {
			s.client = &client{base: m[1]}
			return nil
		}
		select {
		case <-p.ended:
			t.Fatalf("sluice up ended: %v\n%s", p.failed, p.err.String())
		default:
		}
		return errors.New("no URL is printed")
	})
	eventually(t, patience, func() error { _, err := s.site(); return err })
	return s
}

// result of a command that has ended.
type result struct {
	out, err string
	status   int
}

// run runs sluice to its end.
func run(t testing.TB, args ...string) result { return runEnv(t, nil, args...) }

func runEnv(t testing.TB, env []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = environment(t, env...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("sluice %s: %v\n%s", strings.Join(args, " "), err, complaint.String())
	}
	return result{out.String(), complaint.String(), cmd.ProcessState.ExitCode()}
}

// must runs sluice, which has to succeed, and returns its output.
func must(t testing.TB, args ...string) string {
	t.Helper()
	r := run(t, args...)
	if r.status != 0 {
		t.Fatalf("sluice %s: status %d\n%s%s", strings.Join(args, " "), r.status, r.out, r.err)
	}
	return r.out
}

// on names the server in a command.
func (s *server) on(args ...string) []string { return append(args, "--server", s.base) }

// freePort finds a port of loopback that nobody has, below those that outgoing
// connections and the virtual miners take, so that it is still free when it is
// taken again.
func freePort(t testing.TB) int {
	t.Helper()
	for range 200 {
		port := 3000 + rand.IntN(6000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}
