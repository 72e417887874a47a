package history

import (
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"sluice"
)

// Job is one arrival.
type Job struct {
	At            time.Time // when it is handed in, UTC
	GPUs          int       // 1 or more
	Duration      time.Duration
	User          string
	Interruptible bool
	Line          int // of the file
}

const (
	maxJobGPUs = 1 << 20
	maxJobTime = 10 * 366 * 24 * time.Hour // of a duration, and of a submit time
	day        = 24 * time.Hour
)

// Jobs reads job arrivals forward, in the order of time. It holds one line of the
// file at a time; a repeated trace is read from the file again.
type Jobs struct {
	spec  JobSpec
	in    *lines
	cols  jobColumns
	found findings
	err   error

	trace  string // the one that is read, once it is known
	seen   []string
	rows   int           // rows of the trace in this round
	usable int           // of those, jobs that are not left out
	last   time.Duration // submit time of the row read last
	lap    time.Duration // the length of a round; 0 in the first
	round  int64
	given  int
}

type jobColumns struct{ trace, submit, gpus, duration, user, qos, status int } // -1: not there

// OpenJobs opens the file and reads its header.
func OpenJobs(spec JobSpec) (*Jobs, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	if spec.Start.IsZero() {
		spec.Start = spec.From
	}
	if spec.Every <= 0 {
		spec.Every = 1
	}
	j := &Jobs{spec: spec, trace: spec.Trace, found: findings{path: spec.Path}}
	if err := j.open(); err != nil {
		return nil, err
	}
	return j, nil
}

// open opens the file at its beginning.
func (j *Jobs) open() error {
	in, err := openLines(j.spec.Path)
	if err != nil {
		return err
	}
	optional := func(name string) int {
		return slices.IndexFunc(in.names, func(n string) bool { return strings.EqualFold(n, name) })
	}
	j.cols = jobColumns{trace: optional("trace"), user: optional("user"), qos: optional("qos"), status: optional("status")}
	for name, i := range map[string]*int{"submit_s": &j.cols.submit, "gpus": &j.cols.gpus, "duration_s": &j.cols.duration} {
		if *i, err = in.column(name); err != nil {
			_ = in.close()
			return err
		}
	}
	if j.cols.trace < 0 && j.spec.Trace != "" {
		_ = in.close()
		return sluice.Errorf(sluice.Invalid, "leave the trace empty", "%s has no column trace", j.spec.Path)
	}
	j.in = in
	return nil
}

// Close closes the file.
func (j *Jobs) Close() error { return j.in.close() }

// Findings returns what was found so far; a repeated trace adds nothing to it.
func (j *Jobs) Findings() []Finding { return j.found.all() }

// Next returns the next arrival, and io.EOF after the last. After an error it
// returns that error again.
func (j *Jobs) Next() (Job, error) {
	if j.err != nil {
		return Job{}, j.err
	}
	job, err := j.advance()
	if err != nil {
		j.err = err
	}
	return job, err
}

func (j *Jobs) advance() (Job, error) {
	if j.spec.MaxJobs > 0 && j.given >= j.spec.MaxJobs {
		return Job{}, io.EOF
	}
	for {
		ok, err := j.in.next()
		if err != nil {
			return Job{}, err
		}
		if !ok {
			if err := j.again(); err != nil {
				return Job{}, err
			}
			continue
		}
		job, ok, err := j.row()
		if err != nil {
			return Job{}, err
		}
		if !ok || job.At.Before(j.spec.From) {
			continue
		}
		if !j.spec.To.IsZero() && !job.At.Before(j.spec.To) {
			return Job{}, io.EOF
		}
		j.given++
		return job, nil
	}
}

// again starts the next round at the end of the file, or ends.
func (j *Jobs) again() error {
	switch {
	case j.rows == 0 && j.trace != "":
		hint := ""
		if n := nearest(j.trace, j.seen); n != "" {
			hint = "did you mean " + n + "?"
		}
		return sluice.Errorf(sluice.Invalid, hint, "%s has no trace %.60q; it has %s", j.spec.Path, j.trace, list(j.seen))
	case j.rows == 0:
		return sluice.Errorf(sluice.Invalid, "", "%s has a header and no jobs", j.spec.Path)
	case !j.spec.Repeat || j.usable == 0:
		return io.EOF
	}
	if j.lap == 0 {
		j.lap = ((j.last-j.spec.Skip)/day + 1) * day
		// Whole rounds before the range need not be read.
		if before := j.spec.From.Sub(j.spec.Start); before > 2*j.lap {
			j.round = int64(before/j.lap) - 1
		}
	}
	j.round++
	j.rows, j.usable, j.last = 0, 0, 0
	if err := j.in.close(); err != nil {
		return sluice.Errorf(sluice.Unavailable, "", "reading %s again: %v", j.spec.Path, err)
	}
	return j.open()
}

