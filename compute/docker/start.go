package docker

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
)

//go:embed init.sh
var initScript []byte

// startTimeout is how long a started container may take to say that it is up.
const startTimeout = 60 * time.Second

// Start starts the run in a container of its own. Where it was started before,
// by whomever, it returns the handle of that.
func (x *Executor) Start(ctx context.Context, spec compute.RunSpec) (compute.Handle, error) {
	doing := func(err error) (compute.Handle, error) { return "", fmt.Errorf("start %s: %w", spec.RunID, err) }
	dir, err := filepath.Abs(spec.Dir)
	if err != nil {
		return doing(err)
	}
	if err := ctx.Err(); err != nil {
		return doing(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return doing(err)
	}
	lock, started, err := take(ctx, dir)
	if err != nil {
		return doing(err)
	}
	if !started {
		err = x.startHeld(ctx, dir, spec)
		_ = lock.Close() // from here on whoever watches the run acts on it
		if err != nil {
			if exists(dir, stopFile) {
				x.watch(dir) // see failed
			}
			return doing(err)
		}
	}
	x.watch(dir)
	return compute.Handle(dir), nil
}

// startHeld makes and starts the container of a run that nobody else acts on.
func (x *Executor) startHeld(ctx context.Context, dir string, spec compute.RunSpec) error {
	if exists(dir, exitFile) {
		return nil // it ran; Wait tells how it ended
	}
	if err := check(spec); err != nil {
		return err
	}
	e, err := x.engine(ctx, spec.Isolation)
	if err != nil {
		return err
	}
	if err := e.can(spec.Isolation, x.cfg); err != nil {
		return err
	}
	name := containerName(dir, spec.RunID)
	old, err := e.state(ctx, name)
	switch {
	case err != nil:
		return err
	case old.found && !old.created:
		return nil // it runs, or has run
	case !old.found && exists(dir, startedFile):
		return nil // it ran, and somebody has removed it
	case old.found:
		// Made before a crash: made anew, because its secrets may be gone.
		if err := e.remove(ctx, name); err != nil {
			return err
		}
	}
	// What its GPUs draw is the run's from before there is anything of it.
	if spec, err = x.takeGPUs(ctx, dir, spec); err != nil {
		return err
	}
	r := x.newRun(dir, name, spec)
	if r.Filter, err = x.newFilter(ctx, e, spec); err != nil {
		return errors.Join(err, x.gpus.Drop(dir))
	}
	err = x.create(ctx, e, dir, r, spec)
	if err == nil {
		err = x.launch(ctx, e, dir, r)
	}
	if err != nil {
		err = errors.Join(err, x.failed(ctx, e, dir, r))
	}
	return err
}

// failed removes what a start that has failed has made, so that it may be tried again.
// Where the engine does not remove what may run, that keeps its GPUs, and whoever
// watches it ends it as soon as the engine lets him.
func (x *Executor) failed(ctx context.Context, e *engine, dir string, r run) error {
	wipe(r.Secrets)
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	err := errors.Join(e.remove(clean, r.Container), e.dropGang(clean, dir, r))
	switch {
	case err == nil:
		_ = os.Remove(filepath.Join(dir, startedFile))
		return x.gpus.Drop(dir)
	case !exists(dir, startedFile):
		return errors.Join(err, x.gpus.Drop(dir))
	case ctx.Err() == nil: // else we are ending, and our successor goes on with it
		return errors.Join(err, writeJSON(dir, stopFile, stopRequest{Until: time.Now(), Signaled: true}))
	}
	return err
}

// containerName is unique on the machine: two sites may have the same RunIDs.
func containerName(dir, runID string) string {
	sum := sha256.Sum256([]byte(dir + "\x00" + runID))
	safe := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' {
			return c
		}
		return '-'
	}, runID)
	return fmt.Sprintf("sluice-%.40s-%x", safe, sum[:6])
}

