// Package process runs jobs as child processes of this machine.
//
// A run has a folder of its own, a keeper and a lock. The keeper (Shim, a hidden
// subcommand of the binary) is the parent of the job: it outlives a kill -9 of
// the server, keeps the output, waits, and writes the exit status. The lock is an
// flock that the server takes and hands to the keeper as an open file, so that it
// is held without a gap from before the fork until the keeper has died: whoever
// gets it knows that the run is over, and nobody can start the same run twice.
package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/compute"
)

// DefaultLogLimit is how much output of a job is kept, over all its runs.
const DefaultLogLimit = 256 << 20

// startTimeout is how long the keeper may take to say that the job runs;
// killTimeout how long it may take to end one after its grace.
const (
	startTimeout = 60 * time.Second
	killTimeout  = 10 * time.Second
)

// Config is how the executor runs jobs.
type Config struct {
	// Shim is the command that runs Shim(DIR), DIR being added to it. Default:
	// this program with the argument exec-shim.
	Shim []string
	// LogLimit in bytes, default DefaultLogLimit.
	LogLimit int64
	// NoCgroup runs jobs without limits, as on a machine without cgroups.
	NoCgroup bool
	// CgroupRoot is where the cgroups are mounted, default /sys/fs/cgroup.
	CgroupRoot string
	// GPUs of this machine; nil: it has none.
	GPUs compute.GPUs
}

// Executor is a compute.Executor. Its time is wall time.
type Executor struct {
	cfg  Config
	gpus compute.GPUHolder

	mu   sync.Mutex
	runs map[string]*watch
}

var (
	_ compute.Executor = (*Executor)(nil)
	_ compute.Execer   = (*Executor)(nil)
)

// watch waits for the end of one run.
type watch struct {
	done chan struct{}
	exit compute.Exit
	err  error
}

// New returns an executor.
func New(cfg Config) (*Executor, error) {
	if len(cfg.Shim) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program to keep jobs with: %w", err)
		}
		cfg.Shim = []string{self, "exec-shim"}
	}
	if cfg.CgroupRoot == "" {
		cfg.CgroupRoot = "/sys/fs/cgroup"
	}
	if cfg.LogLimit <= 0 {
		cfg.LogLimit = DefaultLogLimit
	}
	return &Executor{cfg: cfg, gpus: compute.GPUHolder{GPUs: cfg.GPUs}, runs: map[string]*watch{}}, nil
}

// Start starts the run under a keeper. Where the run was started before, by
// whomever, it returns its handle.
func (x *Executor) Start(ctx context.Context, spec compute.RunSpec) (compute.Handle, error) {
	dir, err := filepath.Abs(spec.Dir)
	if err != nil {
		return "", fmt.Errorf("start %s: %w", spec.RunID, err)
	}
	h := compute.Handle(dir)
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("start %s: %w", spec.RunID, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("start %s: %w", spec.RunID, err)
	}
	lock, err := openLock(dir)
	if err != nil {
		return "", fmt.Errorf("start %s: %w", spec.RunID, err)
	}
	defer lock.Close()
	held, err := take(ctx, dir, lock)
	if err != nil {
		return "", fmt.Errorf("start %s: %w", spec.RunID, err)
	}
	if held {
		x.watch(dir)
		return h, nil // it runs
	}
	if exists(dir, keeperFile) || exists(dir, exitFile) {
		return h, nil // it ran; Wait tells how it ended
	}
	if spec, err = x.takeGPUs(ctx, dir, spec); err != nil {
		return "", fmt.Errorf("start %s: %w", spec.RunID, err)
	}
	if err := writeSpec(dir, spec, x.cfg); err != nil {
		return "", fmt.Errorf("start %s: %w", spec.RunID, errors.Join(err, x.gpus.Drop(dir)))
	}
	if err := x.keep(ctx, dir, spec, lock); err != nil {
		x.watch(dir) // it leaves the GPUs once nobody holds the run
		return h, err
	}
	return h, nil
}

