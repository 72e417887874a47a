package history

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// long writes a file of n rows at 5 minutes and returns its path and its size.
func long(tb testing.TB, n int, name string) (string, int64) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var w io.WriteCloser = f
	if filepath.Ext(name) == ".gz" {
		w, _ = gzip.NewWriterLevel(f, gzip.BestSpeed)
	}
	var b bytes.Buffer
	b.WriteString("ts_utc,price_usd_per_mwh\n")
	at := time.Date(2012, 1, 1, 0, 0, 0, 0, time.UTC)
	size := int64(0)
	for i := range n {
		b.Write(at.AppendFormat(b.AvailableBuffer(), time.RFC3339))
		fmt.Fprintf(&b, ",%d.%02d\n", i%4000-100, i*7%100)
		at = at.Add(5 * time.Minute)
		if b.Len() > 1<<16 || i == n-1 {
			size += int64(b.Len())
			if _, err := w.Write(b.Bytes()); err != nil {
				tb.Fatal(err)
			}
			b.Reset()
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return path, size
}

// drain reads the series to its end and returns how many rows it has.
func drain(tb testing.TB, spec Spec) int {
	tb.Helper()
	s, err := Open(spec)
	if err != nil {
		tb.Fatal(err)
	}
	defer s.Close()
	for n := 0; ; n++ {
		if _, err := s.Next(); errors.Is(err, io.EOF) {
			return n
		} else if err != nil {
			tb.Fatal(err)
		}
	}
}

func BenchmarkSeries(b *testing.B) {
	const rows = 1_000_000
	for _, name := range []string{"plain.csv", "zipped.csv.gz"} {
		b.Run(name, func(b *testing.B) {
			path, size := long(b, rows, name)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if n := drain(b, Spec{Path: path, Low: -5000, High: 50000}); n != rows {
					b.Fatalf("%d rows", n)
				}
			}
			b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// A series of any length is read with the memory of a short one.
func TestMemoryIsFlat(t *testing.T) {
	path, _ := long(t, 1_000_000, "long.csv.gz")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if n := drain(t, Spec{Path: path}); n != 1_000_000 {
		t.Fatalf("%d rows", n)
	}
	runtime.ReadMemStats(&after)
	if total := after.TotalAlloc - before.TotalAlloc; total > 1<<20 {
		t.Errorf("reading a million rows allocated %d bytes in all; a megabyte is enough", total)
	}
}
