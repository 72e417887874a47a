package compute_test

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/compute"
	"sluice/store"
)

func TestSubmit(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"), thisMachine)
	a, b := w.submit(gpus(8, 60)), w.submit(script("true"))
	if a.ID != "j-000001" || b.ID != "j-000002" || !a.Virtual || b.Virtual || a.Units != 8 || b.Class != "cpu" || a.State != compute.Queued {
		t.Fatalf("%+v\n%+v", a, b)
	}
	r := gpus(1, 60)
	r.ID = "request-7"
	first, again := w.submit(r), w.submit(r)
	if first.ID != again.ID || len(w.svc.Jobs()) != 3 {
		t.Fatalf("one request made %s and %s", first.ID, again.ID)
	}
	r.Tenant = "other"
	if other := w.submit(r); other.ID == first.ID {
		t.Fatal("a key of one tenant found the job of another")
	}
	// A restart forgets nothing of it.
	w.restart()
	r.Tenant = "acme"
	if again := w.submit(r); again.ID != first.ID {
		t.Fatalf("after a restart one request made %s and %s", first.ID, again.ID)
	}
	if next := w.submit(gpus(1, 60)); next.ID != "j-000005" {
		t.Fatalf("after a restart the next is %s", next.ID)
	}
	for _, r := range []compute.SubmitRequest{
		gpus(9, 1),
		{},
		{Task: &compute.Task{Run: "x", Resources: compute.Resources{Accelerator: "H100", GPUs: 1}}},
		{Task: &compute.Task{Run: "x", Resources: compute.Resources{MemoryGB: 9}}},
	} {
		_, err := w.svc.Submit(t.Context(), epoch, r)
		wantKind(t, err, sluice.Invalid)
	}
	_, err := w.svc.Job("j-999999")
	wantKind(t, err, sluice.NotFound)
	wantKind(t, w.svc.Start(t.Context(), epoch, "j-999999", ""), sluice.NotFound)
}

// A virtual job that is preempted and goes on needs exactly its time, and is
// billed exactly its use.
func TestVirtualLife(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"))
	id := w.submit(gpus(8, 3600)).ID
	if use := w.svc.HostUse()["gpu-1"]; use.PowerW != 900 || use.UnitsBusy != 0 {
		t.Fatalf("idle: %+v", use)
	}
	w.start(id)
	if use := w.svc.HostUse()["gpu-1"]; use.PowerW != 900+8*400 || use.UnitsBusy != 8 || use.Jobs[0] != id {
		t.Fatalf("busy: %+v", use)
	}
	wantKind(t, w.svc.Start(t.Context(), w.Now(), id, ""), sluice.Conflict)
	w.pass(20 * time.Minute)
	if err := w.svc.Preempt(t.Context(), w.Now(), id, "strike 55 < price 212 $/MWh"); err != nil {
		t.Fatal(err)
	}
	j := w.job(id)
	if j.State != compute.Queued || j.RunSeconds != 1200 || j.Preemptions != 1 || !strings.Contains(j.Why, "price 212") || j.Host != "" || j.CheckpointAt == nil {
		t.Fatalf("preempted: %+v", j)
	}
	wantKind(t, w.svc.Preempt(t.Context(), w.Now(), id, ""), sluice.Conflict)
	w.pass(time.Hour)
	w.start(id)
	w.pass(40*time.Minute - time.Second)
	if j := w.job(id); j.State != compute.Running || j.RunSeconds != 3599 {
		t.Fatalf("a second before its end: %+v", j)
	}
	w.pass(10 * time.Minute)
	j = w.job(id)
	if j.State != compute.Succeeded || j.RunSeconds != 3600 || *j.ExitCode != 0 || !j.EndedAt.Equal(epoch.Add(2*time.Hour)) {
		t.Fatalf("ended: %+v at %v", j, j.EndedAt)
	}
	uses := w.svc.Meter(w.Now())
	if len(uses) != 1 || uses[0].UnitSeconds != 8*3600 || uses[0].Amount != sluice.MoneyOfUSD(8*1.234567) {
		t.Fatalf("uses %+v", uses)
	}
	w.svc.Billed(uses)
	if got := w.svc.Meter(w.Now()); len(got) != 0 {
		t.Fatalf("billed twice: %+v", got)
	}
}

