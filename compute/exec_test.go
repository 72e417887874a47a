package compute_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
)

func TestExecRunsBesideTheJob(t *testing.T) {
	w := newWorld(t, thisMachine)
	r := script(`echo up > up; sleep 1000`)
	r.Task.Envs = map[string]string{"COLOUR": "green"}
	j := w.submit(r)
	exec := func(in string, argv ...string) (string, int, error) {
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		code, err := w.svc.Exec(ctx, j.ID, argv, strings.NewReader(in), &out)
		return out.String(), code, err
	}
	if _, _, err := exec("", "true"); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("beside a queued job: %v", err)
	}
	w.start(j.ID)
	w.appears(j.ID, "up")
	w.reach(j.ID, compute.Running) // it may have written before the site knows that it runs
	if out, code, err := exec("", "sh", "-c", `cat up; echo "$COLOUR $SLUICE_JOB_ID"; exit 7`); err != nil || code != 7 || out != "up\ngreen "+j.ID+"\n" {
		t.Errorf("%q, %d, %v", out, code, err)
	}
	if out, code, err := exec("three\ntwo\n", "sort"); err != nil || code != 0 || out != "three\ntwo\n" {
		t.Errorf("%q, %d, %v", out, code, err)
	}
	if _, code, err := exec("", "no-such-command"); err != nil || code != 127 {
		t.Errorf("an unknown command: %d, %v", code, err)
	}
	if out, code, err := exec("", "sh", "-c", `kill -9 $$`); err != nil || code != 137 {
		t.Errorf("%q, %d, %v", out, code, err)
	}
	// The arguments are arguments: no shell reads them.
	if out, _, err := exec("", "printf", "%s|", "a b", "$HOME;id", "*"); err != nil || out != "a b|$HOME;id|*|" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := w.svc.Exec(t.Context(), "j-999999", []string{"id"}, nil, io.Discard); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("beside nothing: %v", err)
	}
	// Whoever hangs up ends it, and so does the end of the job.
	ctx, hangUp := context.WithCancel(t.Context())
	done := make(chan error, 2)
	started := &heard{seen: make(chan struct{})}
	go func() {
		_, err := w.svc.Exec(ctx, j.ID, []string{"sh", "-c", "echo on; sleep 1000"}, nil, started)
		done <- err
	}()
	<-started.seen
	hangUp()
	if err := <-done; err == nil {
		t.Error("a command that was hung up on ended well")
	}
	started = &heard{seen: make(chan struct{})}
	go func() {
		_, err := w.svc.Exec(t.Context(), j.ID, []string{"sh", "-c", "echo $$ > beside; echo on; sleep 1000"}, nil, started)
		done <- err
	}()
	<-started.seen
	pid := strings.TrimSpace(w.appears(j.ID, "beside"))
	if _, err := w.svc.Cancel(t.Context(), w.Now(), j.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("a command outlived its job")
	}
	w.reach(j.ID, compute.Cancelled)
	w.until("the command is gone", func() bool { _, err := os.Stat("/proc/" + pid); return err != nil })
	if _, _, err := exec("", "true"); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("beside an ended job: %v", err)
	}
}

// heard tells that something was written.
type heard struct{ seen chan struct{} }

func (s *heard) Write(b []byte) (int, error) {
	select {
	case <-s.seen:
	default:
		close(s.seen)
	}
	return len(b), nil
}

func TestCostSoFarIsWhatWillBeBilled(t *testing.T) {
	w := newWorld(t, gpuHost("g1"))
	j := w.submit(compute.SubmitRequest{Task: &compute.Task{NumNodes: 1, Resources: compute.Resources{GPUs: 2, Accelerator: "A100"}}, Tenant: "acme", Virtual: true, RateUSDHour: 3, ExpectSeconds: 7200})
	w.start(j.ID)
	w.pass(30 * time.Minute)
	cost := func() sluice.Money {
		c, err := w.svc.Cost(j.ID)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := cost(); c != 3_000_000 {
		t.Errorf("half an hour of two at 3 $/h: %v", c)
	}
	if got := w.svc.Unposted("acme"); got != 3_000_000 || w.svc.Unposted("bolt") != 0 {
		t.Errorf("unposted %v", got)
	}
	uses := w.svc.Meter(w.Now())
	w.svc.Billed(uses)
	if c := cost(); c != 3_000_000 || w.svc.Unposted("acme") != 0 {
		t.Errorf("once it is posted: %v, unposted %v", c, w.svc.Unposted("acme"))
	}
	w.pass(30 * time.Minute)
	if c := cost(); c != 6_000_000 || w.svc.Unposted("acme") != 3_000_000 {
		t.Errorf("an hour: %v, unposted %v", c, w.svc.Unposted("acme"))
	}
	if _, err := w.svc.Cost("j-999999"); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("of nothing: %v", err)
	}
}
