package compute_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"sluice/compute"
)

// nowhere is a store that keeps nothing: what is measured is the Service.
type nowhere struct{}

func (nowhere) LoadJobs(context.Context) ([]compute.Record, error) { return nil, nil }
func (nowhere) PutJobs(context.Context, []compute.Record) error    { return nil }

// parked is an executor whose runs never end by themselves and take no time to start.
type parked struct{}

func (parked) Start(_ context.Context, s compute.RunSpec) (compute.Handle, error) {
	return compute.Handle(s.RunID), nil
}
func (parked) Attach(context.Context, compute.Handle) error { return nil }
func (parked) Wait(ctx context.Context, _ compute.Handle) (compute.Exit, error) {
	<-ctx.Done()
	return compute.Exit{}, ctx.Err()
}
func (parked) Stop(context.Context, compute.Handle, time.Duration) error { return nil }
func (parked) Usage(context.Context, compute.Handle) (compute.Usage, error) {
	return compute.Usage{}, nil
}
func (parked) Watch(compute.Handle, func(compute.Exit)) error { return nil }
func (parked) Signal(compute.Handle, time.Duration) error     { return nil }

// BenchmarkPlacement places 10,000 waiting jobs on 1,000 hosts of 8 GPUs: ordering
// the queue, choosing a host and GPUs for each, and the records of their starts,
// without the disk. The bar is 200 ms.
func BenchmarkPlacement(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		var hs []compute.Host
		for i := range 1000 {
			hs = append(hs, compute.Host{
				Name: fmt.Sprintf("gpu-%04d", i), Class: "a100", Executor: "virtual", Units: 8, CPUs: 96, MemoryGB: 1024,
				GPUModel: "A100", IdleW: 900, UnitW: 400,
			})
		}
		s := compute.New(compute.Config{Hosts: hs, Executors: map[string]compute.Executor{"virtual": parked{}}, Store: nowhere{}, Dir: b.TempDir(), Now: func() time.Time { return epoch }})
		if err := s.Recover(b.Context(), epoch); err != nil {
			b.Fatal(err)
		}
		for i := range 10_000 {
			r := gpus([]int{1, 1, 1, 1, 1, 2, 2, 4, 8}[i%9], 3600)
			r.Tenant = fmt.Sprint("t", i%7)
			r.Task.Resources.CPUs, r.Task.Resources.MemoryGB = float64(4*(1+i%3)), float64(16*(1+i%2))
			if _, err := s.Submit(b.Context(), epoch, r); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		open := s.Open()
		orders := make([]compute.Order, len(open))
		for i, j := range open {
			orders[i] = compute.Order{ID: j.ID, Action: compute.ActStart, Why: "bench"}
		}
		errs := s.Apply(b.Context(), epoch, orders)
		b.StopTimer()
		placed, busy := 0, 0
		for _, err := range errs {
			if err == nil {
				placed++
			}
		}
		for _, u := range s.HostUse() {
			busy += u.UnitsBusy
		}
		b.ReportMetric(float64(placed), "placed")
		b.ReportMetric(float64(busy)/80, "gpus_%")
		s.Close()
		b.StartTimer()
	}
}

// BenchmarkBurst takes 2,000 submissions from 16 clients at once, each durable
// before it is accepted. The bar is 10 s.
func BenchmarkBurst(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		w := newWorld(b, thisMachine)
		b.StartTimer()
		var wg sync.WaitGroup
		for c := range 16 {
			wg.Go(func() {
				for range 2000 / 16 {
					r := script("true")
					r.Tenant = fmt.Sprint("t", c)
					if _, err := w.svc.Submit(b.Context(), w.Now(), r); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.StopTimer()
		if n := len(w.svc.Jobs()); n != 2000 {
			b.Errorf("%d jobs", n)
		}
		w.close()
		b.StartTimer()
	}
}
