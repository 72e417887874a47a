package idle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice"
)

// Yield takes the miner off the GPUs for a job. It returns when it is off: it says
// that it is paused or is gone, and the driver says that nobody computes there. Until
// then, and where it returns an error, nobody may have them. It takes no longer than
// Config.Overdue.
func (c *Controller) Yield(ctx context.Context, gpus []int) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Overdue)
	defer cancel()
	if err := c.take(ctx); err != nil {
		return fmt.Errorf("take GPUs %v from the miner: %w", gpus, err)
	}
	defer c.give()
	now := c.cfg.Now()
	for _, g := range gpus {
		c.reserved[g] = now.Add(reserve)
	}
	if c.proc != nil {
		if !slices.ContainsFunc(gpus, func(g int) bool { _, ok := c.on[g]; return ok }) {
			return nil
		}
		// All of it: it cannot give up one GPU. The next Step starts it on the rest.
		if err := c.proc.stop(ctx, c.cfg.Grace); err != nil {
			return fmt.Errorf("take GPUs %v from the miner: %w", gpus, err)
		}
		clear(c.on)
		return c.vacated(ctx, gpus, func() error { return nil })
	}
	if len(c.cfg.Only) > 0 && !slices.ContainsFunc(gpus, func(g int) bool { return slices.Contains(c.cfg.Only, g) }) {
		return nil // it never has these
	}
	p := c.cfg.Miner.(Pauser)
	st, err := c.cfg.Miner.Status(ctx)
	if err == nil && !st.Paused && !c.left {
		if err := p.Pause(ctx); err != nil {
			// It may have obeyed, and if not, leaving is what is asked next.
			_ = p.Leave(ctx)
			c.left = true
		}
	}
	c.gone(now)
	return c.vacated(ctx, gpus, func() error {
		c.left = true
		return p.Leave(ctx)
	})
}

// Close takes the miner off all GPUs.
func (c *Controller) Close(ctx context.Context) error {
	if err := c.take(ctx); err != nil {
		return err
	}
	defer c.give()
	c.gone(c.cfg.Now())
	if c.proc != nil {
		return c.proc.stop(ctx, c.cfg.Grace)
	}
	if st, err := c.cfg.Miner.Status(ctx); err != nil || st.Paused {
		return nil //nolint:nilerr // it does not run
	}
	return c.cfg.Miner.(Pauser).Pause(ctx)
}

// vacated waits until the GPUs are free of the miner. It tells it to leave when a
// pause has not done it within a moment.
func (c *Controller) vacated(ctx context.Context, gpus []int, leave func() error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	patience := c.cfg.Overdue / 10
	begin := time.Now()
	told := false
	var tell error
	for {
		why := c.occupied(ctx, gpus)
		if why == "" {
			return nil
		}
		if !told && time.Since(begin) >= patience {
			told, tell = true, leave()
		}
		select {
		case <-ctx.Done():
			e := &sluice.Error{
				Kind: sluice.Unavailable, Msg: fmt.Sprintf("take GPUs %v from the miner within %s: %s", gpus, c.cfg.Overdue, why),
				Hint: "end it; no job starts there before", Cause: errors.Join(tell, ctx.Err()),
			}
			return e
		case <-tick.C:
		}
	}
}

// occupied says what keeps the GPUs from being free, "" for nothing.
func (c *Controller) occupied(ctx context.Context, gpus []int) string {
	if c.proc == nil {
		if st, err := c.cfg.Miner.Status(ctx); err == nil && !st.Paused && st.MHs > 0 && !c.left {
			return "it says that it still mines"
		}
	}
	for _, g := range gpus {
		pids, err := c.cfg.GPUs.Busy(ctx, g)
		if err == nil {
			if len(pids) > 0 {
				return fmt.Sprintf("process %d still computes on GPU %d", pids[0], g)
			}
			continue
		}
		// Without the driver's list its power has to do.
		w, perr := c.cfg.GPUs.Power(ctx, g)
		if perr != nil {
			return fmt.Sprintf("GPU %d does not tell who is there: %v", g, err)
		}
		if idle := c.rig(g).Idle; float64(w) > 1.25*float64(idle)+10 {
			return fmt.Sprintf("GPU %d still draws %s, %s when it idles", g, w, idle)
		}
	}
	return ""
}