func (x *Executor) newRun(dir, name string, spec compute.RunSpec) run {
	r := run{
		RunID: spec.RunID, Host: spec.Host, Container: name, Image: spec.Image, Isolation: spec.Isolation,
		Log: spec.Log, LogLimit: x.cfg.LogLimit, SetupDone: spec.SetupDone, Memory: spec.MemoryLimit,
		CPUs: spec.CPULimit, Disk: spec.DiskLimit, Control: spec.Control, Shared: spec.Nodes > 1, Gang: gangNet(dir, spec), GangDir: gangDir(dir, spec), Boot: bootID(),
	}
	if r.Image == "" {
		r.Image = x.cfg.Image
	}
	if r.Isolation != compute.IsolationSandbox {
		r.Isolation = compute.IsolationContainer
	}
	if r.Log == "" {
		r.Log = filepath.Join(dir, "log")
	}
	if r.SetupDone == "" {
		r.SetupDone = filepath.Join(dir, "setup.done")
	}
	r.Signal, _ = signalName(spec.Interrupt.Signal)
	if spec.Interrupt.Hook != "" {
		r.Signal = "TERM" // the first process runs the hook before it hands it on
	}
	for _, d := range []string{spec.WorkDir, spec.CheckpointDir} {
		if d != "" {
			r.Folders = append(r.Folders, d)
		}
	}
	if len(spec.Secrets) > 0 {
		r.Secrets = filepath.Join(x.cfg.SecretDir, name)
	}
	return r
}

// create makes the run's files and its container.
func (x *Executor) create(ctx context.Context, e *engine, dir string, r run, spec compute.RunSpec) error {
	img, err := x.image(ctx, e, r.Image)
	if err != nil {
		return err
	}
	devices, nodes, err := x.devices(dir, spec.GPUs)
	if err != nil {
		return err
	}
	if err := x.fill(e, dir, r, spec); err != nil {
		return err
	}
	note(r, "%s starts on %s, in a %s of %s, %s", r.RunID, r.Host, r.Isolation, r.Image, limits(r))
	if r.LogStart, err = size(r.Log); err != nil {
		return fmt.Errorf("its log: %w", err)
	}
	if err := writeJSON(dir, runFile, r); err != nil {
		return err
	}
	p := x.plan(e, dir, r, spec, img, devices, nodes)
	if r.Gang != "" {
		lock, err := lockGang(ctx, r.GangDir)
		if err != nil {
			return err
		}
		defer lock.Close() // the node is there then, and keeps the network
		if err := e.makeGang(ctx, r.Gang, p); err != nil {
			return err
		}
		p.network, p.labels[gangLabel] = "container:"+r.Gang, r.Gang
	}
	return e.create(ctx, p)
}

func limits(r run) string {
	var out []string
	if r.CPUs > 0 {
		cpus := fmt.Sprintf("%g CPUs", r.CPUs)
		if r.CPUs == 1 {
			cpus = "1 CPU"
		}
		out = append(out, cpus)
	}
	if r.Memory > 0 {
		out = append(out, fmt.Sprintf("%s of memory", gb(r.Memory)))
	}
	if r.Disk > 0 {
		out = append(out, fmt.Sprintf("%s of disk", gb(r.Disk)))
	}
	if len(out) == 0 {
		return "not limited"
	}
	return "limited to " + strings.Join(out, " and ")
}

func gb(n int64) string { return fmt.Sprintf("%.3g GiB", float64(n)/(1<<30)) }

