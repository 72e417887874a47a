package idle

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice"
)

// Config is how idle GPUs mine.
type Config struct {
	Miner   Miner
	Command []string // starts the miner; empty: it runs by itself, and is paused
	Dir     string   // for its output
	GPUs    GPUs
	Only    []int // GPUs that may mine; of a miner that runs by itself: those that it uses
	Terms   Terms
	Rig     Rig                                // of a GPU that was not measured yet
	Value   func(now time.Time) (Value, error) // what hashing earns
	Overdue time.Duration                      // within which Yield must have the GPUs, default 30 s
	Grace   time.Duration                      // of a miner to end, default 5 s
	Now     func() time.Time                   // default time.Now
}

// Controller lets idle GPUs mine and takes them back.
type Controller struct {
	cfg  Config
	proc *process // nil: the miner runs by itself
	turn chan struct{}

	// Of who has the turn.
	on       map[int]time.Time // GPUs that mine, since when
	off      map[int]time.Time // since when those are off that mined
	rigs     map[int]Rig
	reserved map[int]time.Time // kept for a job that is about to come, until
	left     bool              // the miner was told to leave the GPUs
}

// How long a GPU that was yielded is kept for the job that it was yielded to, and
// after what time of mining its figures count.
const (
	reserve = 2 * time.Minute
	warm    = time.Minute
)

