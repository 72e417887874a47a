package compute

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice"
)

// DefaultGrace is the time from SIGTERM to SIGKILL where Config does not say.
const DefaultGrace = 30 * time.Second

// maxRetries is how many failed starts or lost runs in a row a job survives.
const maxRetries = 3

// Config is what a Service is made of.
type Config struct {
	Hosts      []Host
	Executors  map[string]Executor // by Host.Executor
	Store      Store
	Dir        string                                                                        // data folder; the jobs' folders are in Dir/jobs
	OnChange   func(Job)                                                                     // optional; called in order, without a lock held
	Now        func() time.Time                                                              // site time, to stamp what happens by itself
	Grace      time.Duration                                                                 // default DefaultGrace; in the host's own time
	Path       string                                                                        // PATH of jobs on real hosts; empty: a standard one
	Tenants    Tenants                                                                       // nil: every tenant is trusted and has no limits
	Vault      Vault                                                                         // nil: tasks with secrets are refused
	Price      func(class string, interruptible bool) (usdPerUnitHour, strikeUSDMWh float64) // where a request brings none
	HostPower  func(host string) (sluice.Watts, bool)                                        // of the whole host by its own readings, where they are fresh; nil: none has any
	HostLimits HostLimits                                                                    // nil: no host's power can be limited but by its executors
	Placements PlacementStore                                                                // keeps the decisions where jobs go; nil: nobody does
}

// Service owns the jobs: queue, placement, starts, preemption, re-attachment
// and metering. What to start and when is the site's decision; the Service
// never starts a job by itself.
//
// Every change is durable before the call that made it returns, and a start is
// durable before it happens, so that a crash at any instant neither loses a job
// nor runs one twice. The exception is a preemption or an end that cannot be
// stored: it happens all the same (a power limit does not wait for a disk) and
// is stored by a later call; Sync tells of it.
type Service struct {
	cfg   Config
	hosts map[string]Host

	// write serialises changes with their storing. It is taken before mu; mu
	// is never held over I/O.
	write chan struct{}

	mu         sync.Mutex
	jobs       map[string]*entry
	open       map[string]*entry // those that have not ended
	active     map[string]*entry // those that hold units
	unbilled   map[string]*entry // those that have used what is not posted
	arrays     map[string][]*entry
	shares     map[string]used         // by tenant
	ears       map[string]func()       // by run: closes its control socket
	posted     map[string]sluice.Money // by tenant with a spending limit, as last asked
	asking     map[string]bool         // tenants whose question is under way
	spending   SpendWatch
	placements []Placement                     // of the change under way
	keys       map[string]string               // tenant + idempotency key → job
	dirty      map[string]bool                 // changed, not stored yet
	blocked    map[string]map[string]string    // host → by whom → why no job may start there
	heldBack   map[string]map[Isolation]string // host → isolation → why no job that it is for may start there
	disks      map[string]float64              // GB of hosts whose configuration does not say
	freed      bool                            // there is more room than when RoomFreed was asked
	last       int                             // number of the newest job
	ready      bool                            // Recover has run
	closing    bool
	failed     error // of the last try to store

	touched   []string // changed by the change under way
	changes   []Job    // to be told, in order
	telling   bool
	ctx       context.Context
	cancel    context.CancelFunc
	tasks     sync.WaitGroup
	idle      *sync.Cond // signalled when a job leaves active; on mu
	preparing map[string]bool
	copying   chan struct{} // a token while files are copied at a start, or copies taken away
}

// entry is a job in memory.
type entry struct {
	Record
	number   int     // of its ID
	live     []Usage // of each node, as last seen
	stopping []bool  // Stop has been asked of the node's executor

	// In wall time, and forgotten at a restart.
	runningAt time.Time // all nodes were up
	stopAt    time.Time // the order to stop went out
	saved     time.Time // of the newest checkpoint
	lookedAt  time.Time // the checkpoint folder was looked at
	toldAt    time.Time // of a checkpoint, and it was stored
	asked     bool      // what it uses is being asked
	tells     bool      // the job tells of its checkpoints: its files do not count
	ready     bool      // the run has told that it gets on with its work
	progress  progress  // as last told
}