// take gets the lock of a run, or says that a keeper holds it. Another Start, or
// somebody who looks whether it is held, lets go in a moment.
func take(ctx context.Context, dir string, lock *os.File) (held bool, err error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return false, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return false, fmt.Errorf("lock: %w", err)
		case exists(dir, keeperFile):
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-tick.C:
		}
	}
}

// keep starts the keeper with the lock and waits until it says that the job
// runs.
func (x *Executor) keep(ctx context.Context, dir string, spec compute.RunSpec, lock *os.File) error {
	runID := spec.RunID
	secrets, tell, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", runID, err)
	}
	defer secrets.Close()
	defer tell.Close()
	said, say, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", runID, err)
	}
	defer said.Close()
	defer say.Close()
	trace, err := os.OpenFile(filepath.Join(dir, traceFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", runID, err)
	}
	defer trace.Close()
	argv := append(append([]string{}, x.cfg.Shim...), dir)
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it must outlive us
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "GOMAXPROCS=2"}
	cmd.Stdout, cmd.Stderr = trace, trace
	cmd.ExtraFiles = []*os.File{lock, say, secrets} // fd 3 to 5 there
	cmd.SysProcAttr = newSession()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", runID, err)
	}
	go func() { _ = cmd.Wait() }() // only so that it leaves no zombie; its lock tells of its end
	_ = say.Close()
	_ = lock.Close()
	_ = secrets.Close()
	told := make(chan struct{})
	go func() {
		defer close(told)
		for _, kv := range spec.Secrets {
			if _, err := tell.WriteString(kv + "\x00"); err != nil {
				return // it says itself why it did not read them
			}
		}
		_ = tell.Close()
	}()
	defer func() { _ = tell.Close(); <-told }()
	answer := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(said, 4096))
		answer <- string(b)
	}()
	late := time.NewTimer(startTimeout)
	defer late.Stop()
	w := x.watch(dir)
	select {
	case <-ctx.Done():
		return fmt.Errorf("start %s: %w", runID, ctx.Err())
	case a := <-answer:
		if a == started {
			return nil
		}
		<-w.done
		if a = strings.TrimSpace(a); a == "" {
			a = "its keeper ended without a word, see " + filepath.Join(dir, traceFile)
		}
		return sluice.Errorf(sluice.Internal, "", "start %s: %s", runID, a)
	case <-late.C:
		// It must not start later, when nobody expects it any more.
		_ = cmd.Process.Kill()
		<-w.done
		return sluice.Errorf(sluice.Unavailable, "the machine is overloaded", "start %s: its keeper did not answer within %s", runID, startTimeout)
	}
}

// Attach finds a run again.
func (x *Executor) Attach(ctx context.Context, h compute.Handle) error {
	if !filepath.IsAbs(string(h)) {
		return sluice.Errorf(sluice.Invalid, "", "%q is not a handle of a process", h)
	}
	x.watch(string(h))
	return ctx.Err()
}

// Wait blocks until the run has ended.
func (x *Executor) Wait(ctx context.Context, h compute.Handle) (compute.Exit, error) {
	if !filepath.IsAbs(string(h)) {
		return compute.Exit{}, sluice.Errorf(sluice.Invalid, "", "%q is not a handle of a process", h)
	}
	w := x.watch(string(h))
	select {
	case <-w.done:
		return w.exit, w.err
	case <-ctx.Done():
		return compute.Exit{}, fmt.Errorf("wait for %s: %w", filepath.Base(string(h)), ctx.Err())
	}
}

// watch returns the watch of a run, with a goroutine that waits for its lock.
// The goroutine cannot be interrupted: it ends with the run, or with us.
func (x *Executor) watch(dir string) *watch {
	x.mu.Lock()
	defer x.mu.Unlock()
	if w := x.runs[dir]; w != nil {
		return w
	}
	w := &watch{done: make(chan struct{})}
	x.runs[dir] = w
	go func() {
		if w.exit, w.err = awaitEnd(dir); w.err == nil {
			_ = x.gpus.Leave(dir, w.exit.At) // tried again before the next run
			x.gpus.Add(dir, &w.exit.Used)
		}
		x.mu.Lock()
		delete(x.runs, dir)
		x.mu.Unlock()
		close(w.done)
	}()
	return w
}

