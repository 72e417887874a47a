package tree

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func openRoot(t interface {
	Helper()
	Fatal(...any)
}, dir string,
) *os.Root {
	t.Helper()
	r, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// bring makes the folder to like from, in pieces of n bytes, as the two sides do.
func bring(from, to *os.Root, n int64) error {
	want, err := All(from)
	if err != nil {
		return err
	}
	have, err := All(to)
	if err != nil {
		return err
	}
	p := Diff(want, have)
	if err := Drop(to, p.Drop); err != nil {
		return err
	}
	for _, e := range p.Put {
		for at := int64(0); ; at += n {
			piece := Piece{Entry: e, From: at}
			var data []byte
			if e.Kind == File {
				got, b, err := Read(from, []Ask{{e.Path, at, n}}, n)
				if err != nil {
					return err
				}
				piece.Len, data = got[0].Len, b
			}
			if err := Write(to, "s", []Piece{piece}, data); err != nil {
				return err
			}
			if piece.last() {
				break
			}
		}
	}
	return nil
}

// Property: after bringing, two trees are the same, whatever they were, and
// bringing again moves nothing.
func TestBringMakesTreesAlike(t *testing.T) {
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		var roots [2]*os.Root
		for i := range roots {
			dir := filepath.Join(base, fmt.Sprint(n), fmt.Sprint(i))
			if err := os.MkdirAll(dir, 0o700); err != nil {
				r.Fatal(err)
			}
			roots[i] = openRoot(r, dir)
			defer roots[i].Close()
			for range rapid.IntRange(0, 12).Draw(r, "entries") {
				grow(r, roots[i])
			}
		}
		if err := bring(roots[0], roots[1], int64(rapid.IntRange(1, 40).Draw(r, "piece"))); err != nil {
			r.Fatal(err)
		}
		a, _ := All(roots[0])
		b, _ := All(roots[1])
		if p := Diff(a, b); len(p.Put)+len(p.Drop) != 0 {
			r.Fatalf("not alike: %+v\nfrom %+v\nto   %+v", p, a, b)
		}
		for _, e := range a {
			if e.Kind != File {
				continue
			}
			x, _ := roots[0].ReadFile(e.Path)
			y, _ := roots[1].ReadFile(e.Path)
			if !bytes.Equal(x, y) {
				r.Fatalf("%s: %q and %q", e.Path, x, y)
			}
		}
	})
}

func grow(r *rapid.T, root *os.Root) {
	names := rapid.SampledFrom([]string{"a", "b", "a/c", "a/c/d", "a.x", "e/f", "ü b"})
	p := names.Draw(r, "name")
	if d := filepath.Dir(p); d != "." && root.MkdirAll(d, 0o755) != nil {
		return
	}
	switch rapid.IntRange(0, 3).Draw(r, "kind") {
	case 0:
		_ = root.Mkdir(p, 0o755)
	case 1:
		_ = root.Symlink(rapid.SampledFrom([]string{"b", "a/c", "missing"}).Draw(r, "target"), p)
	default:
		if info, err := root.Lstat(p); err == nil && !info.Mode().IsRegular() {
			return
		}
		_ = root.WriteFile(p, rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(r, "content"), 0o640)
		at := time.Unix(int64(rapid.IntRange(1, 3).Draw(r, "time")), 5)
		_ = root.Chtimes(p, at, at)
		if rapid.Bool().Draw(r, "mode") {
			_ = root.Chmod(p, 0o755)
		}
	}
}

