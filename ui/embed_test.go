package ui

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// Addresses that stand in the build and are never asked for: names of XML
// namespaces, and the explanations that Svelte's errors point to.
var harmless = regexp.MustCompile(`^https?://(www\.w3\.org/|svelte\.dev/e/)`)

var (
	address = regexp.MustCompile("https?://[^\\s\"'`)\\\\]+|url\\(//")
	asset   = regexp.MustCompile(`(?:src|href)="([^"]+)"`)
	hashed  = regexp.MustCompile(`^assets/[\w.-]+-[\w-]{8}\.(js|css)$`)
)

// TestDashboard checks the build, where there is one. Without it, FS must say
// so; in CI it must be there.
func TestDashboard(t *testing.T) {
	f, ok := FS()
	if _, err := os.Stat("dist/index.html"); ok != (err == nil) {
		t.Fatalf("FS says built=%v, and dist/index.html on disk says: %v", ok, err)
	}
	if !ok {
		if f != nil {
			t.Error("FS returns files and says that there are none")
		}
		if os.Getenv("CI") == "true" {
			t.Error("the dashboard was not built: run `npm ci && npm run build` in ui/ first")
		}
		return
	}
	t.Run("index names hashed assets that exist", func(t *testing.T) { indexNamesAssets(t, f) })
	t.Run("index has nothing inline", func(t *testing.T) { indexHasNothingInline(t, f) })
	t.Run("no external address", func(t *testing.T) { noExternalAddress(t, f) })
}

func indexNamesAssets(t *testing.T, f fs.FS) {
	t.Helper()
	index, err := fs.ReadFile(f, "index.html")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, m := range asset.FindAllStringSubmatch(string(index), -1) {
		name := strings.TrimPrefix(m[1], "./")
		if _, err := fs.Stat(f, name); err != nil {
			t.Errorf("index.html names %q: %v", m[1], err)
		}
		if strings.HasPrefix(name, "assets/") {
			if !hashed.MatchString(name) {
				t.Errorf("%q has no digest in its name: browsers would keep an old one", name)
			}
			kinds[path.Ext(name)]++
		}
	}
	if kinds[".js"] == 0 || kinds[".css"] == 0 {
		t.Errorf("index.html names %v, want a script and a style sheet", kinds)
	}
}

// A strict content security policy (own files only) must not break the page.
func indexHasNothingInline(t *testing.T, f fs.FS) {
	t.Helper()
	index, err := fs.ReadFile(f, "index.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<style", " style=", " onclick=", " onload=", "data:"} {
		if strings.Contains(string(index), bad) {
			t.Errorf("index.html contains %q", bad)
		}
	}
	if n, withSrc := strings.Count(string(index), "<script"), strings.Count(string(index), " src="); n != withSrc {
		t.Errorf("index.html has %d scripts and %d addresses of scripts: one is inline", n, withSrc)
	}
}

func noExternalAddress(t *testing.T, f fs.FS) {
	t.Helper()
	read := 0
	err := fs.WalkDir(f, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(f, name)
		if err != nil {
			return err
		}
		read++
		for _, a := range address.FindAllString(string(b), -1) {
			if !harmless.MatchString(a) {
				t.Errorf("%s names %s", name, a)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if read < 3 {
		t.Errorf("the build has %d files, want index.html, a script and a style sheet at least", read)
	}
}
