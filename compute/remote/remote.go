// Package remote runs jobs on other machines: it is a compute.Executor that speaks
// to the hosts' agents over the fabric.
//
// It owns what the site knows of runs elsewhere, the way of a job's folders to its
// host and back, and the output that comes home. A host keeps the truth about its
// runs; the executor follows its heartbeats. While a host is silent a run counts as
// running, until its lease and all that may come after it have passed: then, and
// not before, Wait says that it is lost. That is what keeps a job from running
// twice.
package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/fabric"
)

// Config is how the executor treats runs.
type Config struct {
	Keep      time.Duration // lease of jobs on one host, default fabric.SingleLease
	GangLease time.Duration // of the nodes of a gang, default fabric.GangLease
	Notice    time.Duration // where a lease runs out and the job names none, default compute.DefaultGrace
	MaxReturn int64         // bytes of one folder that is brought back, default 256 GiB
	MaxLog    int64         // bytes of output kept of a job, default 256 MiB
	Log       *slog.Logger
}

// Executor is a compute.Executor of all hosts that agents run.
type Executor struct {
	cfg Config
	hub *fabric.Hub

	ctx   context.Context //nolint:containedctx // of what goes on beside a call
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu     sync.Mutex
	runs   map[string]*run
	byHost map[string]map[string]*run
}

var (
	_ compute.Executor = (*Executor)(nil)
	_ compute.Execer   = (*Executor)(nil)
	_ compute.Capper   = (*Executor)(nil)
)

// handle is what is stored of a run: where it is, and all that is needed to bring
// its work home.
type handle struct {
	Host    string          `json:"host"`
	Run     string          `json:"run"`
	Job     string          `json:"job"`
	Epoch   string          `json:"epoch"` // of the agent's data folder
	Dir     string          `json:"dir"`
	Log     string          `json:"log"`
	Control string          `json:"control,omitempty"`
	Lease   time.Duration   `json:"lease"`
	Notice  time.Duration   `json:"notice"`
	Folders []fabric.Folder `json:"folders"`
}

func (h handle) text() (compute.Handle, error) {
	b, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("make a handle: %w", err)
	}
	return compute.Handle(b), nil
}

func parseHandle(h compute.Handle) (handle, error) {
	var v handle
	if err := json.Unmarshal([]byte(h), &v); err != nil || fabric.CheckHost(v.Host) != nil || !fabric.ValidRun(v.Run) || !fabric.ValidRun(v.Job) || v.Lease <= 0 {
		return handle{}, sluice.Errorf(sluice.Invalid, "", "%.100q is not a handle of a run on another host", h)
	}
	return v, nil
}

// run is a run that the executor follows.
type run struct {
	handle
	x *Executor

	mu       sync.Mutex
	state    fabric.RunState
	heard    time.Time // when the state was told, by this machine's clock
	told     bool      // the host has said what it uses, in this process
	changed  chan struct{}
	ending   bool
	looking  time.Time // when it was looked for last
	exit     compute.Exit
	done     chan struct{} // closed when exit holds
	saved    time.Time     // newest checkpoint that was brought home
	bringing sync.Mutex    // one that brings folders home at a time
	log      sync.Mutex
	logged   bool // output has come in this process
}

// New returns an executor over the hub.
func New(hub *fabric.Hub, cfg Config) *Executor {
	if cfg.Keep <= 0 {
		cfg.Keep = fabric.SingleLease
	}
	if cfg.GangLease <= 0 {
		cfg.GangLease = fabric.GangLease
	}
	if cfg.Notice <= 0 {
		cfg.Notice = compute.DefaultGrace
	}
	if cfg.MaxReturn <= 0 {
		cfg.MaxReturn = 256 << 30
	}
	if cfg.MaxLog <= 0 {
		cfg.MaxLog = 256 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	x := &Executor{cfg: cfg, hub: hub, runs: map[string]*run{}, byHost: map[string]map[string]*run{}}
	x.ctx, x.stop = context.WithCancel(context.Background())
	hub.Follow(x)
	x.tasks.Go(x.watch)
	return x
}

// Close lets go of the runs, which go on.
func (x *Executor) Close() {
	x.hub.Unfollow(x)
	x.stop()
	x.tasks.Wait()
}

// track finds or makes what follows a run.
func (x *Executor) track(h handle) *run {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.runs[h.Run]
	if r == nil {
		r = &run{handle: h, x: x, changed: make(chan struct{}), done: make(chan struct{}), heard: time.Now()}
		x.runs[h.Run] = r
		if x.byHost[h.Host] == nil {
			x.byHost[h.Host] = map[string]*run{}
		}
		x.byHost[h.Host][h.Run] = r
	}
	return r
}

// drop forgets a run. Callers hold mu.
func (x *Executor) drop(r *run) {
	if x.runs[r.Run] == r {
		delete(x.runs, r.Run)
		delete(x.byHost[r.Host], r.Run)
	}
}

func (x *Executor) find(run string) *run {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.runs[run]
}

// Tracks says whether the run is followed.
func (x *Executor) Tracks(run string) bool { return x.find(run) != nil }

// endStray has a run stopped that has ended for the site, and goes on elsewhere
// perhaps: a host that was declared lost has returned.
func (x *Executor) endStray(r *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looking) < 2*time.Second || x.ctx.Err() != nil {
		return
	}
	r.looking = time.Now()
	x.tasks.Go(func() {
		_, _ = x.hub.Ask(x.ctx, r.Host, fabric.OpStop, fabric.StopOrder{Run: r.Run, Notice: r.Notice}, nil, nil)
	})
}

