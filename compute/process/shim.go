package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/compute"
)

// defaultGrace is what a job gets when somebody other than the server ends its
// keeper, such as a machine that goes down.
const defaultGrace = 10 * time.Second

// Shim keeps the run of the folder dir: it runs setup (once for the job) and
// the script, forwards a stop, and writes how it ended. It is the body of the
// hidden subcommand and returns the exit status of the process. Call it on the
// main goroutine: the job is to die with the thread that forked it.
func Shim(dir string) int {
	runtime.LockOSThread()
	unix.CloseOnExec(lockFD)
	unix.CloseOnExec(sayFD)
	unix.CloseOnExec(secretFD)
	say := os.NewFile(sayFD, "say")
	if say == nil {
		fmt.Fprintln(os.Stderr, "exec-shim is run by sluice itself")
		return 2
	}
	s := &shim{dir: dir, say: say}
	if err := s.run(); err != nil {
		// The job did not start, or its end could not be recorded.
		_, _ = fmt.Fprintln(say, err)
		fmt.Fprintln(os.Stderr, time.Now().UTC().Format(time.RFC3339), err)
		return 1
	}
	return 0
}

const (
	lockFD = 3
	sayFD  = 4
	// secretFD is a pipe with the secrets, each with a 0 byte after it: they are
	// in no file, no argument, and no environment but the job's.
	secretFD = 5
)

type shim struct {
	dir    string
	say    *os.File
	spec   shimSpec
	keeper keeper
	record *os.File // where the exit status will be written
	log    *boundedLog
	cg     *cgroup
	secret []string

	mu       sync.Mutex
	main     int // pid of the script that runs, 0 between scripts
	hook     int // pid of the hook, 0 when none runs
	stopped  bool
	deadline *time.Timer
	once     sync.Once
	over     chan struct{} // closed when nothing is left
}

func (s *shim) run() error {
	if err := readJSON(s.dir, specFile, &s.spec); err != nil {
		return err
	}
	if err := s.readSecrets(); err != nil {
		return err
	}
	start, err := startOf(os.Getpid())
	if err != nil {
		return fmt.Errorf("read our own start: %w", err)
	}
	s.over = make(chan struct{})
	// The room for the record is taken now, so that a disk that is full later
	// does not keep us from writing it.
	if s.record, err = os.CreateTemp(s.dir, exitFile+".*"); err == nil {
		if _, err = s.record.Write(make([]byte, recordRoom)); err == nil {
			err = s.record.Sync()
		}
	}
	if err != nil {
		return fmt.Errorf("make room for the exit status: %w", err)
	}
	var limited string
	s.cg, limited = newCgroup(s.spec)
	s.keeper = keeper{Pid: os.Getpid(), Start: start, StartedAt: time.Now(), Cgroup: s.cg.dirs}
	stops := make(chan os.Signal, 8)
	signal.Notify(stops, unix.SIGTERM)
	signal.Ignore(unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	if err := adopt(); err != nil {
		return fmt.Errorf("adopt orphans: %w", err)
	}
	if err := writeJSON(s.dir, keeperFile, s.keeper); err != nil {
		return err
	}
	go func() {
		runtime.LockOSThread() // a hook is to die with the thread that forked it: this one stays
		for range stops {
			s.stop()
		}
	}()
	// Output that cannot be kept is no reason not to run.
	s.log = openLog(s.spec.Log, s.spec.LogLimit)
	s.log.note("%s starts on %s, %s", s.spec.RunID, s.spec.Host, limited)
	exit := s.scripts()
	s.log.note("%s ended: %s", s.spec.RunID, describe(exit))
	s.log.close()
	return s.finish(exit)
}

// scripts runs setup where it has not run yet, then the script, and returns when
// nothing of them is left.
func (s *shim) scripts() compute.Exit {
	exit := compute.Exit{}
	_, err := os.Stat(s.spec.SetupDone)
	if s.spec.Setup && err != nil {
		s.log.note("setup")
		exit = s.script(setupFile)
		switch {
		case exit.Code != 0 && !exit.Stopped:
			exit.Why = strings.TrimSuffix("setup failed: "+exit.Why, ": ")
		case exit.Code == 0:
			if err := os.WriteFile(s.spec.SetupDone, nil, 0o600); err != nil {
				s.log.note("setup will run again: %v", err)
			}
		}
	}
	if exit.Code == 0 && !exit.Stopped {
		exit = s.script(runFile)
	}
	s.drain(exit.Stopped)
	if s.cg.oomKilled() && exit.Code != 0 && !exit.Stopped {
		exit.Why = fmt.Sprintf("killed by the kernel: it used more than its memory limit of %.3g GiB", float64(s.spec.Memory)/(1<<30))
	}
	s.mu.Lock()
	exit.Stopped = s.stopped
	s.mu.Unlock()
	return exit
}

// script runs one of the two scripts and reaps until it has ended. What it
// leaves in the background goes on.
func (s *shim) script(name string) compute.Exit {
	pid, err := s.start(name)
	if err != nil {
		_, _ = fmt.Fprintln(s.say, err)
		return compute.Exit{Code: 127, Why: err.Error()}
	}
	if pid == 0 {
		return compute.Exit{Code: 143, Signal: "SIGTERM", Stopped: true, Why: "stopped before it ran"}
	}
	_, _ = io.WriteString(s.say, started)
	_ = s.say.Close()
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return compute.Exit{Code: -1, Why: err.Error()}
		}
		if got != pid {
			s.reaped(got, ws)
			continue
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.main = 0
		e := compute.Exit{Code: ws.ExitStatus(), Stopped: s.stopped}
		if ws.Signaled() {
			e.Code, e.Signal = 128+int(ws.Signal()), unix.SignalName(ws.Signal())
		}
		return e
	}
}

