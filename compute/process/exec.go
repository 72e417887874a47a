package process

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/compute"
)

// Exec runs a command with the run's environment, secrets and all, in its working
// folder and under its limits. It ends with the run, or with ctx.
func (x *Executor) Exec(ctx context.Context, h compute.Handle, argv []string, in io.Reader, out io.Writer) (int, error) {
	dir := string(h)
	doing := func(err error) (int, error) { return 0, fmt.Errorf("exec in %s: %w", filepath.Base(dir), err) }
	ended := sluice.Errorf(sluice.Conflict, "", "it does not run")
	switch {
	case !filepath.IsAbs(dir):
		return 0, sluice.Errorf(sluice.Invalid, "", "%q is not a handle of a process", h)
	case len(argv) == 0:
		return doing(sluice.Errorf(sluice.Invalid, "", "no command"))
	}
	k, err := readKeeper(dir)
	if err != nil || exists(dir, exitFile) {
		return doing(ended)
	}
	var spec shimSpec
	if err := readJSON(dir, specFile, &spec); err != nil {
		return doing(err)
	}
	env, err := environOf(k.Job)
	if err != nil {
		return doing(ended)
	}
	if env == nil {
		env = spec.Env
	}
	if start, err := startOf(k.Job); err != nil || start != k.JobStart {
		return doing(ended) // its pid is another's by now
	}
	w := x.watch(dir)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-w.done:
			cancel(ended)
		case <-ctx.Done():
		}
	}()
	runtime.LockOSThread() // the command is to die with us, that is with this thread
	defer runtime.UnlockOSThread()
	gate, open, err := os.Pipe()
	if err != nil {
		return doing(err)
	}
	defer gate.Close()
	defer open.Close()
	// It waits at the gate until it is in the run's cgroup.
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", `read -r _ <&3; exec "$@" 3<&-`, "sh"}, argv...)...)
	cmd.Dir, cmd.Env = spec.WorkDir, env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, out
	cmd.ExtraFiles = []*os.File{gate}
	cmd.SysProcAttr = jobSession()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second // for output of what it has left behind
	if err := cmd.Start(); err != nil {
		return doing(err)
	}
	_ = k.group().add(cmd.Process.Pid) // where there are no cgroups nothing is limited
	_, _ = open.WriteString("\n")
	err = cmd.Wait()
	if ctx.Err() != nil {
		return doing(context.Cause(ctx))
	}
	if cmd.ProcessState == nil {
		return doing(err)
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}
