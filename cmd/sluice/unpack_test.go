package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pack makes a tar.gz of headers, with the text of files in Linkname's stead.
func pack(t testing.TB, hs ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range hs {
		text := ""
		if h.Typeflag == tar.TypeReg {
			text, h.Linkname = h.Linkname, ""
			h.Size = int64(len(text))
		}
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
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

func file(name, text string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Linkname: text}
}

func link(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
}

// outside makes a folder to unpack into beside one that must stay as it is, and
// returns a check of that.
func outside(t testing.TB) (to string, check func()) {
	t.Helper()
	base := t.TempDir()
	if err := os.WriteFile(filepath.Join(base, "mine"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	to = filepath.Join(base, "in")
	return to, func() {
		t.Helper()
		names, err := os.ReadDir(base)
		if err != nil || len(names) > 2 {
			t.Errorf("outside there is now %v, %v", names, err)
		}
		if b, err := os.ReadFile(filepath.Join(base, "mine")); string(b) != "mine" {
			t.Errorf("the file outside is %q, %v", b, err)
		}
		_ = filepath.WalkDir(to, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Type()&fs.ModeSymlink != 0 {
				if real, err := filepath.EvalSymlinks(p); err == nil && real != to && !strings.HasPrefix(real, to+"/") {
					t.Errorf("the link %s leads out, to %s", p, real)
				}
			}
			return nil
		})
	}
}

func TestUnpackFiles(t *testing.T) {
	to, check := outside(t)
	good := pack(t, tar.Header{Name: "work/", Typeflag: tar.TypeDir}, file("work/a/b", "one"), link("work/latest", "a/b"), link("checkpoint/up", "../work/a"))
	for range 2 { // a second download replaces the first
		if n, size, err := unpackFiles(bytes.NewReader(good), to); n != 1 || size != 3 || err != nil {
			t.Fatalf("%d files, %d bytes, %v", n, size, err)
		}
	}
	for _, p := range []string{"work/a/b", "work/latest", "checkpoint/up/b"} {
		if b, err := os.ReadFile(filepath.Join(to, p)); string(b) != "one" {
			t.Errorf("%s: %q, %v", p, b, err)
		}
	}
	check()
	for name, bad := range map[string][]byte{
		"up":                    pack(t, file("../mine", "x")),
		"up later":              pack(t, file("work/../../mine", "x")),
		"absolute":              pack(t, file("/tmp/sluice-escape", "x")),
		"through a link up":     pack(t, link("work/up", "../.."), file("work/up/mine", "x")),
		"through a link down":   pack(t, link("d", "."), link("e", "d/../.."), file("e/mine", "x")),
		"link out":              pack(t, link("out", "../mine"), file("out", "x")),
		"absolute link":         pack(t, link("etc", "/etc"), file("etc/x", "x")),
		"chain of links":        pack(t, link("s/d", ".."), link("s/x", "d/../../mine"), link("s/y", "d/../mine")),
		"hard link":             pack(t, tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "../mine"}),
		"device":                pack(t, tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}),
		"file over folder":      pack(t, file("a/b", "x"), file("a", "y")),
		"link in a link's way":  pack(t, link("l", "work"), link("l/m", "../../mine")),
		"link that is a folder": pack(t, link("work", "."), file("work/work/work/f", "x")),
	} {
		t.Run(name, func(t *testing.T) {
			to, check := outside(t)
			_, _, _ = unpackFiles(bytes.NewReader(bad), to)
			_, _, _ = unpackFiles(bytes.NewReader(bad), to) // over what the first has left
			check()
		})
	}
	if _, _, err := unpackFiles(bytes.NewReader(good[:len(good)/2]), filepath.Join(t.TempDir(), "x")); err == nil {
		t.Error("half a download went well")
	}
}

func FuzzUnpackFiles(f *testing.F) {
	f.Add(pack(f, file("work/a", "x"), link("work/b", "a")))
	f.Add(pack(f, link("s/d", ".."), link("s/x", "d/../../mine"), file("s/x", "y")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		to, check := outside(t)
		_, _, _ = unpackFiles(bytes.NewReader(raw), to)
		// Most of what a fuzzer makes is no gzip: what it makes is the archive too.
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(raw)
		_ = z.Close()
		_, _, _ = unpackFiles(&b, to)
		check()
	})
}

func TestParseUSD(t *testing.T) {
	for in, want := range map[string]int64{"500USD": 500e6, "500": 500e6, "$99.50": 99.5e6, "0": 0, "1 usd": 1e6, "0.000001": 1} {
		if got, err := parseUSD(in); int64(got) != want || err != nil {
			t.Errorf("%q: %d, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "-1", "EUR 5", "1e12", "NaN", "Inf", "5 EUR"} {
		if got, err := parseUSD(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}
