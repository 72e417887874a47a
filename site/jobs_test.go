package site_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/site"
)

// awake counts the miners that draw more than they do asleep and do what they are
// told.
func (w *world) awake() (n int) {
	for _, m := range w.site.Machines() {
		if m.Kind == sluice.Miner && m.Mode != sluice.ModeSleep && m.Want != sluice.ModeSleep {
			n++
		}
	}
	return n
}

// An order comes at any instant, with work of all kinds on the hosts: firm,
// interruptible, gangs, long and short notices. No work stops for the limit while a
// miner under it is on, and nothing is cut while its notice can be kept.
func TestMinersMakeRoomFirst(t *testing.T) {
	var stops, spared atomic.Int64
	t.Cleanup(func() {
		// Else the test has seen nothing.
		if stops.Load() < 20 || spared.Load() < 20 {
			t.Errorf("%d jobs stopped, %d went on", stops.Load(), spared.Load())
		}
	})
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 0x726f6f6d))
			w := newWorld(t, worldSpec{miners: 6, gpuHosts: 4, limit: 200 * sluice.Kilowatt, meters: true})
			w.exec.SaveFor(time.Duration(r.IntN(60)) * time.Second)
			var ids []string
			for free := 32; free > 0; {
				n := min(free, []int{1, 2, 4, 8}[r.IntN(4)])
				nodes := 1
				if free >= 2*n && r.IntN(3) == 0 {
					nodes = 2
				}
				free -= n * nodes
				j, err := w.jobs.Submit(context.Background(), w.clock(), compute.SubmitRequest{
					Tenant: fmt.Sprint("t", r.IntN(3)), Virtual: true, Class: "gpu", Units: n,
					RateUSDHour: 1 + r.Float64()*2, ExpectSeconds: 20 * 3600, Interruptible: r.IntN(2) == 0,
					Task: &compute.Task{
						Name: "train", NumNodes: nodes, Run: "x", Interrupt: compute.Interrupt{Notice: time.Duration(r.IntN(120)) * time.Second},
						Resources: compute.Resources{Accelerator: "H100", GPUs: n},
					},
				})
				w.must(err)
				ids = append(ids, j.ID)
			}
			w.run(time.Duration(20+r.IntN(40))*time.Minute+time.Duration(r.IntN(900))*time.Second, 15*time.Second)
			load := w.power("site")
			limit := sluice.Watts(float64(load) * (0.05 + 0.9*r.Float64()))
			_, err := w.site.Curtail(context.Background(), site.CurtailmentOrder{Node: "site", Limit: limit, For: 15 * time.Minute, By: "test", Why: "test"})
			w.must(err)
			stopped := map[string]bool{}
			for range 40 {
				w.run(15*time.Second, 15*time.Second)
				for _, id := range ids {
					j, err := w.jobs.Job(id)
					w.must(err)
					lost := j.State == compute.Stopping || j.State == compute.Queued && j.Preemptions > 0
					if lost && !stopped[id] {
						stopped[id] = true
						if n := w.awake(); n > 0 {
							t.Errorf("%s stopped (%s) with %d miners on, limit %v of %v", id, j.Why, n, limit, load)
						}
					}
				}
			}
			stops.Add(int64(len(stopped)))
			spared.Add(int64(len(ids) - len(stopped)))
			if got := w.power("site"); got > limit && w.idle() < limit {
				t.Errorf("%v after ten minutes under a limit of %v", got, limit)
			}
		})
	}
}

// idle is what the site draws with everything stopped that can be.
func (w *world) idle() sluice.Watts {
	p := sluice.Watts(0)
	for range w.spec.gpuHosts {
		p += 2000
	}
	for _, m := range w.minersOf() {
		p += m.Modes[0].Power
	}
	return sluice.Watts(float64(p) * overhead)
}

