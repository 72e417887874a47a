package remote_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/compute"
	"sluice/compute/remote"
	"sluice/fabric"
)

const (
	crowdHosts = 500
	crowdRuns  = 8 // of each host
)

// crowdProcess is 500 hosts in one process: each with its own TLS connection, a
// heartbeat a second that tells the use of 8 runs, and its readings every 10 s.
func crowdProcess(text string) int {
	o := parseOrders(text)
	var all sync.WaitGroup
	for i, line := range strings.Fields(o.Token) {
		all.Go(func() {
			tok, err := fabric.ParseToken(line)
			if err != nil {
				panic(err)
			}
			<-time.After(time.Duration(i) * 4 * time.Millisecond) // not all in one instant
			l, err := fabric.Dial(context.Background(), fabric.LinkConfig{URL: o.URL, Token: tok})
			if err != nil {
				panic(err)
			}
			beatOn(l, tok.Host, i)
		})
	}
	all.Wait()
	return 0
}

func beatOn(l *fabric.Link, host string, i int) {
	epoch := fmt.Sprintf("%032x", i+1)
	b := fabric.Beat{Epoch: epoch, Facts: &fabric.Facts{Name: host, CPUs: 64}}
	for r := range crowdRuns {
		b.Runs = append(b.Runs, fabric.RunState{Run: fmt.Sprintf("j-%d-%d-r1", i, r), Phase: fabric.Running})
	}
	var seq uint64
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for n := 1; ; n++ {
		for r := range b.Runs {
			b.Runs[r].Usage = compute.Usage{Seconds: float64(n), CPUSec: float64(n) * 3.7, MemPeak: 1 << 33, Power: 612, EnergyWh: float64(n) / 6}
			b.Runs[r].Ago = 300 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, err := l.Beat(ctx, b)
		b.Facts = nil
		if (n+i)%10 == 0 && err == nil {
			batch := fabric.Batch{Epoch: epoch, After: seq}
			for k := range 2 * crowdRuns {
				seq++
				batch.Events = append(batch.Events, fabric.Event{Seq: seq, At: time.Now(), Use: &fabric.Use{Run: b.Runs[k%crowdRuns].Run, Usage: b.Runs[k%crowdRuns].Usage}})
			}
			batch.To = seq
			if err := l.Publish(ctx, batch); err != nil {
				seq = batch.After
			}
		}
		cancel()
		<-second.C
	}
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

// BenchmarkCrowd measures what 500 agents cost the site: its share of a core for
// heartbeats, leases, use, and events through the stream into the database.
func BenchmarkCrowd(b *testing.B) {
	var hosts []string
	for i := range crowdHosts {
		hosts = append(hosts, fmt.Sprintf("h%03d", i))
	}
	w := newWorld(b, hosts...)
	x := w.executor(remote.Config{})
	var tokens []string
	for i, h := range hosts {
		tokens = append(tokens, w.token(h).Text())
		for r := range crowdRuns {
			run := fmt.Sprintf("j-%d-%d-r1", i, r)
			h := fmt.Sprintf(`{"host":%q,"run":%q,"job":"j-%d-%d","epoch":"%032x","lease":%d,"dir":%q}`, h, run, i, r, i+1, time.Hour, filepath.Join(w.dir, run))
			if err := x.Attach(b.Context(), compute.Handle(h)); err != nil {
				b.Fatal(err)
			}
		}
	}
	child(b, "crowd", orders{URL: w.hub.Address(), Token: strings.Join(tokens, "\n")})
	answering := func() (n int) {
		for _, h := range hosts {
			if ok, _ := w.hub.Reach(h); ok {
				n++
			}
		}
		return n
	}
	w.until("all have joined", func() bool { return answering() == crowdHosts })
	for b.Loop() {
		cpu, at := cpuSeconds(), time.Now()
		lowest := crowdHosts
		for time.Since(at) < 20*time.Second {
			<-time.After(200 * time.Millisecond)
			lowest = min(lowest, answering())
		}
		b.ReportMetric((cpuSeconds()-cpu)/time.Since(at).Seconds(), "cores")
		b.ReportMetric(float64(lowest), "hosts")
	}
	events := 0
	for _, h := range hosts[:50] {
		e, err := w.db.Fabric().Events(b.Context(), h, "", 1000)
		if err != nil {
			b.Fatal(err)
		}
		events += len(e)
	}
	b.ReportMetric(float64(events)/50, "events/host")
}

// BenchmarkStart measures from the call to the running process, over TLS, with a
// small working folder to bring there.
func BenchmarkStart(b *testing.B) {
	w := newWorld(b, "h1")
	w.join("h1", w.token("h1"))
	x := w.executor(remote.Config{})
	var took []float64
	for b.Loop() {
		s := w.spec("h1", "true")
		for i := range 10 {
			if err := os.WriteFile(filepath.Join(s.WorkDir, fmt.Sprint(i)), make([]byte, 10_000), 0o600); err != nil {
				b.Fatal(err)
			}
		}
		began := time.Now()
		h, err := x.Start(b.Context(), s)
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, float64(time.Since(began).Microseconds())/1000)
		if _, err := x.Wait(b.Context(), h); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2], "ms/start-p50")
	b.ReportMetric(took[len(took)*95/100], "ms/start-p95")
}

// BenchmarkLogLag measures how far the log at the site is behind the run's
// printing.
func BenchmarkLogLag(b *testing.B) {
	w := newWorld(b, "h1")
	w.join("h1", w.token("h1"))
	x := w.executor(remote.Config{})
	s := w.spec("h1", `while :; do date +%s%N; sleep 0.05; done`)
	h, err := x.Start(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	var lag []float64
	var last atomic.Int64
	for b.Loop() {
		at := int64(0)
		w.until("a line comes", func() bool {
			text, _ := os.ReadFile(s.Log)
			lines := strings.Fields(string(text))
			if len(lines) == 0 {
				return false
			}
			_ = json.Unmarshal([]byte(lines[len(lines)-1]), &at)
			return at > last.Load()
		})
		lag = append(lag, float64(time.Now().UnixNano()-at)/1e6)
		last.Store(at)
	}
	slices.Sort(lag)
	b.ReportMetric(lag[len(lag)/2], "ms/lag-p50")
	b.ReportMetric(lag[len(lag)*95/100], "ms/lag-p95")
	if err := x.Stop(context.Background(), h, 0); err != nil {
		b.Fatal(err)
	}
}
