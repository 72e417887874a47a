package history

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
)

const jobHead = "trace,submit_s,gpus,duration_s,gpu_type,user,qos,status\n"

// Two traces: a has six rows that can be used, over a bit more than a day.
const someJobs = jobHead +
	"a,0,8,3600,,ann,,\n" +
	"a,10,0.5,60,,bob,BE,\n" +
	"a,10.5,1,60,,bob,LS,succeeded\n" +
	"a,20,1,0,,bob,,\n" +
	"a,30,2.5,60,,,Guaranteed,\n" +
	"a,40,1,60,,,,censored_running\n" +
	"a,50,x,60,,,,\n" +
	"a,60,1,-5,,,,\n" +
	"a,70,16,60,,cid,be,failed\n" +
	"a,90000,1,60,,cid,Burstable,\n" +
	"b,0,1,60,,dot,,\n" +
	"b,5,2,60,,dot,,\n"

var jobStart = time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)

func allJobs(tb testing.TB, spec JobSpec) ([]Job, []Finding, error) {
	tb.Helper()
	j, err := OpenJobs(spec)
	if err != nil {
		return nil, nil, err
	}
	defer j.Close()
	var out []Job
	for {
		job, err := j.Next()
		if errors.Is(err, io.EOF) {
			if _, again := j.Next(); !errors.Is(again, io.EOF) {
				tb.Errorf("after the end: %v", again)
			}
			return out, j.Findings(), nil
		}
		if err != nil {
			return out, j.Findings(), err
		}
		out = append(out, job)
	}
}

// seen writes jobs as "OFFSET:GPUS", with ! for one that is interruptible.
func seen(jobs []Job) string {
	var s []string
	for _, j := range jobs {
		mark := ""
		if j.Interruptible {
			mark = "!"
		}
		s = append(s, fmt.Sprintf("%s:%d%s", j.At.Sub(jobStart), j.GPUs, mark))
	}
	return strings.Join(s, " ")
}

