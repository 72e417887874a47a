package remote

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"sluice/compute"
)

// Property: whatever pieces come, however often, and whenever the site is killed
// between appending and noting, the log has the output once, after what was there.
func TestLogHasOutputOnce(t *testing.T) {
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		dir := filepath.Join(base, strconv.Itoa(n))
		log := filepath.Join(dir, "log")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			r.Fatal(err)
		}
		before := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(r, "before")
		if err := os.WriteFile(log, before, 0o600); err != nil {
			r.Fatal(err)
		}
		output := rapid.SliceOfN(rapid.ByteRange('a', 'c'), 0, 200).Draw(r, "output")
		at := int64(0)
		first := true
		for steps := 0; at < int64(len(output)); steps++ {
			from := at - int64(rapid.IntRange(0, int(min(at, 20))).Draw(r, "again"))
			piece := output[from:min(int64(len(output)), from+int64(rapid.IntRange(1, 40).Draw(r, "bytes")))]
			position, _ := os.ReadFile(filepath.Join(dir, positionFile))
			next, sure, err := appendLog(dir, log, from, piece, 1<<20, first)
			if err != nil {
				r.Fatal(err)
			}
			first = first && !sure
			if rapid.IntRange(0, 4).Draw(r, "killed") == 0 && len(position) > 0 {
				// Before it was noted; the next process hears it again.
				if err := os.WriteFile(filepath.Join(dir, positionFile), position, 0o600); err != nil {
					r.Fatal(err)
				}
				first = true
				next, _, err = appendLog(dir, log, from, nil, 1<<20, first)
				if err != nil {
					r.Fatal(err)
				}
			}
			at = next
		}
		b, err := os.ReadFile(log)
		if want := append(append([]byte{}, before...), output...); err != nil || !bytes.Equal(b, want) {
			r.Fatalf("%q, want %q (%v)", b, want, err)
		}
	})
}

func TestLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	var at int64
	for range 10 {
		next, _, err := appendLog(dir, log, at, bytes.Repeat([]byte("x"), 100), 250, at == 0)
		if err != nil {
			t.Fatal(err)
		}
		at = next
	}
	b, err := os.ReadFile(log)
	if err != nil || at != 1000 || len(b) > 400 || bytes.Count(b, []byte("reached its limit")) != 1 {
		t.Fatalf("%d bytes, at %d, %v", len(b), at, err)
	}
}

func FuzzHandle(f *testing.F) {
	f.Add(`{"host":"h","run":"j-1-r1","job":"j-1","lease":1,"folders":[{"name":"work-1","path":"/x","return":true}]}`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHandle(compute.Handle(s))
		if err != nil {
			return
		}
		text, err := h.text()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseHandle(text)
		if err != nil || again.Host != h.Host || again.Run != h.Run || len(again.Folders) != len(h.Folders) {
			t.Fatalf("%+v, %+v, %v", h, again, err)
		}
	})
}
