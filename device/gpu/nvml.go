package gpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sluice"
)

// ErrNotBuilt is returned by a binary without its probe.
var ErrNotBuilt = sluice.Errorf(sluice.Unavailable, "build it with `make build`", "this binary was built without its GPU probe")

// Options say how the driver is reached. The zero value is what a host needs.
type Options struct {
	Library string        // of the driver; empty: where drivers put it
	Probe   string        // program to run instead of the embedded one
	Timeout time.Duration // of a call, default 4 s
}

// How long a GPU that did not answer is left alone, and how much of that at most.
const (
	silence    = 30 * time.Second
	maxSilence = 10 * time.Minute
)

// NVML reaches the GPUs of this machine. It starts nothing before it is asked, and
// is safe for use by several goroutines.
type NVML struct {
	opt Options

	starting sync.Mutex // held by who starts a probe
	mu       sync.Mutex
	p        *probe
	hello    Hello // of the last probe
	closed   bool
	silent   map[string]*quiet // by UUID
	uuids    map[int]GPU       // as last seen, by index
	watchers map[int]func(Event)
	serial   int
}

// quiet is a GPU that did not answer.
type quiet struct {
	until time.Time
	next  time.Duration
}

// Open returns the GPUs of this machine; whether there are any shows at the first
// call.
func Open(o Options) *NVML {
	o.Timeout = cmp.Or(o.Timeout, 4*time.Second)
	return &NVML{opt: o, silent: map[string]*quiet{}, uuids: map[int]GPU{}, watchers: map[int]func(Event){}}
}

// Close ends the probe.
func (n *NVML) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	if n.p != nil {
		n.p.kill()
		n.p = nil
	}
}

// IsNone says whether the error means that this machine has no NVIDIA GPU, or no
// driver for it.
func IsNone(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == CodeNoLibrary || e.Code == CodeNoDriver || e.Code == CodeNoGPU)
}

// Driver says which driver is loaded, once there was a call.
func (n *NVML) Driver() Hello {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hello
}

// running returns the probe, started where it does not run.
func (n *NVML) running(ctx context.Context) (*probe, error) {
	n.starting.Lock()
	defer n.starting.Unlock()
	n.mu.Lock()
	p, closed := n.p, n.closed
	n.mu.Unlock()
	switch {
	case closed:
		return nil, sluice.Errorf(sluice.Conflict, "", "the GPUs were closed")
	case p != nil && p.alive():
		return p, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*n.opt.Timeout) // loading a driver's library takes up to seconds
	defer cancel()
	p, err := start(ctx, n.opt, n.tell)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		p.kill()
		return nil, sluice.Errorf(sluice.Conflict, "", "the GPUs were closed")
	}
	n.p, n.hello = p, p.hello
	return p, nil
}

func (n *NVML) tell(e Event) {
	n.mu.Lock()
	fns := make([]func(Event), 0, len(n.watchers))
	for _, f := range n.watchers {
		fns = append(fns, f)
	}
	n.mu.Unlock()
	for _, f := range fns {
		f(e)
	}
}

// call asks the probe with a deadline. It never waits longer, whatever the driver
// does.
func (n *NVML) call(ctx context.Context, r Request) (Response, error) {
	if err := n.quarantined(r.UUID); err != nil {
		return Response{}, err
	}
	p, err := n.running(ctx)
	if err != nil {
		return Response{}, err
	}
	bound, cancel := context.WithTimeout(ctx, n.opt.Timeout)
	defer cancel()
	a, err := p.ask(bound, r)
	switch {
	case err == nil:
		n.heard(r.UUID)
		return a, nil
	case ctx.Err() != nil:
		return a, fmt.Errorf("%s: %w", r.Op, ctx.Err())
	case errors.Is(err, context.DeadlineExceeded):
		n.drop(p, r.UUID)
		return a, &Error{Op: r.Op, Code: CodeSilent, Msg: fmt.Sprintf("no answer within %s", n.opt.Timeout)}
	case errors.Is(err, errEnded):
		return a, sluice.Errorf(sluice.Unavailable, "see `dmesg | grep NVRM`", "%s: the GPU probe ended: %s", r.Op, cmp.Or(p.stderr.String(), "killed"))
	}
	return a, err
}