// awaitEnd blocks until nobody holds the run and returns how it ended.
func awaitEnd(dir string) (compute.Exit, error) {
	lock, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, os.ErrNotExist) {
		if e, err := readExit(dir); err == nil {
			return e, nil
		}
		return compute.Exit{Code: -1, Lost: true, At: time.Now(), Why: "its folder is gone"}, nil
	} else if err != nil {
		return compute.Exit{}, fmt.Errorf("wait for %s: %w", filepath.Base(dir), err)
	}
	defer lock.Close()
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_SH)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return compute.Exit{}, fmt.Errorf("wait for %s: %w", filepath.Base(dir), err)
		}
	}
	if e, err := readExit(dir); err == nil {
		return e, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return compute.Exit{}, fmt.Errorf("wait for %s: %w", filepath.Base(dir), err)
	}
	return bury(dir)
}

// bury ends what the keeper of a run has left behind when it died without a
// record, and makes one.
func bury(dir string) (compute.Exit, error) {
	k, kerr := readKeeper(dir)
	if err := killLeft(dir, k); err != nil {
		return compute.Exit{}, fmt.Errorf("end what is left of %s: %w", filepath.Base(dir), err)
	}
	e := compute.Exit{Code: -1, Lost: true, At: time.Now(), Why: "its keeper died"}
	if exists(dir, stopFile) {
		e = compute.Exit{Code: 137, Signal: "SIGKILL", Stopped: true, At: e.At, Why: "killed with its keeper"}
	}
	if kerr == nil {
		// Without the record the next one to look comes to the same end.
		_ = writeJSON(dir, exitFile, e)
	}
	return e, nil
}

// Stop asks the keeper to end the run, and sees to it when the keeper does not.
func (x *Executor) Stop(ctx context.Context, h compute.Handle, grace time.Duration) error {
	dir := string(h)
	if !filepath.IsAbs(dir) {
		return sluice.Errorf(sluice.Invalid, "", "%q is not a handle of a process", h)
	}
	w := x.watch(dir)
	doing := func(err error) error { return fmt.Errorf("stop %s: %w", filepath.Base(dir), err) }
	if held, err := isHeld(dir); err != nil || !held {
		if err != nil {
			return doing(err)
		}
	} else if err := writeJSON(dir, stopFile, stopRequest{grace}); err != nil {
		// A full disk must not keep a job running: the keeper takes its default.
		_ = os.Remove(filepath.Join(dir, stopFile))
	}
	kill := time.NewTimer(grace + killTimeout)
	defer kill.Stop()
	// A run that is just being started has no keeper to signal yet.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for asked := false; ; {
		if k, err := readKeeper(dir); !asked && err == nil {
			if err := k.signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return doing(err)
			}
			asked = true
			tick.Stop()
		}
		select {
		case <-w.done:
			if w.err != nil {
				return doing(w.err)
			}
			return nil
		case <-ctx.Done():
			return doing(ctx.Err())
		case <-kill.C:
			if k, err := readKeeper(dir); err == nil {
				_ = k.signal(unix.SIGKILL)
			}
		case <-tick.C:
		}
	}
}

// Usage returns wall seconds since the start, CPU time and peak memory.
func (x *Executor) Usage(_ context.Context, h compute.Handle) (compute.Usage, error) {
	dir := string(h)
	if e, err := readExit(dir); err == nil {
		x.gpus.Add(dir, &e.Used)
		return e.Used, nil
	}
	k, err := readKeeper(dir)
	if errors.Is(err, os.ErrNotExist) {
		return compute.Usage{}, nil // not started yet, or its folder is gone
	} else if err != nil {
		return compute.Usage{}, fmt.Errorf("usage of %s: %w", filepath.Base(dir), err)
	}
	if held, err := isHeld(dir); err != nil || !held {
		return compute.Usage{}, err // lost: nobody knows until when it ran
	}
	u := k.group().usage(k.Pid)
	u.Seconds = max(0, time.Since(k.StartedAt).Seconds())
	x.gpus.Add(dir, &u)
	return u, nil
}
