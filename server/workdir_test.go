package server

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice"
)

type file struct {
	name, text string
	kind       byte // tar's; 0: a regular file
	link       string
	claims     int64 // size in the header of a last file that is not there
}

func packed(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range files {
		if f.claims > 0 {
			if err := errors.Join(w.WriteHeader(&tar.Header{Name: f.name, Typeflag: tar.TypeReg, Size: f.claims}), z.Close()); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		}
		if f.kind == 0 {
			f.kind = tar.TypeReg
		}
		if err := w.WriteHeader(&tar.Header{Name: f.name, Typeflag: f.kind, Linkname: f.link, Size: int64(len(f.text)), Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCheckWorkdirRefuses(t *testing.T) {
	many := make([]file, maxWorkdirFiles+1)
	for i := range many {
		many[i] = file{name: "f"}
	}
	for name, b := range map[string][]byte{
		"a way up":       packed(t, file{name: "../x"}),
		"a way up below": packed(t, file{name: "a/../../x"}),
		"an absolute":    packed(t, file{name: "/etc/passwd"}),
		"a link":         packed(t, file{name: "l", kind: tar.TypeSymlink, link: "/etc"}),
		"a hard link":    packed(t, file{name: "l", kind: tar.TypeLink, link: "/etc/passwd"}),
		"a device":       packed(t, file{name: "d", kind: tar.TypeBlock}),
		"a pipe":         packed(t, file{name: "p", kind: tar.TypeFifo}),
		"no name":        packed(t, file{name: ""}),
		"too many":       packed(t, many...),
		"a bomb":         packed(t, file{name: "zeros", claims: MaxWorkdirUnpacked + 1}),
		"no gzip":        []byte("hello"),
		"no tar": func() []byte {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write([]byte("hello"))
			z.Close()
			return b.Bytes()
		}(),
		"cut":       packed(t, file{name: "a", text: strings.Repeat("x", 5000)})[:40],
		"too large": make([]byte, MaxWorkdirPacked+1),
	} {
		if err := CheckWorkdir(b); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
}

func TestPackedFolderUnpacksTheSame(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{"a.txt": "a", "sub/deep/b.txt": "b", ".git/config": "secret", "run.sh": "#!/bin/sh"} {
		p := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(from, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub/deep/b.txt", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	b, err := PackWorkdir(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckWorkdir(b); err != nil {
		t.Fatal(err)
	}
	if err := (Submission{Workdir: b}).UnpackWorkdir(to); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = filepath.WalkDir(to, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(to, p)
			text, _ := os.ReadFile(p)
			got[rel] = string(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a.txt": "a", "sub/deep/b.txt": "b", "run.sh": "#!/bin/sh", "link": "b"}
	if len(got) != len(want) {
		t.Errorf("unpacked %v, want %v", got, want)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
	if info, err := os.Stat(filepath.Join(to, "run.sh")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("run.sh is not executable: %v", err)
	}
}

func TestUnpackDoesNotFollowALinkOut(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "door")); err != nil {
		t.Fatal(err)
	}
	if err := (Submission{Workdir: packed(t, file{name: "door/x", text: "x"})}).UnpackWorkdir(dir); err == nil {
		t.Error("unpacked through a link")
	}
	if _, err := os.Stat(filepath.Join(outside, "x")); err == nil {
		t.Error("it was written outside")
	}
}

func TestPackRefusesWhatCannotTravel(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if _, err := PackWorkdir(dir); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("a link out: %v, want Invalid", err)
	}
	if _, err := PackWorkdir(filepath.Join(dir, "none")); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("no folder: %v, want Invalid", err)
	}
}

// FuzzUnpackWorkdir holds that whatever is unpacked lands inside its folder and
// that unpacking refuses what checking refuses.
func FuzzUnpackWorkdir(f *testing.F) {
	f.Add("a/b", byte(tar.TypeReg), "", "text")
	f.Add("../a", byte(tar.TypeReg), "", "text")
	f.Add("a", byte(tar.TypeSymlink), "/etc", "")
	f.Add("a/../b/./c", byte(tar.TypeReg), "", "text")
	f.Add(`..\a`, byte(tar.TypeReg), "", "text")
	f.Fuzz(func(t *testing.T, name string, kind byte, link, text string) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		if w.WriteHeader(&tar.Header{Name: name, Typeflag: kind, Linkname: link, Size: int64(len(text))}) != nil {
			return
		}
		_, _ = w.Write([]byte(text))
		_ = w.Close()
		_ = z.Close()
		top := t.TempDir()
		dir := filepath.Join(top, "in")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		checked := CheckWorkdir(b.Bytes())
		done := (Submission{Workdir: b.Bytes()}).UnpackWorkdir(dir)
		if checked != nil && done == nil {
			t.Errorf("unpacked what was refused: %v", checked)
		}
		if rest, err := os.ReadDir(top); err != nil || len(rest) != 1 {
			t.Errorf("written outside: %v %v", rest, err)
		}
	})
}
