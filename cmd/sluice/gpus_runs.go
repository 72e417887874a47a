package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"sluice/compute"
	"sluice/device/gpu"
)

// runGPUs is the host's GPUs as one of its executors sees them. All hold them in one
// place, so that no two have the same; runs of an executor whose name is not empty
// stand there with that before theirs.
type runGPUs struct {
	*hostGPUs
	of string
}

// inContainers is before the names of the runs of the executor of containers.
const inContainers = "docker:"

func (g runGPUs) Env(ctx context.Context, units []int) ([]string, error) {
	at, err := g.driver(units)
	if err != nil {
		return nil, err
	}
	return g.holds.Env(ctx, at)
}

// Begin has the miner leave first.
func (g runGPUs) Begin(ctx context.Context, run string, units []int) error {
	at, err := g.driver(units)
	if err != nil {
		return err
	}
	if g.miner != nil {
		if err := g.miner.Yield(ctx, at); err != nil {
			return err
		}
	}
	return g.holds.Begin(ctx, g.of+run, at)
}

func (g runGPUs) End(ctx context.Context, run string, at time.Time) (compute.GPUUse, error) {
	u, err := g.holds.End(ctx, g.of+run, at)
	return useOf(u), err
}

func (g runGPUs) Use(ctx context.Context, run string) (compute.GPUUse, error) {
	u, err := g.holds.Use(ctx, g.of+run)
	return useOf(u), err
}

func useOf(u gpu.Use) compute.GPUUse {
	return compute.GPUUse{Power: u.Power, EnergyWh: u.EnergyWh, Share: u.Share}
}

func (g runGPUs) Cap(ctx context.Context, run string, share float64) (float64, error) {
	return g.holds.Cap(ctx, g.of+run, share)
}
func (g runGPUs) Forget(run string) { g.holds.Forget(g.of + run) }

func (g runGPUs) Names(run string) (out []compute.GPUName) {
	for _, n := range g.holds.Names(g.of + run) {
		out = append(out, compute.GPUName(n))
	}
	return out
}

// Runs are named by the paths of their folders.
func (g runGPUs) Runs() (out []string) {
	for _, r := range g.holds.Runs() {
		if run, ok := strings.CutPrefix(r, g.of); ok && filepath.IsAbs(run) {
			out = append(out, run)
		}
	}
	return out
}
