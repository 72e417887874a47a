package site_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/sim/replay"
	"sluice/site"
)

// demoSize is a world of the demo's size: 3,900 miners, 240 hosts of 8 and the
// demo's stream of jobs, without sockets.
func demoSize(t testing.TB, price func(time.Time) float64) *world {
	w := newWorld(t, worldSpec{miners: 1300, gpuHosts: 240, limit: 12 * sluice.Megawatt, feederA: 7500 * sluice.Kilowatt, meters: true, price: price})
	w.arrive = true
	return w
}

// arrivals hands in the demo's jobs that arrive by now.
func (w *world) arrivals(from, to time.Time) {
	for _, a := range replay.Arrivals(t0, from, to) {
		rate := replay.H100OnDemandUSD
		if a.Interruptible {
			rate = replay.H100SpotUSD
		}
		w.submit(a.GPUs, a.Duration, a.Interruptible, rate)
	}
}

// A day of virtual time at full speed, without sockets: the figure that stands in
// docs/performance.md is a day's wall time.
func BenchmarkDay(b *testing.B) {
	w := demoSize(b, steps(30, 30, 30, 110, 394, 1005, 198, 58, 30, 25, 40, 60, 95, 120, 30))
	w.run(10*time.Minute, time.Minute)
	clear(w.most) // the world begins above its limit
	for b.Loop() {
		w.run(24*time.Hour, time.Minute)
	}
	b.ReportMetric(w.most["site"], "highest-load/limit")
}

// A day of the demo runs without sockets in less than a minute of computing, and
// does over it what the demo shows: AI fills up, prices stop miners and let them
// wake, limits hold.
func TestDay(t *testing.T) {
	hours := 24
	if raceEnabled {
		hours = 1
	}
	w := demoSize(t, steps(30, 30, 110, 394, 1005, 58, 30, 25, 40, 60, 95, 120, 30))
	w.run(10*time.Minute, time.Minute)
	clear(w.most)
	start, cpu := time.Now(), processorTime(t)
	fewest, most, busiest := 1e9, 0.0, 0
	for range hours {
		w.run(time.Hour, time.Minute)
		st := w.site.Status()
		fewest, most, busiest = min(fewest, st.MiningKW), max(most, st.MiningKW), max(busiest, st.GPUsBusy)
	}
	wall, used := time.Since(start), processorTime(t)-cpu
	t.Logf("%d h of site time in %.1f s, %.1f s of processor time", hours, wall.Seconds(), used.Seconds())
	if !raceEnabled && used > time.Minute {
		t.Errorf("a day takes %v of processor time, more than a minute", used)
	}
	if busiest < 1500 || most < 8000 || (!raceEnabled && fewest > 200) {
		t.Errorf("at most %d GPUs were busy, mining drew %.0f to %.0f kW", busiest, fewest, most)
	}
	for n, share := range w.most {
		if share > 1 {
			t.Errorf("%s reached %.4f of its limit", n, share)
		}
	}
	w.energy() // fails the test where the books do not balance
	for _, j := range w.jobs.Jobs() {
		if !j.Interruptible && j.Preemptions > 0 {
			t.Errorf("firm job %s was preempted: %s", j.ID, j.Why)
		}
	}
}

// processorTime is what this process has used so far.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A turn of the demo site that plans.
func BenchmarkStep(b *testing.B) {
	w := demoSize(b, steps(30, 30, 60, 110, 150))
	w.run(2*time.Hour, time.Minute)
	var plans, sum, worst float64
	for b.Loop() {
		w.run(5*time.Minute, 5*time.Minute)
		ms := w.site.Status().Plan.StepMS
		plans, sum, worst = plans+1, sum+ms, max(worst, ms)
	}
	b.ReportMetric(sum/plans, "ms/step")
	b.ReportMetric(worst, "ms/worst-step")
}

// From an order to the last setpoint, devices answering at once and without
// sockets: what Sluice itself takes.
func BenchmarkOrder(b *testing.B) {
	w := demoSize(b, flat(30))
	w.run(2*time.Hour, time.Minute)
	for b.Loop() {
		c, err := w.site.Curtail(context.Background(), site.CurtailmentOrder{Limit: 4 * sluice.Megawatt, Until: w.clock().Add(time.Hour), By: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_, err = w.site.CancelCurtailment(context.Background(), c.ID, "bench")
		w.must(err)
		w.run(40*time.Minute, time.Minute)
		b.StartTimer()
	}
}

func BenchmarkPreview(b *testing.B) {
	w := demoSize(b, flat(30))
	w.run(2*time.Hour, time.Minute)
	for b.Loop() {
		_, err := w.site.PreviewCurtailment(context.Background(), site.CurtailmentOrder{Limit: 4 * sluice.Megawatt, Until: w.clock().Add(time.Hour)})
		w.must(err)
	}
}
