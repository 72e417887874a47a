package gpu

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sluice"
)

// Cap limits each GPU of a run to the share of its full limit, 1 for none, and
// returns the share in force: the hardware has a lowest limit, and one that the
// operator has set is never raised. What the limit was is stored first. Where a GPU
// refuses, all of the run stay as they were.
func (h *Holds) Cap(ctx context.Context, run string, share float64) (float64, error) {
	if !(share > 0) || share > 1 {
		return 0, sluice.Errorf(sluice.Invalid, "give a share above 0, at most 1", "a power share of %g", share)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.held[run]
	if x == nil || x.Ended {
		return 0, sluice.Errorf(sluice.NotFound, "", "%s holds no GPUs", filepath.Base(run))
	}
	if share == 1 {
		err := h.restore(ctx, x)
		return inForce(x), err
	}
	before := slices.Clone(x.GPUs)
	if err := h.notePriors(ctx, x); err != nil {
		return inForce(x), err
	}
	for i := range x.GPUs {
		g := &x.GPUs[i]
		want := min(max(Milliwatts(share*float64(g.Full)), g.Min), g.Prior)
		got, err := h.driver.SetLimit(ctx, g.UUID, want)
		if err != nil {
			err = fmt.Errorf("limit GPU %d to %s: %w", g.Index, want.Watts(), limitHint(err))
			return inForce(x), errors.Join(err, h.back(ctx, x, before, i))
		}
		g.Set = got
	}
	return inForce(x), h.store(x)
}

// notePriors stores what the limits are, before they are changed.
func (h *Holds) notePriors(ctx context.Context, x *hold) error {
	all, err := h.driver.Inventory(ctx)
	if err != nil {
		return fmt.Errorf("read the power limits: %w", err)
	}
	for i := range x.GPUs {
		g := &x.GPUs[i]
		if g.Prior != 0 {
			continue
		}
		j := slices.IndexFunc(all, func(a GPU) bool { return a.UUID == g.UUID })
		if j < 0 || all[j].Limit == 0 || g.Full == 0 {
			return sluice.Errorf(sluice.Conflict, "stop the job instead", "GPU %d has no power limit that could be set", g.Index)
		}
		g.Prior, g.Set = all[j].Limit, all[j].Limit
	}
	return h.store(x)
}

// back undoes a Cap that failed at GPU n.
func (h *Holds) back(ctx context.Context, x *hold, before []heldGPU, n int) error {
	var errs []error
	for i := range x.GPUs[:n] {
		g := &x.GPUs[i]
		was := g.Prior
		if before[i].Prior != 0 {
			was = before[i].Set
		}
		if got, err := h.driver.SetLimit(ctx, g.UUID, was); err == nil {
			g.Set = got
		} else {
			errs = append(errs, fmt.Errorf("put back the limit of GPU %d: %w", g.Index, err))
		}
	}
	for i := range x.GPUs {
		if g := &x.GPUs[i]; before[i].Prior == 0 && g.Set == g.Prior {
			g.Prior, g.Set = 0, 0
		}
	}
	return errors.Join(append(errs, h.store(x))...)
}

func limitHint(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case CodeNoPermission:
		return &sluice.Error{Kind: sluice.Conflict, Msg: e.Error(), Hint: "run sluice as root on the host; containers may not set limits"}
	case CodeNotSupported, CodeNoFunction:
		return &sluice.Error{Kind: sluice.Conflict, Msg: e.Error(), Hint: "this GPU cannot be limited: stop the job instead"}
	}
	return err
}

func inForce(x *hold) float64 {
	if u := x.use(); u.Share > 0 {
		return u.Share
	}
	return 1
}

// restore puts the limits back as they were. What could not be restored stays noted.
// Callers hold mu.
func (h *Holds) restore(ctx context.Context, x *hold) error {
	var errs []error
	changed := false
	for i := range x.GPUs {
		g := &x.GPUs[i]
		if g.Prior == 0 {
			continue
		}
		if _, err := h.driver.SetLimit(ctx, g.UUID, g.Prior); err != nil {
			errs = append(errs, fmt.Errorf("restore the power limit of GPU %d to %s: %w", g.Index, g.Prior.Watts(), err))
			continue
		}
		g.Prior, g.Set, changed = 0, 0, true
	}
	if changed {
		errs = append(errs, h.store(x))
	}
	return errors.Join(errs...)
}

// End takes a run's GPUs back: it restores their limits and returns the energy that
// they drew until the run ended at the instant. It may be called again; a run that
// holds none has used none. The hold is kept until Forget.
func (h *Holds) End(ctx context.Context, run string, at time.Time) (Use, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.held[run]
	if x == nil {
		return Use{}, nil
	}
	if !x.Ended {
		for i := range x.GPUs {
			if r, err := h.driver.Read(ctx, x.GPUs[i].UUID); err == nil {
				x.GPUs[i].end(r, at)
			}
		}
		x.Ended = true
		if err := h.store(x); err != nil {
			return x.use(), err
		}
	}
	err := h.restore(ctx, x)
	u := x.use()
	u.Power, u.Share, u.Pace = 0, 0, 0
	return u, err
}

// end is add for the last reading, which may come long after the run's end when
// nobody was there: what the GPU has drawn since, at its present power, is not the
// run's, and the run had no more than its full power.
func (g *heldGPU) end(r Reading, at time.Time) {
	was, last := g.UsedMJ, g.LastAt
	g.add(r)
	if late := r.At.Sub(at); late > 0 && r.HasPower {
		g.UsedMJ -= float64(r.Power) * min(late, r.At.Sub(last)).Seconds()
	}
	g.UsedMJ = max(g.UsedMJ, was)
	if g.Full > 0 {
		g.UsedMJ = min(g.UsedMJ, was+float64(g.Full)*max(0, at.Sub(last).Seconds()))
	}
}

// Forget drops the hold of a run that has ended, unless a limit of it is still to be
// restored.
func (h *Holds) Forget(run string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.held[run]
	if x == nil || !x.Ended || slices.ContainsFunc(x.GPUs, func(g heldGPU) bool { return g.Prior != 0 }) {
		return
	}
	delete(h.held, run)
	_ = os.Remove(h.file(run)) // one that stays is forgotten at the next start
}

// Runs lists the runs that hold GPUs, or have left one limited. At a start, End those
// that are over. Those that go on keep their limits, so that a limit of the site that
// they were lowered for holds on; Use tells of them.
func (h *Holds) Runs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.held))
}

// Held lists the GPUs that runs have now, by UUID.
func (h *Holds) Held() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, x := range h.held {
		for _, g := range x.GPUs {
			if !x.Ended {
				out = append(out, g.UUID)
			}
		}
	}
	slices.Sort(out)
	return out
}