// drop gives up a probe in which a call hangs, and leaves the GPU alone for a while.
func (n *NVML) drop(p *probe, uuid string) {
	p.kill()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.p == p {
		n.p = nil
	}
	n.quiet(uuid)
}

// quiet leaves a GPU alone for a while. Callers hold mu.
func (n *NVML) quiet(uuid string) {
	if uuid == "" {
		return
	}
	q := n.silent[uuid]
	if q == nil {
		q = &quiet{next: silence}
		n.silent[uuid] = q
	}
	q.until, q.next = time.Now().Add(q.next), min(2*q.next, maxSilence)
}

func (n *NVML) quarantined(uuid string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if q := n.silent[uuid]; q != nil && time.Now().Before(q.until) {
		return &Error{Op: "ask the GPU", Code: CodeSilent, Msg: "it did not answer and is left alone until " + q.until.UTC().Format(time.TimeOnly)}
	}
	return nil
}

func (n *NVML) heard(uuid string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.silent, uuid)
}

// Inventory lists the GPUs by index. One that is lost or hangs stands there with its
// fault, under what it was when it was last seen.
func (n *NVML) Inventory(ctx context.Context) ([]GPU, error) {
	r, err := n.call(ctx, Request{Op: OpInventory})
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	hangs := false
	for i, g := range r.GPUs {
		if g.UUID == "" { // it could not say who it is
			silent := g.Fault != nil && g.Fault.Silent
			if was, ok := n.uuids[g.Index]; ok {
				was.Fault = g.Fault
				r.GPUs[i] = was
				if silent {
					n.quiet(was.UUID)
				}
			}
			hangs = hangs || silent
			continue
		}
		n.uuids[g.Index] = g
	}
	if hangs && n.p != nil { // a thread of it is stuck; the next call begins anew
		n.p.kill()
		n.p = nil
	}
	return r.GPUs, nil
}

// Read tells what a GPU does now.
func (n *NVML) Read(ctx context.Context, uuid string) (Reading, error) {
	r, err := n.call(ctx, Request{Op: OpRead, UUID: uuid})
	if err != nil {
		return Reading{}, err
	}
	if r.Reading == nil {
		return Reading{}, sluice.Errorf(sluice.Internal, "", "the GPU probe sent no reading")
	}
	return *r.Reading, nil
}

// Processes lists who has memory of a GPU. In a container these are process ids of
// the host.
func (n *NVML) Processes(ctx context.Context, uuid string) ([]Process, error) {
	r, err := n.call(ctx, Request{Op: OpProcesses, UUID: uuid})
	return r.Processes, err
}

// SetLimit limits a GPU's power, which only root may. It returns the limit in force,
// which the driver may have bounded.
func (n *NVML) SetLimit(ctx context.Context, uuid string, limit Milliwatts) (Milliwatts, error) {
	r, err := n.call(ctx, Request{Op: OpSetLimit, UUID: uuid, Limit: limit})
	return r.Limit, err
}

// Watch calls fn with each error that a GPU reports until ctx ends; it survives the
// loss of a probe. It returns at once where the driver has no such events.
func (n *NVML) Watch(ctx context.Context, fn func(Event)) error {
	n.mu.Lock()
	n.serial++
	id := n.serial
	n.watchers[id] = fn
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.watchers, id)
		n.mu.Unlock()
	}()
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
		p, err := n.running(ctx)
		if err == nil {
			bound, cancel := context.WithTimeout(ctx, n.opt.Timeout)
			_, err = p.ask(bound, Request{Op: OpWatch})
			cancel()
		}
		var no *Error
		switch {
		case err == nil:
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-p.done:
			}
		case errors.As(err, &no):
			return err
		}
		again.Reset(time.Second)
	}
}
