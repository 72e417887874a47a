package gpu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice"
)

// Driver is what Holds needs of the GPUs; NVML is one.
type Driver interface {
	Inventory(ctx context.Context) ([]GPU, error)
	Read(ctx context.Context, uuid string) (Reading, error)
	Processes(ctx context.Context, uuid string) ([]Process, error)
	SetLimit(ctx context.Context, uuid string, limit Milliwatts) (Milliwatts, error)
}

// Holds keeps which run has which GPUs, what they have drawn for it, and what their
// power limits were before Sluice changed them. Each hold is a file, written before
// what it says is done, so that a crash loses no prior limit.
type Holds struct {
	driver Driver
	dir    string

	mu   sync.Mutex // held over calls of the driver, which are bounded
	held map[string]*hold
}

// hold is one run's GPUs. It is stored as it is.
type hold struct {
	Run   string    `json:"run"`
	Since time.Time `json:"since"`
	GPUs  []heldGPU `json:"gpus"`
	Ended bool      `json:"ended"` // only its limits are still to be restored, or it is to be forgotten

	stored time.Time // when it was written last
}

// heldGPU is one GPU of a hold.
type heldGPU struct {
	Index    int        `json:"index"`
	UUID     string     `json:"uuid"`
	Full     Milliwatts `json:"full_mw"`  // what a share is a share of; 0: it has no limit
	Min      Milliwatts `json:"min_mw"`   // the lowest limit that it takes
	Prior    Milliwatts `json:"prior_mw"` // its limit before Sluice changed it; 0: unchanged
	Set      Milliwatts `json:"set_mw"`   // the limit that Sluice set
	UsedMJ   float64    `json:"used_mj"`  // for this run so far
	LastMJ   uint64     `json:"last_mj"`  // the counter at the last reading
	LastAt   time.Time  `json:"last_at"`
	LastMW   Milliwatts `json:"last_mw"`
	Measured bool       `json:"measured"` // it can tell its energy or its power

	pace float64
}

// storeEvery bounds how much of a run's energy a crash can leave to be estimated.
const storeEvery = time.Minute

// foreign is how long processes of others on a GPU are waited for: those of a run
// that has just ended linger for a moment.
const foreign = 3 * time.Second

// OpenHolds reads the holds of an earlier process from dir, which it makes.
func OpenHolds(d Driver, dir string) (*Holds, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep the GPUs' limits: %w", err)
	}
	h := &Holds{driver: d, dir: dir, held: map[string]*hold{}}
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("keep the GPUs' limits: %w", err)
	}
	for _, name := range names {
		x, err := readHold(name)
		if err != nil {
			return nil, err
		}
		h.held[x.Run] = x
	}
	return h, nil
}

// Env returns the variables that show a process these GPUs of the host and no
// others; with none, that show it none.
func (h *Holds) Env(ctx context.Context, indexes []int) ([]string, error) {
	if len(indexes) == 0 {
		return []string{"CUDA_VISIBLE_DEVICES=", "NVIDIA_VISIBLE_DEVICES=void"}, nil
	}
	gpus, err := h.find(ctx, indexes)
	if err != nil {
		return nil, err
	}
	uuids := make([]string, len(gpus))
	for i, g := range gpus {
		uuids[i] = g.UUID
	}
	list := strings.Join(uuids, ",")
	return []string{"CUDA_VISIBLE_DEVICES=" + list, "NVIDIA_VISIBLE_DEVICES=" + list, "CUDA_DEVICE_ORDER=PCI_BUS_ID"}, nil
}

// find returns the GPUs of these indexes, all of them fit for use.
func (h *Holds) find(ctx context.Context, indexes []int) ([]GPU, error) {
	all, err := h.driver.Inventory(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the GPUs %v: %w", indexes, err)
	}
	out := make([]GPU, 0, len(indexes))
	for _, i := range indexes {
		j := slices.IndexFunc(all, func(g GPU) bool { return g.Index == i })
		switch {
		case j < 0:
			return nil, sluice.Errorf(sluice.Conflict, "", "this host has no GPU %d: it has %d", i, len(all))
		case all[j].Fault != nil && all[j].Fault.Drain:
			return nil, sluice.Errorf(sluice.Conflict, all[j].Fault.Mend, "GPU %d: %s", i, all[j].Fault.Text)
		case slices.ContainsFunc(out, func(g GPU) bool { return g.Index == i }):
			return nil, sluice.Errorf(sluice.Invalid, "", "GPU %d is named twice", i)
		}
		out = append(out, all[j])
	}
	return out, nil
}

// Begin gives a run its GPUs: from now on what they draw is the run's. It refuses
// GPUs that are broken, that another run has, or on which a process of somebody
// else computes. It is idempotent for the same run.
func (h *Holds) Begin(ctx context.Context, run string, indexes []int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x := h.held[run]; x != nil && !x.Ended {
		return nil
	}
	gpus, err := h.find(ctx, indexes)
	if err != nil {
		return err
	}
	x := &hold{Run: run, Since: time.Now().UTC()}
	for _, g := range gpus {
		if err := h.vacate(ctx, g.UUID, g.Index); err != nil {
			return err
		}
		if err := h.alone(ctx, g); err != nil {
			return err
		}
		y := heldGPU{Index: g.Index, UUID: g.UUID, Full: g.FullLimit(), Min: g.MinLimit}
		if r, err := h.driver.Read(ctx, g.UUID); err == nil {
			y.LastMJ, y.LastAt, y.LastMW, y.Measured = r.EnergyMJ, r.At, r.Power, r.HasEnergy || r.HasPower
		} else if FaultOf(err) != nil {
			return fmt.Errorf("take GPU %d: %w", g.Index, err)
		}
		x.GPUs = append(x.GPUs, y)
	}
	if err := h.store(x); err != nil {
		return err
	}
	h.held[run] = x
	return nil
}

