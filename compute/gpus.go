package compute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sluice"
)

// GPUs are those of a machine as an executor of it sees them. A run is named by its
// folder; indexes are the host's. Calls are bounded in time: a GPU that hangs holds
// up nobody.
type GPUs interface {
	// Env returns the variables that show a process these GPUs and no others.
	Env(ctx context.Context, indexes []int) ([]string, error)
	// Begin gives a run its GPUs, End takes them back and restores their limits;
	// both may be called again.
	Begin(ctx context.Context, run string, indexes []int) error
	End(ctx context.Context, run string, at time.Time) (GPUUse, error)
	Forget(run string) // once what End returned is stored
	// Names are those of the GPUs that a run has begun with, nil where it holds none.
	Names(run string) []GPUName
	Use(ctx context.Context, run string) (GPUUse, error)
	// Cap limits the power of a run's GPUs to the share and returns the one in force.
	Cap(ctx context.Context, run string, share float64) (float64, error)
	// Runs lists those of the executor that hold GPUs, also from an earlier process.
	Runs() []string
}

// GPUName is what the driver calls a GPU.
type GPUName struct {
	Index int
	UUID  string
}

// GPUUse is what a run's GPUs do and have done for it.
type GPUUse struct {
	Power    sluice.Watts `json:"power_w"`
	EnergyWh float64      `json:"energy_wh"`
	Share    float64      `json:"share"` // of full power that they are limited to; 0: not limited
}

// gpuFile, in a run's folder, holds a GPUUse: what its GPUs had drawn when it had ended.
const gpuFile = "gpus.json"

// gpuTimeout bounds what a start or an end waits for the GPUs.
const gpuTimeout = 30 * time.Second

// GPUHolder is what an executor does with the GPUs of its runs, each named by its
// folder. With none it does nothing.
type GPUHolder struct{ GPUs GPUs }

// Take gives a run that is about to start its GPUs and adds to the spec's environment
// what shows it these alone. A run without any sees none.
func (g GPUHolder) Take(ctx context.Context, dir string, spec RunSpec) (RunSpec, error) {
	if g.GPUs == nil {
		return spec, nil
	}
	ctx, cancel := context.WithTimeout(ctx, gpuTimeout)
	defer cancel()
	env, err := g.GPUs.Env(ctx, spec.GPUs)
	if err != nil {
		return spec, err
	}
	spec.Env = append(append([]string{}, spec.Env...), env...)
	if len(spec.GPUs) == 0 {
		return spec, nil
	}
	// What an earlier start that came to nothing has left is not this one's.
	if slices.Contains(g.GPUs.Runs(), dir) {
		if _, err := g.GPUs.End(ctx, dir, time.Now()); err != nil {
			return spec, err
		}
		g.GPUs.Forget(dir)
	}
	_ = os.Remove(filepath.Join(dir, gpuFile))
	return spec, g.GPUs.Begin(ctx, dir, spec.GPUs)
}

// Leave takes the GPUs back of a run of which nothing is left since the instant. What
// it drew is stored in its folder before the hold is forgotten. A limit that cannot
// be restored now stays noted, and is tried again before the next run and at the next
// start. It may be called again.
func (g GPUHolder) Leave(dir string, at time.Time) error {
	if g.GPUs == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), gpuTimeout)
	defer cancel()
	u, err := g.GPUs.End(ctx, dir, at)
	file := filepath.Join(dir, gpuFile)
	if missing(dir) || u == (GPUUse{}) || !missing(file) || writeUse(file, u) == nil {
		g.GPUs.Forget(dir)
	}
	return err
}

// Drop is Leave for a start that came to nothing: what its GPUs drew is nobody's.
func (g GPUHolder) Drop(dir string) error {
	err := g.Leave(dir, time.Now())
	_ = os.Remove(filepath.Join(dir, gpuFile))
	return err
}

// Add adds what the run's GPUs tell to what it uses.
func (g GPUHolder) Add(dir string, u *Usage) {
	if g.GPUs == nil {
		return
	}
	use, err := readUse(filepath.Join(dir, gpuFile))
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), gpuTimeout)
		defer cancel()
		// A GPU that does not answer has told something before.
		use, _ = g.GPUs.Use(ctx, dir)
	}
	u.Power, u.EnergyWh, u.PowerShare = use.Power, use.EnergyWh, use.Share
}

// Cap is that of Capper.
func (g GPUHolder) Cap(ctx context.Context, h Handle, share float64) (float64, error) {
	if g.GPUs == nil {
		return 1, sluice.Errorf(sluice.Conflict, "stop it instead", "this host has no GPUs whose power could be limited")
	}
	got, err := g.GPUs.Cap(ctx, string(h), share)
	if err != nil {
		return got, fmt.Errorf("limit the power of %s: %w", h, err)
	}
	return got, nil
}

// Recover takes back the GPUs of the runs that are over and restores their limits.
// over says since when nothing of a run is left, or that something is.
func (g GPUHolder) Recover(over func(dir string) (at time.Time, ok bool)) error {
	if g.GPUs == nil {
		return nil
	}
	var errs []error
	for _, dir := range g.GPUs.Runs() {
		if at, ok := over(dir); ok {
			errs = append(errs, g.Leave(dir, at))
		}
	}
	return errors.Join(errs...)
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return err != nil
}

func readUse(file string) (u GPUUse, err error) {
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &u)
	}
	return u, err
}

func writeUse(file string, u GPUUse) error {
	b, err := json.Marshal(u)
	if err != nil {
		return err
	}
	return sluice.WriteFile(file, b)
}