// bill posts what was used, as the site does.
func (w *world) bill() sluice.Money {
	w.t.Helper()
	uses := w.svc.Meter(w.Now())
	err := w.db.Write(context.Background(), func(tx *sql.Tx) error { return store.MarkBilled(context.Background(), tx, uses) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.svc.Billed(uses)
	var sum sluice.Money
	for _, u := range uses {
		sum += u.Amount
	}
	return sum
}

// Whatever happens in whatever order, no host is overfull, every job is in one
// state that makes sense, virtual jobs run their time exactly, and the bills add
// up to the price of the use; restarts change nothing.
func TestAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, gpuHost("gpu-1"), gpuHost("gpu-2"), gpuHost("gpu-3"))
		defer w.close()
		var billed sluice.Money
		id := func() string {
			jobs := w.svc.Jobs()
			if len(jobs) == 0 {
				return "j-000001"
			}
			return jobs[rapid.IntRange(0, len(jobs)-1).Draw(rt, "job")].ID
		}
		rt.Repeat(map[string]func(*rapid.T){
			"submit": func(rt *rapid.T) {
				w.submit(gpus(rapid.IntRange(1, 8).Draw(rt, "gpus"), float64(rapid.IntRange(1, 4000).Draw(rt, "seconds"))))
			},
			"start":   func(*rapid.T) { _ = w.svc.Start(context.Background(), w.Now(), id(), "") },
			"preempt": func(*rapid.T) { _ = w.svc.Preempt(context.Background(), w.Now(), id(), "") },
			"cancel":  func(*rapid.T) { _, _ = w.svc.Cancel(context.Background(), w.Now(), id()) },
			"pass": func(rt *rapid.T) {
				w.pass(time.Duration(rapid.IntRange(1, 2_000_000).Draw(rt, "ms")) * time.Millisecond)
			},
			"bill":    func(*rapid.T) { billed += w.bill() },
			"restart": func(*rapid.T) { w.restart() },
			"": func(rt *rapid.T) {
				busy := map[string]int{}
				for _, j := range w.svc.Jobs() {
					holds := j.State == compute.Running
					if holds {
						busy[j.Host] += j.Units
					}
					if holds != (j.Host != "" && !j.State.Ended()) || j.RunSeconds > j.ExpectSeconds+1e-9 ||
						(j.State == compute.Succeeded) != (math.Abs(j.RunSeconds-j.ExpectSeconds) < 1e-9 && j.State.Ended() && j.State != compute.Cancelled) {
						rt.Fatalf("job %+v", j)
					}
				}
				for h, u := range w.svc.HostUse() {
					if u.UnitsBusy != busy[h] || u.UnitsBusy > 8 {
						rt.Fatalf("host %s: %d units busy, its jobs hold %d", h, u.UnitsBusy, busy[h])
					}
				}
			},
		})
		for _, j := range w.svc.Jobs() {
			_, _ = w.svc.Cancel(context.Background(), w.Now(), j.ID)
		}
		billed += w.bill()
		var want, kept sluice.Money
		for _, j := range w.svc.Jobs() {
			want += sluice.Money(sluice.MulDiv(int64(math.Round(j.RunSeconds*1000))*int64(j.Units), 1_234_567, 3_600_000))
			kept += j.BilledUSD
		}
		// Each run's milliseconds are rounded down once.
		runs := 0
		for _, j := range w.svc.Jobs() {
			runs += j.Runs * j.Units
		}
		if kept != billed || billed > want || want-billed > sluice.Money(runs+len(w.svc.Jobs())) {
			rt.Fatalf("billed %d, kept %d, the use costs %d", billed, kept, want)
		}
	})
}

