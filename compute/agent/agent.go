package agent

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/compute"
	"sluice/fabric"
)

// Facts and Reading are what an agent tells of its host.
type (
	Facts   = fabric.Facts
	Reading = fabric.Reading
)

// Source measures something of the host.
type Source interface {
	Readings(ctx context.Context) ([]Reading, error)
}

// Executor is one way of running jobs on this host.
type Executor struct {
	Name       string
	Run        compute.Executor
	Isolations []compute.Isolation // that it gives; the first executor that gives enough is taken
}

// Config is what an agent is made of.
type Config struct {
	Dir       string // data folder, of this agent alone
	Link      fabric.LinkConfig
	Executors []Executor
	Facts     Facts
	Sources   []Source
	Log       *slog.Logger
	// Prepare is called once the data folder is this agent's, before its runs are taken
	// up and any begins. Optional.
	Prepare func(ctx context.Context) error
	// OnPower is told what the site says of power, with each of its answers. It must not
	// block. Optional.
	OnPower func(fabric.Power)
	// Guard is the command that runs Guard over the data folder; empty: none, as
	// in tests that have no need of it.
	Guard []string

	BeatEvery time.Duration // default fabric.BeatEvery
	ReadEvery time.Duration // of readings and use, default 10 s
	// Uptime is the clock of leases, default fabric.Uptime.
	Uptime func() time.Duration
}

// Agent runs the jobs of a site on this host.
type Agent struct {
	cfg   Config
	epoch string
	lease *lease
	spool *spool
	link  atomic.Pointer[fabric.Link]
	kick  chan struct{} // has a token when a heartbeat is due at once
	tasks sync.WaitGroup
	run   context.Context //nolint:containedctx // of everything that the agent does beside a call
	execs execs

	mu      sync.Mutex
	runs    map[string]*run
	changed chan struct{} // closed and replaced when a run changes
	refused string        // by the site, as last told
	facts   bool          // the site wants them
	fault   string        // why the host's GPUs may get no new jobs
	held    map[compute.Isolation]string
}

// run is a record with what is only in memory.
type run struct {
	record
	usage   compute.Usage
	usedAt  time.Time // when it was read; zero: not yet
	saved   time.Time // the newest checkpoint that counts
	unsaved time.Time // since when there is a newer one that does not yet; zero: there is none
	logSize int64
	logDone bool
	busy    bool // its start is under way here
	stop    *stopAsked
}

type stopAsked struct{ until time.Duration }

// New opens the data folder. Errors: Conflict where another agent has it.
func New(cfg Config) (*Agent, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Link.Log = cfg.Log
	if cfg.BeatEvery <= 0 {
		cfg.BeatEvery = fabric.BeatEvery
	}
	if cfg.ReadEvery <= 0 {
		cfg.ReadEvery = 10 * time.Second
	}
	if cfg.Uptime == nil {
		cfg.Uptime = fabric.Uptime
	}
	if len(cfg.Executors) == 0 {
		return nil, sluice.Errorf(sluice.Invalid, "--executor process, or docker", "the agent has no executor")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, sluice.Errorf(sluice.Invalid, "", "data folder: %v", err)
	}
	cfg.Dir = dir
	for _, d := range []string{dir, filepath.Join(dir, "runs"), filepath.Join(dir, "jobs")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, sluice.Errorf(sluice.Invalid, "choose another folder with --data, or mend its permissions", "the agent's data folder: %v", err)
		}
	}
	a := &Agent{cfg: cfg, kick: make(chan struct{}, 1), runs: map[string]*run{}, changed: make(chan struct{}), facts: true}
	if a.epoch, err = epoch(dir); err != nil {
		return nil, err
	}
	return a, nil
}

// epoch names the data folder for life, so that the site does not take another
// folder's silence about a run for the run's end.
func epoch(dir string) (string, error) {
	file := filepath.Join(dir, "epoch")
	b, err := os.ReadFile(file)
	if err == nil && len(strings.TrimSpace(string(b))) == 32 {
		return strings.TrimSpace(string(b)), nil
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read the agent's data folder: %w", err)
	}
	x := make([]byte, 16)
	_, _ = crand.Read(x)
	id := hex.EncodeToString(x)
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(id + "\n")
		err = errors.Join(err, f.Sync(), f.Close(), syncDir(dir))
	}
	if err != nil {
		return "", fmt.Errorf("write the agent's data folder: %w", err)
	}
	return id, nil
}

// lockFile takes a lock of the folder for as long as the file is open.
func lockFile(path string) (*os.File, bool, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, false, nil
		}
		return nil, false, err
	}
	return f, true, nil
}

// Run joins the site and serves it until ctx ends; the runs then go on by
// themselves. Errors: Conflict where another agent has the folder; Invalid where
// the address or the token is wrong, but not once the agent has joined.
func (a *Agent) Run(ctx context.Context) error {
	lock, ok, err := lockFile(filepath.Join(a.cfg.Dir, "agent.lock"))
	for try := 0; err == nil && !ok && try < 20 && ctx.Err() == nil; try++ {
		// The guard looks for a moment whether somebody holds it.
		time.Sleep(50 * time.Millisecond)
		lock, ok, err = lockFile(filepath.Join(a.cfg.Dir, "agent.lock"))
	}
	if err != nil {
		return fmt.Errorf("lock the agent's data folder: %w", err)
	} else if !ok {
		return sluice.Errorf(sluice.Conflict, "end it, or give another folder with --data", "an agent runs over %s already", a.cfg.Dir)
	}
	defer lock.Close()
	a.lease = openLease(a.cfg.Dir)
	if a.spool, err = openSpool(filepath.Join(a.cfg.Dir, "spool"), spoolBytes); err != nil {
		return err
	}
	defer a.spool.close()
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer a.tasks.Wait()
	defer stop()
	a.run = run
	if a.cfg.Prepare != nil {
		if err := a.cfg.Prepare(ctx); err != nil {
			return err
		}
	}
	if err := a.load(); err != nil {
		return err
	}
	for _, task := range []func(context.Context){a.fence, a.sample, a.tidy, a.guard} {
		a.tasks.Go(func() { task(run) })
	}
	link, err := a.join(ctx)
	if err != nil || link == nil {
		return err
	}
	defer link.Close()
	a.link.Store(link)
	if err := a.serve(link); err != nil {
		return err
	}
	a.cfg.Log.Info("joined", "site", a.cfg.Link.URL, "host", a.cfg.Link.Token.Host)
	a.tasks.Go(func() { a.publish(run, link) })
	a.beats(ctx, link)
	// The site need not wait for silence to know that nobody is here.
	bye, cancel := context.WithTimeout(run, time.Second)
	defer cancel()
	b := a.beat()
	b.Leaving = true
	_, _ = link.Beat(bye, b)
	return nil
}

