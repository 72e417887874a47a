package telemetry

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain makes this binary the writer that tests kill, when they start it so.
func TestMain(m *testing.M) {
	if dir := os.Getenv("TELEMETRY_TEST_WRITER"); dir != "" {
		writeForever(dir)
	}
	os.Exit(m.Run())
}

// writeForever records a batch of 500 series each 10 s of site time and tells of
// each that is kept.
func writeForever(dir string) {
	d, err := Open(Options{Dir: dir, Site: "valley", Now: func() time.Time { return start }, MinFree: -1})
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	batch := make([]Sample, 500)
	for i := range batch {
		batch[i].Series = d.Series("a", "machine", strconv.Itoa(i))
	}
	for n := 0; ; n++ {
		for i := range batch {
			batch[i].Value = float64(n*1000 + i)
		}
		if err := d.Append(context.Background(), start.Add(time.Duration(n)*10*time.Second), batch); err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

// killWriter runs a writer, kills it after some batches and returns the last that
// it was told was kept.
func killWriter(t *testing.T, dir string, batches int) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TELEMETRY_TEST_WRITER="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := -1
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(lines.Text())
		}
		if last = n; n == batches {
			_ = cmd.Process.Signal(syscall.SIGKILL)
		}
	}
	_ = cmd.Wait()
	if last < batches {
		t.Fatalf("the writer ended after %d batches", last)
	}
	return last
}

// complete checks that all series hold every batch up to and with the last,
// except the newest lost ones, and returns how many they hold.
func complete(t *testing.T, d *DB, last int) int {
	t.Helper()
	got := read(t, d, "a")
	if len(got) != 500 {
		t.Fatalf("%d of 500 series", len(got))
	}
	least := math.MaxInt
	for k, points := range got {
		i, err := strconv.Atoi(strings.Split(k, `"`)[3])
		if err != nil {
			t.Fatal(k)
		}
		for n, p := range points {
			if want := (point{start.Add(time.Duration(n) * 10 * time.Second).UnixMilli(), float64(n*1000 + i)}); p != want {
				t.Fatalf("%s: sample %d is %v, want %v", k, n, p, want)
			}
		}
		least = min(least, len(points))
	}
	if least > last+2 { // one batch may have been kept and not told of
		t.Fatalf("%d batches, %d were written", least, last+1)
	}
	return least
}

func reopen(t *testing.T, dir string) *DB {
	t.Helper()
	return testDB(t, func(o *Options) { o.Dir = dir })
}

func TestAKillLosesNothingThatWasKept(t *testing.T) {
	for _, batches := range []int{1, 40, 300} {
		t.Run(strconv.Itoa(batches), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "telemetry")
			last := killWriter(t, dir, batches)
			d := reopen(t, dir)
			// The log's pages stand in the system's memory: a kill of the process
			// loses none.
			if n := complete(t, d, last); n < last+1 {
				t.Errorf("%d batches, %d were kept", n, last+1)
			}
			mustAppend(t, d, start.Add(time.Hour*5), Sample{d.Series("b"), 1})
			if len(read(t, d, "b")) != 1 {
				t.Error("nothing more is recorded")
			}
		})
	}
}

// newestSegment is the file of the log that was written to last.
func newestSegment(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "wal", "[0-9]*"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no log: %v", err)
	}
	sort.Strings(all)
	return all[len(all)-1]
}

func TestATornLogIsCutAtTheLastGoodRecord(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "telemetry")
	last := killWriter(t, dir, 200)
	whole, err := os.ReadFile(newestSegment(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	for name, torn := range map[string]func([]byte) []byte{
		"truncated":         func(b []byte) []byte { return b[:len(b)*2/3-7] },
		"zeros at the end":  func(b []byte) []byte { return append(b[:len(b)*3/4:len(b)*3/4], make([]byte, 100_000)...) },
		"a flipped byte":    func(b []byte) []byte { b = append([]byte(nil), b...); b[len(b)*4/5] ^= 0x40; return b },
		"garbage behind it": func(b []byte) []byte { return append(b[:len(b):len(b)], []byte(strings.Repeat("garbage", 999))...) },
	} {
		t.Run(name, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "telemetry")
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(newestSegment(t, copied), torn(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			d := reopen(t, copied)
			if n := complete(t, d, last); n < last/2 {
				t.Errorf("%d batches of %d are left", n, last+1)
			}
			mustAppend(t, d, start.Add(time.Hour*5), Sample{d.Series("b"), 1})
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if d = reopen(t, copied); len(read(t, d, "b")) != 1 {
				t.Error("what came after the repair is lost")
			}
		})
	}
}

// TestADiskThatTakesNoMore bounds the size of files, which the log meets as it
// meets a full disk: writes fail in the middle of a record. What cannot be kept is dropped
// and counted, and when there is room again, recording goes on by itself.
func TestADiskThatTakesNoMore(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	d := testDB(t)
	d.stats.reopenAfter = 0
	batch := make([]Sample, 500)
	for i := range batch {
		batch[i].Series = d.Series("a", "machine", strconv.Itoa(i))
	}
	n := 0
	write := func() error {
		for i := range batch {
			batch[i].Value = math.Sqrt(float64(n*1000 + i))
		}
		n++
		return d.Append(context.Background(), start.Add(time.Duration(n)*10*time.Second), batch)
	}
	for range 50 {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(newestSegment(t, d.o.Dir))
	if err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = uint64(info.Size()) + 50_000
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &low); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
	}
	failed := 0
	for range 100 {
		if write() != nil {
			failed++
		}
	}
	restore()
	if failed < 2 || d.Dropped() < uint64(failed)*500 {
		t.Fatalf("%d batches failed, %d samples dropped", failed, d.Dropped())
	}
	dropped := d.Dropped()
	for range 50 {
		if err := write(); err != nil {
			t.Fatalf("with room again: %v", err)
		}
	}
	if d.Dropped() != dropped {
		t.Errorf("%d dropped, %d after there was room again", dropped, d.Dropped())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = reopen(t, d.o.Dir)
	got := read(t, d, "a")
	if len(got) != 500 {
		t.Fatalf("%d series", len(got))
	}
	for k, p := range got {
		if len(p) < 50 || p[len(p)-1].t != start.Add(time.Duration(n)*10*time.Second).UnixMilli() {
			t.Fatalf("%s: %d samples, the newest at %d", k, len(p), p[len(p)-1].t)
		}
	}
}
