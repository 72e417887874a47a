// Package docker runs jobs in containers, over the Docker Engine API, which
// Podman's socket speaks too.
//
// The engine keeps a run's process and its output; a run's folder keeps what is
// known of it, so that any instance can take it up again: who holds the folder's
// lock acts on the run, and all it goes by stands in the folder and in the
// engine. A run is started once: its container's name is made of its RunID, and
// a mark made before the start tells a run that has gone from one that never ran.
//
// Jobs are untrusted here: no privileges, a user namespace, a file system that
// is read only but for the job's own folders, limits, no network but what its
// egress allows. What an engine cannot give is refused, never left out.
package docker

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sluice"
	"sluice/compute"
)

// DefaultLogLimit is how much output of a job is kept, over all its runs.
const DefaultLogLimit = 256 << 20

// Pull policies.
const (
	PullNever   = "never"   // an image that is not here is an error
	PullMissing = "missing" // it is fetched
)

// Config is where the engine is and what runs get of it.
type Config struct {
	Socket         string       // path of the engine's Unix socket
	SandboxSocket  string       // of the engine for sandboxed runs, where it is another; Podman has one runtime for each service
	SandboxRuntime string       // name of the runtime that is a sandbox; default runsc
	Image          string       // of runs that name none; empty: they are refused
	Pull           string       // PullNever (default) or PullMissing
	Network        string       // network of runs with EgressOpen; empty: slirp4netns with Podman, refused with Docker
	UIDBase        int          // first user and group of the host that a container's are mapped to, where the engine runs as root; default 2^20
	LogLimit       int64        // bytes, default DefaultLogLimit
	SharedMemory   int64        // bytes of /dev/shm; default 1 GiB, at most half the run's memory limit
	TempSize       int64        // bytes of /tmp, which is memory; default as SharedMemory
	PidsLimit      int          // of runs that say none; default 4096
	GPUKind        string       // CDI kind of the host's GPUs; default nvidia.com/gpu
	GPUs           compute.GPUs // of this machine; nil: a run's are devices of these numbers, and nobody keeps account of them
	CDIDirs        []string
	SecretDir      string        // folder in memory that secrets pass through; default /dev/shm/sluice
	Tick           time.Duration // how often logs are carried and ends looked for; default 50 ms
}

// uidCount is how many users and groups a container has.
const uidCount = 65536

// Executor is a compute.Executor. Its time is wall time.
type Executor struct {
	cfg  Config
	gpus compute.GPUHolder

	mu      sync.Mutex
	runs    map[string]*watch
	engines map[string]*engine // by socket, once they have answered
	cuts    map[string]string  // why we ended runs whose folder could not hold it
}

var (
	_ compute.Executor = (*Executor)(nil)
	_ compute.Execer   = (*Executor)(nil)
	_ compute.Capper   = (*Executor)(nil)
)

// watch waits for the end of one run.
type watch struct {
	done chan struct{}
	exit compute.Exit
	err  error

	mu   sync.Mutex
	used compute.Usage // as last measured, where it is us who act on the run
}

// New returns an executor. It does not need the engine to be up yet.
func New(cfg Config) (*Executor, error) {
	if !filepath.IsAbs(cfg.Socket) {
		return nil, sluice.Errorf(sluice.Invalid, "for example /run/podman/podman.sock", "%q is not the path of an engine's socket", cfg.Socket)
	}
	switch cfg.Pull {
	case "":
		cfg.Pull = PullNever
	case PullNever, PullMissing:
	default:
		return nil, sluice.Errorf(sluice.Invalid, "never or missing", "pull: %q is no policy", cfg.Pull)
	}
	cfg.SandboxSocket = cmp.Or(cfg.SandboxSocket, cfg.Socket)
	cfg.SandboxRuntime = cmp.Or(cfg.SandboxRuntime, "runsc")
	cfg.UIDBase = cmp.Or(cfg.UIDBase, 1<<20)
	cfg.LogLimit = cmp.Or(cfg.LogLimit, DefaultLogLimit)
	cfg.SharedMemory = cmp.Or(cfg.SharedMemory, 1<<30)
	cfg.TempSize = cmp.Or(cfg.TempSize, cfg.SharedMemory)
	cfg.PidsLimit = cmp.Or(cfg.PidsLimit, 4096)
	cfg.GPUKind = cmp.Or(cfg.GPUKind, "nvidia.com/gpu")
	cfg.Tick = cmp.Or(cfg.Tick, 50*time.Millisecond)
	if len(cfg.CDIDirs) == 0 {
		cfg.CDIDirs = []string{"/etc/cdi", "/var/run/cdi"}
	}
	if cfg.SecretDir == "" {
		cfg.SecretDir = fmt.Sprintf("/dev/shm/sluice-%d", os.Getuid())
	}
	return &Executor{cfg: cfg, gpus: compute.GPUHolder{GPUs: cfg.GPUs}, runs: map[string]*watch{}, engines: map[string]*engine{}, cuts: map[string]string{}}, nil
}

