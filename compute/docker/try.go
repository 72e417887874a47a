package docker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"sluice"
	"sluice/compute"
)

// tried is the job of containers that are started to see whether they start.
const tried = "sluice-try"

// Try says why runs in the isolation would not start now, by starting one as they
// are started: it needs the engine, its runtime, the image of runs that name none,
// and what the egress needs. Where there is no such image it asks the engine alone.
func (x *Executor) Try(ctx context.Context, i compute.Isolation, egress compute.Egress) error {
	// What the engine said of itself may have been mended since.
	x.forget(i)
	e, err := x.engine(ctx, i)
	if err != nil {
		return err
	}
	if err := e.can(i, x.cfg); err != nil || x.cfg.Image == "" {
		return err
	}
	x.sweepTries(ctx, e)
	dir, err := os.MkdirTemp("", tried+"-")
	if err != nil {
		return fmt.Errorf("try a container: %w", err)
	}
	defer os.RemoveAll(dir)
	h, err := x.Start(ctx, compute.RunSpec{
		RunID: "try", JobID: tried, Task: &compute.Task{Run: "exit 0"}, Units: 1, Nodes: 1,
		Dir: filepath.Join(dir, "run"), Log: filepath.Join(dir, "log"), Isolation: i, Egress: egress,
		CPULimit: 1, MemoryLimit: 256 << 20, PidsLimit: 64,
	})
	if err != nil {
		return hybrid(err)
	}
	exit, err := x.Wait(ctx, h)
	if err != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		_ = x.Stop(end, h, 0)
		return fmt.Errorf("try a container: %w", err)
	}
	if exit.Code != 0 {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		return sluice.Errorf(sluice.Unavailable, "does the image have a shell and cat?", "a container of %s that has nothing to do ended with status %d %s: %.500s", x.cfg.Image, exit.Code, exit.Why, log)
	}
	return nil
}

// hybrid adds what helps against what crun says of machines with both versions of
// cgroups, on which Podman prefers it all the same.
func hybrid(err error) error {
	if !strings.Contains(err.Error(), "hybrid mode") {
		return err
	}
	return &sluice.Error{
		Kind: sluice.Unavailable, Cause: err, Msg: "its runtime starts nothing",
		Hint: `put runtime = "runc" under [engine] in /etc/containers/containers.conf and start the engine again`,
	}
}

// Answers says whether the engine for the isolation answers.
func (x *Executor) Answers(ctx context.Context, i compute.Isolation) error {
	e, err := x.engine(ctx, i)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := e.cli.Ping(ctx, client.PingOptions{}); err != nil {
		return e.failed(err)
	}
	return nil
}

// forget makes the next one who needs the engine ask it again what it is.
func (x *Executor) forget(i compute.Isolation) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.engines, x.socketOf(i))
}

// sweepTries removes what tries have left that were killed with their process.
func (x *Executor) sweepTries(ctx context.Context, e *engine) {
	res, err := e.cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", "sluice.job="+tried)})
	if err != nil {
		return
	}
	for _, c := range res.Items {
		if time.Since(time.Unix(c.Created, 0)) > 10*time.Minute {
			_ = e.remove(ctx, c.ID) // again at the next try
		}
	}
}
