// Package sim owns the electrical side of a virtual site: miners and meters
// that speak their real protocols over loopback, draw power as real ones do and
// live in site time. The drivers do not know that they are virtual.
package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"sluice"
	"sluice/device"
)

// MinerSpec describes one virtual miner.
type MinerSpec struct {
	Name    string
	Model   string
	Dialect string        // one of the constants
	Node    string        // that it is fed from
	Modes   []sluice.Mode // with sleep; at most 100
	Default string        // the mode it mines in by itself
	Seed    uint64        // of its noise and of its firmware's habits
	Fault   Fault
}

// Fault is how a virtual miner misbehaves.
type Fault int

// Faults. Those of replies hit the mining API, or the interface that a firmware has in its
// place, not the stock firmware's web pages; those of writes hit whatever the dialect
// writes over.
const (
	NoFault      Fault = iota
	SlowReply          // each reply takes 20 s of site time
	Truncated          // replies end in the middle
	Ignores            // commands are accepted and nothing happens
	Refuses            // commands are refused
	Silent             // connections are taken and never answered
	ForgetsPools       // going to sleep loses the pools (stock firmware)
	Restarts           // every two minutes of site time it restarts: nobody opens for 20 s, and nothing hashes
)

// slowReply is what SlowReply takes, in site time; a machine that Restarts is away
// for restartAway of each restartEvery.
const (
	slowReply    = 20 * time.Second
	restartEvery = 2 * time.Minute
	restartAway  = 20 * time.Second
)

// FleetOptions are common to all miners of a fleet.
type FleetOptions struct {
	Clock     *sluice.Clock    // of delays and ramps; nil: the wall's
	Now       func() time.Time // replaces the clock's time where a test steps it; delays stay the clock's
	StatePath string           // one byte for each miner, written at each change: sleep survives a restart; "": memory
	Instant   bool             // no delays and no ramps
	Wake      time.Duration    // from the order to full power; 0: LuxOS, VNish and Braiins 10 s, others 1 to 3 min by seed
	Fall      time.Duration    // from the order to sleeping power; 0: 5 s
	Network   *Network         // addresses of their own; nil: a port of 127.0.0.1 each
}

// Fleet is a number of virtual miners, each with a TCP listener of its own on
// 127.0.0.1, or an address of its own in a Network, that answers both the mining API
// and HTTP.
type Fleet struct {
	opt      FleetOptions
	network  *network // nil: a listener each
	machines []*machine
	nodes    map[string][]*machine
	state    *os.File
	pool     sync.Pool // of *desk

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
}

// StartFleet starts the miners. Their addresses are known when it returns; the
// caller closes the fleet.
func StartFleet(specs []MinerSpec, opt FleetOptions) (*Fleet, error) {
	f, err := newFleet(specs, opt)
	if err != nil {
		return nil, err
	}
	if opt.Network != nil {
		if f.network, err = opt.Network.check(len(specs)); err == nil {
			err = f.network.listen(f.ctx)
		}
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		for _, l := range f.network.listeners {
			f.wg.Add(1)
			go f.accept(l, nil)
		}
		return f, nil
	}
	ports := newPorts()
	for _, m := range f.machines {
		l, err := ports.listen(f.ctx)
		if err != nil {
			_ = f.Close()
			return nil, &sluice.Error{
				Kind: sluice.Internal, Msg: "starting the virtual miner " + m.spec.Name, Cause: err,
				Hint: "a fleet needs two open files for each miner: see ulimit -n",
			}
		}
		m.listener = l
	}
	for _, m := range f.machines {
		f.wg.Add(1)
		go f.accept(m.listener, m)
	}
	return f, nil
}

// ports hands out listeners. Asking the kernel for a free port takes it
// milliseconds each while tens of thousands of connections linger in TIME_WAIT,
// so free ports are looked for below the range that connections come from.
type ports struct {
	next   int
	config net.ListenConfig
}

const firstPort, lastPort = 10000, 32000

func newPorts() *ports {
	return &ports{
		next:   firstPort + rand.IntN(lastPort-firstPort), // fleets side by side rarely meet
		config: net.ListenConfig{KeepAlive: -1},
	}
}