// join connects, and tries again for ever where nobody answers.
func (a *Agent) join(ctx context.Context) (*fabric.Link, error) {
	c := a.cfg.Link
	c.OnConnect = a.hurry
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		link, err := fabric.Dial(ctx, c)
		if err == nil {
			return link, nil
		}
		if ctx.Err() != nil {
			return nil, nil //nolint:nilerr // it was told to end
		}
		if sluice.KindOf(err) == sluice.Invalid && !a.lease.get().Have {
			return nil, err
		}
		pause := wait/2 + rand.N(wait) //nolint:gosec // spreads hosts that start at once
		a.cfg.Log.Warn("no connection to the site; trying again", "err", err, "in", pause.Round(100*time.Millisecond))
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(pause):
		}
	}
}

// Fault tells the site why this host's GPUs may get no new jobs; "" lifts it.
func (a *Agent) Fault(why string) {
	why = fabric.Clip(why)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fault != why {
		a.fault = why
		a.touch()
	}
}

// hurry asks for a heartbeat at once.
func (a *Agent) hurry() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// touch notes that a run has changed. Callers hold mu.
func (a *Agent) touch() {
	close(a.changed)
	a.changed = make(chan struct{})
	a.hurry()
}

// beats sends heartbeats until ctx ends.
func (a *Agent) beats(ctx context.Context, link *fabric.Link) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-a.kick:
			// What changes together is told together.
			select {
			case <-ctx.Done():
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
		if link.Connected() {
			a.beatOnce(ctx, link)
		}
		t.Reset(a.cfg.BeatEvery*9/10 + rand.N(a.cfg.BeatEvery/5+1)) //nolint:gosec // so that hosts do not beat in step
	}
}

func (a *Agent) beatOnce(ctx context.Context, link *fabric.Link) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	sent := a.cfg.Uptime()
	r, err := link.Beat(ctx, a.beat())
	if err != nil {
		a.cfg.Log.Debug("no answer to a heartbeat", "err", err)
		return
	}
	a.mu.Lock()
	told := a.refused
	a.refused, a.facts = r.Refused, r.WantFacts
	a.mu.Unlock()
	if r.Refused != "" {
		if told != r.Refused {
			a.cfg.Log.Error("the site does not accept this agent; runs end when their lease is over", "why", r.Refused)
		}
		return
	}
	a.lease.granted(sent, r.Grant)
	if a.cfg.OnPower != nil && r.Power != nil {
		a.cfg.OnPower(*r.Power)
	}
	a.taken(r.Taken)
}

// beat says how everything is now.
func (a *Agent) beat() fabric.Beat {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := fabric.Beat{Epoch: a.epoch, Pending: a.spool.pending(), Runs: []fabric.RunState{}, Fault: a.fault, Held: a.held}
	if a.facts {
		f := a.cfg.Facts
		b.Facts = &f
	}
	for _, r := range a.runs {
		if r.alive() || (r.Phase == fabric.Ended || r.Phase == fabric.Failed) && !r.Taken {
			b.Runs = append(b.Runs, r.state())
		}
	}
	return b
}

// HoldBack tells the site why runs of an isolation would not start here, until it
// is called with an empty why.
func (a *Agent) HoldBack(i compute.Isolation, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held[i] == why {
		return
	}
	held := maps.Clone(a.held)
	if held == nil {
		held = map[compute.Isolation]string{}
	}
	if held[i] = fabric.Clip(why); why == "" {
		delete(held, i)
	}
	a.held = held
	a.touch()
}

// state is what the site is told. Callers hold mu.
func (r *run) state() fabric.RunState {
	s := fabric.RunState{
		Run: r.Run, Phase: r.Phase, Idle: r.Phase == fabric.Starting && !r.busy, Usage: r.usage, Saved: r.saved,
		LogSize: r.logSize, LogDone: r.logDone, Kind: r.Kind, Err: r.Err, Fenced: r.Fenced,
	}
	if !r.usedAt.IsZero() {
		s.Ago = time.Since(r.usedAt)
	}
	if r.Exit != nil {
		e := *r.Exit
		s.Exit, s.Usage = &e, e.Used
	}
	return s
}

// taken notes which ends the site knows.
func (a *Agent) taken(runs []string) {
	for _, id := range runs {
		a.mu.Lock()
		r := a.runs[id]
		if r == nil || r.Taken {
			a.mu.Unlock()
			continue
		}
		r.Taken = true
		rec := r.record
		a.mu.Unlock()
		if err := rec.save(a.cfg.Dir); err != nil {
			a.cfg.Log.Warn("a run's end will be told again", "err", err)
		}
	}
}