// fill writes what the container is given, and hands the job's folders to the
// user that the container's root is mapped to.
func (x *Executor) fill(e *engine, dir string, r run, spec compute.RunSpec) error {
	box, out := filepath.Join(dir, boxDir), filepath.Join(dir, outDir)
	for _, d := range []string{box, out} {
		if err := os.RemoveAll(d); err != nil {
			return err
		}
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	files := map[string]string{"init.sh": string(initScript), "run.sh": spec.Task.Run, "hook.sh": spec.Interrupt.Hook}
	if _, err := os.Stat(r.SetupDone); err != nil {
		files["setup.sh"] = spec.Task.Setup
	}
	for name, text := range files {
		if text == "" && name != "run.sh" {
			continue
		}
		if err := os.WriteFile(filepath.Join(box, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	give := []string{box, out}
	if len(spec.Secrets) > 0 {
		if err := writeSecrets(r.Secrets, spec.Secrets); err != nil {
			return err
		}
		give = append(give, r.Secrets)
	}
	give = append(give, r.Folders...)
	for _, m := range spec.Mounts {
		if !m.ReadOnly {
			give = append(give, m.Source)
		}
	}
	if r.Control != "" {
		ctl := filepath.Join(dir, controlDir)
		if err := os.MkdirAll(ctl, 0o700); err != nil {
			return err
		}
		linkControl(dir, r)
		give = append(give, ctl)
	}
	see := slices.Clone(give)
	for _, m := range spec.Mounts {
		see = append(see, m.Source)
	}
	if base := x.base(e); base > 0 {
		for _, d := range see {
			if r.Isolation != compute.IsolationSandbox {
				break
			}
			if err := letThrough(d, base); err != nil {
				return err
			}
		}
		for _, d := range give {
			if err := handOver(d, base); err != nil {
				return fmt.Errorf("hand %s to the container: %w", d, err)
			}
		}
	}
	return nil
}

// base is the host's user that the container's root is mapped to, 0 where that
// is the engine's own user.
func (x *Executor) base(e *engine) int {
	if e.podman && e.root {
		return x.cfg.UIDBase
	}
	return e.base
}

// launch starts the container and returns once its first process is ready to be
// stopped, which is before it runs anything of the job.
func (x *Executor) launch(ctx context.Context, e *engine, dir string, r run) error {
	// Its time is when the run took up its units.
	if err := os.WriteFile(filepath.Join(dir, startedFile), []byte(time.Now().UTC().Format(time.RFC3339Nano)), 0o600); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	if err := e.start(ctx, r.Container); err != nil {
		if strings.Contains(err.Error(), "no such file") && strings.Contains(err.Error(), "/bin/sh") {
			return sluice.Errorf(sluice.Invalid, "an image for jobs has a shell", "the image %s has no /bin/sh", r.Image)
		}
		return err
	}
	late := time.NewTimer(startTimeout)
	defer late.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		if exists(filepath.Join(dir, outDir), "up") {
			break
		}
		if err := x.release(ctx, e, dir, r); err != nil {
			return err
		}
		if b, err := readSmall(filepath.Join(dir, outDir), "missing"); err == nil && strings.HasSuffix(b, "\n") {
			hint := "look at the engine's log; docs/isolation.md says what engines leave out"
			if r.Isolation == compute.IsolationSandbox {
				hint = "where the sandboxes of this engine have no network, set the tenant's egress to none, or ask for the isolation container"
			}
			return sluice.Errorf(sluice.Unavailable, hint, "the engine did not give the container %s", strings.TrimSpace(b))
		}
		if n%20 == 0 {
			if s, err := e.state(ctx, r.Container); err == nil && !s.running && !s.created {
				if exists(filepath.Join(dir, outDir), "up") || exists(filepath.Join(dir, outDir), "missing") {
					continue
				}
				text, _ := readTail(s.logPath)
				return sluice.Errorf(sluice.Invalid, "does the image have a shell and cat?", "its container ended with status %d before the job began%s", s.code, text)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return sluice.Errorf(sluice.Unavailable, "the machine is overloaded", "its container did not come up within %s", startTimeout)
		case <-tick.C:
		}
	}
	released(dir, r)
	// Podman leaves out without a word what it does not know.
	s, err := e.state(ctx, r.Container)
	if err != nil {
		return err
	}
	if err := e.verify(r, s, x.cfg); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, upFile), nil, 0o600)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
