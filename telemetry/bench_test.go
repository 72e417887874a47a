package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"sluice"
	"sluice/site"
)

// fleetOf makes readings of so many machines; step changes them as an hour does.
func fleetOf(n int) (machines []site.MachineReading, step func(at time.Time)) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range n {
		machines = append(machines, site.MachineReading{
			Name: fmt.Sprintf("rack-%03d-miner-%05d", i/60, i), Class: fmt.Sprintf("s21-%02d", i%20), Model: "Antminer S21",
			Kind: sluice.Miner, State: site.StateMining, Mode: sluice.ModeMine, PowerSource: sluice.SourceDevice,
			Reading: sluice.Reading{HasHashRate: true, HasTemp: true},
		})
	}
	return machines, func(at time.Time) {
		for i := range machines {
			m := &machines[i]
			m.Power = sluice.Watts(3500 + rng.IntN(60))
			m.Reading.HashRate = sluice.HashRate(200 + rng.NormFloat64()*3)
			m.Reading.TempC = float64(60 + rng.IntN(8))
			m.Reading.At = at
			m.Reading.Uptime += 10 * time.Second
		}
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestScale measures what 10,000 machines, every 10 s, cost:
// SLUICE_BENCH_TELEMETRY=3h is how much of site time is recorded. docs/performance.md
// has the figures.
func TestScale(t *testing.T) {
	hours, err := time.ParseDuration(os.Getenv("SLUICE_BENCH_TELEMETRY"))
	machines, cerr := strconv.Atoi(os.Getenv("SLUICE_BENCH_MACHINES"))
	if cerr != nil {
		machines = 10000
	}
	if err != nil {
		hours, machines = 2*time.Minute, 1000 // a look that it works
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	dir := filepath.Join(t.TempDir(), "telemetry")
	d := testDB(t, func(o *Options) { o.Dir = dir })
	rec := NewRecorder(d, nil)
	fleet, step := fleetOf(machines)
	began, cpu, worst, peak := time.Now(), cpuTime(), time.Duration(0), uint64(0)
	var fleetCPU time.Duration
	turns := int(hours / (10 * time.Second))
	at := start
	for i := range turns {
		at = start.Add(time.Duration(i) * 10 * time.Second)
		c := cpuTime()
		step(at)
		fleetCPU += cpuTime() - c
		w := time.Now()
		if err := rec.Record(context.Background(), at, fleet); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(w))
		if i%6 == 5 {
			d.db.ForceHeadMMap() // as the database itself does each minute of the wall's clock
		}
		if i%360 == 359 {
			if err := d.Compact(context.Background()); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			peak = max(peak, after.HeapAlloc-before.HeapAlloc)
		}
	}
	wall := time.Since(began)
	used := cpuTime() - cpu - fleetCPU
	runtime.GC()
	runtime.ReadMemStats(&after)
	series := d.db.Head().NumSeries()
	t.Logf("%d series, %d turns in %s (worst %s): %.1f%% of a core at a turn every 10 s; %d samples/s",
		series, turns, wall.Round(time.Millisecond), worst.Round(time.Millisecond),
		100*used.Seconds()/(float64(turns)*10), int(float64(d.Recorded())/wall.Seconds()))
	t.Logf("live heap %.0f MB (%.0f bytes a series), sampled peak %.0f MB, from the system %.0f MB",
		float64(after.HeapAlloc-before.HeapAlloc)/1e6, float64(after.HeapAlloc-before.HeapAlloc)/float64(series),
		float64(peak)/1e6, float64(after.Sys-after.HeapReleased)/1e6)
	t.Logf("on disk: %.1f MB in all, %.2f bytes a sample", float64(size(t, dir))/1e6, float64(size(t, dir))/float64(d.Recorded()))
	if d.Dropped() > 0 || d.Recorded() < uint64(turns*machines*5) {
		t.Errorf("%d recorded, %d dropped", d.Recorded(), d.Dropped())
	}

	api := NewAPI(d, QueryOptions{})
	defer api.Close()
	srv := httptest.NewServer(api)
	defer srv.Close()
	for _, q := range []struct{ expr, span string }{
		{"sum by (class) (sluice_machine_power_watts)", ""},
		{"topk(10, sluice_machine_chip_temperature_celsius)", ""},
		{"count(sluice_machine_state == 0)", ""},
		{"sum by (class) (sluice_machine_power_watts)", "1h"},
		{"sluice_class_power_watts", "3h"},
		{"avg_over_time(sluice_machine_power_watts[5m])", ""},
	} {
		form := url.Values{"query": {q.expr}, "time": {at.Format(time.RFC3339)}}
		path := "/api/v1/query"
		if s, err := time.ParseDuration(q.span); err == nil {
			path = "/api/v1/query_range"
			form = url.Values{"query": {q.expr}, "start": {at.Add(-s).Format(time.RFC3339)}, "end": {at.Format(time.RFC3339)}, "step": {"15"}}
		}
		w, c := time.Now(), cpuTime()
		code, e := ask(t, http.MethodGet, srv.URL, path, form)
		t.Logf("%-55s %-3s %8s wall %8s CPU, %d bytes", q.expr, q.span, time.Since(w).Round(time.Millisecond), (cpuTime() - c).Round(time.Millisecond), len(e.Data))
		if code != http.StatusOK {
			t.Errorf("%s: %d %s", q.expr, code, e.Error)
		}
		var data struct{ Result []json.RawMessage }
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Errorf("%s: %v", q.expr, err)
		}
	}
	w := time.Now()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	closing := time.Since(w)
	w = time.Now()
	testDB(t, func(o *Options) { o.Dir = dir })
	t.Logf("closed in %s, opened again in %s", closing.Round(time.Millisecond), time.Since(w).Round(time.Millisecond))
}

func size(t testing.TB, dir string) int64 {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if i, err := e.Info(); err == nil {
				var st syscall.Stat_t
				if syscall.Stat(filepath.Join(dir, i.Name()), &st) == nil {
					n += st.Blocks * 512
				} else {
					n += i.Size()
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
