// Package limit keeps the power of whole hosts below limits, by what manages them (a
// server's own controller), and gives back what was there before. What the limit was
// is on disk before it is changed; a limit that a controller forgets is set again; one
// that somebody else sets meanwhile is theirs, and never exceeded.
package limit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sluice"
	"sluice/device"
)

// Keeper keeps the limits of hosts.
type Keeper struct {
	o     Options
	hosts map[string]*host
}

// Options are what a Keeper needs.
type Options struct {
	Dir   string // where it notes what it has changed
	Hosts map[string]device.PowerLimiter
	// Power is what a host draws by a fresh reading, false where there is none.
	Power func(host string) (sluice.Watts, bool)
	Now   func() time.Time
	Log   *slog.Logger
}

// How limits are watched. A host has settle to come below its limit, as its own
// control loop and its meter are slow; above it by more than the tolerance for as long
// again, it does not obey and is left alone for distrust.
const (
	settle    = 30 * time.Second
	look      = 15 * time.Second // between two looks at a limit that stands
	distrust  = 30 * time.Minute
	again     = 250 * time.Millisecond // between two looks at one that was just set
	tolerance = 0.05
	slack     = sluice.Watts(20)
)

// host is one host's controller and what it was told. busy is held over its calls, mu
// never.
type host struct {
	name string
	dev  device.PowerLimiter
	busy chan struct{}

	mu       sync.Mutex
	note     *note // nil: nothing of ours is there
	setAt    time.Time
	lookedAt time.Time
	above    time.Time // since when it draws more than it may; zero: it does not
	fault    string    // why it is not relied on
	until    time.Time // and until when
	stuck    string    // why what was there before is not back yet
	said     string    // what the log was told last
}

// Open returns the Keeper of the hosts, with what an earlier process has left. What
// only a person can put back is told to the log: a host that is limited on does less,
// and endangers nothing.
func Open(o Options) *Keeper {
	k := &Keeper{o: o, hosts: map[string]*host{}}
	for name, dev := range o.Hosts {
		k.hosts[name] = &host{name: name, dev: dev, busy: make(chan struct{}, 1)}
	}
	notes, err := readNotes(o.Dir)
	if err != nil {
		o.Log.Error("a power limit of a host is not put back", "err", err)
	}
	for _, n := range notes {
		if h := k.hosts[n.Host]; h != nil {
			h.note = &n
			continue
		}
		o.Log.Error("Sluice has limited the power of a host whose controller the configuration does not name any more",
			"host", n.Host, "hint", fmt.Sprintf("give it its meter again, or set its limit by hand (before it had %s) and remove %s", n.prior(), n.file(o.Dir)))
	}
	return k
}

// Can says whether the host's power can be limited.
func (k *Keeper) Can(name string) bool { return k.hosts[name] != nil && k.Fault(name) == "" }

