package compute_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
)

// A job tells over its socket that it is ready and that it has saved: that is what
// counts, not its files, and what a stop would cost follows from it.
func TestTellsOfCheckpoints(t *testing.T) {
	w := newWorld(t, thisMachine)
	j := w.submit(script(`echo "$SLUICE_CONTROL" > control; while :; do sleep 0.02; done`))
	began := time.Now()
	w.start(j.ID)
	path := strings.TrimSpace(w.appears(j.ID, "control"))
	w.reach(j.ID, compute.Running)
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
	post := func(what string, want int) {
		t.Helper()
		r, err := c.Post("http://sluice/"+what, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode != want {
			t.Fatalf("%s: %s", what, r.Status)
		}
	}
	if got := w.job(j.ID); got.CheckpointAt != nil || got.LossSeconds < 30 {
		t.Fatalf("before: %+v", got)
	}
	post("nonsense", http.StatusNotFound)
	post("ready", http.StatusNoContent)
	ready, told := time.Since(began).Seconds(), time.Now()
	post("checkpoint", http.StatusNoContent)
	got := w.job(j.ID)
	// Its restart took no longer than from its start to the word that it is ready.
	if got.CheckpointAt == nil || got.UnsavedSeconds > time.Since(told).Seconds() || got.LossSeconds > got.UnsavedSeconds+ready {
		t.Fatalf("after: %+v", got)
	}
	if _, err := w.svc.Cancel(t.Context(), w.Now(), j.ID); err != nil {
		t.Fatal(err)
	}
	w.reach(j.ID, compute.Cancelled)
	w.until("the socket is gone", func() bool { _, err := os.Stat(path); return err != nil })
}

// The file that says that a checkpoint is complete counts, and newer files of one
// that is being written do not.
func TestCompleteFile(t *testing.T) {
	w := newWorld(t, thisMachine)
	j := w.submit(script(`sleep 1000`))
	w.start(j.ID)
	w.reach(j.ID, compute.Running)
	dir := filepath.Join(w.dir, "jobs", j.ID, "checkpoint")
	touch := func(name string, ago time.Duration) {
		t.Helper()
		p, at := filepath.Join(dir, name), time.Now().Add(-ago)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, at, at); err != nil {
			t.Fatal(err)
		}
	}
	touch(compute.CompleteFile, time.Hour)
	touch("half.part", 0)
	w.until("the old checkpoint is seen", func() bool { return w.job(j.ID).CheckpointAt != nil })
	w.svc.Close()
	w.restart() // also a new server knows which of the two counts
	if err := w.svc.Preempt(t.Context(), w.Now(), j.ID, "test"); err != nil {
		t.Fatal(err)
	}
	w.reach(j.ID, compute.Queued)
	var l compute.Lessons
	w.until("the stop is noted", func() bool {
		recs, err := w.LoadJobs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l = recs[0].Lessons
		return l.Stops == 1
	})
	if l.Saved != 0 {
		t.Fatalf("lessons %+v: nothing was saved between the order and the end", l)
	}
}

// A job that saves when it is told to end has shown it: the next stop costs its
// restart alone.
func TestLearnsThatItSaves(t *testing.T) {
	w := newWorld(t, thisMachine)
	j := w.submit(script(`trap 'echo x > "$SLUICE_CHECKPOINT_DIR/x"; exit 0' TERM; echo up > up-$SLUICE_RUN_ID; while :; do sleep 0.02; done`))
	w.start(j.ID)
	w.appears(j.ID, "up-"+j.ID+"-r1")
	if err := w.svc.Preempt(t.Context(), w.Now(), j.ID, "test"); err != nil {
		t.Fatal(err)
	}
	w.reach(j.ID, compute.Queued)
	w.start(j.ID)
	w.reach(j.ID, compute.Running)
	if got := w.job(j.ID); got.LossSeconds != 30 { // the default restart
		t.Fatalf("a stop costs %v s", got.LossSeconds)
	}
}

// Nothing is cut without its notice, but by Cut, and that is recorded and credited.
func TestCut(t *testing.T) {
	w := newWorld(t, thisMachine, gpuHost("gpu-1"))
	r := script(`trap '' TERM; echo up > up; while :; do sleep 0.02; done`)
	r.Task.Interrupt.Notice = time.Hour
	j := w.submit(r)
	w.start(j.ID)
	w.appears(j.ID, "up")
	w.reach(j.ID, compute.Running)
	wantKind(t, w.svc.Cut(t.Context(), j.ID, "the limit"), sluice.Conflict)
	if err := w.svc.Preempt(t.Context(), w.Now(), j.ID, "price"); err != nil {
		t.Fatal(err)
	}
	if got := w.job(j.ID); got.State != compute.Stopping || got.NoticeSeconds != 3600 {
		t.Fatalf("%+v", got)
	}
	if err := w.svc.Cut(t.Context(), j.ID, "the limit"); err != nil {
		t.Fatal(err)
	}
	got := w.reach(j.ID, compute.Queued)
	if got.Cuts != 1 || got.CreditUSD <= 0 || !strings.Contains(got.Why, "cut before its notice") {
		t.Fatalf("%+v", got)
	}
	v := gpus(8, 7200)
	v.RateUSDHour = 1
	k := w.submit(v)
	w.start(k.ID)
	w.pass(30 * time.Minute)
	// A stepped host saves at once, so the notice is over before it can be cut.
	if err := w.svc.Preempt(t.Context(), w.Now(), k.ID, "price"); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.svc.Cut(t.Context(), k.ID, "the limit"), sluice.Conflict)
}

// A task's folders: volumes are kept between jobs of a tenant and are nobody
// else's, files that came along stand where they were asked for.
func TestVolumesAndMounts(t *testing.T) {
	w := newWorld(t, thisMachine)
	work := t.TempDir()
	for _, name := range []string{"in/data/a.txt", "one.txt"} { // as they travel
		if err := os.MkdirAll(filepath.Join(work, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work, name), []byte("hello\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(tenant, body string) compute.Job {
		r := script(body)
		r.Tenant = tenant
		r.Task.Volumes = []compute.Mount{{Target: "~/kept", Source: "set"}}
		r.Task.FileMounts = []compute.Mount{{Target: "in/data", Source: "./data"}, {Target: "one.txt", Source: "a.txt"}}
		r.WorkdirPath = work
		j := w.submit(r)
		w.start(j.ID)
		return w.reach(j.ID, compute.Succeeded)
	}
	run("a", `cat in/data/a.txt one.txt > both; echo x >> kept/n; echo "$SLUICE_VOLUME_SET" > vol`)
	second := run("a", `cat kept/n > n; echo x >> kept/n`)
	if got := w.appears(second.ID, "n"); got != "x\n" {
		t.Errorf("the volume has %q", got)
	}
	other := run("b", `ls kept > n; echo done >> n`)
	if got := w.appears(other.ID, "n"); got != "done\n" {
		t.Errorf("another tenant sees %q", got)
	}
	if got := w.appears("j-000001", "both"); got != "hello\nhello\n" {
		t.Errorf("mounts have %q", got)
	}
	r := script("true")
	r.Task.Volumes = []compute.Mount{{Target: "/etc/kept", Source: "set"}}
	_, err := w.svc.Submit(t.Context(), w.Now(), r)
	wantKind(t, err, sluice.Invalid) // only a container has a place there
}