// Taken says whether the run's end is known, and its work at home.
func (x *Executor) Taken(run string) bool {
	r := x.find(run)
	return r != nil && r.over()
}

func (r *run) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Beat takes what a heartbeat says of the runs.
func (x *Executor) Beat(host string, b fabric.Beat) {
	told := make(map[string]bool, len(b.Runs))
	for _, s := range b.Runs {
		told[s.Run] = true
		r := x.find(s.Run)
		switch {
		case r == nil || r.Host != host:
		case r.over() && (s.Phase == fabric.Running || s.Phase == fabric.Starting):
			x.endStray(r)
		default:
			r.update(s)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, r := range x.byHost[host] {
		if !told[id] && !r.over() {
			x.lookSoon(r)
		}
	}
}

// lookSoon asks the host for a run that its heartbeat does not name, not more
// often than once a second. Callers hold mu.
func (x *Executor) lookSoon(r *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending || time.Since(r.looking) < time.Second || x.ctx.Err() != nil {
		return
	}
	r.looking = time.Now()
	x.tasks.Go(func() {
		s, err := x.look(x.ctx, r.handle, fabric.LookOrder{Run: r.Run})
		if err == nil {
			r.update(s)
		}
	})
}

func (x *Executor) look(ctx context.Context, h handle, o fabric.LookOrder) (fabric.RunState, error) {
	var s fabric.RunState
	_, err := x.hub.Ask(ctx, h.Host, fabric.OpLook, o, nil, &s)
	if err == nil && s.Run != o.Run {
		err = sluice.Errorf(sluice.Unavailable, "", "the host %s answers for another run", h.Host)
	}
	return s, err
}

// update moves a run on by what its host says of it.
func (r *run) update(s fabric.RunState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending && s.Phase != fabric.Ended {
		return
	}
	switch s.Phase {
	case fabric.Unknown, fabric.Forbidden:
		// Another data folder's ignorance proves nothing: the lease decides.
		if r.starting() || r.Epoch != r.x.hub.Epoch(r.Host) {
			return
		}
		r.finish(s, compute.Exit{Code: -1, Lost: true, At: time.Now().UTC(), Why: "its host has nothing of it"})
	case fabric.Failed:
		r.state, r.heard = s, time.Now()
		if !r.starting() {
			r.finish(s, compute.Exit{Code: -1, At: time.Now().UTC(), Why: s.Err})
		}
	case fabric.Ended:
		if s.Exit == nil {
			return
		}
		r.state, r.heard = s, time.Now()
		r.finish(s, *s.Exit)
	case fabric.Starting, fabric.Running:
		r.state, r.heard, r.told = s, time.Now(), s.Phase == fabric.Running && (s.Ago > 0 || s.Usage.Seconds > 0)
		if s.Saved.After(r.saved) && r.bringing.TryLock() {
			// A new checkpoint comes home at once: what happens to the host then
			// costs no more than what came after it.
			r.saved = s.Saved
			r.x.tasks.Go(func() {
				defer r.bringing.Unlock()
				r.bringCheckpoint()
			})
		}
	}
	r.tell()
}

// starting says whether Start is still at it. Callers hold mu.
func (r *run) starting() bool { return r.state.Phase == "" || r.state.Phase == fabric.Starting }

// tell wakes who waits for a change. Callers hold mu.
func (r *run) tell() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// finish brings home what is left and ends the run, once. Callers hold mu.
func (r *run) finish(s fabric.RunState, e compute.Exit) {
	if r.ending {
		return
	}
	r.ending = true
	if r.x.ctx.Err() != nil {
		return // whoever comes after this process does it
	}
	r.x.tasks.Go(func() {
		if s.Phase == fabric.Ended {
			if err := r.bringHome(); err != nil {
				if r.x.ctx.Err() != nil {
					return
				}
				r.x.cfg.Log.Error("a run's work could not be brought home", "run", r.Run, "host", r.Host, "err", err)
				if e.Why != "" {
					e.Why += "; "
				}
				e.Why += "not all of its work could be brought back: " + err.Error()
			}
		}
		r.mu.Lock()
		r.exit = e
		r.tell()
		r.mu.Unlock()
		close(r.done)
	})
}

// watch takes runs for lost whose host has been silent for long enough, and
// forgets those that ended long ago.
func (x *Executor) watch() {
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-x.ctx.Done():
			return
		case <-t.C:
		}
		x.mu.Lock()
		all := make([]*run, 0, len(x.runs))
		for _, r := range x.runs {
			if r.over() && time.Since(r.exit.At) > time.Hour && time.Since(r.heard) > time.Hour {
				x.drop(r)
				continue
			}
			all = append(all, r)
		}
		x.mu.Unlock()
		for _, r := range all {
			if !r.over() && x.hub.Over(r.Host, r.Epoch, r.Lease, r.Notice) {
				r.lose("its host has been silent for longer than its lease")
			}
		}
	}
}

// lose ends a run of which nothing more will be heard.
func (r *run) lose(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ending && !(r.state.Phase == "") {
		r.finish(fabric.RunState{}, compute.Exit{Code: -1, Lost: true, At: time.Now().UTC(), Why: why})
	}
}

// Lost ends all runs of a host by the operator's word that the host is gone: the
// machine is off, or its runs were ended by hand. It returns how many those were.
// What the host should still report of them is ignored, and stopped.
func (x *Executor) Lost(host, by string) int {
	x.mu.Lock()
	var all []*run
	for _, r := range x.runs {
		if r.Host == host && !r.over() {
			all = append(all, r)
		}
	}
	x.mu.Unlock()
	for _, r := range all {
		r.lose("its host was declared lost by " + by)
	}
	return len(all)
}
