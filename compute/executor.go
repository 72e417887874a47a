package compute

import (
	"context"
	"io"
	"slices"
	"time"

	"sluice"
)

// Handle names a started run so that another process can find it again. It is
// stored as it is.
type Handle string

// RunSpec is one attempt to run a job, or one node of it, on one host.
type RunSpec struct {
	RunID string // unique over all attempts and nodes of all jobs
	JobID string
	Host  string
	Task  *Task
	Units int   // GPUs or CPU slots held on this host
	GPUs  []int // indexes of the host's GPUs that it holds; nil on a host without
	Rank  int   // of this node among Nodes
	Nodes int   // that run at once; 1 for a job on one host

	Dir           string        // the run's own folder (state)
	WorkDir       string        // the job's working folder, kept between runs
	CheckpointDir string        // SLUICE_CHECKPOINT_DIR, kept between runs
	Log           string        // file that the run's output is appended to; empty: Dir/log
	SetupDone     string        // file whose presence says that setup has run; empty: Dir/setup.done
	Control       string        // Unix socket on which the run may tell of a checkpoint; empty: none
	Env           []string      // KEY=VALUE, complete but for the secrets
	Secrets       []string      // KEY=VALUE for the run's environment alone: never in arguments, files that stay, or logs
	Mounts        []RunMount    // beside WorkDir and CheckpointDir
	CPULimit      float64       // CPUs that it may use; 0: no limit
	MemoryLimit   int64         // bytes that it may use; 0: no limit
	DiskLimit     int64         // bytes that it may write; 0: no limit
	PidsLimit     int           // processes and threads; 0: no limit
	Isolation     Isolation     // what stands between it and the host
	Image         string        // container image; empty: the host's default
	Egress        Egress        // what it may reach
	EgressAllow   []string      `json:",omitempty"` // besides that; each is a Reach
	Gang          *GangPlace    `json:",omitempty"` // of a gang in containers over several hosts
	Interrupt     Interrupt     // how Stop asks it to end
	Remaining     time.Duration // virtual jobs: running time still needed
}

// RunMount is a folder or file of the host that a run sees at Target.
type RunMount struct {
	Source, Target string // absolute
	ReadOnly       bool
}

// Isolation is what stands between a run and its host, the weaker first.
type Isolation string

// Isolations.
const (
	IsolationNone      Isolation = "process"   // a process of the host: for tenants marked trusted
	IsolationContainer Isolation = "container" // namespaces, dropped capabilities, limits
	IsolationSandbox   Isolation = "sandbox"   // a container on a kernel of its own (gVisor)
)

// Isolations lists them from the weakest to the strongest.
func Isolations() []Isolation {
	return []Isolation{IsolationNone, IsolationContainer, IsolationSandbox}
}

// AtLeast says whether i is as strong as want; any isolation is as strong as "".
func (i Isolation) AtLeast(want Isolation) bool {
	all := Isolations()
	return want == "" || slices.Index(all, i) >= slices.Index(all, want) && slices.Contains(all, i)
}

// Exit is how a run ended.
type Exit struct {
	Code    int    // exit status; 128+n for signal n; -1 unknown
	Signal  string // name of the signal that ended it, if any
	Lost    bool   // it is gone and nobody knows how
	Stopped bool   // Stop had been asked before it ended
	At      time.Time
	Why     string // for a person, empty where Code says it all
	Used    Usage  // over the whole run; zero when it is lost

	NeverRan bool `json:",omitempty"` // set by the Service: it failed to start
	unseen   bool // nobody could look: it may run still
}

// Usage is what a run has used so far.
type Usage struct {
	Seconds    float64 // of holding its units, in the host's own time
	CPUSec     float64
	MemPeak    int64        // bytes
	DiskBytes  int64        // in its folders now
	Power      sluice.Watts // of the units it holds, now; 0 where it is not measured
	EnergyWh   float64      // by the readings of its units; 0 where they are not measured
	PowerShare float64      // of full power that its GPUs are limited to; 0: not limited
	Slowed     float64      // running time lost to such limits, in seconds, where it is known
	Saved      float64      // seconds of full power not drawn because of them, likewise
}

// Executor starts and stops the runs of one kind of host. All methods obey ctx.
// Every executor passes package executortest.
type Executor interface {
	// Start starts the run and returns once it is running or has failed to
	// start. After a crash between Start and the storing of the handle, a
	// second Start of the same RunID must not run it twice: it returns the
	// handle of the first.
	Start(ctx context.Context, spec RunSpec) (Handle, error)
	// Attach finds a run again after a restart of Sluice. A run that is gone
	// without a record attaches with no error; its Wait says Lost.
	Attach(ctx context.Context, h Handle) error
	// Wait blocks until the run has ended and nothing of it is left.
	Wait(ctx context.Context, h Handle) (Exit, error)
	// Stop asks the run to end (its Interrupt: a signal or a hook), waits the
	// grace, then kills it and all its children. It returns when nothing of it
	// is left. Idempotent. A grace of 0 kills at once.
	Stop(ctx context.Context, h Handle, grace time.Duration) error
	Usage(ctx context.Context, h Handle) (Usage, error)
}

// Async is an executor whose runs start and are signalled at once and that
// tells of their ends itself, so that thousands of runs need no goroutine each
// and a simulation stays in one.
type Async interface {
	Executor
	// Watch calls ended once, when the run has ended: at once when it has
	// ended already. No lock of the executor is held during the call.
	Watch(h Handle, ended func(Exit)) error
	// Signal begins what Stop does and does not wait for the end.
	Signal(h Handle, grace time.Duration) error
}

// Execer is an executor that can run a command beside a run, where the run is.
type Execer interface {
	// Exec runs argv with the run's environment and folders until it ends or ctx
	// does, and returns its exit status.
	Exec(ctx context.Context, h Handle, argv []string, in io.Reader, out io.Writer) (code int, err error)
}

// Fetcher is an executor whose runs have their folders somewhere else.
type Fetcher interface {
	// Fetch brings what a run has changed in its folders home, while it goes on.
	Fetch(ctx context.Context, h Handle) error
}

// Capper is an executor that can limit the power of a run's units.
type Capper interface {
	// Cap limits each GPU of the run to the share of its full power limit, 1 for
	// no limit, and returns the share in force, which the hardware may bound.
	Cap(ctx context.Context, h Handle, share float64) (float64, error)
}
