package docker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMemoryLimit(t *testing.T) { onEach(t, testMemoryLimit) }

func testMemoryLimit(t *testing.T, p *podman) {
	x := newExecutor(t, config(p))
	s := spec(t, t.TempDir(), `a=0123456789abcdef; while :; do a=$a$a; done`)
	s.MemoryLimit = 100 << 20
	_, e := result(t, x, s)
	if e.Code == 0 || e.Why != "out of memory: its limit is 0.0977 GiB" || e.Lost || e.Stopped {
		t.Errorf("exit %+v", e)
	}
	if e.Used.MemPeak < 30<<20 || e.Used.MemPeak > 105<<20 {
		t.Errorf("peak memory %d", e.Used.MemPeak)
	}
	// What dies is not always the script itself.
	s = spec(t, t.TempDir(), `sh -c 'a=0123456789abcdef; while :; do a=$a$a; done'; code=$?; echo "child $code"; exit 1`)
	s.MemoryLimit = 100 << 20
	if log, e := result(t, x, s); e.Code != 1 || !strings.HasPrefix(e.Why, "out of memory") {
		t.Errorf("exit %+v\n%s", e, log)
	}
	// /tmp is memory: it takes half of it at most.
	s = spec(t, t.TempDir(), `dd if=/dev/zero of=/tmp/big bs=1M count=80; echo "dd $?"`)
	s.MemoryLimit = 100 << 20
	if log, e := result(t, x, s); e.Code != 0 || !strings.Contains(log, "dd 1\n") {
		t.Errorf("exit %+v\n%s", e, log)
	}
}

func TestCPULimit(t *testing.T) { onEach(t, testCPULimit) }

func testCPULimit(t *testing.T, p *podman) {
	x := newExecutor(t, config(p))
	s := spec(t, t.TempDir(), `for i in 1 2 3; do (while :; do :; done) & done; echo up > up; sleep 3`)
	s.CPULimit = 0.2
	h := startRun(t, x, s)
	until(t, "up", func() bool { return text(s, "up") != "" })
	// What it has used so far comes from the kernel.
	until(t, "its CPU time is seen", func() bool {
		u, err := x.Usage(t.Context(), h)
		return err == nil && u.CPUSec > 0 && u.MemPeak > 0 && u.Seconds > 0 && u.DiskBytes > 0
	})
	e := waitRun(t, x, h)
	if share := e.Used.CPUSec / e.Used.Seconds; share > 0.3 || e.Used.CPUSec <= 0 {
		t.Errorf("used %.2f CPUs of 0.2: %+v", share, e)
	}
}

func TestPidsLimit(t *testing.T) { onEach(t, testPidsLimit) }

func testPidsLimit(t *testing.T, p *podman) {
	x := newExecutor(t, config(p))
	s := spec(t, t.TempDir(), `i=0; while [ $i -lt 60 ]; do sleep 100 & i=$((i+1)); done; echo done`)
	s.PidsLimit = 20
	log, e := result(t, x, s)
	if e.Code == 0 || !strings.Contains(log, "can't fork") || strings.Contains(log, "done\n") {
		t.Errorf("exit %+v\n%s", e, log)
	}
}

// The storage has no quota: what is over the limit is seen and ended.
func TestDiskLimit(t *testing.T) { onEach(t, testDiskLimit) }

func testDiskLimit(t *testing.T, p *podman) {
	x := newExecutor(t, config(p))
	s := spec(t, t.TempDir(), `dd if=/dev/zero of="$HOME/../checkpoint/big" bs=1M count=30 && exec sleep 1000`)
	s.DiskLimit = 20 << 20
	e := waitRun(t, x, startRun(t, x, s))
	if e.Code != 137 || !strings.HasPrefix(e.Why, "over its disk limit: its folders hold 0.0") || !strings.HasSuffix(e.Why, " of 0.0195 GiB") || e.Stopped || e.Lost {
		t.Errorf("exit %+v", e)
	}
	if e.Used.DiskBytes <= 20<<20 {
		t.Errorf("disk used %d", e.Used.DiskBytes)
	}
	s = spec(t, t.TempDir(), `dd if=/dev/zero of=big bs=1M count=10 && sleep 3`)
	s.DiskLimit = 20 << 20
	if _, e := result(t, x, s); e.Code != 0 {
		t.Errorf("under its limit: %+v", e)
	}
}

// Output without end fills the log up to its limit, the job runs on, and neither
// bytes nor lines without an end are changed on the way.
func TestLog(t *testing.T) {
	t.Parallel()
	p := service(t, "runc")
	cfg := config(p)
	cfg.LogLimit = 10_000
	x := newExecutor(t, cfg)
	s := spec(t, t.TempDir(), `i=0; while [ $i -lt 3000 ]; do echo "line $i of many"; i=$((i+1)); done; exit 6`)
	log, e := result(t, x, s)
	if e.Code != 6 || len(log) > 10_300 || len(log) < 10_000 || !strings.Contains(log, "has reached its limit of 10000 bytes") {
		t.Errorf("exit %+v, a log of %d bytes: …%s", e, len(log), log[max(0, len(log)-200):])
	}

	x = newExecutor(t, config(p))
	s = spec(t, t.TempDir(), `printf 'a\000b\rc\377\n\n'; yes 0123456789 | head -c 100000 | tr -d '\n'; echo; printf 'err\n' >&2; printf 'no end'`)
	if err := os.WriteFile(s.Log, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, e = result(t, x, s)
	long := strings.ReplaceAll(strings.Repeat("0123456789\n", 9091)[:100_000], "\n", "")
	want := "a\x00b\rc\xff\n\n" + long + "\nerr\nno end"
	if e.Code != 0 || !strings.HasPrefix(log, "before\n[sluice] ") || !strings.Contains(log, want) {
		t.Errorf("exit %+v, a log of %d bytes: %.100q … %q", e, len(log), log, log[max(0, len(log)-150):])
	}
}

// A job that is preempted sees its folders again, as the container's own root.
func TestFoldersStay(t *testing.T) { onEach(t, testFoldersStay) }

func testFoldersStay(t *testing.T, p *podman) {
	x := newExecutor(t, config(p))
	dir := t.TempDir()
	a := spec(t, dir, `umask 077; mkdir -p sub/deep; echo one > sub/deep/file; ln -s /etc/shadow link; echo c > "$HOME/../checkpoint/c"; ls -ln /etc/passwd sub`)
	if err := os.WriteFile(filepath.Join(a.WorkDir, "given"), []byte("from the client"), 0o600); err != nil {
		t.Fatal(err)
	}
	if log, e := result(t, x, a); e.Code != 0 {
		t.Fatalf("exit %+v\n%s", e, log)
	}
	// The server can read and delete what a job has written.
	if got := text(a, "sub/deep/file"); got != "one" {
		t.Errorf("read %q", got)
	}
	b := spec(t, dir, `cat given sub/deep/file && echo two >> sub/deep/file && echo three > given && cat "$HOME/../checkpoint/c"`)
	b.WorkDir, b.CheckpointDir = a.WorkDir, a.CheckpointDir
	b.Env = a.Env
	if log, e := result(t, x, b); e.Code != 0 || !strings.Contains(log, "from the clientone\n") {
		t.Errorf("exit %+v\n%s", e, log)
	}
	info, err := os.Lstat("/etc/shadow")
	if err != nil || ownerOf(info) != 0 {
		t.Errorf("/etc/shadow belongs to %d, %v: a link was followed", ownerOf(info), err)
	}
	if err := os.RemoveAll(a.WorkDir); err != nil {
		t.Error(err)
	}
}