func (p *ports) listen(ctx context.Context) (net.Listener, error) {
	for range lastPort - firstPort {
		port := p.next
		if p.next++; p.next == lastPort {
			p.next = firstPort
		}
		l, err := p.config.Listen(ctx, "tcp4", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
	}
	return p.config.Listen(ctx, "tcp4", "127.0.0.1:0")
}

// NewFleet makes the miners without sockets: only Direct and the powers work.
func NewFleet(specs []MinerSpec, opt FleetOptions) (*Fleet, error) { return newFleet(specs, opt) }

func newFleet(specs []MinerSpec, opt FleetOptions) (*Fleet, error) {
	if opt.Clock == nil {
		opt.Clock = sluice.WallClock()
	}
	f := &Fleet{opt: opt, nodes: map[string][]*machine{}, conns: map[net.Conn]struct{}{}}
	f.pool.New = func() any { return newDesk() }
	specs = slices.Clone(specs)
	all := make([]machine, len(specs))
	for i := range specs {
		s := &specs[i]
		sleep, def := modeIndex(s.Modes, sluice.ModeSleep), modeIndex(s.Modes, s.Default)
		if sleep < 0 || def < 0 || def == sleep || len(s.Modes) > 100 || !slices.Contains(dialects, s.Dialect) {
			return nil, sluice.Errorf(sluice.Invalid, "", "virtual miner %q: dialect %q, %d modes, default %q", s.Name, s.Dialect, len(s.Modes), s.Default)
		}
		m := &all[i]
		*m = machine{spec: s, index: i, sleep: uint8(sleep), profile: uint8(def), fault: s.Fault}
		f.machines = append(f.machines, m)
		f.nodes[s.Node] = append(f.nodes[s.Node], m)
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	if err := f.restore(); err != nil {
		f.cancel()
		return nil, err
	}
	return f, nil
}

func modeIndex(modes []sluice.Mode, name string) int {
	return slices.IndexFunc(modes, func(m sluice.Mode) bool { return m.Name == name })
}

// restore opens the state file and puts the miners where it says; a file of
// another fleet's length counts as far as it fits.
func (f *Fleet) restore() error {
	if f.opt.StatePath == "" {
		return nil
	}
	file, err := os.OpenFile(f.opt.StatePath, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return &sluice.Error{Kind: sluice.Internal, Msg: "opening the state of the virtual miners", Cause: err}
	}
	b := make([]byte, len(f.machines))
	n, _ := file.ReadAt(b, 0) // a short file is a new or a smaller fleet
	f.state = file
	for i, m := range f.machines {
		if p := b[i] &^ asleepBit; i < n && int(p) < len(m.spec.Modes) && p != m.sleep {
			m.asleep, m.profile = b[i]&asleepBit != 0, p
		}
		b[i] = m.profile
		if m.asleep {
			b[i] |= asleepBit
		}
	}
	if _, err := file.WriteAt(b, 0); err != nil {
		_ = file.Close()
		return &sluice.Error{Kind: sluice.Internal, Msg: "writing the state of the virtual miners", Cause: err}
	}
	return nil
}

func (f *Fleet) now() time.Time {
	if f.opt.Now != nil {
		return f.opt.Now()
	}
	return f.opt.Clock.Now()
}

// Len returns the number of miners.
func (f *Fleet) Len() int { return len(f.machines) }

// Spec returns what miner i was made of.
func (f *Fleet) Spec(i int) MinerSpec { return *f.machines[i].spec }

// Address says where miner i answers, with its credentials. Both ports are the
// same where the miners have no network.
func (f *Fleet) Address(i int) device.Address {
	m := f.machines[i]
	a := device.Address{Host: "127.0.0.1", User: m.user(), Password: m.password()}
	if n := f.network; n != nil {
		a.Host, a.APIPort, a.WebPort = n.address(i), n.APIPort, n.WebPort
		if m.spec.Dialect == WhatsminerV3 {
			a.APIPort = n.V3Port
		}
	}
	if l := m.listener; l != nil {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		a.APIPort, _ = strconv.Atoi(port)
		a.WebPort = a.APIPort
	}
	return a
}

// PowerW returns the true power of miner i at its plug, with its noise and
// ramps, in watts.
func (f *Fleet) PowerW(i int, now time.Time) float64 {
	m := f.machines[i]
	m.mu.Lock()
	defer m.mu.Unlock()
	w, _ := f.measured(m, now)
	return w
}

// NodePower returns the true power of the miners that are fed from the node
// itself (not from its children).
func (f *Fleet) NodePower(node string, now time.Time) sluice.Watts {
	sum := 0.0
	for _, m := range f.nodes[node] {
		m.mu.Lock()
		w, _ := f.measured(m, now)
		m.mu.Unlock()
		sum += w
	}
	return sluice.Watts(sum + 0.5)
}

// Mode returns the mode that miner i is in or on its way to.
func (f *Fleet) Mode(i int) string {
	m := f.machines[i]
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.spec.Modes[m.mode()].Name
}

// SetFault changes how miner i misbehaves, from its next request on.
func (f *Fleet) SetFault(i int, fault Fault) {
	m := f.machines[i]
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

// Close stops the miners and waits for their connections to end.
func (f *Fleet) Close() error {
	f.cancel()
	if f.network != nil {
		f.network.close()
	}
	for _, m := range f.machines {
		if m.listener != nil {
			_ = m.listener.Close()
		}
	}
	f.mu.Lock()
	for c := range f.conns {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
	if f.state != nil {
		if err := f.state.Close(); err != nil {
			return fmt.Errorf("closing the state of the virtual miners: %w", err)
		}
	}
	return nil
}
