package process

import (
	"context"
	"time"

	"sluice"
	"sluice/compute"
)

var _ compute.Capper = (*Executor)(nil)

// takeGPUs gives the run its GPUs. A run without any sees none.
func (x *Executor) takeGPUs(ctx context.Context, dir string, spec compute.RunSpec) (compute.RunSpec, error) {
	// Without GPUs its units are CPU slots, whatever their numbers.
	if x.cfg.GPUs == nil && spec.Task != nil && spec.Task.Resources.Accelerator != "" {
		return spec, sluice.Errorf(sluice.Conflict, "give the host `gpus: auto` in the configuration", "it asks for %s, and this host has no GPUs", spec.Task.Resources.Accelerator)
	}
	return x.gpus.Take(ctx, dir, spec)
}

// Cap limits the power of the run's GPUs.
func (x *Executor) Cap(ctx context.Context, h compute.Handle, share float64) (float64, error) {
	return x.gpus.Cap(ctx, h, share)
}

// RecoverGPUs takes back the GPUs of runs that are over and restores their power
// limits. Call it once at a start, before runs begin.
func (x *Executor) RecoverGPUs() error {
	return x.gpus.Recover(func(dir string) (time.Time, bool) {
		if held, err := isHeld(dir); err != nil || held {
			return time.Time{}, false // in doubt it goes on, limited as it is
		}
		if e, err := readExit(dir); err == nil {
			return e.At, true
		}
		return time.Now(), true
	})
}