// Name is what the driver calls a GPU.
type Name struct {
	Index int // when the run began; a restart of the driver may change it
	UUID  string
}

// Names lists the GPUs that a run has begun with; nil where it holds none.
func (h *Holds) Names(run string) []Name {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.held[run]
	if x == nil || x.Ended {
		return nil
	}
	out := make([]Name, len(x.GPUs))
	for i, g := range x.GPUs {
		out[i] = Name{g.Index, g.UUID}
	}
	return out
}

// vacate makes sure that no other run has the GPU, nor has left it limited. Callers
// hold mu.
func (h *Holds) vacate(ctx context.Context, uuid string, index int) error {
	for _, x := range h.held {
		if !slices.ContainsFunc(x.GPUs, func(g heldGPU) bool { return g.UUID == uuid }) {
			continue
		}
		if !x.Ended {
			return sluice.Errorf(sluice.Conflict, "", "GPU %d is held by %s", index, filepath.Base(x.Run))
		}
		if err := h.restore(ctx, x); err != nil {
			return err
		}
	}
	return nil
}

// alone waits until nobody computes on the GPU, or says who does.
func (h *Holds) alone(ctx context.Context, g GPU) error {
	late := time.Now().Add(foreign)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		procs, err := h.driver.Processes(ctx, g.UUID)
		if err != nil {
			// A driver that does not tell who is there keeps no job from running.
			return nil //nolint:nilerr // see above
		}
		procs = slices.DeleteFunc(procs, func(p Process) bool { return p.Graphics || serves(p.PID) })
		if len(procs) == 0 {
			return nil
		}
		if time.Now().After(late) {
			return sluice.Errorf(sluice.Conflict, "end it, or keep this GPU from jobs", "process %d, which is not a job's, has %d MiB of GPU %d", procs[0].PID, procs[0].MemoryMiB, g.Index)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// serves says whether the process is NVIDIA's own, which shares a GPU out.
func serves(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && strings.HasPrefix(string(b), "nvidia-cuda-mps")
}

// Use is what a run's GPUs do and have done for it.
type Use struct {
	Power    sluice.Watts // of all of them, now
	EnergyWh float64      // since Begin
	Share    float64      // of full power that they are limited to; 0: not limited
	Measured bool         // all of them can tell
	// Pace is the mean of their clocks times their use, in MHz: how fast the run goes,
	// where it does not tell itself. It is of the last reading only.
	Pace float64
}

// Use reads a run's GPUs. Of a GPU that does not answer the last that it told counts.
func (h *Holds) Use(ctx context.Context, run string) (Use, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.held[run]
	if x == nil {
		return Use{}, sluice.Errorf(sluice.NotFound, "", "%s holds no GPUs", filepath.Base(run))
	}
	var errs []error
	for i := range x.GPUs {
		if x.Ended {
			break
		}
		if r, err := h.driver.Read(ctx, x.GPUs[i].UUID); err == nil {
			x.GPUs[i].add(r)
		} else {
			errs = append(errs, fmt.Errorf("read GPU %d: %w", x.GPUs[i].Index, err))
		}
	}
	if time.Since(x.stored) > storeEvery && !x.Ended {
		errs = append(errs, h.store(x))
	}
	return x.use(), errors.Join(errs...)
}

// add takes a reading into account.
func (g *heldGPU) add(r Reading) {
	passed := r.At.Sub(g.LastAt)
	switch {
	case passed <= 0:
		return
	case r.HasEnergy && r.EnergyMJ >= g.LastMJ && g.LastMJ > 0:
		g.UsedMJ += float64(r.EnergyMJ - g.LastMJ)
	case r.HasPower: // no counter, or it began anew with the driver
		g.UsedMJ += float64(r.Power+g.LastMW) / 2 * passed.Seconds()
	}
	g.LastMJ, g.LastAt, g.LastMW = r.EnergyMJ, r.At, r.Power
	g.Measured = r.HasEnergy || r.HasPower
	g.pace = float64(r.ClockMHz) * float64(r.UtilPct) / 100
}

func (x *hold) use() Use {
	u := Use{Measured: true}
	var mj float64
	var mw, limited, full Milliwatts
	for _, g := range x.GPUs {
		mj += g.UsedMJ
		mw += g.LastMW
		full += g.Full
		limited += g.inForce()
		u.Pace += g.pace / float64(len(x.GPUs))
		u.Measured = u.Measured && g.Measured
	}
	u.EnergyWh = mj / 3.6e6
	u.Power = mw.Watts()
	if limited < full {
		u.Share = float64(limited) / float64(full)
	}
	return u
}

// inForce is the limit that Sluice has the GPU under, its full one where none.
func (g *heldGPU) inForce() Milliwatts {
	if g.Prior == 0 {
		return g.Full
	}
	return min(g.Set, g.Full)
}
