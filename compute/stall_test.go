package compute_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
)

// askedCtx tells when somebody begins to wait for its end.
type askedCtx struct {
	context.Context
	asked func()
}

func newAsked(ctx context.Context) (askedCtx, <-chan struct{}) {
	c := make(chan struct{})
	return askedCtx{ctx, sync.OnceFunc(func() { close(c) })}, c
}

func (c askedCtx) Done() <-chan struct{} { c.asked(); return c.Context.Done() }

// While the disk hangs, a turn of the site goes on within its own time: what has to
// come down comes down, and is stored when the disk answers.
func TestDiskHangs(t *testing.T) {
	w := newWorld(t, thisMachine)
	r := script(`trap '' TERM; echo up > up; while :; do sleep 0.02; done`)
	r.Task.Interrupt.Notice = time.Hour
	j := w.submit(r)
	w.start(j.ID)
	w.appears(j.ID, "up")
	w.reach(j.ID, compute.Running)
	on := w.hang()
	defer on()
	var all sync.WaitGroup
	defer all.Wait()
	defer on()
	all.Go(func() { _, _ = w.svc.Submit(context.Background(), w.Now(), script("true")) })
	<-w.stalled // it holds the right to write
	short, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.svc.Preempt(short, w.Now(), j.ID, "limit"); err != nil {
			t.Errorf("preempt: %v", err)
		}
		w.svc.Tend(short, w.Now())
		if err := w.svc.Cut(short, j.ID, "limit"); err == nil {
			t.Error("the cut says that it is stored")
		}
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("the turn waits for the disk")
	}
	if got := w.job(j.ID); got.Cuts != 1 || got.CreditUSD <= 0 {
		t.Errorf("not counted: %+v", got)
	}
	on()
	w.reach(j.ID, compute.Queued)
	if err := w.svc.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if got := w.job(j.ID); got.Cuts != 1 || got.Preemptions != 1 {
		t.Errorf("after a restart: %+v", got)
	}
}

// A cancellation that waits for its turn behind the start of its job ends the job.
func TestCancelBehindAStart(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"))
	j := w.submit(gpus(1, 3600))
	on := w.hang()
	var all sync.WaitGroup
	all.Go(func() { _, _ = w.svc.Submit(context.Background(), w.Now(), gpus(1, 60)) })
	<-w.stalled
	ctx, asked := newAsked(context.Background())
	all.Go(func() { _ = w.svc.Start(ctx, w.Now(), j.ID, "") })
	<-asked
	ctx, asked = newAsked(context.Background())
	all.Go(func() {
		if _, err := w.svc.Cancel(ctx, w.Now(), j.ID); err != nil {
			t.Errorf("cancel: %v", err)
		}
	})
	<-asked
	on()
	all.Wait()
	w.pass(time.Minute)
	if got := w.job(j.ID); got.State != compute.Cancelled {
		t.Fatalf("it was cancelled and is %s", got.State)
	}
}

// A start that is taken back leaves what was posted meanwhile posted.
func TestTakenBackStaysPosted(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"))
	j := w.submit(gpus(8, 7200))
	w.start(j.ID)
	w.pass(30 * time.Minute)
	if err := w.svc.Preempt(t.Context(), w.Now(), j.ID, "price"); err != nil {
		t.Fatal(err)
	}
	on := w.hang()
	var all sync.WaitGroup
	all.Go(func() {
		if err := w.svc.Start(context.Background(), w.Now(), j.ID, ""); err == nil {
			t.Error("the start was stored")
		}
	})
	<-w.stalled
	w.bill()
	w.setFail(true)
	on()
	all.Wait()
	w.setFail(false)
	if got := w.svc.Meter(w.Now()); len(got) != 0 {
		t.Fatalf("posted again: %+v", got)
	}
	w.start(j.ID)
	w.pass(10 * time.Minute)
	w.bill()
}

// What a cut has cost is credited, not what is left of it when the run has ended.
func TestCutCreditsWhatWasLost(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"))
	w.virt.SaveFor(10 * time.Minute)
	r := gpus(8, 7200)
	r.RateUSDHour = 1
	j := w.submit(r)
	w.start(j.ID)
	w.pass(30 * time.Minute)
	w.svc.Open() // a turn looks how it is
	if err := w.svc.Preempt(t.Context(), w.Now(), j.ID, "limit"); err != nil {
		t.Fatal(err)
	}
	if err := w.svc.Cut(t.Context(), j.ID, "limit"); err != nil {
		t.Fatal(err)
	}
	if got := w.job(j.ID); got.State != compute.Queued || got.Cuts != 1 || got.CreditUSD != 4*sluice.USD || !strings.Contains(got.Why, "cut before its notice") {
		t.Fatalf("%+v", got)
	}
}

// At its limit a tenant's jobs do not start by what is forgotten between a posting
// and the next question what was posted.
func TestSpendingLimitHoldsOverAPosting(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"))
	w.tenants = tenants{"acme": {Name: "acme", SpendLimit: 4 * sluice.USD}}
	w.restart()
	r := gpus(4, 7200)
	r.RateUSDHour = 1
	j := w.submit(r)
	w.start(j.ID)
	w.pass(time.Hour)
	w.svc.Tend(t.Context(), w.Now())
	if got := w.job(j.ID); got.State != compute.Queued {
		t.Fatalf("%+v", got)
	}
	w.bill()
	wantKind(t, w.svc.Start(t.Context(), w.Now(), j.ID, ""), sluice.Conflict)
}

// A submission that was accepted and is sent again is the same one, also where its
// tenant may submit no more; and GPUs are what counts of a task that has some.
func TestLimitsAtSubmission(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"))
	w.tenants = tenants{"acme": {Name: "acme", MaxQueued: 1, MaxUnits: 2}}
	w.restart()
	r := gpus(1, 60)
	r.ID, r.Task.Resources.CPUs = "once", 16
	j := w.submit(r)
	if again := w.submit(r); again.ID != j.ID {
		t.Fatalf("%s, then %s", j.ID, again.ID)
	}
	r.ID = "other"
	_, err := w.svc.Submit(t.Context(), w.Now(), r)
	wantKind(t, err, sluice.Conflict)
}
