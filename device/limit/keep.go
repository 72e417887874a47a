package limit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"sluice"
)

// callTimeout bounds what one host takes of a turn of Keep.
const callTimeout = 15 * time.Second

// Keep is a turn of watching: it puts back what is not wanted any more, sets again
// what a controller has forgotten, and finds hosts that do not keep below their limit.
// want says what a host is to be kept below, 0 for nothing. ignored is told of a host
// that draws more than it may. Hosts are looked at side by side.
func (k *Keeper) Keep(ctx context.Context, want func(host string) sluice.Watts, ignored func(host, why string)) {
	var wg sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(k.hosts)) {
		h := k.hosts[name]
		if !k.Held(name) && want(name) == 0 {
			continue // nothing is asked of a host of which nothing is wanted
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			if h.take(ctx) != nil {
				return
			}
			defer h.give()
			// Asked only now: what was wanted before may have changed while another call went on.
			w := want(name)
			var err error
			if w == 0 {
				err = k.lift(ctx, h)
				h.say(k, "a power limit of a host is not put back yet", err)
				h.mu.Lock()
				if h.stuck = ""; err != nil {
					h.stuck = fmt.Sprintf("the power limit of host %s could not be put back yet: %v", name, err)
				}
				h.mu.Unlock()
				return
			}
			h.say(k, "the power limit of a host cannot be looked after", k.watch(ctx, h, w))
			if why := k.obeys(h); why != "" {
				k.o.Log.Warn(why, "host", name)
				ignored(name, why)
			}
		})
	}
	wg.Wait()
}

// watch looks whether the limit still stands, and sets it again where it does not.
func (k *Keeper) watch(ctx context.Context, h *host, w sluice.Watts) error {
	now := k.o.Now()
	h.mu.Lock()
	n, due := h.note, now.Sub(h.lookedAt) >= look
	h.mu.Unlock()
	if !due {
		return nil
	}
	have, set, err := h.dev.PowerLimit(ctx)
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.lookedAt = now
	h.mu.Unlock()
	if n == nil && set && have <= w {
		return nil // the operator's own does it
	}
	if n != nil && n.PriorSet {
		w = min(w, n.PriorW)
	}
	if n != nil && !n.Trying && set && have == w {
		h.mu.Lock()
		if h.setAt.IsZero() { // of an earlier process
			h.setAt = now
		}
		h.mu.Unlock()
		return nil
	}
	if n != nil && !set {
		k.o.Log.Warn("the controller of a host has forgotten its power limit: it is set again", "host", h.name, "limit_w", int64(w))
	}
	_, err = k.limit(ctx, h, w)
	return err
}

// obeys compares what the host draws with its limit; it says why it does not obey.
func (k *Keeper) obeys(h *host) string {
	now := k.o.Now()
	draws, fresh := k.o.Power(h.name)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.note == nil || !fresh || h.setAt.IsZero() || now.Sub(h.setAt) < settle {
		return ""
	}
	top := h.note.SetW + sluice.Watts(tolerance*float64(h.note.SetW)) + slack
	switch {
	case draws <= top:
		h.above = time.Time{}
		return ""
	case h.above.IsZero():
		h.above = now
		return ""
	case now.Sub(h.above) < settle:
		return ""
	}
	h.fault = fmt.Sprintf("host %s draws %d W although its controller says that it is limited to %d W", h.name, draws, h.note.SetW)
	h.until, h.above = now.Add(distrust), time.Time{}
	return h.fault
}

// say logs an error when it changes, and when it has passed.
func (h *host) say(k *Keeper, what string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	h.mu.Lock()
	before := h.said
	h.said = text
	h.mu.Unlock()
	switch {
	case text == before:
	case err != nil:
		k.o.Log.Warn(what, "host", h.name, "err", err)
	default:
		k.o.Log.Info("the controller of a host does as it should again", "host", h.name)
	}
}

// store makes a note durable.
func (k *Keeper) store(h *host, n note) error {
	h.mu.Lock()
	same := h.note != nil && *h.note == n
	h.mu.Unlock()
	if same {
		return nil
	}
	if err := n.write(k.o.Dir); err != nil {
		return fmt.Errorf("note the power limit of host %s: %w", h.name, err)
	}
	h.mu.Lock()
	h.note = &n
	h.mu.Unlock()
	return nil
}

// forget drops the note: nothing of ours is left.
func (k *Keeper) forget(h *host) error {
	if err := (note{Host: h.name}).remove(k.o.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the power limit of host %s: %w", h.name, err)
	}
	h.mu.Lock()
	h.note, h.setAt, h.above = nil, time.Time{}, time.Time{}
	h.mu.Unlock()
	return nil
}
