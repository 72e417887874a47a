package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/site"
	"sluice/store"
)

// The demo's figures that docs/performance.md quotes, over real sockets in one
// process: start to first plan, memory after a minute, and an order of 4 MW from
// the call to the last proven miner, the virtual firmware answering at once.
func BenchmarkDemo(b *testing.B) {
	for b.Loop() {
		benchDemo(b)
	}
}

func benchDemo(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := time.Now()
	db, err := store.Open(ctx, b.TempDir(), store.Options{Demo: true, Site: demoName})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	p, err := demoParts(ctx, upFlags{demo: true, speed: 60, instant: true}, db)
	if err != nil {
		b.Fatal(err)
	}
	defer p.close()
	r, err := begin(ctx, p, db, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); r.loops(ctx) }()
	defer func() { cancel(); <-done; r.jobs.Close() }()

	await(b, func() bool { return r.site.Status().Plan != nil })
	b.ReportMetric(time.Since(started).Seconds(), "s-to-first-plan")
	var worst, sum float64
	plans, last := 0.0, time.Time{}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		await(b, func() bool { return r.site.Status().Plan.At != last || time.Now().After(end) })
		if pl := r.site.Status().Plan; pl.At != last {
			last = pl.At
			sum, plans, worst = sum+pl.StepMS, plans+1, max(worst, pl.StepMS)
		}
	}
	b.ReportMetric(sum/plans, "ms/step")
	b.ReportMetric(worst, "ms/worst-step")
	b.ReportMetric(residentMB(b), "MB-resident")
	benchOrder(ctx, b, r)
}

func benchOrder(ctx context.Context, b *testing.B, r *running) {
	preview, err := r.site.PreviewCurtailment(ctx, site.CurtailmentOrder{Limit: 4 * sluice.Megawatt, Until: r.parts.clock.Now().Add(time.Hour)})
	if err != nil {
		b.Fatal(err)
	}
	given := time.Now()
	c, err := r.site.Curtail(ctx, site.CurtailmentOrder{Limit: 4 * sluice.Megawatt, Until: r.parts.clock.Now().Add(time.Hour), By: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	var now site.Curtailment
	proven := func() int {
		cs := r.site.Status().Curtailments
		if len(cs) == 0 {
			return 0 // the next turn shows it
		}
		now = cs[0]
		n := 0
		for _, s := range now.Shed {
			n += s.Machines
		}
		return n
	}
	// Four in a thousand ignore commands or cannot be read, by design.
	await(b, func() bool { return proven() >= preview.Machines-8 && now.MetAfterWallS != nil })
	lastS := 0.0
	for n, s := range now.Shed {
		if n < len(now.Shed) {
			lastS = max(lastS, s.AfterS)
		}
	}
	b.ReportMetric(float64(proven()), "machines-shed")
	b.ReportMetric(*now.MetAfterWallS, "s-to-limit")
	b.ReportMetric(min(lastS/60, time.Since(given).Seconds()), "s-to-last-proof")
	if _, err := r.site.CancelCurtailment(ctx, c.ID, "bench"); err != nil {
		b.Fatal(err)
	}
}

// await polls until the condition holds, for two minutes at most.
func await(b *testing.B, ok func() bool) {
	b.Helper()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	end := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-t.C:
		case <-end:
			b.Fatal("it did not come within two minutes")
		}
	}
}

func residentMB(b *testing.B) float64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0 // not on this system
	}
	var kb float64
	for _, line := range strings.Split(string(data), "\n") {
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kb); n == 1 {
			return kb / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
