package docker_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/compute"
)

// BenchmarkStart is from Start to the first instruction of the job's script, with
// the image present, and from Stop to the end of a job that ends at once.
func BenchmarkStart(b *testing.B) {
	for _, runtime := range []string{"runc", "runsc"} {
		b.Run(runtime, func(b *testing.B) {
			p := service(b, runtime)
			x := newExecutor(b, config(p))
			var up, down []time.Duration
			for b.Loop() {
				s := spec(b, b.TempDir(), `trap 'exit 0' TERM; echo up > up; while :; do sleep 0.01; done`)
				if runtime == "runsc" {
					s.Isolation = compute.IsolationSandbox
				}
				began := time.Now()
				h := startRun(b, x, s)
				until(b, "up", func() bool { return text(s, "up") != "" })
				up = append(up, time.Since(began))
				began = time.Now()
				if err := x.Stop(b.Context(), h, time.Minute); err != nil {
					b.Fatal(err)
				}
				down = append(down, time.Since(began))
			}
			report(b, "start", up)
			report(b, "stop", down)
		})
	}
}

// BenchmarkLog is how far the log is behind what the job writes: each line is the
// time at which it was written.
func BenchmarkLog(b *testing.B) {
	p := service(b, "runc")
	x := newExecutor(b, config(p))
	s := spec(b, b.TempDir(), `while [ ! -e stop ]; do date +%s.%N; sleep 0.037; done`)
	s.Env[0] = "PATH=/usr/bin:/bin"
	s.Task.Envs = map[string]string{"PATH": "/usr/bin:/bin"}
	hostPrograms(&s)
	startRun(b, x, s)
	until(b, "output", func() bool { return strings.Count(logOf(s), "\n") > 3 })
	var behind []time.Duration
	seen := len(logOf(s))
	for b.Loop() {
		line := ""
		until(b, "more output", func() bool {
			more := logOf(s)[seen:]
			line, _, _ = strings.Cut(more, "\n")
			return strings.Contains(more, "\n")
		})
		now := time.Now()
		seen += len(line) + 1
		at, err := strconv.ParseFloat(line, 64)
		if err != nil {
			b.Fatal(err)
		}
		behind = append(behind, now.Sub(time.UnixMicro(int64(at*1e6))))
	}
	if err := os.WriteFile(filepath.Join(s.WorkDir, "stop"), nil, 0o600); err != nil {
		b.Fatal(err)
	}
	report(b, "behind", behind)
}

func report(b *testing.B, name string, d []time.Duration) {
	slices.Sort(d)
	b.ReportMetric(float64(d[len(d)/2].Milliseconds()), "ms-"+name+"-median")
	b.ReportMetric(float64(d[len(d)-1].Milliseconds()), "ms-"+name+"-max")
}