// New returns a Service that knows no jobs yet: call Recover before anything
// else.
func New(cfg Config) *Service {
	if cfg.Grace <= 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Path == "" {
		cfg.Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/go/bin"
	}
	s := &Service{
		cfg:       cfg,
		hosts:     map[string]Host{},
		jobs:      map[string]*entry{},
		open:      map[string]*entry{},
		active:    map[string]*entry{},
		unbilled:  map[string]*entry{},
		arrays:    map[string][]*entry{},
		shares:    map[string]used{},
		ears:      map[string]func(){},
		posted:    map[string]sluice.Money{},
		asking:    map[string]bool{},
		keys:      map[string]string{},
		dirty:     map[string]bool{},
		blocked:   map[string]map[string]string{},
		disks:     map[string]float64{},
		heldBack:  map[string]map[Isolation]string{},
		write:     make(chan struct{}, 1),
		preparing: map[string]bool{},
		copying:   make(chan struct{}, 1),
	}
	s.cfg.Hosts = slices.Clone(cfg.Hosts)
	slices.SortFunc(s.cfg.Hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	for _, h := range s.cfg.Hosts {
		s.hosts[h.Name] = h
	}
	s.idle = sync.NewCond(&s.mu)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// SubmitRequest is what a client asks for.
type SubmitRequest struct {
	ID            string // idempotency key, optional: a known one returns the first job
	Task          *Task
	Tenant        string
	WorkdirPath   string // absolute folder that is copied into the job's own; empty: none
	Virtual       bool   // must run on virtual hosts
	Real          bool   // must run on real hosts
	Class         string // empty: by the task's resources
	Units         int    // of each node; 0: by the task's resources
	RateUSDHour   float64
	StrikeUSDMWh  float64
	Choices       []Choice // in place of Class, Units and rates, in order of preference
	ExpectSeconds float64  // running time expected; virtual jobs take exactly that long, an hour when it is 0
	Interruptible bool     // sold as such; Task.Resources.UseSpot says the same
	Priority      int
	Deadline      *time.Time
}

// Submit queues a job. It is durable, with its copy of the working folder,
// before Submit returns. Of an array it returns the first job. Errors: Invalid
// when no host could ever run it.
func (s *Service) Submit(ctx context.Context, now time.Time, r SubmitRequest) (Job, error) {
	jobs, err := s.SubmitAll(ctx, now, r)
	if err != nil {
		return Job{}, err
	}
	return jobs[0], nil
}

// SubmitAll queues the job, or all jobs of an array, in one transaction.
func (s *Service) SubmitAll(ctx context.Context, now time.Time, r SubmitRequest) ([]Job, error) {
	if r.Task == nil {
		return nil, sluice.Errorf(sluice.Invalid, "give a task file", "submit: no task")
	}
	key := ""
	if r.ID != "" {
		key = r.Tenant + "\x00" + r.ID
	}
	// What was accepted once stays so, whatever its tenant may do by now.
	if known := s.made(key); known != nil {
		return known, nil
	}
	if err := s.admits(r); err != nil {
		return nil, err
	}
	choices, virtual, err := s.fit(r)
	if err != nil {
		return nil, err
	}
	if choices, err = affordable(r.Task, choices); err != nil {
		return nil, err
	}
	count := 1
	if a := r.Task.Array; a != nil {
		count = len(a.Indexes)
	}
	first, known, err := s.reserve(key, count)
	if err != nil || known != nil {
		return known, err
	}
	defer s.release(key)
	if virtual && r.ExpectSeconds <= 0 {
		r.ExpectSeconds = 3600
	}
	entries := make([]*entry, count)
	ids := make([]string, count)
	for i := range entries {
		entries[i] = newEntry(r, choices, virtual, first+i, now)
		ids[i] = entries[i].Job.ID
		if a := r.Task.Array; a != nil {
			e := entries[i]
			e.Job.Array, e.Job.ArrayIndex = jobID(first), &a.Indexes[i]
			e.Job.Name = fmt.Sprintf("%s-%d", cmp.Or(r.Task.Name, "array"), a.Indexes[i])
			e.Task.Array, e.Task.ArrayTask = nil, a.Task(jobID(first), i)
		}
		if i > 0 {
			entries[i].Key = "" // the array's first stands for all
		}
	}
	if err := s.furnish(ctx, r, virtual, ids); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	err = s.change(ctx, func() func() {
		for _, e := range entries {
			s.add(e)
			s.touch(e)
		}
		return func() { // not stored: they never were
			for _, e := range entries {
				s.drop(e)
				delete(s.dirty, e.Job.ID)
			}
		}
	})
	if err != nil {
		s.unfurnish(ctx, virtual, ids) // a full disk is not to get fuller by every try
		return nil, fmt.Errorf("submit: %w", err)
	}
	out := make([]Job, count)
	for i, id := range ids {
		if out[i], err = s.Job(id); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// WaitsForRoom is why a new job waits, until something is known.
const WaitsForRoom = "waits for room"

func newEntry(r SubmitRequest, choices []Choice, virtual bool, number int, now time.Time) *entry {
	c, id := choices[0], jobID(number)
	t := *r.Task
	t.Resources = c.Resources
	t.Secrets, t.SecretNames = nil, slices.Sorted(maps.Keys(r.Task.Secrets))
	nodes := max(1, t.NumNodes)
	e := &entry{number: number, Record: Record{Key: r.ID, Task: &t, Job: Job{
		ID: id, Name: cmp.Or(t.Name, id), Tenant: r.Tenant, State: Queued, Why: WaitsForRoom,
		Class: c.Class, Units: c.UnitsPerNode * nodes, Virtual: virtual,
		Interruptible: r.Interruptible || c.Resources.UseSpot,
		RateUSDHour:   c.RateUSDHour, StrikeUSDMWh: c.StrikeUSDMWh, SubmittedAt: now.UTC(),
		Deadline: r.Deadline, ExpectSeconds: r.ExpectSeconds, Priority: r.Priority,
		NoticeSeconds: t.Interrupt.Notice.Seconds(),
	}}}
	if nodes > 1 {
		e.Job.Nodes = nodes
	}
	if len(choices) > 1 {
		e.Choices = choices
	}
	return e
}

// add makes a job known. Callers hold mu.
func (s *Service) add(e *entry) {
	s.jobs[e.Job.ID] = e
	if e.Key != "" {
		s.keys[e.Job.Tenant+"\x00"+e.Key] = e.Job.ID
	}
	if e.Job.Array != "" {
		s.arrays[e.Job.Array] = append(s.arrays[e.Job.Array], e)
	}
}

// drop makes it unknown. Callers hold mu.
func (s *Service) drop(e *entry) {
	id := e.Job.ID
	delete(s.jobs, id)
	delete(s.open, id)
	delete(s.unbilled, id)
	if e.Key != "" {
		delete(s.keys, e.Job.Tenant+"\x00"+e.Key)
	}
	if a := e.Job.Array; a != "" {
		if s.arrays[a] = slices.DeleteFunc(s.arrays[a], func(x *entry) bool { return x == e }); len(s.arrays[a]) == 0 {
			delete(s.arrays, a)
		}
	}
}

// reserve takes the next job numbers, or finds the jobs that the key made before.
func (s *Service) reserve(key string, count int) (first int, known []Job, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.ready:
		return 0, nil, sluice.Errorf(sluice.Unavailable, "try again in a moment", "jobs are still being recovered")
	case s.closing:
		return 0, nil, sluice.Errorf(sluice.Unavailable, "try again after the restart", "the site is shutting down")
	}
	if key != "" {
		if s.preparing[key] { // what it makes is not durable yet
			return 0, nil, sluice.Errorf(sluice.Conflict, "try again in a moment", "the same submission is under way")
		}
		if known = s.ofKey(key); known != nil {
			return 0, known, nil
		}
		s.preparing[key] = true
	}
	first = s.last + 1
	s.last += count
	return first, nil, nil
}

// made returns the jobs that a key has made before.
func (s *Service) made(key string) []Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.preparing[key] {
		return nil
	}
	return s.ofKey(key)
}

// ofKey is made for callers that hold mu.
func (s *Service) ofKey(key string) (known []Job) {
	if id, ok := s.keys[key]; ok {
		for _, e := range s.members(id) {
			known = append(known, s.view(e))
		}
	}
	return known
}

func (s *Service) release(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.preparing, key)
}

func jobID(n int) string { return fmt.Sprintf("j-%06d", n) }

// jobNumber is the inverse of jobID; 0 when it is none.
func jobNumber(id string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(id, "j-"))
	if err != nil {
		return 0
	}
	return n
}

