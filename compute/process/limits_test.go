package process_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/compute/process"
)

// eat touches so many MiB of memory and holds them.
func eat(mib string) {
	n, err := strconv.Atoi(mib)
	if err != nil {
		os.Exit(2)
	}
	b := make([]byte, n<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	fmt.Println("ate", mib)
	runtime.KeepAlive(b)
}

// limited says whether the log tells that a limit is in force. Where the machine
// gives no cgroups the log must say that it is not.
func limited(t *testing.T, log string) bool {
	t.Helper()
	switch {
	case strings.Contains(log, "limited to ") && !strings.Contains(log, "cannot limit"):
		return true
	case strings.Contains(log, "cannot limit to "), strings.Contains(log, "not limited"):
		t.Logf("no limits on this machine: %s", strings.SplitN(log, "\n", 2)[0])
		return false
	}
	t.Fatalf("the log does not say whether it is limited: %s", log)
	return false
}

func TestMemoryLimit(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	x := newExecutor(t, process.Config{})
	s := spec(t, t.TempDir(), self+" eat 400")
	s.MemoryLimit = 100 << 20
	e := waitRun(t, x, startRun(t, x, s))
	if !limited(t, text(s.Log)) {
		if e.Code != 0 {
			t.Errorf("not limited, and yet %+v", e)
		}
		return
	}
	if e.Code != 137 || !strings.Contains(e.Why, "memory limit of 0.0977 GiB") || e.Lost || e.Stopped {
		t.Errorf("exit %+v", e)
	}
	if e.Used.MemPeak < 50<<20 || e.Used.MemPeak > 110<<20 {
		t.Errorf("peak memory %d", e.Used.MemPeak)
	}
	s = spec(t, t.TempDir(), self+" eat 20")
	s.MemoryLimit = 200 << 20
	if e := waitRun(t, x, startRun(t, x, s)); e.Code != 0 {
		t.Errorf("under its limit: %+v", e)
	}
}

// Three loops that may use a fifth of a CPU use no more.
func TestCPULimit(t *testing.T) {
	x := newExecutor(t, process.Config{})
	s := spec(t, t.TempDir(), `for i in 1 2 3; do (while :; do :; done) & done; echo up > up; sleep 2`)
	s.CPULimit = 0.2
	h := startRun(t, x, s)
	until(t, "up", func() bool { return text(filepath.Join(s.WorkDir, "up")) != "" })
	e := waitRun(t, x, h)
	if !limited(t, text(s.Log)) {
		return
	}
	if share := e.Used.CPUSec / e.Used.Seconds; share > 0.3 || e.Used.CPUSec <= 0 {
		t.Errorf("used %.2f CPUs of 0.2: %+v", share, e)
	}
	// Nothing stays behind of its cgroups.
	left, err := filepath.Glob("/sys/fs/cgroup/*/sluice/" + s.RunID + "-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range left {
		if info, err := os.Stat(d); err == nil && time.Since(info.ModTime()) < time.Minute && ours(d, s.RunID) {
			t.Errorf("left behind: %s", d)
		}
	}
}

// ours says whether an empty cgroup has the name of the run; other runs of the
// suite have the same run names, and processes while they live.
func ours(dir, run string) bool {
	return strings.HasPrefix(filepath.Base(dir), run) && text(filepath.Join(dir, "cgroup.procs")) == ""
}

// A job that writes without end fills its log up to the limit and runs on.
func TestLogLimit(t *testing.T) {
	x := newExecutor(t, process.Config{LogLimit: 10_000})
	s := spec(t, t.TempDir(), `i=0; while [ $i -lt 3000 ]; do echo "line $i of many"; i=$((i+1)); done; exit 6`)
	e := waitRun(t, x, startRun(t, x, s))
	log := text(s.Log)
	if e.Code != 6 || len(log) > 10_300 || len(log) < 10_000 || !strings.Contains(log, "has reached its limit of 10000 bytes") {
		t.Errorf("exit %+v, a log of %d bytes: …%s", e, len(log), log[max(0, len(log)-200):])
	}
}