// A job whose notice is longer than an order gives is cut when the order's time is
// over and nothing else can go; that is recorded, an alarm, and credited in the
// books. Where the order gives time enough nothing is cut.
func TestCutForALimit(t *testing.T) {
	for _, within := range []time.Duration{time.Minute, 20 * time.Minute} {
		w := newWorld(t, worldSpec{miners: 2, gpuHosts: 1, limit: 200 * sluice.Kilowatt, meters: true})
		w.exec.SaveFor(10 * time.Minute)
		j, err := w.jobs.Submit(context.Background(), w.clock(), compute.SubmitRequest{
			Tenant: "acme", Virtual: true, Class: "gpu", Units: 8, RateUSDHour: 2, ExpectSeconds: 20 * 3600,
			Task: &compute.Task{Name: "train", NumNodes: 1, Run: "x", Interrupt: compute.Interrupt{Notice: 15 * time.Minute}},
		})
		w.must(err)
		w.run(30*time.Minute, 15*time.Second)
		_, err = w.site.Curtail(context.Background(), site.CurtailmentOrder{Node: "site", Limit: 4 * sluice.Kilowatt, For: time.Hour, Within: within, By: "test", Why: "test"})
		w.must(err)
		w.run(50*time.Second, 5*time.Second)
		if got, _ := w.jobs.Job(j.ID); got.State != compute.Stopping || got.Cuts != 0 {
			t.Fatalf("within %s: %s after 50 s, %d cuts: %s", within, got.State, got.Cuts, got.Why)
		}
		w.run(20*time.Minute, 5*time.Second)
		got, _ := w.jobs.Job(j.ID)
		alarms, err := w.site.Alarms(context.Background(), true, 0, 100)
		w.must(err)
		told := false
		for _, a := range alarms {
			told = told || a.Name == "job-cut" && a.Subject == j.ID
		}
		var credits sluice.Money
		w.must(w.db.EachEntry(context.Background(), time.Time{}, time.Time{}, func(e ledgerEntry) error {
			for _, p := range e.Postings {
				if strings.HasSuffix(p.Account, ":credits") {
					credits += p.Amount
				}
			}
			return nil
		}))
		if within == time.Minute {
			if got.Cuts != 1 || got.CreditUSD <= 0 || !told || credits != got.CreditUSD {
				t.Errorf("cut %d times, credit %v, posted %v, told %v", got.Cuts, got.CreditUSD, credits, told)
			}
		} else if got.Cuts != 0 || told || credits != 0 || got.Preemptions != 1 {
			t.Errorf("cut %d times with time enough, posted %v, told %v, %d preemptions", got.Cuts, credits, told, got.Preemptions)
		}
	}
}

// Work that comes between two plans does not wait for the next one where it surely
// pays and has room, and does where it does not.
func TestStartsAtOnce(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 2, gpuHosts: 1, limit: 200 * sluice.Kilowatt, meters: true})
	w.run(15*time.Minute, 15*time.Second)
	first := w.submit(4, time.Hour, true, 2)
	w.run(15*time.Second, 15*time.Second)
	if j, _ := w.jobs.Job(first.ID); j.State != compute.Running {
		t.Fatalf("%s: %s", j.State, j.Why)
	}
	cheap, large := w.submit(2, time.Hour, true, 0.01), w.submit(8, time.Hour, true, 2)
	w.run(15*time.Second, 15*time.Second)
	for _, j := range []compute.Job{cheap, large} {
		if j, _ := w.jobs.Job(j.ID); j.State != compute.Queued {
			t.Fatalf("%s is %s: %s", j.ID, j.State, j.Why)
		}
	}
	d, err := w.site.Decisions(context.Background(), 0, 5)
	w.must(err)
	for _, x := range d {
		for _, m := range x.JobMoves {
			if m.Job == first.ID && m.Host == "gpu-00" && strings.Contains(m.Reason, "there is room") {
				return
			}
		}
	}
	t.Errorf("no decision tells of the start: %+v", d)
}

