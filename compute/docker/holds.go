package docker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"sluice"
	"sluice/compute"
)

// Holds is who has the host's GPUs: it meters them and limits their power. A run
// is named by the text that Begin was given; indexes are the host's. Calls are
// bounded in time: a GPU that hangs holds up nobody.
type Holds interface {
	// Numbers returns the driver's numbers of the GPUs, by which CDI names them.
	Numbers(indexes []int) ([]int, error)
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
	Power    sluice.Watts
	EnergyWh float64
	Share    float64 // of full power that they are limited to; 0: not limited
}

// holdTimeout bounds what a start or an end waits for the GPUs.
const holdTimeout = 30 * time.Second

var _ compute.Capper = (*Executor)(nil)

// holdOf is a run's name among all that hold GPUs: other executors name theirs by
// the folder alone.
func holdOf(dir string) string { return "docker:" + dir }

// takeGPUs gives the run its GPUs.
func (x *Executor) takeGPUs(ctx context.Context, dir string, r run) error {
	if x.cfg.Holds == nil || len(r.GPUs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	return x.cfg.Holds.Begin(ctx, holdOf(dir), r.GPUs)
}

// leaveGPUs takes them back and says what they did. A limit that cannot be restored
// now stays noted with whoever holds the GPUs.
func (x *Executor) leaveGPUs(dir string, r run, at time.Time, u *compute.Usage) {
	if x.cfg.Holds == nil || len(r.GPUs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), holdTimeout)
	defer cancel()
	g, _ := x.cfg.Holds.End(ctx, holdOf(dir), at)
	u.Power, u.EnergyWh, u.PowerShare = g.Power, g.EnergyWh, g.Share
}

func (x *Executor) addGPUs(dir string, r run, u *compute.Usage) {
	if x.cfg.Holds == nil || len(r.GPUs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), holdTimeout)
	defer cancel()
	g, _ := x.cfg.Holds.Use(ctx, holdOf(dir)) // one that does not answer has told something before
	u.Power, u.EnergyWh, u.PowerShare = g.Power, g.EnergyWh, g.Share
}

// Cap limits the power of the run's GPUs.
func (x *Executor) Cap(ctx context.Context, h compute.Handle, share float64) (float64, error) {
	dir, err := dirOf(h)
	if err != nil {
		return 1, err
	}
	if x.cfg.Holds == nil {
		return 1, sluice.Errorf(sluice.Conflict, "stop it instead", "this host has no GPUs whose power could be limited")
	}
	got, err := x.cfg.Holds.Cap(ctx, holdOf(dir), share)
	if err != nil {
		return got, fmt.Errorf("limit the power of %s: %w", filepath.Base(dir), err)
	}
	return got, nil
}

// RecoverGPUs takes back the GPUs of runs whose end is recorded. Others are taken
// back by whoever sees their end. Call it once at a start, before runs begin.
func (x *Executor) RecoverGPUs() error {
	if x.cfg.Holds == nil {
		return nil
	}
	var errs []error
	for _, name := range x.cfg.Holds.Runs() {
		dir, ours := strings.CutPrefix(name, "docker:")
		if !ours {
			continue
		}
		at := time.Now()
		if e, err := readExit(dir); err == nil {
			at = e.At
		} else if exists(dir, runFile) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), holdTimeout)
		_, err := x.cfg.Holds.End(ctx, name, at)
		cancel()
		x.cfg.Holds.Forget(name)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
