package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/compute"
)

var _ compute.Execer = (*Executor)(nil)

// Exec runs a command beside a run: in its working folder, with its environment
// and under its limits. It ends with the run at the latest, with all that it has
// started.
func (x *Executor) Exec(ctx context.Context, h compute.Handle, argv []string, in io.Reader, out io.Writer) (int, error) {
	dir := string(h)
	if !filepath.IsAbs(dir) {
		return 0, sluice.Errorf(sluice.Invalid, "", "%q is not a handle of a process", h)
	}
	doing := func(err error) error { return fmt.Errorf("run a command beside %s: %w", filepath.Base(dir), err) }
	if held, err := isHeld(dir); err != nil {
		return 0, doing(err)
	} else if !held {
		return 0, sluice.Errorf(sluice.Conflict, "", "%s has ended", filepath.Base(dir))
	}
	var spec shimSpec
	if err := readJSON(dir, specFile, &spec); err != nil {
		return 0, doing(err)
	}
	k, err := readKeeper(dir)
	if err != nil {
		return 0, sluice.Errorf(sluice.Conflict, "try again in a moment", "%s is just being started", filepath.Base(dir))
	}
	gate, open, err := os.Pipe()
	if err != nil {
		return 0, doing(err)
	}
	defer gate.Close()
	defer open.Close()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := x.watch(dir)
	go func() {
		select {
		case <-w.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	// As for the run itself, a small shell waits until it is within the limits.
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `read -r _ <&3; exec "$@" 3<&-`, "sh"}, argv...)...)
	cmd.Dir, cmd.Env = spec.WorkDir, append(append([]string{}, spec.Env...), marker(dir))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, out
	cmd.ExtraFiles = []*os.File{gate} // fd 3 there
	cmd.SysProcAttr = newSession()
	cmd.Cancel = func() error {
		if err := unix.Kill(-cmd.Process.Pid, unix.SIGKILL); errors.Is(err, unix.ESRCH) {
			return os.ErrProcessDone
		}
		return cmd.Process.Kill()
	}
	cmd.WaitDelay = 2 * time.Second // for what it has left in the background with its output open
	if err := cmd.Start(); err != nil {
		return 0, doing(err)
	}
	err = k.group().add(cmd.Process.Pid)
	if err != nil && len(k.Cgroup) > 0 {
		cancel() // it would run outside the limits
		_ = cmd.Wait()
		return 0, doing(err)
	}
	_, _ = open.Write([]byte("\n"))
	err = cmd.Wait()
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // what it has left in its session
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && isDone(w):
		return 0, sluice.Errorf(sluice.Conflict, "", "%s has ended, and the command with it", filepath.Base(dir))
	case ctx.Err() != nil:
		return 0, doing(ctx.Err())
	case errors.As(err, &exit):
		if s, ok := exit.Sys().(interface {
			Signaled() bool
			Signal() unix.Signal
		}); ok && s.Signaled() {
			return 128 + int(s.Signal()), nil
		}
		return exit.ExitCode(), nil
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return 0, doing(err)
	}
	return 0, nil
}

func isDone(w *watch) bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}
