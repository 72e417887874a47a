package docker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"sluice"
	"sluice/compute"
)

// enter gives a command the run's secrets and writes down its process, so that
// it can be ended. Engines carry its two outputs apart, and so in any order.
const enter = `exec 2>&1; echo $$ >"/run/.sluice-exec-$0"; [ ! -r /run/.sluice-env ] || . /run/.sluice-env; exec "$@"`

// Exec runs a command in the run's container, with its environment and folders.
func (x *Executor) Exec(ctx context.Context, h compute.Handle, argv []string, in io.Reader, out io.Writer) (int, error) {
	dir, err := dirOf(h)
	if err != nil {
		return 0, err
	}
	doing := func(err error) (int, error) { return 0, fmt.Errorf("exec in %s: %w", filepath.Base(dir), err) }
	if len(argv) == 0 {
		return doing(sluice.Errorf(sluice.Invalid, "", "no command"))
	}
	r, err := readRun(dir)
	if err != nil || exists(dir, exitFile) {
		return doing(sluice.Errorf(sluice.Conflict, "", "it does not run"))
	}
	if r.Filter != nil && !exists(filepath.Join(dir, outDir), "up") {
		return doing(sluice.Errorf(sluice.Conflict, "try again in a moment", "it waits for the filter of its network"))
	}
	e, err := x.engine(ctx, r.Isolation)
	if err != nil {
		return doing(err)
	}
	if s, err := e.state(ctx, r.Container); err != nil {
		return doing(err)
	} else if !s.running {
		return doing(sluice.Errorf(sluice.Conflict, "", "it does not run"))
	}
	id := rand.Text()
	code, err := e.exec(ctx, r.Container, append([]string{"/bin/sh", "-c", enter, id}, argv...), in, out)
	if ctx.Err() != nil {
		// Only the connection has ended so far.
		kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		_, _ = e.exec(kill, r.Container, []string{"/bin/sh", "-c", `read -r pid <"/run/.sluice-exec-$0" && kill -KILL "$pid"`, id}, nil, io.Discard)
		err = ctx.Err()
	}
	if err != nil {
		return doing(err)
	}
	return code, nil
}

func (e *engine) exec(ctx context.Context, name string, argv []string, in io.Reader, out io.Writer) (int, error) {
	c, err := e.cli.ExecCreate(ctx, name, client.ExecCreateOptions{
		Cmd: argv, AttachStdin: in != nil, AttachStdout: true, AttachStderr: true, User: "0:0",
	})
	if err != nil {
		return 0, e.failed(err)
	}
	at, err := e.cli.ExecAttach(ctx, c.ID, client.ExecAttachOptions{})
	if err != nil {
		return 0, e.failed(err)
	}
	defer at.Close()
	stop := context.AfterFunc(ctx, at.Close)
	defer stop()
	if in != nil {
		go func() {
			_, _ = io.Copy(at.Conn, in) // ends with the connection, or with in
			_ = at.CloseWrite()
		}()
	}
	if _, err := stdcopy.StdCopy(out, out, at.Reader); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	res, err := e.cli.ExecInspect(ctx, c.ID, client.ExecInspectOptions{})
	if err != nil {
		return 0, e.failed(err)
	}
	return res.ExitCode, nil
}
