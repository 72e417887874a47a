package e2e_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// demoArgs start a demo in a folder, on any port.
func demoArgs(dir string, more ...string) []string {
	return append([]string{"--demo", "--data", dir, "--listen", "127.0.0.1:0"}, more...)
}

// running waits until the demo mines and runs AI.
func running(t testing.TB, s *server) siteStatus {
	t.Helper()
	var st siteStatus
	eventually(t, 2*patience, func() (err error) {
		if st, err = s.site(); err != nil {
			return err
		}
		if st.LoadKW < 8000 || st.Machines["mining"] < 2000 || st.Jobs["running"] < 3 {
			return fmt.Errorf("load %.0f kW, machines %v, jobs %v", st.LoadKW, st.Machines, st.Jobs)
		}
		return nil
	})
	return st
}

// firm are the runs of the jobs that were not sold as interruptible.
func firm(t testing.TB, s *server) map[string]string {
	t.Helper()
	js, err := s.jobs()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, j := range js {
		if !j.Interruptible && j.State == "running" {
			out[j.ID] = j.RunID
		}
	}
	return out
}

// untouched says which of the firm runs was stopped by us: it may only go on or
// end by itself.
func untouched(t testing.TB, s *server, runs map[string]string) {
	t.Helper()
	for id, run := range runs {
		j, err := s.job(id)
		if err != nil {
			t.Fatal(err)
		}
		if (j.State != "running" && j.State != "succeeded") || j.RunID != run || j.Preemptions != 0 {
			t.Errorf("the firm job %s, run %s, is %s in run %s, preempted %d times: %s", id, run, j.State, j.RunID, j.Preemptions, j.Why)
		}
	}
}

