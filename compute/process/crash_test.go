package process_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/compute"
	"sluice/compute/process"
)

// serve is a server that starts the run of the spec in the file, says so and
// waits to be killed.
func serve(file string) {
	var s compute.RunSpec
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil {
		var x *process.Executor
		if x, err = process.New(process.Config{}); err == nil {
			_, err = x.Start(context.Background(), s)
		}
	}
	fmt.Println("started", err)
	select {}
}

func text(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.NewTimer(60 * time.Second)
	defer late.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late.C:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

func alive(t *testing.T, pidFile string) bool {
	t.Helper()
	pid, err := strconv.Atoi(text(pidFile))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil
	}
	return !strings.Contains(string(b), ") Z")
}

func startRun(t *testing.T, x *process.Executor, s compute.RunSpec) compute.Handle {
	t.Helper()
	h, err := x.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Stop(context.Background(), h, 0) })
	return h
}

func waitRun(t *testing.T, x *process.Executor, h compute.Handle) compute.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	e, err := x.Wait(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// killed has another process of this program serve until it has said a line, and kills
// it then with its whole group, as a terminal's Ctrl-\ or a service manager would.
func killed(t *testing.T, serves string, what any) (line string) {
	t.Helper()
	b, err := json.Marshal(what)
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
	cmd := exec.Command(self, serves, file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ = bufio.NewReader(out).ReadString('\n')
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return line
}

// A run outlives the kill -9 of its server, is not started again by the next,
// and tells that one its exit status.
func TestServerKilled(t *testing.T) {
	dir := t.TempDir()
	s := spec(t, dir, `echo x >> count; echo up > up; while [ ! -e go ]; do sleep 0.02; done; echo late; exit 9`)
	line := killed(t, "serve", s)
	if line != "started <nil>\n" {
		t.Fatalf("the server said %q", line)
	}
	until(t, "it is up", func() bool { return text(filepath.Join(s.WorkDir, "up")) != "" })
	x := newExecutor(t, process.Config{})
	h := startRun(t, x, s) // its handle was never stored
	if u, err := x.Usage(t.Context(), h); err != nil || u.Seconds <= 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
	if err := os.WriteFile(filepath.Join(s.WorkDir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := waitRun(t, x, h); e.Code != 9 || e.Lost {
		t.Errorf("exit %+v", e)
	}
	if n := text(filepath.Join(s.WorkDir, "count")); n != "x" {
		t.Errorf("it ran %d times", strings.Count(n, "x"))
	}
	if !strings.Contains(text(s.Log), "late") {
		t.Error("what it wrote after the kill is not in its log")
	}
}

// When the keeper is killed the run is lost, and nothing of it is left: neither
// the shell nor a daemon that has left its session.
func TestKeeperKilled(t *testing.T) {
	for name, cfg := range map[string]process.Config{"cgroups": {}, "no cgroups": {NoCgroup: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, t.TempDir(), `setsid sh -c 'trap "" TERM HUP; echo $$ > daemon; exec sleep 1000' & echo $$ > shell; echo $PPID > keeper; wait`)
			x := newExecutor(t, cfg)
			h := startRun(t, x, s)
			for _, f := range []string{"daemon", "shell", "keeper"} {
				until(t, f, func() bool { return text(filepath.Join(s.WorkDir, f)) != "" })
			}
			pid, err := strconv.Atoi(text(filepath.Join(s.WorkDir, "keeper")))
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			e := waitRun(t, x, h)
			if !e.Lost || e.Stopped {
				t.Errorf("exit %+v", e)
			}
			for _, f := range []string{"daemon", "shell"} {
				if alive(t, filepath.Join(s.WorkDir, f)) {
					t.Errorf("the %s lives", f)
				}
			}
			// It stays lost, and does not run again.
			if _, err := x.Start(t.Context(), s); err != nil {
				t.Error(err)
			}
			if again := waitRun(t, newExecutor(t, cfg), h); !again.Lost {
				t.Errorf("then %+v", again)
			}
		})
	}
}

// A keeper that does not answer does not keep a stop from happening.
func TestKeeperHangs(t *testing.T) {
	t.Parallel()
	s := spec(t, t.TempDir(), `echo $PPID > keeper; echo $$ > shell; exec sleep 1000`)
	x := newExecutor(t, process.Config{})
	h := startRun(t, x, s)
	until(t, "keeper", func() bool { return text(filepath.Join(s.WorkDir, "shell")) != "" })
	pid, err := strconv.Atoi(text(filepath.Join(s.WorkDir, "keeper")))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := x.Stop(ctx, h, 0); err != nil {
		t.Fatal(err)
	}
	if alive(t, filepath.Join(s.WorkDir, "shell")) {
		t.Error("the job lives")
	}
	if e := waitRun(t, x, h); !e.Stopped || e.Lost {
		t.Errorf("exit %+v", e)
	}
}

// A machine that goes down sends SIGTERM to everything: the job gets to save,
// and is not taken for done.
func TestKeeperIsTold(t *testing.T) {
	s := spec(t, t.TempDir(), `trap 'echo saved > saved; exit 0' TERM; echo $PPID > keeper; while :; do sleep 0.02; done`)
	x := newExecutor(t, process.Config{})
	h := startRun(t, x, s)
	keeper := filepath.Join(s.WorkDir, "keeper")
	until(t, "keeper", func() bool { return text(keeper) != "" })
	pid, err := strconv.Atoi(text(keeper))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if e := waitRun(t, x, h); !e.Stopped || e.Code != 0 || text(filepath.Join(s.WorkDir, "saved")) == "" {
		t.Errorf("exit %+v", e)
	}
}

// What cannot start says why, and can be told from a job that failed.
func TestCannotStart(t *testing.T) {
	s := spec(t, t.TempDir(), `true`)
	s.WorkDir = filepath.Join(s.WorkDir, "none")
	x := newExecutor(t, process.Config{})
	if _, err := x.Start(t.Context(), s); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error %v", err)
	}
	bad := newExecutor(t, process.Config{Shim: []string{"/no/such/program"}})
	if _, err := bad.Start(t.Context(), spec(t, t.TempDir(), `true`)); err == nil {
		t.Error("started without a keeper")
	}
	mute := newExecutor(t, process.Config{Shim: []string{"/bin/true"}})
	if _, err := mute.Start(t.Context(), spec(t, t.TempDir(), `true`)); err == nil || !strings.Contains(err.Error(), "without a word") {
		t.Errorf("error %v", err)
	}
}
