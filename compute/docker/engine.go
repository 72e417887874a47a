package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"sluice"
	"sluice/compute"
)

// apiVersion is the oldest that all we use is in, and what Podman 4 speaks.
const apiVersion = "1.41"

// callTimeout is how long the engine may take for one call; images are loaded
// and containers made under a load that we do not control.
const callTimeout = 60 * time.Second

// engine is one container engine, and what it said of itself.
type engine struct {
	socket   string
	cli      *client.Client
	http     *http.Client // for what only Podman's own API has
	podman   bool
	root     bool   // it runs as root
	base     int    // first host id of its containers; 0: they are made by the run's own map, or by the engine's user
	mapped   bool   // containers have a user namespace
	limits   bool   // it can limit what they use
	cdi      bool   // it knows devices by CDI
	runtime  string // by default
	runtimes []string
}

// engine returns the engine for the isolation. Its answer is kept.
func (x *Executor) engine(ctx context.Context, i compute.Isolation) (*engine, error) {
	socket := x.socketOf(i)
	x.mu.Lock()
	e := x.engines[socket]
	x.mu.Unlock()
	if e != nil {
		return e, nil
	}
	e, err := dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if known := x.engines[socket]; known != nil {
		_ = e.cli.Close()
		return known, nil
	}
	x.engines[socket] = e
	return e, nil
}

func (x *Executor) socketOf(i compute.Isolation) string {
	if i == compute.IsolationSandbox {
		return x.cfg.SandboxSocket
	}
	return x.cfg.Socket
}

func dial(ctx context.Context, socket string) (*engine, error) {
	cli, err := client.New(client.WithHost("unix://"+socket), client.WithAPIVersion(apiVersion))
	if err != nil {
		return nil, fmt.Errorf("container engine at %s: %w", socket, err)
	}
	e := &engine{socket: socket, cli: cli, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if e.podman, err = e.isPodman(ctx); err != nil {
		return nil, e.failed(err)
	}
	info, err := cli.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, e.failed(err)
	}
	e.runtime, e.limits = info.Info.DefaultRuntime, info.Info.MemoryLimit && info.Info.PidsLimit && info.Info.CPUCfsQuota
	for name := range info.Info.Runtimes {
		e.runtimes = append(e.runtimes, name)
	}
	e.cdi = e.podman
	if !e.podman {
		// Docker knows CDI since its API 1.44.
		v, err := cli.Ping(ctx, client.PingOptions{})
		if err != nil {
			return nil, e.failed(err)
		}
		_, minor, _ := strings.Cut(v.APIVersion, ".")
		n, _ := strconv.Atoi(minor)
		e.cdi = n >= 44 || !strings.HasPrefix(v.APIVersion, "1.")
	}
	e.root = true
	for _, o := range info.Info.SecurityOptions {
		switch {
		case strings.HasPrefix(o, "name=rootless"):
			e.root, e.mapped = false, true
			// Without root there are limits only where systemd hands cgroups on.
			e.limits = e.limits && info.Info.CgroupVersion == "2" && info.Info.CgroupDriver == "systemd"
		case strings.HasPrefix(o, "name=userns"):
			// Docker with userns-remap: its data folder is named after the map.
			uid, _, ok := strings.Cut(filepath.Base(info.Info.DockerRootDir), ".")
			if n, err := strconv.Atoi(uid); ok && err == nil {
				e.base, e.mapped = n, true
			}
		}
	}
	if e.podman && e.root {
		e.mapped = true // each run's own
	}
	return e, nil
}

// isPodman asks for what only Podman has. Its version says so too, but takes it
// seconds to put together.
func (e *engine) isPodman(ctx context.Context) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://podman/v4.0.0/libpod/_ping", nil)
	if err != nil {
		return false, err
	}
	res, err := e.http.Do(req)
	if err != nil {
		return false, err
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK && res.Header.Get("Libpod-API-Version") != "", nil
}

