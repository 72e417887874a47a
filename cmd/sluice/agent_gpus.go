package main

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/agent"
	"sluice/compute/docker"
	"sluice/compute/idle"
	"sluice/compute/process"
	"sluice/config"
	"sluice/device/gpu"
	"sluice/fabric"
)

// Values of --gpus.
const (
	gpusAuto = "auto"
	gpusNone = "none"
)

// agentGPUs are the GPUs of an agent's machine. A nil one has none.
type agentGPUs struct {
	*hostGPUs
	fault string // why there are none

	makeMiner func(dir string) (*idle.Controller, error) // nil: idle GPUs stand still
	ready     chan struct{}                              // closed when the miner's controller is there
	power     heardPower
}

// findAgentGPUs asks the driver what there is. A machine without GPUs, or whose driver
// does not answer, joins without: the site says what that means for it.
func findAgentGPUs(ctx context.Context, want string, log *slog.Logger) (*agentGPUs, error) {
	switch want {
	case gpusNone:
		return nil, nil
	case gpusAuto:
	default:
		return nil, sluice.Errorf(sluice.Invalid, "--gpus auto or --gpus none", "there are no GPUs %q", want)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	g, err := findGPUs(ctx)
	var no *gpu.Error
	switch {
	case errors.As(err, &no) && (no.Code == gpu.CodeNoLibrary || no.Code == gpu.CodeNoGPU):
		return &agentGPUs{fault: err.Error()}, nil
	case err != nil:
		log.Error("jobs get no GPUs of this machine", "err", err)
		return &agentGPUs{fault: err.Error()}, nil
	}
	for _, n := range g.notes {
		log.Warn(n)
	}
	return &agentGPUs{hostGPUs: g, ready: make(chan struct{})}, nil
}

// mines says what the GPUs do that no job has.
func (g *agentGPUs) mines(m config.IdleMining) (err error) {
	if m.Driver == "" || !g.there() {
		return nil
	}
	g.makeMiner, err = newIdleMiner(m, 1, g.hostGPUs) // the price that it hears has the site's overhead in it
	return err
}

// heard is told what the site says of power; nil where nothing mines.
func (g *agentGPUs) heard() func(fabric.Power) {
	if g == nil || g.makeMiner == nil {
		return nil
	}
	return g.power.hear
}

// mine lets idle GPUs mine from when they are prepared until ctx ends, and tells when the
// miner is gone.
func (g *agentGPUs) mine(ctx context.Context, log *slog.Logger) (gone <-chan struct{}) {
	done := make(chan struct{})
	if g == nil || g.makeMiner == nil {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		select {
		case <-ctx.Done():
		case <-g.ready:
			mineIdle(ctx, g.hostGPUs, true, time.Now, g.power.spare, log)
		}
	}()
	return done
}

func (g *agentGPUs) there() bool { return g != nil && g.hostGPUs != nil }

func (g *agentGPUs) close() {
	if g.there() {
		g.nvml.Close()
	}
}

// of returns the GPUs for the executor whose runs have that before their names.
func (g *agentGPUs) of(executor string) compute.GPUs {
	if !g.there() {
		return nil
	}
	return runGPUs{hostGPUs: g.hostGPUs, of: executor}
}

// facts are what the site is told of them, in the order of its slots.
func (g *agentGPUs) facts() []fabric.GPU {
	if !g.there() {
		return nil
	}
	var out []fabric.GPU
	for _, u := range g.units {
		out = append(out, fabric.GPU{
			Index: u.Index, UUID: u.UUID, Model: u.Model, MemoryBytes: u.MemoryMiB << 20, LimitW: int(u.FullLimit().Watts()),
		})
	}
	return out
}

func (g *agentGPUs) sources() []agent.Source {
	if !g.there() {
		return nil
	}
	return []agent.Source{gpuReadings{g.hostGPUs}}
}

// prepare takes up what an earlier agent has left of holds and power limits.
func (g *agentGPUs) prepare(ctx context.Context, dir string, executors []agent.Executor, log *slog.Logger) error {
	if !g.there() {
		return nil
	}
	if err := g.open(dir); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	var errs []error
	for _, x := range executors {
		switch x := x.Run.(type) {
		case *process.Executor:
			errs = append(errs, x.RecoverGPUs())
		case *docker.Executor:
			errs = append(errs, x.RecoverGPUs(ctx))
		}
	}
	if g.makeMiner != nil {
		var err error
		if g.miner, err = g.makeMiner(dir); err != nil {
			return err
		}
		close(g.ready)
	}
	if err := errors.Join(errs...); err != nil {
		log.Error("power limits of GPUs are not restored yet", "err", err)
	}
	return nil
}

// watch tells when a GPU breaks, until ctx ends.
func (g *agentGPUs) watch(ctx context.Context, log *slog.Logger, fault func(string)) {
	if g.there() {
		go g.hostGPUs.watch(ctx, log, fault)
	} else if g != nil {
		fault(g.fault)
	}
}

// gpuReadings are what the GPUs of this machine do, as readings of the host.
type gpuReadings struct{ *hostGPUs }

// Readings asks each GPU. One that does not answer costs its own deadline, once: the
// driver's client leaves it alone then.
func (g gpuReadings) Readings(ctx context.Context) ([]agent.Reading, error) {
	var out []agent.Reading
	var errs []error
	for _, u := range g.units {
		r, err := g.nvml.Read(ctx, u.UUID)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		of := map[string]string{"gpu": strconv.Itoa(u.Index), "uuid": u.UUID}
		add := func(name, unit string, v float64) {
			out = append(out, agent.Reading{Name: name, Unit: unit, Value: v, At: r.At.UTC(), Labels: of})
		}
		if r.HasPower {
			add("gpu_power", "W", float64(r.Power)/1000)
		}
		if r.HasEnergy {
			add("gpu_energy", "J", float64(r.EnergyMJ)/1000)
		}
		add("gpu_busy", "1", float64(r.UtilPct)/100)
		add("gpu_temperature", "C", float64(r.TempC))
		add("gpu_memory_used", "bytes", float64(r.MemoryUsedMiB)*(1<<20))
		add("gpu_limit", "W", float64(r.EnforcedLimit)/1000)
	}
	return out, errors.Join(errs...)
}
