package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Ctrl-C gives a running job its grace, and the job goes on from its checkpoint
// at the next start; the miners stay as they are meanwhile, and so do orders.
func TestCtrlC(t *testing.T) {
	t.Parallel()
	site := newRealSite(t, 6, 20, "")
	s := up(t, site.args()...)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	diary, file := filepath.Join(dir, "diary"), filepath.Join(dir, "task.yaml")
	t.Cleanup(func() { _ = os.WriteFile(diary+".end", nil, 0o600) })
	if err := os.WriteFile(file, []byte(task("counter", self, diary, 0, false)), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, s.on("job", "submit", file)...)
	runs := func(n int) func() error {
		return func() error {
			d, err := readDiary(diary)
			if err != nil {
				return err
			}
			pids, err := checkDiary(d)
			if err != nil {
				t.Fatal(err)
			}
			if len(pids) != n || len(d) == 0 || d[len(d)-1].what != "beat" {
				return fmt.Errorf("it ran as %v and wrote %d lines", pids, len(d))
			}
			return nil
		}
	}
	eventually(t, patience, runs(1))
	must(t, s.on("curtail", "--limit", "1kW", "--for", "1h", "--id", "night")...)
	eventually(t, patience, func() error {
		if n, err := site.asleep(); err != nil || n != site.miners {
			return fmt.Errorf("%d miners sleep (%v)", n, err)
		}
		return nil
	})

	began := time.Now()
	if status := s.stop(t, 2*patience); status != 0 {
		t.Fatalf("Ctrl-C: status %d\n%s", status, s.process.err.String())
	}
	t.Logf("stopped within %v", time.Since(began))
	d, err := readDiary(diary)
	if err != nil || len(d) == 0 || d[len(d)-1].what != "term" {
		t.Fatalf("the job was not asked to end: %d lines, %v", len(d), err)
	}
	stopped := d[len(d)-1]
	if n, err := site.asleep(); err != nil || n != site.miners {
		t.Errorf("after the end %d miners sleep, %v", n, err)
	}

	s = up(t, site.args()...) // the same port, at once
	eventually(t, patience, runs(2))
	d, err = readDiary(diary)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range d {
		if l == stopped && (d[i+1].what != "start" || d[i+1].n != stopped.n || stopped.n == 0) {
			t.Errorf("it stopped at %d and went on at %d", stopped.n, d[i+1].n)
		}
	}
	if n, err := site.asleep(); err != nil || n != site.miners {
		t.Errorf("the order stands, and %d miners sleep, %v", n, err)
	}
	must(t, s.on("curtail", "cancel", "night")...)
	eventually(t, 3*patience, func() error { return site.allMine(s.client) })

	if err := os.WriteFile(diary+".end", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() error {
		out := must(t, s.on("job", "list")...)
		if !strings.Contains(out, "succeeded") {
			return errors.New(out)
		}
		return nil
	})
}

// --follow shows a job's output and ends as the job does.
func TestFollow(t *testing.T) {
	t.Parallel()
	site := newRealSite(t, 2, 20, "")
	s := up(t, site.args()...)
	for name, want := range map[string]struct {
		run    string
		status int
	}{
		"good": {"echo one; echo two >&2; exit 0", 0},
		"bad":  {"echo one; echo two >&2; exit 7", 1},
	} {
		file := filepath.Join(t.TempDir(), "task.yaml")
		if err := os.WriteFile(file, []byte("name: "+name+"\nrun: "+want.run+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := run(t, s.on("job", "submit", file, "--follow")...)
		if r.status != want.status || !strings.Contains(r.out, "one\ntwo\n") {
			t.Errorf("%s: status %d\n%s%s", name, r.status, r.out, r.err)
		}
		if want.status != 0 && !strings.Contains(r.err, "exit status 7") {
			t.Errorf("%s: the complaint is %q", name, r.err)
		}
	}
	file := filepath.Join(t.TempDir(), "task.yaml")
	if err := os.WriteFile(file, []byte("name: x\nwrokdir: .\nrun: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t, s.on("job", "submit", file)...); r.status != 2 || !strings.Contains(r.err, "task.yaml:2:1") || !strings.Contains(r.err, "workdir") {
		t.Errorf("a misspelt task: status %d, %q", r.status, r.err)
	}
}

// A server that is killed while it has a machine's only session open locks
// itself out until the firmware ends that session. It asks again, and does not
// leave the machine alone for half an hour.
func TestSessionOfTheDead(t *testing.T) {
	t.Parallel()
	site := newRealSite(t, 6, 20, "")
	config, err := os.ReadFile(site.config)
	if err != nil {
		t.Fatal(err)
	}
	port := regexp.MustCompile(`driver: luxos, address: 127.0.0.1, api_port: (\d+)`).FindSubmatch(config)
	if port == nil {
		t.Fatalf("no machine with sessions:\n%s", config)
	}
	s := up(t, site.args()...)
	eventually(t, patience, func() error { return site.allMine(s.client) })
	conn, err := net.Dial("tcp", "127.0.0.1:"+string(port[1]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(`{"command":"logon"}`)); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); err != nil || !strings.Contains(string(b), "SessionID") {
		t.Fatalf("logging on: %s, %v", b, err)
	}
	must(t, s.on("curtail", "--limit", "1kW", "--for", "1h")...)
	eventually(t, 4*patience, func() error {
		if n, err := site.asleep(); err != nil || n != site.miners {
			return fmt.Errorf("%d of %d miners sleep (%v)", n, site.miners, err)
		}
		return nil
	})
	if strings.Contains(s.process.err.String(), "command-") { // also where it is over
		t.Errorf("a machine that was busy for a minute counts as faulty:\n%s", s.process.err.String())
	}
}