// row reads one row; it is false where that is no job of ours.
func (j *Jobs) row() (Job, bool, error) {
	in := j.in
	if n := len(in.fields); n != len(in.names) {
		return Job{}, false, in.errorf("", "the row has %d field%s, the header %d", n, plural(n), len(in.names))
	}
	if !j.ours(j.field(j.cols.trace)) {
		return Job{}, false, nil
	}
	submit, ok := seconds(in.fields[j.cols.submit])
	if !ok {
		return Job{}, false, in.errorf("submit_s is seconds from the start of the trace", "%.40q is no submit time", in.fields[j.cols.submit])
	}
	if j.rows++; submit < j.last {
		return Job{}, false, in.errorf("sort the file by trace, then by submit_s", "the job was handed in before the one above it")
	}
	j.last = submit
	if submit < j.spec.Skip {
		return Job{}, false, nil
	}
	job := Job{
		At:   j.spec.Start.Add(time.Duration(j.round)*j.lap + submit - j.spec.Skip).UTC(),
		User: j.field(j.cols.user), Line: in.line,
	}
	if kind, why := j.read(&job); kind != "" {
		j.note(kind, job, why)
		if kind != Fraction {
			return Job{}, false, nil
		}
	}
	n := j.usable
	j.usable++
	return job, n%j.spec.Every == 0, nil
}

// read fills the job from the row; it names a finding where there is one, and why
// the job cannot be used unless the finding is a Fraction.
func (j *Jobs) read(job *Job) (kind, why string) {
	gpus, bad := number(j.in.fields[j.cols.gpus])
	d, ok := seconds(j.in.fields[j.cols.duration])
	switch {
	case bad != "" || !(gpus > 0 && gpus <= maxJobGPUs):
		return Absurd, fmt.Sprintf("%.40q GPUs", j.in.fields[j.cols.gpus])
	case !ok:
		return Absurd, fmt.Sprintf("a duration of %.40q s", j.in.fields[j.cols.duration])
	case d == 0:
		return Dropped, "they take no time"
	case strings.HasPrefix(j.field(j.cols.status), "censored"):
		return Dropped, "their end was not seen"
	case j.spec.MaxGPUs > 0 && math.Ceil(gpus) > float64(j.spec.MaxGPUs):
		return Dropped, fmt.Sprintf("they ask for more than %d GPUs", j.spec.MaxGPUs)
	}
	job.Duration = d
	job.GPUs = int(math.Ceil(gpus))
	job.Interruptible = j.interruptible(job.Line)
	if float64(job.GPUs) != gpus {
		return Fraction, ""
	}
	return "", ""
}

// ours says whether the row is of the trace that is wanted.
func (j *Jobs) ours(trace string) bool {
	if j.cols.trace < 0 {
		return true
	}
	if j.trace == "" {
		j.trace = trace
	}
	const most = 20
	if len(j.seen) < most && !slices.Contains(j.seen, trace) {
		j.seen = append(j.seen, trace)
	}
	return strings.EqualFold(trace, j.trace)
}

// interruptible says whether the job may be stopped: by its qos where it has one
// (BE, best effort, may; LS, latency sensitive, and the others may not), else by
// a hash of its row.
func (j *Jobs) interruptible(line int) bool {
	switch qos := j.field(j.cols.qos); {
	case strings.EqualFold(qos, "BE"):
		return true
	case qos != "":
		return false
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s", line, j.in.fields[j.cols.submit])
	// The upper half of FNV hardly differs between rows that are alike: mix it.
	x := h.Sum64()
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	return float64(x>>11)/(1<<53) < j.spec.InterruptibleShare
}

func (j *Jobs) field(i int) string {
	if i < 0 {
		return ""
	}
	return strings.TrimSpace(string(j.in.fields[i]))
}

func (j *Jobs) note(kind string, job Job, why string) {
	f := Finding{Kind: kind, Line: job.Line, From: job.At, To: job.At, Count: 1, Note: why}
	switch {
	case j.lap > 0: // later rounds find the same again
	case kind == Absurd:
		j.found.add(f)
	default:
		j.found.sum(f)
	}
}

// seconds reads a time of 0 to ten years.
func seconds(b []byte) (time.Duration, bool) {
	v, bad := number(b)
	if bad != "" || !(v >= 0 && v <= maxJobTime.Seconds()) {
		return 0, false
	}
	return time.Duration(math.Round(v * 1e9)), true
}
