package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// computeSite is a real site of this machine alone, which runs jobs at a price that
// always pays.
func computeSite(t testing.TB, slots int) []string {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "sluice.yaml")
	text := fmt.Sprintf(`site: {name: small, mode: control}
nodes:
  - {name: grid, limit: 1MW}
hosts:
  - {name: here, node: grid, driver: local, slots: %d, idle_power: 60W, slot_power: 12W, usd_per_slot_hour: 1, spot_usd_per_slot_hour: 0.5}
feeds:
  - {name: fixed, type: constant, values: {real_time_usd_per_mwh: 30}}
`, slots)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", config, "--data", filepath.Join(dir, "data"), "--listen", fmt.Sprintf("127.0.0.1:%d", freePort(t))}
}

// Clients hand in 2,000 jobs at once while the server is killed in the middle. What
// was accepted is there after the restart, once; what was not can be asked for again
// under its ID without a second one.
func TestBurstSurvivesAKill(t *testing.T) {
	t.Parallel()
	const jobs, clients = 2000, 16
	args := computeSite(t, 2)
	s := up(t, args...)
	c := *s.client
	accepted := make([]string, jobs)
	var next, done atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	half := make(chan struct{})
	var once sync.Once
	for range clients {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= jobs {
					return
				}
				// Until it is accepted, as a client does.
				for deadline := time.Now().Add(patience); accepted[i] == ""; {
					j, err := ask[jobRecord](&c, http.MethodPost, "/jobs", map[string]any{
						"id": fmt.Sprint("burst-", i), "task": fmt.Sprintf("name: b%d\nrun: 'true'\n", i),
					})
					var no *refusedError
					switch {
					case err == nil:
						accepted[i] = j.ID
						if done.Add(1) == jobs/2 {
							once.Do(func() { close(half) })
						}
					case errors.As(err, &no) && no.status < 500 && no.status != http.StatusConflict:
						t.Errorf("job %d: %v", i, err)
						return
					case time.Now().After(deadline):
						t.Errorf("job %d is never accepted: %v", i, err)
						return
					}
				}
			}
		})
	}
	<-half
	first := time.Since(began)
	s.kill()
	again := time.Now()
	s = up(t, args...)
	up := time.Since(again)
	wg.Wait()
	t.Logf("%d accepted in %.1f s, then a kill, up again after %.1f s, all %d after %.1f s", jobs/2, first.Seconds(), up.Seconds(), jobs, time.Since(began).Seconds())
	seen := map[string]bool{}
	for i, id := range accepted {
		if id == "" || seen[id] {
			t.Fatalf("job %d is %q, which is another's or nobody's", i, id)
		}
		seen[id] = true
	}
	list, err := s.jobs()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != jobs {
		t.Errorf("%d jobs are listed, %d were asked for", len(list), jobs)
	}
	for _, j := range list {
		if !seen[j.ID] {
			t.Errorf("%s (%s) was made for a submission that has another", j.ID, j.Name)
		}
	}
}

// BenchmarkSubmitToRunning is the time from the client's request to the job's first
// line of output, on a site with room: a process of this machine. The bar is 300 ms.
func BenchmarkSubmitToRunning(b *testing.B) {
	s := up(b, computeSite(b, 64)...)
	dir := b.TempDir()
	var all []time.Duration
	for b.Loop() {
		file := filepath.Join(dir, fmt.Sprint(len(all)))
		t0 := time.Now()
		j, err := ask[jobRecord](s.client, http.MethodPost, "/jobs", map[string]any{"task": "run: |\n  date +%s.%N > " + file + "\n  sleep 60\n"})
		if err != nil {
			b.Fatal(err)
		}
		for {
			if text, err := os.ReadFile(file); err == nil && strings.HasSuffix(string(text), "\n") {
				break
			}
			time.Sleep(time.Millisecond) //nolint:forbidigo // it is the wall's time that is measured
		}
		all = append(all, time.Since(t0))
		b.StopTimer()
		if _, err := s.raw(http.MethodPost, "/api/v1/jobs/"+j.ID+"/cancel", nil); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Milliseconds()), "p50_ms")
	b.ReportMetric(float64(all[len(all)*95/100].Milliseconds()), "p95_ms")
}

// BenchmarkBurst is the acceptance of 2,000 submissions from 16 clients over HTTP,
// each durable before it is answered. The bar is 10 s.
func BenchmarkBurst(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := up(b, computeSite(b, 2)...)
		var next atomic.Int64
		var wg sync.WaitGroup
		b.StartTimer()
		for range 16 {
			wg.Go(func() {
				for next.Add(1) <= 2000 {
					if _, err := ask[jobRecord](s.client, http.MethodPost, "/jobs", map[string]any{"task": "run: 'true'\n"}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		b.StopTimer()
		s.kill()
		b.StartTimer()
	}
}

// BenchmarkLogFollow is how far a client that follows a job's log over HTTP is behind
// the job: each line is the time at which it was printed. The bar is 200 ms.
func BenchmarkLogFollow(b *testing.B) {
	s := up(b, computeSite(b, 8)...)
	var all []time.Duration
	for b.Loop() {
		j, err := ask[jobRecord](s.client, http.MethodPost, "/jobs", map[string]any{
			"task": "run: |\n  for i in $(seq 20); do date +%s%N; sleep 0.13; done\n",
		})
		if err != nil {
			b.Fatal(err)
		}
		res, err := http.Get(s.base + "/api/v1/jobs/" + j.ID + "/logs?follow=true") //nolint:noctx // it ends with the job
		if err != nil {
			b.Fatal(err)
		}
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			if ns, err := strconv.ParseInt(lines.Text(), 10, 64); err == nil {
				all = append(all, time.Since(time.Unix(0, ns)))
			}
		}
		_ = res.Body.Close()
	}
	if len(all) < 20 {
		b.Fatalf("%d lines", len(all))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Milliseconds()), "p50_ms")
	b.ReportMetric(float64(all[len(all)*95/100].Milliseconds()), "p95_ms")
	b.ReportMetric(float64(all[len(all)-1].Milliseconds()), "max_ms")
}