func TestJobs(t *testing.T) {
	path := file(t, "jobs.csv", someJobs)
	at := jobStart.Add
	for _, c := range []struct {
		name  string
		spec  JobSpec
		want  string
		found []string
	}{
		{
			name: "the first trace", spec: JobSpec{Start: jobStart}, want: "0s:8 10s:1! 10.5s:1 30s:3 1m10s:16! 25h0m0s:1",
			found: []string{"3 fraction 2", "5 dropped 1 they take no time", "7 dropped 1 their end was not seen", `8 absurd 1 "x" GPUs`, `9 absurd 1 a duration of "-5" s`},
		},
		{name: "a trace by name", spec: JobSpec{Trace: "b", Start: jobStart}, want: "0s:1 5s:2"},
		{name: "all that may be stopped", spec: JobSpec{Trace: "b", Start: jobStart, InterruptibleShare: 1}, want: "0s:1! 5s:2!"},
		{name: "a start of its own", spec: JobSpec{Trace: "b", Start: at(time.Hour), From: jobStart}, want: "1h0m0s:1 1h0m5s:2"},
		{name: "from the range's start", spec: JobSpec{Trace: "b", From: at(time.Hour)}, want: "1h0m0s:1 1h0m5s:2"},
		{name: "a range", spec: JobSpec{Start: jobStart, From: at(10 * time.Second), To: at(70 * time.Second)}, want: "10s:1! 10.5s:1 30s:3", found: []string{"3 fraction 2", "5 dropped 1 they take no time", "7 dropped 1 their end was not seen", `8 absurd 1 "x" GPUs`, `9 absurd 1 a duration of "-5" s`}},
		{name: "each second", spec: JobSpec{Start: jobStart, Every: 2, MaxJobs: 2}, want: "0s:8 10.5s:1", found: []string{"3 fraction 1"}},
		{name: "each seventh", spec: JobSpec{Start: jobStart, Every: 7, Trace: "b"}, want: "0s:1"},
		{name: "no large ones", spec: JobSpec{Start: jobStart, MaxGPUs: 2, MaxJobs: 2}, want: "10s:1! 10.5s:1", found: []string{"2 dropped 1 they ask for more than 2 GPUs", "3 fraction 1"}},
		{name: "again and again", spec: JobSpec{Trace: "b", Start: jobStart, Repeat: true, MaxJobs: 5}, want: "0s:1 5s:2 24h0m0s:1 24h0m5s:2 48h0m0s:1"},
		{name: "without the first seconds", spec: JobSpec{Trace: "b", Start: jobStart, Skip: 5 * time.Second, Repeat: true, MaxJobs: 2}, want: "0s:2 24h0m0s:2"},
		{name: "rounds hold the trace", spec: JobSpec{Trace: "a", Start: jobStart, Repeat: true, MaxJobs: 7, MaxGPUs: 100}, want: "0s:8 10s:1! 10.5s:1 30s:3 1m10s:16! 25h0m0s:1 48h0m0s:8", found: []string{"3 fraction 2", "5 dropped 1 they take no time", "7 dropped 1 their end was not seen", `8 absurd 1 "x" GPUs`, `9 absurd 1 a duration of "-5" s`}},
		{name: "a range in a later round", spec: JobSpec{Trace: "b", Start: jobStart, From: at(72*time.Hour + 3*time.Second), To: at(96*time.Hour + 3*time.Second), Repeat: true}, want: "72h0m5s:2 96h0m0s:1"},
		{name: "small ones of many rounds", spec: JobSpec{Trace: "a", Start: jobStart, To: at(240 * time.Hour), Repeat: true, MaxGPUs: 1, From: at(20 * time.Second)}, want: "25h0m0s:1 48h0m10s:1! 48h0m10.5s:1 73h0m0s:1 96h0m10s:1! 96h0m10.5s:1 121h0m0s:1 144h0m10s:1! 144h0m10.5s:1 169h0m0s:1 192h0m10s:1! 192h0m10.5s:1 217h0m0s:1", found: []string{"2 dropped 3 they ask for more than 1 GPUs", "3 fraction 1", "5 dropped 1 they take no time", "7 dropped 1 their end was not seen", `8 absurd 1 "x" GPUs`, `9 absurd 1 a duration of "-5" s`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.spec.Path = path
			jobs, found, err := allJobs(t, c.spec)
			if err != nil {
				t.Fatal(err)
			}
			if got := seen(jobs); got != c.want {
				t.Errorf("%s\nwant\n%s", got, c.want)
			}
			var texts []string
			for _, f := range found {
				texts = append(texts, strings.TrimSpace(fmt.Sprintf("%d %s %d %s", f.Line, f.Kind, f.Count, f.Note)))
			}
			if !slices.Equal(texts, c.found) {
				t.Errorf("found\n%s\nwant\n%s", strings.Join(texts, "\n"), strings.Join(c.found, "\n"))
			}
		})
	}
	jobs, _, err := allJobs(t, JobSpec{Path: path, Start: jobStart, MaxJobs: 1})
	if want := (Job{At: jobStart, GPUs: 8, Duration: time.Hour, User: "ann", Line: 2}); err != nil || jobs[0] != want {
		t.Errorf("%+v, want %+v", jobs, want)
	}
}

// A trace of which nothing can be used ends, and does not turn for ever.
func TestNothingToRepeat(t *testing.T) {
	jobs, _, err := allJobs(t, JobSpec{Path: file(t, "jobs.csv", someJobs), Trace: "b", Start: jobStart, Repeat: true, MaxJobs: 1, MaxGPUs: 0, To: jobStart.Add(-time.Hour)})
	if err != nil || len(jobs) != 0 {
		t.Errorf("%v, %v", jobs, err)
	}
	text := jobHead + "a,0,8,60,,,,\na,1,8,0,,,,\n"
	jobs, found, err := allJobs(t, JobSpec{Path: file(t, "jobs.csv", text), Start: jobStart, Repeat: true, MaxJobs: 1, MaxGPUs: 4})
	if err != nil || len(jobs) != 0 || len(found) != 2 {
		t.Errorf("%v, %v, %v", jobs, found, err)
	}
}