// start starts one of the two scripts, unless a stop came first.
func (s *shim) start(name string) (pid int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return 0, nil
	}
	if pid, err = s.fork(name); err != nil {
		return pid, err
	}
	s.main = pid
	if s.keeper.JobStart, err = startOf(pid); err == nil {
		s.keeper.Job = pid
		_ = writeJSON(s.dir, keeperFile, s.keeper) // it helps to find the job, should we die
	}
	return pid, nil
}

// fork starts a script in a session of its own, in the cgroup from its first
// instruction on. Callers hold mu.
func (s *shim) fork(name string) (pid int, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	gate, open, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer gate.Close()
	defer open.Close()
	shell := "/bin/sh"
	if bash, err := exec.LookPath("bash"); err == nil {
		shell = bash
	}
	// A small shell waits at the gate until it is in its cgroup, then becomes
	// the script's: whatever the script starts is in the cgroup too.
	argv := []string{"sh", "-c", `read -r _ <&3; exec "$0" "$1" 3<&-`, shell, filepath.Join(s.dir, name)}
	env := append(slices.Concat(s.spec.Env, s.secret), marker(s.dir))
	out := s.log.writer().Fd()
	pid, err = syscall.ForkExec("/bin/sh", argv, &syscall.ProcAttr{
		Dir: s.spec.WorkDir, Env: env, Files: []uintptr{null.Fd(), out, out, gate.Fd()}, Sys: jobSession(),
	})
	if err != nil {
		return 0, fmt.Errorf("run %s: %w", name, err)
	}
	if err := s.cg.add(pid); err != nil {
		s.log.note("not limited: %v", err)
	}
	if _, err := open.Write([]byte("\n")); err != nil {
		return pid, fmt.Errorf("run %s: %w", name, err)
	}
	return pid, nil
}