// An order from the command line is obeyed, nobody who was sold firm AI notices,
// and its record says when each kW went. A preview of it changes nothing.
func TestCurtailment(t *testing.T) {
	t.Parallel()
	s := up(t, demoArgs(t.TempDir(), "--speed", "5", "--start", "2023-08-18T08:00:00Z")...) // a busy machine that stands still for a second loses 5 s of the site's time
	running(t, s)
	sold := firm(t, s)
	if len(sold) == 0 {
		t.Fatal("no firm job runs")
	}

	preview := must(t, s.on("curtail", "--limit", "4MW", "--for", "30m", "--preview")...)
	if !strings.Contains(preview, "SHED") || !strings.Contains(preview, "4.00 MW") {
		t.Errorf("the preview says\n%s", preview)
	}
	if os, err := s.orders(); err != nil || len(os) != 0 {
		t.Errorf("after a preview there are the orders %v, %v", os, err)
	}
	if st, err := s.site(); err != nil || st.LimitKW != 14000 || st.LoadKW < 8000 {
		t.Errorf("after a preview: %+v, %v", st, err)
	}

	must(t, s.on("curtail", "--limit", "4MW", "--for", "30m", "--id", "test-1", "--by", "grid", "--why", "exercise")...)
	find := func(id string) curtailment {
		o, err := ask[curtailment](s.client, http.MethodGet, "/curtailments/"+id, nil)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	eventually(t, 2*patience, func() error {
		if o := find("test-1"); o.MetAt == nil {
			return fmt.Errorf("not met: %+v", o)
		}
		return nil
	})
	st, err := s.site()
	if err != nil {
		t.Fatal(err)
	}
	if st.LimitKW != 4000 || st.LoadKW > 4000 {
		t.Errorf("under the order: limit %.0f kW, load %.0f kW", st.LimitKW, st.LoadKW)
	}
	untouched(t, s, sold)
	// Given again under its ID it changes nothing.
	must(t, s.on("curtail", "--limit", "3MW", "--for", "30m", "--id", "test-1")...)
	if o := find("test-1"); o.LimitKW != 4000 {
		t.Errorf("the order given again has a limit of %.0f kW", o.LimitKW)
	}
	list := must(t, s.on("curtail", "list")...)
	if !strings.Contains(list, "test-1") || !strings.Contains(list, "active") {
		t.Errorf("curtail list says\n%s", list)
	}
	// The record grows complete as the last machines are confirmed.
	eventually(t, 2*patience, func() error {
		o := find("test-1")
		gone := 0.0
		for i, x := range o.Shed {
			gone += x.KW
			if x.Machines < 1 || x.AfterS < 0 || !strings.HasPrefix(x.Outcome, "confirmed") || (i > 0 && x.AfterS < o.Shed[i-1].AfterS) {
				t.Fatalf("line %d of the record is %+v", i, x)
			}
		}
		if o.MetAfterS == nil || o.By != "grid" || o.Why != "exercise" || o.CostUSD <= 0 || o.LoadBeforeKW < 8000 {
			return fmt.Errorf("the record is %+v", o)
		}
		if need := o.LoadBeforeKW - o.LimitKW; gone < 0.9*need {
			return fmt.Errorf("%.0f kW of %.0f kW are confirmed gone", gone, need)
		}
		return nil
	})
	ds, err := s.decisions()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(ds, func(d decision) bool { return d.Trigger == "curtailment" && len(d.Moves) > 0 })
	if i < 0 {
		t.Fatal("no decision has the order as its trigger")
	}
	if d := ds[i]; len(d.Inputs) == 0 || !strings.Contains(d.Moves[0].Reason, "strike") {
		t.Errorf("the decision's inputs are %v, its first reason is %q", d.Inputs, d.Moves[0].Reason)
	}

	must(t, s.on("curtail", "cancel", "test-1", "--by", "grid")...)
	if o := find("test-1"); o.State != "cancelled" || o.EndedAt == nil {
		t.Errorf("after the cancellation: %+v", o)
	}
	if r := run(t, s.on("curtail", "cancel", "test-1")...); r.status != 2 || strings.Count(r.err, "\n") != 1 {
		t.Errorf("cancelled twice: status %d, %q", r.status, r.err)
	}
	eventually(t, 3*patience, func() error {
		st, err := s.site()
		if err == nil && (st.LimitKW != 14000 || st.LoadKW < 8000) {
			err = fmt.Errorf("limit %.0f kW, load %.0f kW", st.LimitKW, st.LoadKW)
		}
		return err
	})
	untouched(t, s, sold)
}

// Ctrl-C stops the demo; its clock, its miners, its jobs and its books go on
// where they stopped. A kill does no harm to the books either.
func TestDemoGoesOn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	born := time.Now()
	s := up(t, demoArgs(dir, "--speed", "600")...)
	running(t, s)
	must(t, s.on("curtail", "--limit", "5MW", "--for", "20h", "--id", "long")...)
	eventually(t, 2*patience, func() error {
		st, err := s.site()
		if err == nil && st.LoadKW > 5000 {
			err = fmt.Errorf("load %.0f kW", st.LoadKW)
		}
		return err
	})
	jobs := map[string]bool{}
	remember := func() {
		t.Helper()
		js, err := s.jobs()
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range js {
			jobs[j.ID] = true
		}
	}
	remember()
	if status := s.stop(t, 2*patience); status != 0 {
		t.Fatalf("Ctrl-C: status %d\n%s", status, s.process.err.String())
	}
	last, lived := shown(t, s), time.Since(born)
	for life := range 8 {
		born = time.Now()
		s = up(t, demoArgs(dir, "--speed", "600")...)
		// The site's time has passed while it ran, and not while it did not.
		before := shown(t, s)
		if most := last.Add(time.Minute + 600*lived); before.Before(last) || before.After(most) {
			t.Errorf("life %d: the clock stood at %s, then at %s after %v", life, last, before, lived)
		}
		eventually(t, 2*patience, func() error { // a settlement in each life
			st, err := s.site()
			if err != nil || st.Now.Before(before.Add(12*time.Minute)) {
				return fmt.Errorf("it is %s, it was %s (%v)", st.Now, before, err)
			}
			if st.Machines["silent"] > 400 {
				return fmt.Errorf("machines %v", st.Machines)
			}
			return nil
		})
		st, err := s.site()
		if err != nil {
			t.Fatal(err)
		}
		if st.LimitKW != 5000 || st.LoadKW > 5000 || st.Machines["sleeping"] == 0 {
			t.Errorf("life %d: limit %.0f kW, load %.0f kW, %v: the order, or what obeys it, has not gone on", life, st.LimitKW, st.LoadKW, st.Machines)
		}
		js, err := s.jobs()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, j := range js {
			if seen[j.ID] || j.State == "lost" {
				t.Errorf("job %s is %s, or there twice", j.ID, j.State)
			}
			seen[j.ID] = true
		}
		for id := range jobs {
			if !seen[id] {
				t.Errorf("life %d: the job %s is lost", life, id)
			}
		}
		checkBooks(t, s, 5*time.Minute, life)
		remember()
		s.kill()
		last, lived = before, time.Since(born)
	}
}