// Isolations returns what the engine can give at present, the weaker first:
// nothing where it gives no user namespace, or does not answer (with the error).
func (x *Executor) Isolations(ctx context.Context) ([]compute.Isolation, error) {
	var out []compute.Isolation
	for _, i := range []compute.Isolation{compute.IsolationContainer, compute.IsolationSandbox} {
		e, err := x.engine(ctx, i)
		if err != nil {
			if i == compute.IsolationContainer || x.cfg.SandboxSocket == x.cfg.Socket {
				return out, err
			}
			continue // the engine for sandboxes may be down while the other is up
		}
		if e.can(i, x.cfg) == nil {
			out = append(out, i)
		}
	}
	return out, nil
}

// dirOf checks a handle: it is the run's folder.
func dirOf(h compute.Handle) (string, error) {
	if !filepath.IsAbs(string(h)) {
		return "", sluice.Errorf(sluice.Invalid, "", "%q is not a handle of a container", h)
	}
	return filepath.Clean(string(h)), nil
}

// Attach finds a run again.
func (x *Executor) Attach(ctx context.Context, h compute.Handle) error {
	dir, err := dirOf(h)
	if err != nil {
		return err
	}
	x.watch(dir)
	return ctx.Err()
}

// Wait blocks until the run has ended and its container is removed.
func (x *Executor) Wait(ctx context.Context, h compute.Handle) (compute.Exit, error) {
	dir, err := dirOf(h)
	if err != nil {
		return compute.Exit{}, err
	}
	w := x.watch(dir)
	select {
	case <-w.done:
		return w.exit, w.err
	case <-ctx.Done():
		return compute.Exit{}, fmt.Errorf("wait for %s: %w", filepath.Base(dir), ctx.Err())
	}
}

// watch returns the watch of a run, with a goroutine that acts on the run as
// soon as nobody else does. It ends with the run, or with us.
func (x *Executor) watch(dir string) *watch {
	x.mu.Lock()
	defer x.mu.Unlock()
	if w := x.runs[dir]; w != nil {
		return w
	}
	w := &watch{done: make(chan struct{})}
	x.runs[dir] = w
	go func() {
		if w.exit, w.err = x.awaitEnd(dir, w); w.err == nil {
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

// Usage returns what the run has used: wall seconds since the start, CPU time,
// peak memory, what its folders hold, and what its GPUs tell.
func (x *Executor) Usage(ctx context.Context, h compute.Handle) (compute.Usage, error) {
	dir, err := dirOf(h)
	if err != nil {
		return compute.Usage{}, err
	}
	if e, err := readExit(dir); err == nil {
		x.gpus.Add(dir, &e.Used)
		return e.Used, nil
	}
	r, err := readRun(dir)
	if err != nil || !exists(dir, startedFile) {
		return compute.Usage{}, ctx.Err() // not started yet, or its folder is gone
	}
	e, err := x.engine(ctx, r.Isolation)
	if err != nil {
		return compute.Usage{}, fmt.Errorf("usage of %s: %w", r.RunID, err)
	}
	s, err := e.state(ctx, r.Container)
	if err != nil || !s.running {
		return compute.Usage{}, err // lost, or about to be recorded
	}
	w := x.watch(dir)
	w.mu.Lock()
	u := w.used
	w.mu.Unlock()
	now := s.sample()
	u.CPUSec, u.MemPeak = max(u.CPUSec, now.CPUSec), max(u.MemPeak, now.MemPeak)
	if u.DiskBytes == 0 {
		u.DiskBytes, _ = diskUsed(ctx, r.Folders)
	}
	u.Seconds = max(0, time.Since(begun(dir, s)).Seconds())
	x.gpus.Add(dir, &u)
	return u, nil
}
