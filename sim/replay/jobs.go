package replay

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"
)

//go:embed data/ai_jobs.csv
var jobsCSV []byte

// Arrival is one AI job that a client submits.
type Arrival struct {
	ID            string // stable over restarts: of the pass over the window, and the row
	At            time.Time
	GPUs          int           // 1, 2, 4 or 8, all on one host
	Duration      time.Duration // of running
	Tenant        string        // the virtual cluster of the trace
	Interruptible bool
	Name          string
}

// Period is the length of the window of jobs, after which the same jobs come
// again under new IDs. It is such that they would hold 90 % of 1,920 GPUs.
const Period = 19 * time.Hour

// fill is the time over which the backlog arrives.
const fill = 75 * time.Minute

// job is a row of the window.
type job struct {
	offset        time.Duration // from the start of the window
	gpus          int
	duration      time.Duration
	tenant        string
	interruptible bool
}

var window = sync.OnceValue(func() []job {
	js, err := parseJobs(jobsCSV)
	if err != nil {
		panic("replay: the embedded jobs are broken: " + err.Error()) // a test reads them
	}
	return js
})

func parseJobs(data []byte) ([]job, error) {
	in := csv.NewReader(bytes.NewReader(data))
	in.Comment = '#'
	in.FieldsPerRecord = 5
	if _, err := in.Read(); err != nil { // header
		return nil, err
	}
	var out []job
	for {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var n [3]int
		for i := range n {
			if n[i], err = strconv.Atoi(rec[i]); err != nil {
				return nil, err
			}
		}
		out = append(out, job{
			offset: time.Duration(n[0]) * time.Second, gpus: n[1], duration: time.Duration(n[2]) * time.Second,
			tenant: "vc-" + rec[3], interruptible: rec[4] == "yes",
		})
	}
}

// Arrivals returns the jobs that arrive in [from, to), in order, of the stream
// that begins at origin. It is the same for the same arguments, and any way of
// cutting the time into intervals gives the same jobs.
//
// The stream looks as if it had always run: what earlier passes over the window
// would still be running at origin arrives first, within 75 minutes, as a backlog
// with what is left of its durations (half an hour at least); then the passes
// follow each other.
func Arrivals(origin, from, to time.Time) []Arrival {
	var out []Arrival
	within := func(at time.Time) bool { return !at.Before(from) && at.Before(to) }
	if from.Before(origin.Add(fill)) {
		for _, a := range backlog(origin) {
			if within(a.At) {
				out = append(out, a)
			}
		}
	}
	first := max(0, int(from.Sub(origin)/Period))
	for pass := first; origin.Add(time.Duration(pass) * Period).Before(to); pass++ {
		began := origin.Add(time.Duration(pass) * Period)
		for i, j := range window() {
			if at := began.Add(j.offset); within(at) {
				out = append(out, j.arrival(fmt.Sprintf("p%d-%04d", pass, i), at, j.duration))
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Arrival) int { return a.At.Compare(b.At) })
	return out
}

// backlog returns what would be running at origin, spread over the fill time.
func backlog(origin time.Time) []Arrival {
	var out []Arrival
	for pass := 1; pass <= int(longest/Period)+1; pass++ {
		for i, j := range window() {
			left := j.offset + j.duration - time.Duration(pass)*Period
			if left <= 0 {
				continue
			}
			out = append(out, j.arrival(fmt.Sprintf("b%d-%04d", pass, i), origin, max(shortest, left)))
		}
	}
	for i := range out {
		out[i].At = origin.Add(fill * time.Duration(i) / time.Duration(len(out)))
	}
	return out
}

// Durations of the trace are clipped to these.
const (
	shortest = 30 * time.Minute
	longest  = 24 * time.Hour
)

func (j job) arrival(id string, at time.Time, d time.Duration) Arrival {
	return Arrival{
		ID: id, At: at.UTC(), GPUs: j.gpus, Duration: d, Tenant: j.tenant, Interruptible: j.interruptible,
		Name: fmt.Sprintf("%s-%dgpu-%s", j.tenant, j.gpus, id),
	}
}
