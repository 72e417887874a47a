package process

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"sluice"
	"sluice/compute"
)

// GPUs are those of the machine. A run is named by its handle; indexes are the
// host's. Calls are bounded in time: a GPU that hangs holds up nobody.
type GPUs interface {
	// Env returns the variables that show a process these GPUs and no others.
	Env(ctx context.Context, indexes []int) ([]string, error)
	// Begin gives a run its GPUs, End takes them back and restores their limits;
	// both may be called again.
	Begin(ctx context.Context, run string, indexes []int) error
	End(ctx context.Context, run string, at time.Time) (GPUUse, error)
	Forget(run string) // once what End returned is stored
	Use(ctx context.Context, run string) (GPUUse, error)
	// Cap limits the power of a run's GPUs to the share and returns the one in force.
	Cap(ctx context.Context, run string, share float64) (float64, error)
	// Runs lists those that hold GPUs, also from an earlier process.
	Runs() []string
}

// GPUUse is what a run's GPUs do and have done for it.
type GPUUse struct {
	Power    sluice.Watts `json:"power_w"`
	EnergyWh float64      `json:"energy_wh"`
	Share    float64      `json:"share"` // of full power that they are limited to; 0: not limited
}

// gpuFile holds a GPUUse: what a run's GPUs had drawn when it had ended.
const gpuFile = "gpus.json"

// gpuTimeout bounds what a start or an end waits for the GPUs.
const gpuTimeout = 30 * time.Second

var _ compute.Capper = (*Executor)(nil)

// takeGPUs gives the run its GPUs. A run without any sees none.
func (x *Executor) takeGPUs(ctx context.Context, dir string, spec compute.RunSpec) (compute.RunSpec, error) {
	if x.cfg.GPUs == nil {
		// Its units are CPU slots then, whatever their numbers.
		if spec.Task != nil && spec.Task.Resources.Accelerator != "" {
			return spec, sluice.Errorf(sluice.Conflict, "give the host `gpus: auto` in the configuration", "it asks for %s, and this host has no GPUs", spec.Task.Resources.Accelerator)
		}
		return spec, nil
	}
	ctx, cancel := context.WithTimeout(ctx, gpuTimeout)
	defer cancel()
	env, err := x.cfg.GPUs.Env(ctx, spec.GPUs)
	if err != nil {
		return spec, err
	}
	spec.Env = append(append([]string{}, spec.Env...), env...)
	if len(spec.GPUs) == 0 {
		return spec, nil
	}
	return spec, x.cfg.GPUs.Begin(ctx, dir, spec.GPUs)
}

// leaveGPUs takes a run's GPUs back. What it drew is stored in its folder before the
// hold is forgotten. A limit that cannot be restored now stays noted, and is tried
// again before the next run and at the next start.
func (x *Executor) leaveGPUs(dir string, at time.Time) error {
	if x.cfg.GPUs == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), gpuTimeout)
	defer cancel()
	u, err := x.cfg.GPUs.End(ctx, dir, at)
	if !exists(dir, "") || u == (GPUUse{}) || exists(dir, gpuFile) || writeJSON(dir, gpuFile, u) == nil {
		x.cfg.GPUs.Forget(dir)
	}
	return err
}

// addGPUs adds what the run's GPUs tell to what it uses.
func (x *Executor) addGPUs(dir string, u *compute.Usage) {
	if x.cfg.GPUs == nil {
		return
	}
	var g GPUUse
	if err := readJSON(dir, gpuFile, &g); err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), gpuTimeout)
		defer cancel()
		// A GPU that does not answer has told something before.
		g, _ = x.cfg.GPUs.Use(ctx, dir)
	}
	u.Power, u.EnergyWh, u.PowerShare = g.Power, g.EnergyWh, g.Share
}

// Cap limits the power of the run's GPUs.
func (x *Executor) Cap(ctx context.Context, h compute.Handle, share float64) (float64, error) {
	if x.cfg.GPUs == nil {
		return 1, sluice.Errorf(sluice.Conflict, "stop it instead", "this host has no GPUs whose power could be limited")
	}
	got, err := x.cfg.GPUs.Cap(ctx, string(h), share)
	if err != nil {
		return got, fmt.Errorf("limit the power of %s: %w", h, err)
	}
	return got, nil
}

// RecoverGPUs takes back the GPUs of runs that are over and restores their power
// limits. Call it once at a start, before runs begin.
func (x *Executor) RecoverGPUs() error {
	if x.cfg.GPUs == nil {
		return nil
	}
	var errs []error
	for _, dir := range x.cfg.GPUs.Runs() {
		if !filepath.IsAbs(dir) {
			continue // another executor's
		}
		if held, err := isHeld(dir); err != nil || held {
			continue // in doubt it goes on, limited as it is
		}
		at := time.Now()
		if e, err := readExit(dir); err == nil {
			at = e.At
		}
		errs = append(errs, x.leaveGPUs(dir, at))
	}
	return errors.Join(errs...)
}
