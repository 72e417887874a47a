package compute

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sluice"
)

// The copy holds what is inside, and nothing leads out of it.
func TestCopyTree(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	from, to := t.TempDir(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(outside, []byte("hunter2"), 0o600))
	must(os.MkdirAll(filepath.Join(from, "a", "b"), 0o755))
	must(os.MkdirAll(filepath.Join(from, "data", "jobs"), 0o755)) // the site's own
	must(os.WriteFile(filepath.Join(from, "a", "run"), []byte("#!"), 0o755))
	must(os.WriteFile(filepath.Join(from, "a", "b", "x"), []byte("x"), 0o400))
	for name, target := range map[string]string{
		"a/b/up": "../run", "dir": "a", "dangling": "a/none",
		"abs": outside, "out": "../../secret", "a/out": "../../x", "parent": "..",
	} {
		must(os.Symlink(target, filepath.Join(from, name)))
	}
	must(syscall.Mkfifo(filepath.Join(from, "pipe"), 0o600))
	must(copyTree(from, to, filepath.Join(from, "data"), 100))
	var got []string
	must(filepath.WalkDir(to, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(to, p)
		got = append(got, rel)
		return err
	}))
	if want := []string{".", "a", "a/b", "a/b/up", "a/b/x", "a/run", "dangling", "dir"}; !slices.Equal(got, want) {
		t.Fatalf("copied %v, want %v", got, want)
	}
	if info, err := os.Stat(filepath.Join(to, "a", "run")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("run: %v, %v", info, err)
	}
	if b, err := os.ReadFile(filepath.Join(to, "a/b/up")); err != nil || string(b) != "#!" {
		t.Errorf("through the link: %q, %v", b, err)
	}
	must(os.WriteFile(filepath.Join(to, "a", "run"), []byte("changed"), 0o755))
	if b, _ := os.ReadFile(filepath.Join(from, "a", "run")); string(b) != "#!" {
		t.Error("a change of the copy changed the original")
	}
}

func TestCopyTreeLimits(t *testing.T) {
	from := t.TempDir()
	for _, f := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(from, f), make([]byte, 60), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyTree(from, t.TempDir(), "", 120); err != nil {
		t.Errorf("120 bytes of 120: %v", err)
	}
	if err := copyTree(from, t.TempDir(), "", 119); err == nil || sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), "larger") {
		t.Errorf("120 bytes of 119: %v", err)
	}
	for _, bad := range []string{filepath.Join(from, "none"), filepath.Join(from, "a")} {
		if err := copyTree(bad, t.TempDir(), "", 1000); err == nil || sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
