package history

import (
	"fmt"
	"math"
	"time"

	"sluice"
)

// JobSpec says which job arrivals to read.
type JobSpec struct {
	Path string // a .csv or .csv.gz file with the columns submit_s, gpus and duration_s; trace, user, qos and status are used where they stand
	// Trace is the one wanted of a file that holds several; empty: its first.
	Trace string
	Start time.Time // the instant of submit_s 0, or of Skip; zero: From
	// Skip leaves out what was handed in before it, in trace time: recordings
	// often begin with days or weeks of hardly a job.
	Skip time.Duration
	// From and To are the half-open range of arrivals that is wanted; zero: no
	// bound on that side.
	From, To time.Time
	// Repeat begins the trace again when it ends: each round starts a whole number
	// of days after the one before, the fewest that hold the trace. It needs To or
	// MaxJobs.
	Repeat  bool
	Every   int // keeps the first of each n jobs of the trace; 0 and 1: all
	MaxGPUs int // jobs that ask for more are left out; 0: no bound
	MaxJobs int // ends after so many jobs; 0: no bound
	// InterruptibleShare, from 0 to 1, is the share of interruptible ones among
	// the jobs whose row has no qos. Which they are is decided by a hash of the
	// row, the same in each run and each round.
	InterruptibleShare float64
}

func (s JobSpec) check() error {
	bad := func(hint, format string, args ...any) error {
		return sluice.Errorf(sluice.Invalid, hint, "reading the jobs of %s: %s", s.Path, fmt.Sprintf(format, args...))
	}
	if s.Start.IsZero() && s.From.IsZero() {
		return bad("set Start or From", "it is not said when the trace begins")
	}
	for _, t := range []time.Time{s.Start, s.From, s.To} {
		if y := t.UTC().Year(); !t.IsZero() && (y < firstYear || y > lastYear) {
			return bad("", "%s is not between %d and %d", t.Format(time.RFC3339), firstYear, lastYear)
		}
	}
	if !s.From.IsZero() && !s.To.IsZero() && !s.From.Before(s.To) {
		return bad("", "the range from %s to %s is empty", s.From.Format(time.RFC3339), s.To.Format(time.RFC3339))
	}
	if s.Skip < 0 {
		return bad("", "a skip of %s is negative", s.Skip)
	}
	if s.Repeat && s.To.IsZero() && s.MaxJobs <= 0 {
		return bad("set To or MaxJobs", "a trace that repeats has no end")
	}
	if math.IsNaN(s.InterruptibleShare) || s.InterruptibleShare < 0 || s.InterruptibleShare > 1 {
		return bad("", "the interruptible share %g is not between 0 and 1", s.InterruptibleShare)
	}
	return nil
}
