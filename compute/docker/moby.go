package docker

import (
	"context"
	"fmt"
	"iter"
	"maps"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"sluice"
)

func keys[K comparable, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }

// create makes the container.
func (e *engine) create(ctx context.Context, p plan) error {
	if e.podman {
		return e.createPodman(ctx, p)
	}
	return e.createDocker(ctx, p)
}

// createDocker makes the container with Docker. Its user namespace is the
// daemon's, its network one that the operator has made: see can.
func (e *engine) createDocker(ctx context.Context, p plan) error {
	if p.network == "" {
		return sluice.Errorf(sluice.Invalid, "make one whose containers do not reach each other, and set the host's network: docker network create -o com.docker.network.bridge.enable_icc=false sluice",
			"this host has no network for jobs that may reach the outside")
	}
	if len(p.devices) > 0 && !e.cdi {
		return sluice.Errorf(sluice.Invalid, "use Docker 25 or later, or Podman", "the container engine at %s does not know GPUs by CDI", e.socket)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := e.cli.ContainerCreate(ctx, p.dockerOptions())
	if err != nil {
		return fmt.Errorf("make the container: %w", e.failed(err))
	}
	return nil
}

// noCheck keeps the engine from running what an image brings as its own check: before
// the first process is ready, and past what is counted.
var noCheck = []string{"NONE"}

// dockerOptions writes the plan in Docker's words.
func (p plan) dockerOptions() client.ContainerCreateOptions {
	h := &container.HostConfig{
		NetworkMode: container.NetworkMode(p.network), CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
		ReadonlyRootfs: true, ShmSize: p.shm, Runtime: p.runtime, IpcMode: "private", CgroupnsMode: "private",
		LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": fmt.Sprint(p.logMax), "max-file": "2"}},
		Tmpfs:     map[string]string{},
		Resources: container.Resources{
			Memory: p.memory, MemorySwap: p.memory, NanoCPUs: int64(p.cpus * 1e9), PidsLimit: &p.pids,
			Ulimits: []*container.Ulimit{
				{Name: "nofile", Hard: int64(p.files), Soft: int64(p.files)}, //nolint:gosec // at most 65536
				{Name: "nproc", Hard: int64(p.files), Soft: int64(p.files)},  //nolint:gosec // at most 65536
				{Name: "core"},
			},
		},
	}
	for d, n := range p.tmpfs {
		h.Tmpfs[d] = fmt.Sprintf("size=%d,mode=1777,nosuid,nodev,exec", n)
	}
	for _, b := range p.binds {
		h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeBind, Source: b.Source, Target: b.Target, ReadOnly: b.ReadOnly})
	}
	if len(p.devices) > 0 {
		h.DeviceRequests = []container.DeviceRequest{{Driver: "cdi", DeviceIDs: p.devices}}
	}
	var at *network.NetworkingConfig
	if p.address.IsValid() && p.network != "none" {
		at = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
			p.network: {IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: p.address}},
		}}
	}
	return client.ContainerCreateOptions{
		Name: p.name, HostConfig: h, NetworkingConfig: at,
		Config: &container.Config{
			Healthcheck: &container.HealthConfig{Test: noCheck},
			Image:       p.image, Env: p.env, Labels: p.labels, Entrypoint: p.argv, WorkingDir: p.workDir, User: "0:0",
		},
	}
}

func (e *engine) start(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := e.cli.ContainerStart(ctx, name, client.ContainerStartOptions{})
	return e.failed(err)
}
