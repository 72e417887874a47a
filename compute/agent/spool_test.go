package agent

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/fabric"
)

func event(n int, pad int) fabric.Event {
	return fabric.Event{At: time.Unix(int64(n), 0).UTC(), Reading: &fabric.Reading{Name: "n" + strings.Repeat("x", pad), Value: float64(n)}}
}

func open(t interface {
	Helper()
	Fatal(...any)
}, dir string, limit int64,
) *spool {
	t.Helper()
	s, err := openSpool(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Property: whatever is added, handed on, confirmed, cut by a crash or read again,
// the other side gets each event once, in order, and is told what was dropped.
func TestSpool(t *testing.T) {
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		dir := filepath.Join(base, fmt.Sprint(n))
		s := open(r, dir, 16<<10)
		var last, got, dropped uint64
		var value float64
		added := 0
		take := func() {
			b, err := s.batch(strings.Repeat("a", 32))
			if err != nil {
				r.Fatal(err)
			}
			if b == nil {
				return
			}
			if b.After > last {
				r.Fatalf("after %d where %d were taken", b.After, last)
			}
			for _, e := range b.Events {
				if e.Seq <= last {
					continue // known
				}
				if e.Dropped > 0 {
					dropped += min(e.Dropped, e.Seq-last)
				} else if got++; e.Reading.Value <= value {
					r.Fatalf("%v after %v", e.Reading.Value, value)
				} else {
					value = e.Reading.Value
				}
				last = e.Seq
			}
			if last < b.To {
				r.Fatalf("to %d, events to %d", b.To, last)
			}
			if rapid.Bool().Draw(r, "confirmed") {
				s.ack(b.To)
			}
		}
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			switch rapid.IntRange(0, 5).Draw(r, "what") {
			case 0, 1, 2:
				var es []fabric.Event
				for range rapid.IntRange(1, 20).Draw(r, "events") {
					added++
					es = append(es, event(added, rapid.SampledFrom([]int{0, 100, 2_000}).Draw(r, "size")))
				}
				if err := s.add(es...); err != nil {
					r.Fatal(err)
				}
			case 3, 4:
				take()
			case 5: // killed while it was writing
				s.close()
				files, _ := filepath.Glob(filepath.Join(dir, "*.events"))
				f, err := os.OpenFile(files[len(files)-1], os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					r.Fatal(err)
				}
				fmt.Fprintf(f, "%08x {\"seq\":99999,", 7)
				_ = f.Close()
				s = open(r, dir, 16<<10)
			}
		}
		for i := 0; s.pending() > 0; i++ {
			if i > 100_000 {
				r.Fatal("it never ends")
			}
			take()
		}
		if got+dropped != uint64(added) {
			r.Fatalf("%d came and %d were dropped of %d", got, dropped, added)
		}
		s.close()
	})
}

func TestSpoolIsBounded(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 4*segmentBytes)
	defer s.close()
	for i := range 1000 {
		if err := s.add(event(i, 20_000)); err != nil {
			t.Fatal(err)
		}
	}
	var size int64
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > 5*segmentBytes {
		t.Fatalf("%d bytes of at most %d", size, 5*segmentBytes)
	}
	b, err := s.batch("x")
	if err != nil || b.After != 0 || b.Events[0].Dropped == 0 {
		t.Fatalf("%+v, %v", b, err)
	}
}

func FuzzSpoolLine(f *testing.F) {
	line := []byte(`{"seq":3,"at":"2026-01-01T00:00:00Z","dropped":2}`)
	f.Add([]byte(fmt.Sprintf("%08x %s\n", crc32.ChecksumIEEE(line), line)))
	f.Add([]byte("00000000 {}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, ok := parseLine(b); ok && e.Seq == 0 {
			t.Fatal("an event without a number")
		}
	})
}

func FuzzCPU(f *testing.F) {
	f.Add("cpu  10132153 290696 3084719 46828483 16683 0 25195 0 175628 0")
	f.Fuzz(func(t *testing.T, line string) {
		busy, total, err := parseCPU(line)
		if err == nil && busy > total && total >= 0 && !strings.Contains(line, "-") {
			t.Fatalf("busy %v of %v", busy, total)
		}
	})
}

func TestHostReadings(t *testing.T) {
	dir := t.TempDir()
	h := NewHost(dir)
	h.rapl = filepath.Join(dir, "powercap")
	zone := filepath.Join(h.rapl, "intel-rapl:0")
	if err := os.MkdirAll(zone, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(uj int) {
		if err := os.WriteFile(filepath.Join(zone, "energy_uj"), []byte(fmt.Sprintln(uj)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(1_000_000)
	if _, err := h.Readings(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(91_000_000)
	h.at = h.at.Add(-time.Second) // a second and a little has gone by
	rs, err := h.Readings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, r := range rs {
		got[r.Name] = r.Value
	}
	if w := got["cpu_power"]; w < 45 || w > 90 {
		t.Errorf("90 J in a little over a second are %v W", w)
	}
	if got["memory_total"] < 1<<28 || got["memory_used"] <= 0 || got["disk_free"] <= 0 {
		t.Errorf("%v", got)
	}
	if strings.Contains(string(bytes.ToLower([]byte(bootID()))), "unknown") {
		t.Error("no boot ID")
	}
}