// readSecrets takes the secrets from the pipe.
func (s *shim) readSecrets() error {
	f := os.NewFile(secretFD, "secrets")
	b, err := io.ReadAll(io.LimitReader(f, 4<<20))
	_ = f.Close()
	if err != nil {
		return fmt.Errorf("read the secrets: %w", err)
	}
	for kv := range strings.SplitSeq(string(b), "\x00") {
		if kv != "" {
			s.secret = append(s.secret, kv)
		}
	}
	return nil
}

// stop asks all of the job to end and starts its grace: the hook runs where there
// is one, then the signal goes out. Asked again, the grace can only become
// shorter.
func (s *shim) stop() {
	grace := defaultGrace
	var r stopRequest
	if readJSON(s.dir, stopFile, &r) == nil {
		grace = r.Grace
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		if s.deadline.Stop() {
			s.deadline.Reset(grace)
		}
		return
	}
	s.stopped = true
	s.deadline = time.AfterFunc(grace, s.killAll)
	if grace <= 0 {
		s.log.note("killed")
		return
	}
	s.log.note("asked to stop, has %s", grace.Round(time.Millisecond))
	if s.spec.Hook && s.main != 0 {
		s.log.note("interruption hook")
		var err error
		if s.hook, err = s.fork(hookFile); err == nil {
			return // reaped signals when it has ended
		}
		s.hook = 0
		s.log.note("%v", err)
	}
	s.signal()
}

// reaped is told of the end of whatever is no script.
func (s *shim) reaped(pid int, ws unix.WaitStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pid != s.hook || pid == 0 {
		return
	}
	s.hook = 0
	if ws.ExitStatus() != 0 {
		s.log.note("the hook ended with status %d", ws.ExitStatus())
	}
	s.signal()
}

// signal sends the task's signal, SIGTERM after a hook, to all of the job.
// Callers hold mu.
func (s *shim) signal() {
	sig := unix.SignalNum(s.spec.Signal)
	if s.spec.Hook || sig == 0 {
		sig = unix.SIGTERM
	}
	if s.main != 0 {
		_ = unix.Kill(-s.main, sig)
		_ = unix.Kill(-s.main, unix.SIGCONT)
	}
	for _, p := range descendants(os.Getpid()) {
		if g, err := unix.Getpgid(p); err == nil && g != s.main {
			_ = unix.Kill(p, sig)
		}
	}
}

// killAll kills until nothing is left.
func (s *shim) killAll() {
	s.once.Do(func() {
		go func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				s.cg.kill()
				for _, p := range descendants(os.Getpid()) {
					_ = unix.Kill(p, unix.SIGKILL)
				}
				select {
				case <-s.over:
					return
				case <-tick.C:
				}
			}
		}()
	})
}

// drain reaps until nothing is left. What a script that ended by itself left in
// the background is killed; what is being stopped has its grace.
func (s *shim) drain(stopped bool) {
	if !stopped {
		s.killAll()
	}
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			break // ECHILD: as the adopter of all orphans we had every one of them
		}
		s.reaped(got, ws)
	}
	close(s.over)
}

// finish records the end. It tries for a minute: without the record the run
// counts as lost.
func (s *shim) finish(e compute.Exit) error {
	e.At = time.Now().UTC()
	e.Used = s.cg.usage(0)
	e.Used.Seconds = e.At.Sub(s.keeper.StartedAt).Seconds()
	cpu, rss := childrenUsage()
	e.Used.CPUSec = max(e.Used.CPUSec, cpu)
	e.Used.MemPeak = max(e.Used.MemPeak, rss)
	s.cg.remove()
	var err error
	for range 60 {
		if err = writeRecord(s.record, e, filepath.Join(s.dir, exitFile)); err == nil {
			return nil
		}
		time.Sleep(time.Second)
	}
	return err
}

func describe(e compute.Exit) string {
	text := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != "" {
		text = "by " + e.Signal
	}
	if e.Stopped {
		text += ", stopped"
	}
	if e.Why != "" {
		text += ", " + e.Why
	}
	return text
}