var siteTime = regexp.MustCompile(`site time (\d{4}-\d\d-\d\d \d\d:\d\d) UTC`)

// shown is the site's time at its start, to the minute, as the banner shows it.
func shown(t testing.TB, s *server) time.Time {
	t.Helper()
	m := siteTime.FindStringSubmatch(s.out.String())
	if m == nil {
		t.Fatalf("the banner shows no time:\n%s", s.out.String())
	}
	at, err := time.Parse("2006-01-02 15:04", m[1])
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// The backup of a running demo, restored, is the same site.
func TestBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := up(t, demoArgs(filepath.Join(dir, "first"), "--speed", "300")...)
	running(t, s)
	must(t, s.on("curtail", "--limit", "9MW", "--for", "2h", "--id", "kept")...)
	eventually(t, 2*patience, func() error {
		es, err := s.entries()
		if err == nil && len(es) < 6 {
			err = fmt.Errorf("%d entries", len(es))
		}
		return err
	})
	file := filepath.Join(dir, "backup")
	must(t, s.on("backup", "--out", file)...)
	if r := run(t, s.on("backup", "--out", file)...); r.status != 2 || !strings.Contains(r.err, "exists") {
		t.Errorf("over another backup: status %d, %q", r.status, r.err)
	}
	if status := s.stop(t, 2*patience); status != 0 {
		t.Fatalf("Ctrl-C: status %d", status)
	}
	// The first goes on alone: what it wrote after the backup is not in that.
	s = up(t, demoArgs(filepath.Join(dir, "first"), "--speed", "0.1")...)
	first := snapshot(t, s)
	s.kill()

	must(t, "restore", file, "--data", filepath.Join(dir, "second"))
	if r := run(t, "restore", file, "--data", filepath.Join(dir, "second")); r.status != 2 {
		t.Errorf("restored over a folder: status %d, %q", r.status, r.err)
	}
	s = up(t, demoArgs(filepath.Join(dir, "second"), "--speed", "0.1")...)
	second := snapshot(t, s)
	if len(second.entries) < 6 || len(second.jobs) < 3 || len(second.decisions) < 1 {
		t.Fatalf("restored are %d entries, %d jobs, %d decisions", len(second.entries), len(second.jobs), len(second.decisions))
	}
	for id, e := range second.entries {
		if first.entries[id] != e {
			t.Errorf("entry %s was %q, restored it is %q", id, first.entries[id], e)
		}
	}
	for id, j := range second.jobs {
		if first.jobs[id] != j {
			t.Errorf("job %s was %q, restored it is %q", id, first.jobs[id], j)
		}
	}
	for id, d := range second.decisions {
		if id < second.last && first.decisions[id] != d { // the newest is made by the new life
			t.Errorf("decision %d was %q, restored it is %q", id, first.decisions[id], d)
		}
	}
	if !slices.Contains(second.orders, "kept") {
		t.Errorf("the orders are %v", second.orders)
	}
	bs, err := s.balances()
	if err != nil {
		t.Fatal(err)
	}
	if err := trialBalance(bs); err != nil {
		t.Error(err)
	}
	checkBooks(t, s, 5*time.Minute, 2)
}

// parts of a site that must be the same after a restore.
type parts struct {
	entries   map[string]string
	jobs      map[string]string
	decisions map[int64]string
	last      int64
	orders    []string
}

func snapshot(t testing.TB, s *server) parts {
	t.Helper()
	p := parts{entries: map[string]string{}, jobs: map[string]string{}, decisions: map[int64]string{}}
	es, err1 := s.entries()
	js, err2 := s.jobs()
	ds, err3 := s.decisions()
	os, err4 := s.orders()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		p.entries[e.ID] = fmt.Sprint(e.At, e.Postings, e.Meta)
	}
	for _, j := range js {
		p.jobs[j.ID] = fmt.Sprint(j.Name, j.Tenant, j.Units, j.Rate, j.Submitted)
	}
	for _, d := range ds {
		p.decisions[d.ID] = fmt.Sprint(d.At, d.Trigger, len(d.Moves), len(d.JobMoves))
		p.last = int64(math.Max(float64(p.last), float64(d.ID)))
	}
	for _, o := range os {
		p.orders = append(p.orders, o.ID)
	}
	return p
}
