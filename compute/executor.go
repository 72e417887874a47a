package compute

import (
	"context"
	"time"

	"sluice"
)

// Handle names a started run so that another process can find it again. It is
// stored as it is.
type Handle string

// RunSpec is one attempt to run a job on one host.
type RunSpec struct {
	RunID         string // unique over all attempts of all jobs
	JobID         string
	Host          string
	Task          *Task
	Units         int           // GPUs or CPU slots held
	Dir           string        // the run's own folder (state)
	WorkDir       string        // the job's working folder, kept between runs
	CheckpointDir string        // SLUICE_CHECKPOINT_DIR, kept between runs
	Log           string        // file that the run's output is appended to; empty: Dir/log
	SetupDone     string        // file whose presence says that setup has run; empty: Dir/setup.done
	Env           []string      // KEY=VALUE, complete
	CPULimit      float64       // CPUs that it may use; 0: no limit
	MemoryLimit   int64         // bytes that it may use; 0: no limit
	Remaining     time.Duration // virtual jobs: running time still needed
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
}

// Usage is what a run has used so far.
type Usage struct {
	Seconds float64 // of holding its units, in the host's own time
	CPUSec  float64
	MemPeak int64        // bytes
	Power   sluice.Watts // of the units it holds, now; 0 where it is not measured
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
	// Stop asks the run to end (SIGTERM), waits the grace, then kills it and
	// all its children. It returns when nothing of it is left. Idempotent.
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