func (s *Service) jobDir(id string) string { return filepath.Join(s.cfg.Dir, "jobs", id) }

// Jobs returns all jobs, the oldest first.
func (s *Service) Jobs() []Job {
	s.refresh()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Job, 0, len(s.jobs))
	l := s.look()
	for _, e := range s.jobs {
		j := s.view(e)
		if j.State == Queued {
			j.Held = l.holds(e)
		}
		out = append(out, j)
	}
	slices.SortFunc(out, func(a, b Job) int { return cmp.Compare(jobNumber(a.ID), jobNumber(b.ID)) })
	return out
}

// Counts returns how many jobs are in each state.
func (s *Service) Counts() map[State]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[State]int{}
	for _, e := range s.jobs {
		out[e.Job.State]++
	}
	return out
}

func (j Job) number() int { return jobNumber(j.ID) }

// Job returns one job. Errors: NotFound.
func (s *Service) Job(id string) (Job, error) {
	s.mu.Lock()
	e := s.jobs[id]
	s.mu.Unlock()
	if e == nil {
		return Job{}, notFound(id)
	}
	s.refreshOne(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.view(e)
	if j.State == Queued {
		j.Held = s.holds(e)
	}
	return j, nil
}

func notFound(id string) error {
	return sluice.Errorf(sluice.NotFound, "sluice job list shows the jobs", "no job %q", id)
}

// view returns a copy for the outside. Callers hold mu.
func (s *Service) view(e *entry) Job {
	j := e.Job
	j.Task, j.BilledUSD = e.Task, e.BilledUSD
	if len(e.Nodes) == 0 {
		return j
	}
	j.RunSeconds += e.liveSeconds()
	if j.State == Running || j.State == Stopping {
		j.UnsavedSeconds, j.LossSeconds = s.unsaved(e), s.loss(e)
	}
	j.PowerW = 0
	for i, u := range e.live {
		if e.Nodes[i].Exit != nil {
			continue
		}
		j.PowerW += s.nodePower(e, i)
		wh, estimated := s.energy(e, i, u)
		j.EnergyWh += wh
		j.EnergyEstimated = j.EnergyEstimated || estimated
		j.CPUSeconds += u.CPUSec
		if i == 0 {
			j.SlowedSeconds += u.Slowed
		}
		j.StorageGBHours += float64(u.DiskBytes) / 1e9 * u.Seconds / 3600
		if u.PowerShare > 0 {
			j.PowerShare = u.PowerShare
		}
	}
	return j
}

// Forget drops the jobs that have ended and are billed from memory, and returns
// them, the oldest first. What keeps them is the Store. A job that another waits
// for stays.
func (s *Service) Forget() []Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := map[string]bool{}
	for _, e := range s.open {
		for _, d := range e.Task.After {
			for _, id := range d.Jobs {
				wanted[id] = true
			}
		}
	}
	var out []Job
	for id, e := range s.jobs {
		if !e.Job.State.Ended() || s.active[id] != nil || s.dirty[id] || e.owes() || wanted[id] || wanted[e.Job.Array] {
			continue
		}
		out = append(out, s.view(e))
		s.drop(e)
	}
	slices.SortFunc(out, func(a, b Job) int { return cmp.Compare(a.number(), b.number()) })
	return out
}