// Small jobs share hosts, so that a large one still finds a whole host.
func TestPlacementKeepsHostsWhole(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"), gpuHost("gpu-2"))
	var orders []compute.Order
	for _, n := range []int{3, 2, 1, 2} {
		orders = append(orders, compute.Order{ID: w.submit(gpus(n, 600)).ID, Action: compute.ActStart})
	}
	orders = append(orders, compute.Order{ID: w.submit(gpus(8, 600)).ID, Action: compute.ActStart})
	for i, err := range w.svc.Apply(t.Context(), w.Now(), orders) {
		if err != nil {
			t.Errorf("order %d: %v", i, err)
		}
	}
	id := w.submit(gpus(1, 600)).ID
	err := w.svc.Start(t.Context(), w.Now(), id, "")
	wantKind(t, err, sluice.Conflict)
	if err != nil && !strings.Contains(err.Error(), "no host of class a100 has room for 1 units (the most that is free on one is 0") {
		t.Errorf("no reason: %v", err)
	}
	// Preempting and starting in one call makes room first.
	errs := w.svc.Apply(t.Context(), w.Now(), []compute.Order{{ID: id, Action: compute.ActStart}, {ID: orders[2].ID, Action: compute.ActPreempt}})
	if errs[0] != nil || errs[1] != nil {
		t.Fatal(errs)
	}
	w.pass(time.Hour)
	if err := w.svc.Block("gpu-1", compute.BlockedByHand, "fans"); err != nil {
		t.Fatal(err)
	}
	// That it answers again does not lift the operator's lock.
	if err := w.svc.Block("gpu-1", compute.BlockedByFabric, "is silent"); err != nil {
		t.Fatal(err)
	}
	if err := w.svc.Block("gpu-1", compute.BlockedByFabric, ""); err != nil {
		t.Fatal(err)
	}
	w.start(orders[2].ID)
	if h := w.job(orders[2].ID).Host; h != "gpu-2" {
		t.Fatalf("placed on %s, which is blocked", h)
	}
}

// While the disk is full nothing new is confirmed, and power is still freed.
func TestDiskFull(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"))
	a, b := w.submit(gpus(4, 3600)).ID, w.submit(gpus(4, 3600)).ID
	w.start(a)
	w.setFail(true)
	if _, err := w.svc.Submit(t.Context(), w.Now(), gpus(1, 60)); err == nil || len(w.svc.Jobs()) != 2 {
		t.Fatalf("a job that was not stored: %v, %d jobs", err, len(w.svc.Jobs()))
	}
	if err := w.svc.Start(t.Context(), w.Now(), b, ""); err == nil || w.job(b).State != compute.Queued || w.job(b).Runs != 0 {
		t.Fatalf("a start that was not stored: %v, %+v", err, w.job(b))
	}
	if _, err := w.svc.Cancel(t.Context(), w.Now(), b); err == nil || w.job(b).State != compute.Queued {
		t.Fatalf("a cancellation that was not stored: %v, %+v", err, w.job(b))
	}
	w.pass(time.Minute)
	if err := w.svc.Preempt(t.Context(), w.Now(), a, "limit"); err != nil || w.svc.HostUse()["gpu-1"].UnitsBusy != 0 {
		t.Fatalf("a preemption waited for the disk: %v", err)
	}
	if err := w.svc.Sync(t.Context()); err == nil {
		t.Fatal("no alarm")
	}
	w.setFail(false)
	if err := w.svc.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if j := w.job(a); j.State != compute.Queued || j.RunSeconds != 60 || j.Preemptions != 1 {
		t.Fatalf("after a restart: %+v", j)
	}
}

// Changes are told in their order, also when telling calls back and many act at
// once.
func TestChangesInOrder(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			j, err := w.svc.Submit(context.Background(), epoch, gpus(1, 60))
			if err != nil {
				t.Error(err)
				return
			}
			_ = w.svc.Start(context.Background(), epoch, j.ID, "")
			_ = w.svc.Preempt(context.Background(), epoch, j.ID, "")
		})
	}
	wg.Wait()
	w.until("all is told", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		last := map[string]compute.State{}
		for _, j := range w.changes {
			last[j.ID] = j.State
		}
		return len(last) == 8 && !slices.ContainsFunc(w.changes, func(j compute.Job) bool { return last[j.ID] != compute.Queued })
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	runs := map[string]int{}
	for _, j := range w.changes {
		if j.Runs < runs[j.ID] {
			t.Fatalf("an older state of %s after a newer: %v", j.ID, fmt.Sprint(w.changes))
		}
		runs[j.ID] = j.Runs
	}
}