// Fault says why a host's controller is not relied on for now, or what of it could not
// be put back; "" where all is well.
func (k *Keeper) Fault(name string) string {
	h := k.hosts[name]
	if h == nil {
		return ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fault != "" && !h.until.IsZero() && !k.o.Now().Before(h.until) {
		h.fault, h.until = "", time.Time{}
	}
	return cmp.Or(h.fault, h.stuck)
}

// Held says whether something of ours stands at the host's controller.
func (k *Keeper) Held(name string) bool {
	h := k.hosts[name]
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.note != nil
}

// take waits for the host's other calls to end.
func (h *host) take(ctx context.Context) error {
	select {
	case h.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return sluice.Errorf(sluice.Unavailable, "", "the controller of host %s does not answer", h.name)
	}
}

func (h *host) give() { <-h.busy }

// Limit keeps the host below w, and returns the limit in force as the controller tells
// it: the operator's own, where that is lower. An error means that none can be counted
// on; what is left of it Keep takes back.
func (k *Keeper) Limit(ctx context.Context, name string, w sluice.Watts) (sluice.Watts, error) {
	h := k.hosts[name]
	switch {
	case h == nil:
		return 0, sluice.Errorf(sluice.Conflict, "stop the job instead", "host %s has no controller that limits its power", name)
	case w <= 0:
		return 0, sluice.Errorf(sluice.Invalid, "", "%d W is no limit of host %s", w, name)
	}
	if why := k.Fault(name); why != "" {
		return 0, sluice.Errorf(sluice.Conflict, "stop the job instead", "%s", why)
	}
	if err := h.take(ctx); err != nil {
		return 0, err
	}
	defer h.give()
	return k.limit(ctx, h, w)
}

func (k *Keeper) limit(ctx context.Context, h *host, w sluice.Watts) (sluice.Watts, error) {
	now, set, err := h.dev.PowerLimit(ctx)
	if err != nil {
		return 0, err
	}
	n := h.noted(now, set)
	if n.PriorSet {
		w = min(w, n.PriorW)
	}
	if set && now == w && n.PriorSet && w == n.PriorW {
		// The operator's own limit does it, and nothing is ours.
		return now, k.forget(h)
	}
	if set && now == w {
		return now, k.stands(h, n, now)
	}
	n.SetW, n.Trying = w, true
	if err := k.store(h, n); err != nil {
		return 0, err
	}
	if o, err := h.dev.SetPowerLimit(ctx, w); err != nil || o != sluice.Accepted {
		return 0, errOf(h, "limiting the power", o, err)
	}
	got, err := h.shows(ctx, func(l sluice.Watts, is bool) bool { return is && (l != now || !set) })
	if err != nil {
		return 0, err
	}
	return got, k.stands(h, n, got)
}

// stands notes that the controller shows a limit of ours.
func (k *Keeper) stands(h *host, n note, w sluice.Watts) error {
	now := k.o.Now()
	h.mu.Lock()
	if h.setAt.IsZero() || n.Trying || n.SetW != w {
		h.setAt, h.above = now, time.Time{}
	}
	h.lookedAt = now
	h.mu.Unlock()
	n.SetW, n.Trying = w, false
	return k.store(h, n)
}

// noted is what is to be noted of a controller that shows this limit: what stood there
// before us, or what somebody else has set since.
func (h *host) noted(now sluice.Watts, set bool) note {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.note == nil:
		return note{Host: h.name, PriorW: now, PriorSet: set}
	case set && now != h.note.SetW && !h.note.Trying:
		// A controller that forgot shows the prior limit, or none.
		return note{Host: h.name, PriorW: now, PriorSet: true}
	}
	return *h.note
}

// shows waits until the controller shows a limit as told, and returns it.
func (h *host) shows(ctx context.Context, ok func(sluice.Watts, bool) bool) (sluice.Watts, error) {
	for try := 0; ; try++ {
		w, set, err := h.dev.PowerLimit(ctx)
		if err != nil {
			return 0, err
		}
		if ok(w, set) {
			return w, nil
		}
		text := "no limit"
		if set {
			text = fmt.Sprintf("a limit of %d W", w)
		}
		wait := time.NewTimer(again)
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
		wait.Stop()
		if try == 3 || ctx.Err() != nil {
			return 0, sluice.Errorf(sluice.Conflict, "stop the job instead", "the controller of host %s says yes and goes on to show %s", h.name, text)
		}
	}
}

// Lift puts back what was there before. It is done when the controller shows it.
func (k *Keeper) Lift(ctx context.Context, name string) error {
	h := k.hosts[name]
	if h == nil {
		return nil
	}
	if err := h.take(ctx); err != nil {
		return err
	}
	defer h.give()
	return k.lift(ctx, h)
}

func (k *Keeper) lift(ctx context.Context, h *host) error {
	h.mu.Lock()
	n := h.note
	h.mu.Unlock()
	if n == nil {
		return nil
	}
	now, set, err := h.dev.PowerLimit(ctx)
	if err != nil {
		return err
	}
	was := func(w sluice.Watts, is bool) bool { return is == n.PriorSet && (!is || w == n.PriorW) }
	switch {
	case was(now, set):
	case set && now != n.SetW && !n.Trying:
		// Somebody else has set it since: it is theirs.
		k.o.Log.Warn("the power limit of a host is not put back, as somebody else has changed it", "host", h.name, "limit_w", int64(now), "before", n.prior())
	default:
		var to sluice.Watts // lifted
		if n.PriorSet {
			to = n.PriorW
		}
		if o, err := h.dev.SetPowerLimit(ctx, to); err != nil || o != sluice.Accepted {
			return errOf(h, "putting back the power limit", o, err)
		}
		if _, err := h.shows(ctx, was); err != nil {
			return err
		}
	}
	return k.forget(h)
}

func errOf(h *host, doing string, o sluice.Outcome, err error) error {
	var refused *device.RefusedError
	kind := sluice.Unavailable
	if errors.As(err, &refused) || o == sluice.Refused {
		kind = sluice.Conflict
	}
	if err == nil {
		err = fmt.Errorf("the outcome is %s", o)
	}
	return &sluice.Error{Kind: kind, Msg: fmt.Sprintf("%s of host %s", doing, h.name), Hint: "stop the job instead", Cause: err}
}
