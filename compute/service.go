package compute

import (
	"cmp"
	"context"
	"fmt"
	"os"
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
	Hosts     []Host
	Executors map[string]Executor // by Host.Executor
	Store     Store
	Dir       string           // data folder; the jobs' folders are in Dir/jobs
	OnChange  func(Job)        // optional; called in order, without a lock held
	Now       func() time.Time // site time, to stamp what happens by itself
	Grace     time.Duration    // default DefaultGrace; in the host's own time
	Path      string           // PATH of jobs on real hosts; empty: a standard one
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

	mu      sync.Mutex
	jobs    map[string]*entry
	active  map[string]*entry // those that hold units
	keys    map[string]string // tenant + idempotency key → job
	dirty   map[string]bool   // changed, not stored yet
	blocked map[string]string // host → why no job may start there
	last    int               // number of the newest job
	ready   bool              // Recover has run
	closing bool
	failed  error // of the last try to store

	touched   []string // changed by the change under way
	changes   []Job    // to be told, in order
	telling   bool
	ctx       context.Context
	cancel    context.CancelFunc
	tasks     sync.WaitGroup
	idle      *sync.Cond // signalled when a job leaves active; on mu
	preparing map[string]bool
}

// entry is a job in memory.
type entry struct {
	Record
	live       Usage // of the present run, as last seen
	stopping   bool  // Stop has been asked of the executor for this run
	checkpoint time.Time
}

// New returns a Service that knows no jobs yet: call Recover before anything
// else.
func New(cfg Config) *Service {
	if cfg.Grace <= 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Path == "" {
		cfg.Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/go/bin"
	}
	s := &Service{
		cfg:       cfg,
		hosts:     map[string]Host{},
		jobs:      map[string]*entry{},
		active:    map[string]*entry{},
		keys:      map[string]string{},
		dirty:     map[string]bool{},
		blocked:   map[string]string{},
		write:     make(chan struct{}, 1),
		preparing: map[string]bool{},
	}
	for _, h := range cfg.Hosts {
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
	Class         string // empty: by the task's resources
	Units         int    // 0: by the task's resources
	RateUSDHour   float64
	StrikeUSDMWh  float64
	ExpectSeconds float64 // running time expected; virtual jobs take exactly that long, an hour when it is 0
	Interruptible bool    // sold as such; Task.Resources.UseSpot says the same
	Priority      int
	Deadline      *time.Time
}

// Submit queues a job. It is durable, with its copy of the working folder,
// before Submit returns. Errors: Invalid when no host could ever run it.
func (s *Service) Submit(ctx context.Context, now time.Time, r SubmitRequest) (Job, error) {
	if r.Task == nil {
		return Job{}, sluice.Errorf(sluice.Invalid, "give a task file", "submit: no task")
	}
	class, units, virtual, err := s.fit(r)
	if err != nil {
		return Job{}, err
	}
	key := ""
	if r.ID != "" {
		key = r.Tenant + "\x00" + r.ID
	}
	id, known, err := s.reserve(key)
	if err != nil || known != nil {
		if known != nil {
			return *known, nil
		}
		return Job{}, err
	}
	defer s.release(key)
	if !virtual {
		if err := s.prepare(id, r.WorkdirPath); err != nil {
			return Job{}, fmt.Errorf("submit: %w", err)
		}
	}
	if virtual && r.ExpectSeconds <= 0 {
		r.ExpectSeconds = 3600
	}
	e := &entry{Record: Record{Key: r.ID, Task: r.Task, Job: Job{
		ID: id, Name: cmp.Or(r.Task.Name, id), Tenant: r.Tenant, State: Queued, Why: "waits for room",
		Class: class, Units: units, Virtual: virtual,
		Interruptible: r.Interruptible || r.Task.Resources.UseSpot,
		RateUSDHour:   r.RateUSDHour, StrikeUSDMWh: r.StrikeUSDMWh, SubmittedAt: now.UTC(),
		Deadline: r.Deadline, ExpectSeconds: r.ExpectSeconds, Priority: r.Priority,
	}}}
	err = s.change(ctx, func() func() {
		s.jobs[id] = e
		if key != "" {
			s.keys[key] = id
		}
		s.touch(e)
		return func() { // not stored: it never was
			delete(s.jobs, id)
			delete(s.keys, key)
			delete(s.dirty, id)
		}
	})
	if err != nil {
		if !virtual {
			_ = os.RemoveAll(s.jobDir(id)) // a full disk is not to get fuller by every try
		}
		return Job{}, fmt.Errorf("submit: %w", err)
	}
	return s.Job(id)
}

// reserve takes the next job number, or finds the job that the key made before.
func (s *Service) reserve(key string) (string, *Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.ready:
		return "", nil, sluice.Errorf(sluice.Unavailable, "try again in a moment", "jobs are still being recovered")
	case s.closing:
		return "", nil, sluice.Errorf(sluice.Unavailable, "try again after the restart", "the site is shutting down")
	}
	if key != "" {
		if id, ok := s.keys[key]; ok {
			j := s.jobs[id].view()
			return id, &j, nil
		}
		if s.preparing[key] {
			return "", nil, sluice.Errorf(sluice.Conflict, "try again in a moment", "the same submission is under way")
		}
		s.preparing[key] = true
	}
	s.last++
	return jobID(s.last), nil, nil
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
	for _, e := range s.jobs {
		out = append(out, e.view())
	}
	slices.SortFunc(out, func(a, b Job) int { return cmp.Compare(jobNumber(a.ID), jobNumber(b.ID)) })
	return out
}

// Open returns the jobs that have not ended, the oldest first: what a plan is made
// of, however long the list of ended ones has grown.
func (s *Service) Open() []Job {
	s.refresh()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Job
	for _, e := range s.jobs {
		if !e.Job.State.Ended() {
			out = append(out, e.view())
		}
	}
	slices.SortFunc(out, func(a, b Job) int { return cmp.Compare(a.number(), b.number()) })
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
	return e.view(), nil
}

func notFound(id string) error {
	return sluice.Errorf(sluice.NotFound, "sluice job list shows the jobs", "no job %q", id)
}

// view returns a copy for the outside. Callers hold mu.
func (e *entry) view() Job {
	j := e.Job
	j.Task, j.Handle, j.BilledUSD = e.Task, e.Handle, e.BilledUSD
	j.RunSeconds += e.live.Seconds
	return j
}

// Forget drops the jobs that have ended and are billed from memory, and returns
// them, the oldest first. What keeps them is the Store.
func (s *Service) Forget() []Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Job
	for id, e := range s.jobs {
		if !e.Job.State.Ended() || s.active[id] != nil || s.dirty[id] || e.UsedMS > e.BilledMS {
			continue
		}
		out = append(out, e.view())
		delete(s.jobs, id)
		if e.Key != "" {
			delete(s.keys, e.Job.Tenant+"\x00"+e.Key)
		}
	}
	slices.SortFunc(out, func(a, b Job) int { return cmp.Compare(a.number(), b.number()) })
	return out
}