// failed says what an error of the engine means for a person.
func (e *engine) failed(err error) error {
	var dial *net.OpError
	if client.IsErrConnectionFailed(err) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &dial) {
		return &sluice.Error{
			Kind: sluice.Unavailable, Cause: err, Msg: "the container engine at " + e.socket + " does not answer",
			Hint: "start it, for example with: systemctl enable --now podman.socket",
		}
	}
	return err
}

// can says why the engine cannot give the isolation, nil where it can.
func (e *engine) can(i compute.Isolation, cfg Config) error {
	if !e.mapped {
		return sluice.Errorf(sluice.Invalid, "use Podman, or set userns-remap in Docker's daemon.json",
			"the container engine at %s gives containers no user namespace", e.socket)
	}
	if !e.limits {
		return sluice.Errorf(sluice.Invalid, "run it as root, or on cgroups version 2 with systemd", "the container engine at %s cannot limit memory, CPUs and processes", e.socket)
	}
	if i != compute.IsolationSandbox {
		return nil
	}
	if e.podman && e.runtime != cfg.SandboxRuntime {
		return sluice.Errorf(sluice.Invalid, fmt.Sprintf("install %s, run: podman --runtime %s --runtime-flag network=none system service --time 0 unix:///run/podman/sandbox.sock, and set the host's sandbox_socket to that", cfg.SandboxRuntime, cfg.SandboxRuntime),
			"the container engine at %s runs %s, which is no sandbox", e.socket, e.runtime)
	}
	if !e.podman && !slices.Contains(e.runtimes, cfg.SandboxRuntime) {
		return sluice.Errorf(sluice.Invalid, "install it and name it under runtimes in Docker's daemon.json",
			"the container engine at %s has no runtime %s", e.socket, cfg.SandboxRuntime)
	}
	return nil
}

// state is what the engine knows of a container.
type state struct {
	found      bool
	created    bool // and never started
	running    bool
	pid        int // of its first process on this machine; 0: not running
	code       int
	oom        bool
	started    time.Time
	finished   time.Time
	logPath    string
	runtime    string
	resolvConf string // what the container has as /etc/resolv.conf, on the host
	ending     bool   // its end is under way: how it ends is not known yet
}

// state asks for a container. One that is not there is no error.
func (e *engine) state(ctx context.Context, name string) (state, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := e.cli.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) {
		return state{}, nil
	}
	if err == nil && c.Container.State == nil {
		err = errors.New("the engine tells no state")
	}
	if err != nil {
		return state{}, e.failed(err)
	}
	s := c.Container.State
	out := state{
		found: true, running: s.Running || s.Paused, pid: s.Pid, code: s.ExitCode, oom: s.OOMKilled,
		created: s.Status == container.StateCreated || s.Status == "configured" || s.Status == "initialized",
		logPath: c.Container.LogPath, resolvConf: c.Container.ResolvConfPath,
	}
	if c.Container.HostConfig != nil {
		out.runtime = c.Container.HostConfig.Runtime
	}
	out.started, _ = time.Parse(time.RFC3339Nano, s.StartedAt)
	out.finished, _ = time.Parse(time.RFC3339Nano, s.FinishedAt)
	switch s.Status {
	case "stopping", "stopped", container.StateRemoving:
		// Podman says so while the end is under way, with an exit status that is none yet.
		out.ending = !out.running && out.finished.Before(out.started)
	}
	return out, nil
}

// kill sends a signal to the container's first process. One that has ended is
// no error.
func (e *engine) kill(ctx context.Context, name, signal string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := e.cli.ContainerKill(ctx, name, client.ContainerKillOptions{Signal: signal})
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return nil
	}
	if strings.Contains(err.Error(), "state improper") {
		return nil // Podman's word for it, which it gives no status of its own
	}
	if s, serr := e.state(ctx, name); serr == nil && !s.running {
		return nil
	}
	return e.failed(err)
}

// remove removes a container, whatever it does. One that is not there is no error.
func (e *engine) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := e.cli.ContainerRemove(ctx, name, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if errdefs.IsNotFound(err) {
		return nil
	}
	return e.failed(err)
}
