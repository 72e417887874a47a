package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"sluice"
	"sluice/compute"
)

// The nodes of a gang that are on this host share one network, in which they
// reach each other on 127.0.0.1, as nodes that are processes do. A container of
// its own holds it: any node may end before the others. It is there from the
// first node's start to the last one's end.

// gangLock is in gangDir.
const gangLock = "gang.lock"

const gangLabel = "sluice.gang"

// gangNet is the name of the container that holds the network of the run's gang,
// "" for a run that needs none.
func gangNet(dir string, spec compute.RunSpec) string {
	if spec.Nodes <= 1 || spec.Gang != nil || !networked(spec) {
		return ""
	}
	return containerName(gangDir(dir, spec), "net-"+spec.JobID)
}

// gangDir is a folder that the gang's nodes on this host have in common: on a host
// that has joined, their own are not beside each other.
func gangDir(dir string, spec compute.RunSpec) string {
	if spec.CheckpointDir != "" {
		return filepath.Dir(filepath.Clean(spec.CheckpointDir))
	}
	return filepath.Dir(dir)
}

// subnets are what a network of the engine is, by its name.
func (e *engine) subnets(ctx context.Context, name string) ([]netip.Prefix, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	n, err := e.cli.NetworkInspect(ctx, name, client.NetworkInspectOptions{})
	if errdefs.IsNotFound(err) {
		return nil, sluice.Errorf(sluice.Unavailable, "make it: docs/isolation.md, under gangs", "the engine has no network %q, which gang_network names", name)
	} else if err != nil {
		return nil, e.failed(err)
	}
	var out []netip.Prefix
	for _, c := range n.Network.IPAM.Config {
		if c.Subnet.IsValid() {
			out = append(out, c.Subnet.Masked())
		}
	}
	if len(out) == 0 {
		return nil, sluice.Errorf(sluice.Unavailable, "make it with --subnet", "the network %s tells no addresses: its gangs cannot be kept apart", name)
	}
	return out, nil
}

// lockGang keeps others from making or removing the gang's network. dir is its gangDir.
func lockGang(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, gangLock), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the gang's network: %w", err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("the gang's network: %w", err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// makeGang starts the container that holds the gang's network, where none does.
// The gang's lock is held. p is the plan of a node.
func (e *engine) makeGang(ctx context.Context, name string, p plan) error {
	s, err := e.state(ctx, name)
	if err == nil && s.found && !s.running {
		err = e.remove(ctx, name)
		s.found = false
	}
	if err != nil || s.found {
		return err
	}
	err = e.create(ctx, plan{
		name: name, image: p.image, labels: map[string]string{"sluice.net": name}, workDir: "/",
		argv:   []string{"/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"},
		memory: 64 << 20, pids: 8, files: 64, shm: 1 << 16, base: p.base, network: p.network, runtime: p.runtime,
		logMax: 1 << 16,
	})
	if err == nil {
		err = e.start(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("the gang's network: %w", err)
	}
	return nil
}

// dropGang removes the network of the run's gang when no node is left that uses it.
func (e *engine) dropGang(ctx context.Context, dir string, r run) error {
	if r.Gang == "" {
		return nil
	}
	name := r.Gang
	lock, err := lockGang(ctx, cmp.Or(r.GangDir, filepath.Dir(dir)))
	if err != nil {
		return err
	}
	defer lock.Close()
	res, err := e.cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", gangLabel+"="+name)})
	if err != nil {
		return e.failed(err)
	}
	if len(res.Items) > 0 {
		return nil
	}
	if err := e.kill(ctx, name, "KILL"); err != nil { // it has nothing to save
		return err
	}
	return e.remove(ctx, name)
}