func TestJobRefusals(t *testing.T) {
	for _, c := range []struct {
		name, text string
		spec       JobSpec
		want       []string
	}{
		{name: "no start", text: someJobs, want: []string{"when the trace begins", "set Start or From"}},
		{name: "no end", text: someJobs, spec: JobSpec{Start: jobStart, Repeat: true}, want: []string{"has no end", "set To or MaxJobs"}},
		{name: "empty range", text: someJobs, spec: JobSpec{From: jobStart, To: jobStart}, want: []string{"is empty"}},
		{name: "other ages", text: someJobs, spec: JobSpec{Start: utc("1821-01-01T00:00:00Z")}, want: []string{"not between 1970 and 2200"}},
		{name: "skip", text: someJobs, spec: JobSpec{Start: jobStart, Skip: -1}, want: []string{"skip of -1ns"}},
		{name: "share", text: someJobs, spec: JobSpec{Start: jobStart, InterruptibleShare: 2}, want: []string{"share 2"}},
		{name: "no such trace", text: someJobs, spec: JobSpec{Start: jobStart, Trace: "bb"}, want: []string{`no trace "bb"; it has a, b`, "did you mean b?"}},
		{name: "no traces", text: "submit_s,gpus,duration_s\n0,1,1\n", spec: JobSpec{Start: jobStart, Trace: "a"}, want: []string{"no column trace"}},
		{name: "no jobs", text: jobHead, spec: JobSpec{Start: jobStart}, want: []string{"a header and no jobs"}},
		{name: "no column", text: "trace,submit,gpus,duration_s\n", spec: JobSpec{Start: jobStart}, want: []string{`no column "submit_s"`, "did you mean submit?"}},
		{name: "not sorted", text: jobHead + "a,5,1,1,,,,\na,4,1,1,,,,\n", spec: JobSpec{Start: jobStart}, want: []string{"jobs.csv:3: the job was handed in before the one above it", "sort the file"}},
		{name: "no submit time", text: jobHead + "a,5,1,1,,,,\na,soon,1,1,,,,\n", spec: JobSpec{Start: jobStart}, want: []string{`jobs.csv:3: "soon" is no submit time`}},
		{name: "submitted before the start", text: jobHead + "a,-5,1,1,,,,\n", spec: JobSpec{Start: jobStart}, want: []string{`jobs.csv:2: "-5" is no submit time`}},
		{name: "short row", text: jobHead + "a,5,1\n", spec: JobSpec{Start: jobStart}, want: []string{"jobs.csv:2: the row has 3 fields, the header 8"}},
		{name: "empty", text: "", spec: JobSpec{Start: jobStart}, want: []string{"jobs.csv is empty"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.spec.Path = file(t, "jobs.csv", c.text)
			jobs, _, err := allJobs(t, c.spec)
			if err == nil || sluice.KindOf(err) != sluice.Invalid {
				t.Fatalf("%v, %v", jobs, err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		})
	}
	if _, _, err := allJobs(t, JobSpec{Path: filepath.Join(t.TempDir(), "none.csv"), Start: jobStart}); sluice.KindOf(err) != sluice.NotFound {
		t.Error(err)
	}
}

// A file that goes away between two rounds is an error, not the end.
func TestTraceGoesAway(t *testing.T) {
	path := file(t, "jobs.csv", jobHead+"a,0,1,60,,,,\n")
	j, err := OpenJobs(JobSpec{Path: path, Start: jobStart, Repeat: true, MaxJobs: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if _, err := j.Next(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Next(); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("%v", err)
	}
}

// The share of jobs that may be stopped is the one asked for; which they are is
// the same in each run, and a larger share keeps those of a smaller one.
func TestInterruptibleShare(t *testing.T) {
	for _, apart := range []int{0, 1, 60} {
		t.Run(fmt.Sprint(apart), func(t *testing.T) { testShare(t, apart) })
	}
}

func testShare(t *testing.T, apart int) {
	text := jobHead
	for i := range 5000 {
		text += fmt.Sprintf("a,%d,1,60,,,,\n", i*apart)
	}
	path := file(t, "jobs.csv", text)
	var before []Job
	for _, share := range []float64{0, 0.1, 0.5, 0.9, 1} {
		jobs, _, err := allJobs(t, JobSpec{Path: path, Start: jobStart, InterruptibleShare: share})
		if err != nil {
			t.Fatal(err)
		}
		n, runs := 0, 0
		for i, j := range jobs {
			if j.Interruptible {
				n++
				if i > 0 && !jobs[i-1].Interruptible {
					runs++
				}
			} else if before != nil && before[i].Interruptible {
				t.Fatalf("job %d may no longer be stopped at %g", i, share)
			}
		}
		if got := float64(n) / 5000; got < share-0.02 || got > share+0.02 {
			t.Errorf("%g instead of %g may be stopped", got, share)
		}
		// Independent draws begin a run at each n(1-share)-th job.
		if want := 5000 * share * (1 - share); float64(runs) < 0.85*want || float64(runs) > 1.15*want+1 {
			t.Errorf("%d runs at a share of %g: %g are expected", runs, share, want)
		}
		before = jobs
	}
}

// Every round is the trace again, whole days later, and thinning keeps each n-th
// job of the trace, whatever the range is.
func TestJobProperties(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		text, at := jobHead, 0
		n := rapid.IntRange(1, 30).Draw(t, "jobs")
		for range n {
			at += rapid.IntRange(0, 20_000).Draw(t, "apart")
			text += fmt.Sprintf("a,%d,%d,60,,,,\n", at, rapid.IntRange(1, 8).Draw(t, "gpus"))
		}
		path := filepath.Join(dir, "jobs.csv")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		read := func(s JobSpec) []Job {
			s.Path = path
			j, err := OpenJobs(s)
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			var out []Job
			for {
				job, err := j.Next()
				if errors.Is(err, io.EOF) {
					return out
				}
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, job)
			}
		}
		every := rapid.IntRange(1, 4).Draw(t, "every")
		once := read(JobSpec{Start: jobStart})
		if len(once) != n {
			t.Fatalf("%d jobs of %d", len(once), n)
		}
		lap := time.Duration(at/86400+1) * 24 * time.Hour
		from := jobStart.Add(time.Duration(rapid.IntRange(0, int(6*lap/time.Second)).Draw(t, "from")) * time.Second)
		to := from.Add(time.Duration(rapid.IntRange(1, int(3*lap/time.Second)).Draw(t, "length")) * time.Second)
		var want []Job
		for round := range 10 {
			for i, j := range once {
				j.At = j.At.Add(time.Duration(round) * lap)
				if i%every == 0 && !j.At.Before(from) && j.At.Before(to) {
					want = append(want, j)
				}
			}
		}
		if got := read(JobSpec{Start: jobStart, From: from, To: to, Repeat: true, Every: every}); !slices.Equal(got, want) {
			t.Fatalf("%v\nwant\n%v", got, want)
		}
	})
}

// FuzzJobs reads any bytes: one clear error, or jobs in the order of time.
func FuzzJobs(f *testing.F) {
	f.Add([]byte(someJobs), "a", 1, 0, true)
	f.Add([]byte(someJobs), "", 3, 2, false)
	f.Add([]byte("submit_s,gpus,duration_s\n0,1e300,1\n1,1,1e300\n2,NaN,\n"), "", 0, 0, true)
	f.Add([]byte("submit_s,submit_s,gpus\n"), "", 0, 0, true)
	path := filepath.Join(f.TempDir(), "f.csv")
	f.Fuzz(func(t *testing.T, text []byte, trace string, every, most int, repeat bool) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := OpenJobs(JobSpec{Path: path, Trace: trace, Start: jobStart, Every: every, MaxGPUs: most, MaxJobs: 1000, Repeat: repeat, InterruptibleShare: 0.5})
		if err != nil {
			told(t, err)
			return
		}
		defer j.Close()
		last := jobStart
		for {
			job, err := j.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				told(t, err)
				return
			}
			if job.At.Before(last) || job.GPUs < 1 || job.GPUs > maxJobGPUs || job.Duration <= 0 || job.Duration > maxJobTime {
				t.Fatalf("%+v after %s", job, last)
			}
			last = job.At
		}
	})
}