// New returns a controller. A miner that an earlier process left behind is ended.
func New(ctx context.Context, cfg Config) (*Controller, error) {
	cfg.Overdue = cmp.Or(cfg.Overdue, 30*time.Second)
	cfg.Grace = cmp.Or(cfg.Grace, 5*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Controller{
		cfg: cfg, turn: make(chan struct{}, 1), on: map[int]time.Time{}, off: map[int]time.Time{},
		rigs: map[int]Rig{}, reserved: map[int]time.Time{},
	}
	if len(cfg.Command) == 0 {
		if _, ok := cfg.Miner.(Pauser); !ok {
			return nil, sluice.Errorf(sluice.Invalid, "give idle_mining.command, which starts it", "this miner's API cannot stop it: Sluice has to start and end it itself")
		}
		return c, nil
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("keep a miner: %w", err)
	}
	c.proc = &process{argv: cfg.Command, dir: dir}
	return c, c.proc.stop(ctx, 0)
}

// take gets the turn.
func (c *Controller) take(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Controller) give() { <-c.turn }

// Step judges the GPUs that no job has at this price of power (nil: not known) and,
// where act, lets those mine that pay. It returns a verdict for each, by GPU.
func (c *Controller) Step(ctx context.Context, now time.Time, free []int, price *sluice.EnergyPrice, act bool) ([]Verdict, error) {
	if err := c.take(ctx); err != nil {
		return nil, err
	}
	defer c.give()
	value, verr := c.cfg.Value(now)
	if c.proc != nil && len(c.on) > 0 && !c.proc.running() {
		c.gone(now) // it ended by itself
	}
	c.measure(ctx, now, free)
	for g, until := range c.reserved {
		if now.After(until) || !slices.Contains(free, g) { // the job has come, or never will
			delete(c.reserved, g)
		}
	}
	var out []Verdict
	var want []int
	for _, g := range free {
		if len(c.cfg.Only) > 0 && !slices.Contains(c.cfg.Only, g) {
			continue
		}
		since, mining := c.on[g]
		if !mining {
			since = c.off[g]
		}
		v := Judge(g, c.rig(g), value, price, c.cfg.Terms, mining, since, now)
		if verr != nil {
			v = Verdict{GPU: g, Why: "what mining earns cannot be read: " + verr.Error()}
		}
		if until, ok := c.reserved[g]; ok && v.Mine {
			v.Mine, v.Why = false, v.Why+fmt.Sprintf(", but a job comes (until %s)", until.UTC().Format(time.TimeOnly))
		}
		if v.Mine {
			want = append(want, g)
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b Verdict) int { return cmp.Compare(a.GPU, b.GPU) })
	slices.Sort(want)
	if !act {
		return out, nil
	}
	return out, c.apply(ctx, want, now)
}

// rig is what a GPU does when it mines.
func (c *Controller) rig(g int) Rig {
	r, ok := c.rigs[g]
	if !ok || r.MHs == 0 {
		d := c.cfg.Rig
		d.Idle = cmp.Or(r.Idle, d.Idle)
		return d
	}
	return r
}

// measure learns what mining and standing still draw.
func (c *Controller) measure(ctx context.Context, now time.Time, free []int) {
	var st Status
	hashing := false
	for _, since := range c.on {
		if now.Sub(since) >= warm && !hashing {
			var err error
			st, err = c.cfg.Miner.Status(ctx)
			if hashing = err == nil && !st.Paused && st.MHs > 0; !hashing {
				break
			}
		}
	}
	order := c.mining()
	for _, g := range free {
		w, err := c.cfg.GPUs.Power(ctx, g)
		if err != nil || w <= 0 {
			continue
		}
		r := c.rigs[g]
		since, mining := c.on[g]
		switch {
		case mining && hashing && now.Sub(since) >= warm:
			r.Power, r.MHs, r.Measured = w, st.MHs/float64(len(order)), true
			if i := slices.Index(order, g); len(st.GPUs) == len(order) && st.GPUs[i].MHs > 0 {
				r.MHs = st.GPUs[i].MHs
			}
			r.Idle = cmp.Or(r.Idle, c.cfg.Rig.Idle)
		case !mining && now.Sub(c.off[g]) >= warm:
			r.Idle = w
		}
		c.rigs[g] = r
	}
}

// mining lists the GPUs that mine.
func (c *Controller) mining() []int {
	out := make([]int, 0, len(c.on))
	for g := range c.on {
		out = append(out, g)
	}
	slices.Sort(out)
	return out
}

// gone notes that nothing mines any more.
func (c *Controller) gone(now time.Time) {
	for g := range c.on {
		c.off[g] = now
	}
	clear(c.on)
}

// apply brings the miner to these GPUs.
func (c *Controller) apply(ctx context.Context, want []int, now time.Time) error {
	if c.proc == nil {
		return c.applyAPI(ctx, want, now)
	}
	if slices.Equal(want, c.mining()) {
		return nil
	}
	if len(c.on) > 0 {
		// Only to add one, it does not lose its minimum: what mines goes on.
		newest := time.Time{}
		shrinks := false
		for g, since := range c.on {
			if shrinks = shrinks || !slices.Contains(want, g); since.After(newest) {
				newest = since
			}
		}
		if !shrinks && now.Sub(newest) < c.cfg.Terms.MinOn {
			return nil
		}
		if err := c.proc.stop(ctx, c.cfg.Grace); err != nil {
			return err
		}
		before := c.on
		c.on = map[int]time.Time{}
		for g := range before {
			if !slices.Contains(want, g) {
				c.off[g] = now
			}
		}
	}
	if len(want) == 0 {
		return nil
	}
	names := make([]string, len(want))
	for i, g := range want {
		var err error
		if names[i], err = c.cfg.GPUs.Name(ctx, g); err != nil {
			return fmt.Errorf("start the miner: %w", err)
		}
	}
	if err := c.proc.start(strings.Join(names, ",")); err != nil {
		for _, g := range want {
			c.off[g] = now // not again in the next moment
		}
		return err
	}
	for _, g := range want {
		c.on[g] = now
	}
	return nil
}

// applyAPI pauses a miner that runs by itself, unless all of its GPUs are to mine: it
// cannot be kept from some.
func (c *Controller) applyAPI(ctx context.Context, want []int, now time.Time) error {
	p := c.cfg.Miner.(Pauser)
	all := len(want) > 0 && (len(c.cfg.Only) == 0 || len(want) == len(c.cfg.Only))
	st, err := c.cfg.Miner.Status(ctx)
	switch {
	case err != nil && !all:
		c.gone(now)
		return nil // it does not run
	case err != nil:
		return err
	case !all && !st.Paused && !c.left:
		if err := p.Pause(ctx); err != nil {
			return err
		}
		c.gone(now)
	case !all:
		c.gone(now)
	case st.Paused || c.left:
		if err := p.Resume(ctx); err != nil {
			return err
		}
		c.left = false
		fallthrough
	default:
		for _, g := range want {
			if _, ok := c.on[g]; !ok {
				c.on[g] = now
			}
		}
	}
	return nil
}
