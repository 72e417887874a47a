package sim_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/device"
	"sluice/device/antminer"
	"sluice/device/dialect"
	"sluice/device/luxos"
	"sluice/sim"
)

// specs makes n miners, models in turn.
func specs(n int) []sim.MinerSpec {
	models := sim.Models()
	out := make([]sim.MinerSpec, n)
	for i := range out {
		m := models[i%len(models)]
		out[i] = sim.MinerSpec{
			Name: fmt.Sprintf("m%04d", i), Model: m.Name, Dialect: m.Dialect, Node: "feeder-" + strconv.Itoa(i%2),
			Modes: m.Modes, Default: m.Default, Seed: uint64(i),
		}
	}
	return out
}

func driver(f *sim.Fleet, i int) device.Miner {
	if f.Spec(i).Dialect == sim.LuxOS {
		return luxos.New(f.Address(i))
	}
	return antminer.New(f.Address(i))
}

// sleeps puts a miner to sleep and sees that it says so.
func sleeps(_ int, m device.Miner) error {
	ctx := context.Background()
	if _, err := m.Set(ctx, sluice.ModeSleep, nil); err != nil {
		return err
	}
	r, err := m.Read(ctx)
	if err == nil && r.Mode != sluice.ModeSleep {
		err = fmt.Errorf("reads %q", r.Mode)
	}
	return err
}

// each runs do for every miner with a site controller's worth of workers.
func each(tb testing.TB, drivers []device.Miner, do func(i int, m device.Miner) error) {
	tb.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	for range 128 {
		wg.Go(func() {
			for i := range next {
				if err := do(i, drivers[i]); err != nil {
					tb.Errorf("miner %d: %v", i, err)
				}
			}
		})
	}
	for i := range drivers {
		next <- i
	}
	close(next)
	wg.Wait()
}

// rss returns the process's resident memory in MB, 0 where /proc is absent.
func rss() float64 {
	b, _ := os.ReadFile("/proc/self/statm")
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(f[1])
	return float64(pages*os.Getpagesize()) / 1e6
}

// BenchmarkCurtail4000 is the wall time from the order to the last machine that
// says it sleeps: Set and Read of all, drivers and machines in one process.
func BenchmarkCurtail4000(b *testing.B) {
	before := rss()
	start := time.Now()
	f, err := sim.StartFleet(specs(4000), sim.FleetOptions{Instant: true, StatePath: filepath.Join(b.TempDir(), "miners")})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	started := time.Since(start)
	runtime.GC()
	idle := rss() - before
	drivers := make([]device.Miner, f.Len())
	priors := make([]device.Prior, f.Len())
	for i := range drivers {
		drivers[i] = driver(f, i)
	}
	ctx := context.Background()
	each(b, drivers, func(i int, m device.Miner) (err error) { priors[i], err = m.Prior(ctx); return })
	var used time.Duration
	for b.Loop() {
		began := cpu(b)
		each(b, drivers, sleeps)
		b.StopTimer()
		used += cpu(b) - began
		each(b, drivers, func(i int, m device.Miner) error {
			_, err := m.Set(ctx, sluice.ModeMine, priors[i])
			return err
		})
		b.StartTimer()
	}
	b.ReportMetric(float64(started.Milliseconds()), "start-ms")
	b.ReportMetric(idle, "idle-MB")
	b.ReportMetric(rss()-before, "busy-MB")
	// What it costs, which a busy machine does not spoil.
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/op")
}

// cpu returns the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkPoll4000 reads every machine once.
func BenchmarkPoll4000(b *testing.B) {
	f, err := sim.StartFleet(specs(4000), sim.FleetOptions{Instant: true})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	drivers := make([]device.Miner, f.Len())
	for i := range drivers {
		drivers[i] = driver(f, i)
	}
	for b.Loop() {
		each(b, drivers, func(_ int, m device.Miner) error { _, err := m.Read(context.Background()); return err })
	}
}

// BenchmarkDialects is what an order and its proof cost a machine in each dialect, both
// sides together, in processor time: which a busy computer hardly spoils.
func BenchmarkDialects(b *testing.B) {
	set, err := dialect.Load("")
	if err != nil {
		b.Fatal(err)
	}
	for _, m := range sim.FieldModels() {
		b.Run(m.Dialect+"/"+m.Name, func(b *testing.B) {
			const n = 200
			var all []sim.MinerSpec
			for i := range n {
				all = append(all, sim.MinerSpec{Name: fmt.Sprintf("m%04d", i), Model: m.Name, Dialect: m.Dialect, Modes: m.Modes, Default: m.Default, Seed: uint64(i)})
			}
			f, err := sim.StartFleet(all, sim.FleetOptions{Instant: true})
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			drivers, priors := make([]device.Miner, n), make([]device.Prior, n)
			for i := range drivers {
				if drivers[i], err = set.New(m.Dialect, f.Address(i)); err != nil {
					b.Fatal(err)
				}
			}
			ctx := context.Background()
			each(b, drivers, func(i int, m device.Miner) (err error) {
				if _, err = m.Read(ctx); err == nil {
					priors[i], err = m.Prior(ctx)
				}
				return
			})
			var used time.Duration
			for b.Loop() {
				began := cpu(b)
				each(b, drivers, sleeps)
				b.StopTimer()
				used += cpu(b) - began
				each(b, drivers, func(i int, m device.Miner) error {
					_, err := m.Set(ctx, sluice.ModeMine, priors[i])
					if f, ok := m.(device.Finisher); ok {
						f.Finish(ctx)
					}
					return err
				})
				b.StartTimer()
			}
			b.ReportMetric(used.Seconds()*1e6/float64(b.N)/n, "cpu-us/machine")
		})
	}
}