func TestListPages(t *testing.T) {
	dir := t.TempDir()
	root := openRoot(t, dir)
	defer root.Close()
	for i := range 60 {
		p := fmt.Sprintf("d%02d", i%7)
		if err := root.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
		for j := range 40 {
			if err := root.WriteFile(fmt.Sprintf("%s/%s-%d-%d", p, strings.Repeat("x", 120), i, j), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := All(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []Entry
	pages := 0
	for after, more := "", true; more; pages++ {
		var page []Entry
		if page, more, err = List(root, after); err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
		after = page[len(page)-1].Path
	}
	if pages < 2 || fmt.Sprint(got) != fmt.Sprint(all) {
		t.Fatalf("%d pages with %d entries, %d in one walk", pages, len(got), len(all))
	}
}

// What a hostile side may try: leave the root by a path, by a link that it has
// made before, or by one that the job has left.
func TestNothingLeavesTheRoot(t *testing.T) {
	base := t.TempDir()
	if err := os.WriteFile(filepath.Join(base, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "root")
	if err := os.MkdirAll(filepath.Join(dir, "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"out": "..", "abs": base, "file": "../secret", "fine": "in"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := openRoot(t, dir)
	defer root.Close()
	for _, p := range []string{"../secret", "/etc/passwd", "out/secret", "abs/secret", "file", "in/../../secret", "", ".", "a\x00b", "pipe"} {
		got, b, err := Read(root, []Ask{{Path: p, Len: 100}}, 100)
		if len(b) > 0 || err == nil && !got[0].Gone {
			t.Errorf("read %q: %q, %v", p, b, err)
		}
		if p == "pipe" || p == "file" {
			continue // writing replaces them, and stays inside
		}
		if err := Write(root, "s", []Piece{{Entry: Entry{Path: p + "x", Kind: File, Size: 1}, Len: 1}}, []byte("x")); err == nil && strings.ContainsAny(p, "/") {
			t.Errorf("wrote to %q", p+"x")
		}
		if err := Drop(root, []string{p}); err == nil && strings.Contains(p, "secret") {
			t.Errorf("dropped %q", p)
		}
	}
	for _, target := range []string{"/etc", "..", "../..", "in/../../x", ""} {
		if err := Write(root, "s", []Piece{{Entry: Entry{Path: "link", Kind: Link, Target: target}}}, nil); err == nil {
			t.Errorf("made a link to %q", target)
		}
	}
	entries, err := All(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Path != "in" && e.Path != "fine" && e.Path != "x" && e.Path != ".x" {
			t.Errorf("listed %+v", e)
		}
	}
	if b, err := os.ReadFile(filepath.Join(base, "secret")); err != nil || string(b) != "secret" {
		t.Fatal("the file beside the root was touched")
	}
}

func FuzzPieces(f *testing.F) {
	f.Add(`[{"p":"a/b","k":"f","s":3,"n":3}]`, []byte("abc"))
	f.Add(`[{"p":"../b","k":"l","l":"/etc"}]`, []byte(""))
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		var pieces []Piece
		if json.Unmarshal([]byte(text), &pieces) != nil || len(pieces) > 20 {
			return
		}
		for i := range pieces {
			if pieces[i].Size > 1<<16 {
				return
			}
		}
		base := t.TempDir()
		dir := filepath.Join(base, "root")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		root := openRoot(t, dir)
		defer root.Close()
		_ = Write(root, "s", pieces, data)
		if left, err := os.ReadDir(base); err != nil || len(left) != 1 {
			t.Fatalf("beside the root: %v, %v", left, err)
		}
		if _, err := All(root); err != nil {
			t.Fatal(err)
		}
	})
}

// Into a folder to which others write too goes what is newer, and nothing of theirs
// is dropped.
func TestMergeKeepsWhatOthersWrote(t *testing.T) {
	f := func(p string, at int64) Entry { return Entry{Path: p, Kind: File, Size: at, Time: at, Mode: 0o600} }
	have := []Entry{{Path: "d", Kind: Dir, Mode: 0o700}, f("d/other", 5), f("mine", 3), f("newer", 9), f("was-file", 1), {Path: "link", Kind: Link, Target: "mine"}}
	want := []Entry{{Path: "d", Kind: Dir, Mode: 0o755}, f("d/new", 4), f("mine", 4), f("newer", 8), {Path: "was-file", Kind: Link, Target: "x", Time: 2}, {Path: "link", Kind: Link, Target: "newer"}}
	p := Merge(want, have)
	var put []string
	for _, e := range p.Put {
		put = append(put, e.Path)
	}
	slices.Sort(put)
	if !slices.Equal(put, []string{"d/new", "link", "mine", "was-file"}) || !slices.Equal(p.Drop, []string{"was-file"}) {
		t.Errorf("put %v, drop %v", put, p.Drop)
	}
	if p := Merge(have, have); len(p.Put)+len(p.Drop) != 0 {
		t.Errorf("the same twice: %+v", p)
	}
}