// A job for which no GPU is free is not decided to start, and one that was interrupted
// goes on before one that came after it.
func TestInterruptedGoesOnFirst(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 2, gpuHosts: 1, limit: 200 * sluice.Kilowatt, meters: true})
	w.run(15*time.Minute, 15*time.Second)
	first := w.submit(8, 0, true, 2)
	w.run(15*time.Second, 15*time.Second)
	w.run(10*time.Second, 10*time.Second)
	if j, _ := w.jobs.Job(first.ID); j.State != compute.Running {
		t.Fatalf("%s: %s", j.State, j.Why)
	}
	second := w.submit(8, 0, true, 2)
	w.run(15*time.Second, 15*time.Second)
	d, err := w.site.Decisions(context.Background(), 0, 50)
	w.must(err)
	for _, x := range d {
		for _, m := range x.JobMoves {
			if m.Job == second.ID {
				t.Fatalf("decided without room: %+v", m)
			}
		}
	}
	_, err = w.site.Curtail(context.Background(), site.CurtailmentOrder{Node: "site", Limit: 3 * sluice.Kilowatt, For: time.Minute, By: "test", Why: "test"})
	w.must(err)
	w.run(time.Minute, 5*time.Second)
	if j, _ := w.jobs.Job(first.ID); j.State != compute.Queued || j.Preemptions != 1 {
		t.Fatalf("%s: %s", j.State, j.Why)
	}
	w.run(10*time.Minute, 15*time.Second)
	a, _ := w.jobs.Job(first.ID)
	b, _ := w.jobs.Job(second.ID)
	if a.State != compute.Running || b.State != compute.Queued {
		t.Errorf("the interrupted one is %s (%s), the newer %s (%s)", a.State, a.Why, b.State, b.Why)
	}
}

// Jobs that allow it are slowed by a limit of power where that loses less than
// stopping one, and get their power back when there is room. One that does not allow
// it is stopped as ever.
func TestCapsInsteadOfStopping(t *testing.T) {
	for _, allows := range []bool{true, false} {
		w := newWorld(t, worldSpec{miners: 1, gpuHosts: 2, limit: 200 * sluice.Kilowatt, meters: true})
		var ids []string
		for range 2 {
			j, err := w.jobs.Submit(context.Background(), w.clock(), compute.SubmitRequest{
				Tenant: "acme", Virtual: true, Class: "gpu", Units: 8, RateUSDHour: 2, ExpectSeconds: 6 * 3600, Interruptible: true,
				Task: &compute.Task{Name: "train", NumNodes: 1, Run: "x", Resources: compute.Resources{
					Accelerator: "H100", GPUs: 8, UseSpot: true, PowerCapOK: allows, MinPowerShare: 0.6,
				}},
			})
			w.must(err)
			ids = append(ids, j.ID)
		}
		w.run(30*time.Minute, 15*time.Second)
		// Both draw 8 kW beside the hosts' idle 4 kW; the miners must go, and 3 kW.
		limit := sluice.Watts(float64(17*sluice.Kilowatt) * overhead)
		_, err := w.site.Curtail(context.Background(), site.CurtailmentOrder{Node: "site", Limit: limit, For: time.Hour, By: "test", Why: "test"})
		w.must(err)
		w.run(10*time.Minute, 15*time.Second)
		if got := w.power("site"); got > limit {
			t.Errorf("allows %v: %v under a limit of %v", allows, got, limit)
		}
		capped, stopped := 0, 0
		for _, id := range ids {
			j, _ := w.jobs.Job(id)
			if j.PowerShare > 0 {
				capped++
				if j.PowerShare < 0.6-1e-9 || j.State != compute.Running {
					t.Errorf("%+v", j)
				}
			}
			if j.Preemptions > 0 {
				stopped++
			}
		}
		if allows && (capped == 0 || stopped > 0) || !allows && (capped > 0 || stopped == 0) {
			t.Errorf("allows %v: %d limited, %d stopped", allows, capped, stopped)
		}
		w.run(70*time.Minute, 15*time.Second)
		for _, id := range ids {
			if j, _ := w.jobs.Job(id); j.PowerShare != 0 || j.State != compute.Running {
				t.Errorf("after the order: %+v", j)
			}
		}
		w.run(6*time.Hour, time.Minute)
		for _, id := range ids {
			j, _ := w.jobs.Job(id)
			if j.State != compute.Succeeded || allows && (j.SlowedSeconds < 60 || j.RunSeconds < 6*3600+j.SlowedSeconds-1) {
				t.Errorf("%s after %v s, %v of them lost to limits", j.State, j.RunSeconds, j.SlowedSeconds)
			}
		}
	}
}
