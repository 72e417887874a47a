package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sluice/compute"
	"sluice/compute/docker"
	"sluice/config"
)

// engineTimeout is how long a container engine may take to say what it can do.
const engineTimeout = 5 * time.Second

// addContainers lets the host run containers: alone where its driver is docker,
// else besides processes. An engine that does not answer yet is taken for one that
// gives plain containers: runs wait for it with what it said.
func (p *parts) addContainers(h config.Host, host *compute.Host, gpus compute.GPUs) error {
	k := h.Containers
	x, err := docker.New(engineConfig(k, gpus))
	if err != nil {
		return err
	}
	p.executors["docker"] = x
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	gives, err := x.Isolations(ctx)
	if err != nil && len(gives) == 0 {
		gives = may(k)[:1] // and what else it may once it is known to
		if len(k.Isolations) > 0 {
			gives = may(k)
		}
	}
	gives = slices.DeleteFunc(gives, func(i compute.Isolation) bool { return !slices.Contains(may(k), i) })
	if err == nil {
		p.containers += fmt.Sprintf("  jobs in containers: %s, by the engine at %s\n", names(gives), k.Socket)
	} else {
		p.containers += fmt.Sprintf("  jobs in containers wait: %v\n", err)
	}
	host.Executors = map[compute.Isolation]string{compute.IsolationContainer: "docker", compute.IsolationSandbox: "docker"}
	host.Isolations, host.GangNet = gives, gangNetOf(k)
	w := &engineWatch{engine: x, isolations: slices.Clone(gives), where: h.Name, said: map[compute.Isolation]string{}}
	if err != nil {
		for _, i := range gives {
			w.said[i] = err.Error()
		}
	}
	p.watchEngine(w)
	if h.Driver == "docker" {
		host.Executor = "docker"
		if len(gives) == 0 {
			return fmt.Errorf("its engine at %s gives none of the isolations that it may: %s", k.Socket, strings.Join(k.Isolations, ", "))
		}
		return nil
	}
	host.Isolations = append([]compute.Isolation{compute.IsolationNone}, gives...)
	return nil
}

// engineConfig is what a configuration says of how containers are run.
func engineConfig(k config.Containers, gpus compute.GPUs) docker.Config {
	return docker.Config{
		Socket: k.Socket, SandboxSocket: k.SandboxSocket, SandboxRuntime: k.SandboxRuntime, Image: k.Image, Pull: k.Pull,
		Network: k.Network, UIDBase: k.FirstUID, SharedMemory: gigabytes(k.SharedMemoryGB), LogLimit: gigabytes(k.LogGB), GPUKind: k.GPUKind, GPUs: gpus,
	}
}

// gangNetOf is the network that connects a host's containers with those of others.
func gangNetOf(k config.Containers) compute.GangNet {
	p, err := netip.ParsePrefix(k.GangNetwork.Addresses)
	if err != nil {
		return compute.GangNet{} // none: what is wrong with it was said when it was read
	}
	return compute.GangNet{Name: k.GangNetwork.Name, Addresses: p}
}

// may are the isolations that a host may give with containers.
func may(k config.Containers) []compute.Isolation {
	out := []compute.Isolation{compute.IsolationContainer, compute.IsolationSandbox}
	if len(k.Isolations) == 0 {
		return out
	}
	return slices.DeleteFunc(out, func(i compute.Isolation) bool { return !slices.Contains(k.Isolations, string(i)) })
}

func names(list []compute.Isolation) string {
	var out []string
	for _, i := range list {
		out = append(out, string(i))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

func gigabytes(n float64) int64 { return int64(n * (1 << 30)) }
