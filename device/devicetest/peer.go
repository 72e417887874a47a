package devicetest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// Peer is another implementation's program, run as a child on loopback for one
// test.
type Peer struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	out  bytes.Buffer
	line *sync.Cond
}

// Program returns the path of a program that a Debian package brings, also where
// /usr/sbin is not on the path.
func Program(t testing.TB, name, pkg string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/", "/usr/bin/", "/lib/nut/", "/usr/lib/nut/"} {
		if p, err := exec.LookPath(dir + name); err == nil {
			return p
		}
	}
	t.Fatalf("%s is not there: scripts/need %s", name, pkg)
	return ""
}

// StartPeer starts the program; the end of the test ends it.
func StartPeer(t testing.TB, argv ...string) *Peer {
	t.Helper()
	return StartPeerEnv(t, nil, argv...)
}

// StartPeerEnv starts the program with more in its environment.
func StartPeerEnv(t testing.TB, env []string, argv ...string) *Peer {
	t.Helper()
	p := &Peer{t: t, name: argv[0], cmd: exec.CommandContext(context.Background(), argv[0], argv[1:]...), done: make(chan struct{})}
	p.line = sync.NewCond(&p.mu)
	p.cmd.Env = append(p.cmd.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", argv[0], err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
		p.line.Broadcast()
	}()
	t.Cleanup(p.Stop)
	return p
}

// Write takes in what the program prints.
func (p *Peer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out.Len() < 1<<20 {
		p.out.Write(b)
	}
	p.line.Broadcast()
	return len(b), nil
}

// Output is what it has printed so far.
func (p *Peer) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// Stop ends the program and waits for its end.
func (p *Peer) Stop() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Says waits until the program has printed a line that begins with prefix, and
// returns the rest of it.
func (p *Peer) Says(prefix string) string {
	p.t.Helper()
	timeout := time.AfterFunc(15*time.Second, p.line.Broadcast)
	defer timeout.Stop()
	began := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for l := range strings.Lines(p.out.String()) {
			if rest, ok := strings.CutPrefix(l, prefix); ok && strings.HasSuffix(l, "\n") {
				return strings.TrimSpace(rest)
			}
		}
		if p.ended() || time.Since(began) > 15*time.Second {
			p.t.Fatalf("%s does not say %q:\n%s", p.name, prefix, p.out.String())
		}
		p.line.Wait()
	}
}

func (p *Peer) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Until calls ok again and again until it says yes; the test fails where it does
// not within 15 s, or the program ends before.
func (p *Peer) Until(what string, ok func() bool) {
	p.t.Helper()
	if err := p.wait(ok); err != nil {
		p.t.Fatalf("%s: %s: %v:\n%s", p.name, what, err, p.Output())
	}
}

func (p *Peer) wait(ok func() bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within 15 s")
		case <-p.done:
			return fmt.Errorf("it has ended")
		case <-tick.C:
		}
	}
	return nil
}

// Answers waits until the TCP address takes connections.
func (p *Peer) Answers(addr string) {
	p.t.Helper()
	p.Until("listening on "+addr, func() bool {
		d := net.Dialer{Timeout: time.Second}
		c, err := d.DialContext(context.Background(), "tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// FreePort returns a port of loopback that nobody listens on, of "tcp" or "udp".
func FreePort(t testing.TB, network string) int {
	t.Helper()
	var lc net.ListenConfig
	if network == "udp" {
		c, err := lc.ListenPacket(context.Background(), "udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return c.LocalAddr().(*net.UDPAddr).Port
	}
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
