package vault_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/compute/vault"
	"sluice/store"
)

var secrets = map[string]string{"WANDB_API_KEY": "plaintext-5f1e0c7a9d", "HF_TOKEN": "hf_plaintext-2b8844"}

func now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// safe is a vault over a real database in a data folder.
type safe struct {
	t   *testing.T
	dir string
	db  *store.DB
	*vault.Vault
	master string
}

func openSafe(t *testing.T, dir, master string) *safe {
	t.Helper()
	s := &safe{t: t, dir: dir, master: master}
	s.open()
	t.Cleanup(s.close)
	return s
}

func (s *safe) open() {
	s.t.Helper()
	var err error
	if s.db, err = store.Open(s.t.Context(), s.dir, store.Options{}); err != nil {
		s.t.Fatal(err)
	}
	if s.Vault, err = vault.Open(vault.Config{Dir: filepath.Join(s.dir, "vault"), Master: s.master, Store: s.db.Secrets(), Now: now}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *safe) close() {
	if s.Vault != nil {
		_ = s.Vault.Close()
	}
	if err := s.db.Close(); err != nil {
		s.t.Error(err)
	}
}

// must open to the secrets.
func (s *safe) must(job string, want map[string]string) {
	s.t.Helper()
	got, err := s.Open(s.t.Context(), job)
	if err != nil || !reflect.DeepEqual(got, want) {
		s.t.Fatalf("secrets of %s: %v, %v, want %v", job, got, err, want)
	}
}

func (s *safe) mustNot(job string, kind sluice.Kind) {
	s.t.Helper()
	got, err := s.Open(s.t.Context(), job)
	if got != nil || sluice.KindOf(err) != kind || err == nil {
		s.t.Fatalf("secrets of %s: %v, %v, want an error of kind %v", job, got, err, kind)
	}
	for _, v := range secrets {
		if strings.Contains(err.Error(), v) {
			s.t.Fatalf("the error quotes a secret: %v", err)
		}
	}
}

func (s *safe) seal(job string) {
	s.t.Helper()
	if err := s.Seal(s.t.Context(), job, secrets); err != nil {
		s.t.Fatal(err)
	}
}

// nowhere fails where a text occurs in any byte of any file of a folder, as it is
// or in base64 at any of its three offsets.
func nowhere(t *testing.T, dir string, texts ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for _, text := range texts {
			for _, form := range forms(text) {
				if bytes.Contains(b, []byte(form)) {
					t.Errorf("%s holds %q", p, form)
				}
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files searched: %v", files, err)
	}
}

func forms(text string) []string {
	out := []string{text, fmt.Sprintf("%x", text)}
	for skip := range 3 {
		enc := base64.RawStdEncoding.EncodeToString(append(make([]byte, skip), text...))
		out = append(out, enc[4:len(enc)-4]) // what does not depend on the neighbours
	}
	return out
}

func TestSecretsAreNowhereInTheClear(t *testing.T) {
	var logged bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	defer slog.SetDefault(old)
	s := openSafe(t, t.TempDir(), "")
	for i := range 20 {
		s.seal(fmt.Sprintf("j-%06d", i))
	}
	s.must("j-000003", secrets)
	if got, err := s.Open(t.Context(), "j-000099"); got != nil || err != nil {
		t.Errorf("a job without secrets: %v, %v", got, err)
	}
	if err := s.Seal(t.Context(), "j-000003", secrets); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("sealed twice: %v", err)
	}
	s.must("j-000003", secrets) // the second try took nothing away
	if err := s.db.Backup(t.Context(), filepath.Join(s.dir, "backup.db")); err != nil {
		t.Fatal(err)
	}
	var plain []string
	for k, v := range secrets {
		plain = append(plain, v, k)
	}
	nowhere(t, s.dir, plain...)
	s.close()
	nowhere(t, s.dir, plain...)
	s.open()
	s.must("j-000019", secrets)
	for _, v := range plain {
		if strings.Contains(logged.String(), v) {
			t.Errorf("the log holds %q", v)
		}
	}
	if cmds, _ := filepath.Glob("/proc/[0-9]*/cmdline"); len(cmds) > 0 {
		for _, c := range cmds {
			if b, err := os.ReadFile(c); err == nil && bytes.Contains(b, []byte(secrets["HF_TOKEN"])) {
				t.Errorf("%s shows a secret: %q", c, b)
			}
		}
	}
	for _, p := range []string{"vault/master.key", "vault/keys/j-000003.key"} {
		if info, err := os.Stat(filepath.Join(s.dir, p)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", p, info.Mode(), err)
		}
	}
}

// What was erased stays erased, for whoever has the master key and an old backup,
// which brings the sealed text back.
func TestErasedMeansErased(t *testing.T) {
	s := openSafe(t, t.TempDir(), "")
	s.seal("j-000001")
	s.seal("j-000002")
	backup := filepath.Join(t.TempDir(), "old.db")
	if err := s.db.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(s.dir, "vault", "keys", "j-000001.key")
	before, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(key) // sees the bytes of the file after its name is gone
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for range 2 {
		if err := s.Erase(t.Context(), "j-000001"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Erase(t.Context(), "j-000077"); err != nil {
		t.Errorf("erasing what never was: %v", err)
	}
	s.mustNot("j-000001", sluice.Conflict)
	s.must("j-000002", secrets)
	if err := s.Seal(t.Context(), "j-000001", secrets); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("sealed again after it was erased: %v", err)
	}
	after := make([]byte, len(before))
	if _, err := held.ReadAt(after, 0); err != nil || bytes.Equal(after, before) || bytes.Contains(after, before[12:40]) {
		t.Errorf("the key's bytes are still there (%v)", err)
	}
	s.close()
	if err := store.RestoreOver(t.Context(), backup, s.dir); err != nil {
		t.Fatal(err)
	}
	s.open()
	if sealed, found, erased, err := s.db.Secrets().Sealed(t.Context(), "j-000001"); !found || erased || len(sealed) == 0 || err != nil {
		t.Fatalf("the backup does not bring the sealed text back, so the test shows nothing: %v %v %v", found, erased, err)
	}
	s.mustNot("j-000001", sluice.NotFound)
	s.must("j-000002", secrets)
}

func TestTamperingIsFound(t *testing.T) {
	s := openSafe(t, t.TempDir(), "")
	s.seal("j-000001")
	s.seal("j-000002")
	keys := filepath.Join(s.dir, "vault", "keys")
	one, two := filepath.Join(keys, "j-000001.key"), filepath.Join(keys, "j-000002.key")
	good, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good { // every byte counts
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if err := os.WriteFile(one, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s.mustNot("j-000001", sluice.Internal)
	}
	other, _ := os.ReadFile(two)
	if err := os.WriteFile(one, other, 0o600); err != nil { // another job's key
		t.Fatal(err)
	}
	s.mustNot("j-000001", sluice.Internal)
	if err := os.WriteFile(one, good[:20], 0o600); err != nil {
		t.Fatal(err)
	}
	s.mustNot("j-000001", sluice.Internal)
	if err := os.WriteFile(one, good, 0o600); err != nil {
		t.Fatal(err)
	}
	s.must("j-000001", secrets)
}

// shelf is a store whose content a test changes.
type shelf map[string][]byte

func (s shelf) PutSealed(_ context.Context, job string, b []byte) error { s[job] = b; return nil }
func (s shelf) DropSealed(_ context.Context, job string, _ time.Time) error {
	s[job] = nil
	return nil
}

func (s shelf) Sealed(_ context.Context, job string) ([]byte, bool, bool, error) {
	b, ok := s[job]
	return b, ok, ok && b == nil, nil
}

func TestSealedTextIsBoundToItsJob(t *testing.T) {
	sh := shelf{}
	v, err := vault.Open(vault.Config{Dir: t.TempDir(), Store: sh, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, job := range []string{"j-1", "j-2"} {
		if err := v.Seal(t.Context(), job, map[string]string{"A": job}); err != nil {
			t.Fatal(err)
		}
	}
	good := sh["j-1"]
	for i := range good {
		sh["j-1"] = bytes.Clone(good)
		sh["j-1"][i] ^= 0x80
		if got, err := v.Open(t.Context(), "j-1"); got != nil || sluice.KindOf(err) != sluice.Internal {
			t.Fatalf("byte %d changed: %v, %v", i, got, err)
		}
	}
	sh["j-1"] = sh["j-2"]
	if got, err := v.Open(t.Context(), "j-1"); got != nil || err == nil {
		t.Fatalf("another job's text: %v", got)
	}
	for _, name := range []string{"", "..", "../j-1", "j/1", ".key", strings.Repeat("j", 200)} {
		if err := v.Seal(t.Context(), name, secrets); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("job %q: %v", name, err)
		}
		if err := v.Erase(t.Context(), name); sluice.KindOf(err) != sluice.Invalid {
			t.Errorf("job %q: %v", name, err)
		}
	}
	if err := v.Seal(t.Context(), "j-3", map[string]string{"A": strings.Repeat("x", vault.MaxSecrets)}); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("too large: %v", err)
	}
}

func TestSealAndOpenAnything(t *testing.T) {
	v, err := vault.Open(vault.Config{Dir: t.TempDir(), Store: shelf{}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.MapOfN(rapid.String(), rapid.String(), 1, 10).Draw(t, "secrets")
		for k, s := range in { // JSON keeps valid text only, as environments do
			if strings.ToValidUTF8(k+s, "") != k+s {
				t.Skip()
			}
		}
		n++
		job := fmt.Sprintf("j-%d", n)
		if err := v.Seal(context.Background(), job, in); err != nil {
			t.Fatal(err)
		}
		if out, err := v.Open(context.Background(), job); err != nil || !reflect.DeepEqual(in, out) {
			t.Fatalf("%v, %v, want %v", out, err, in)
		}
	})
}

func TestTheMasterLivesElsewhere(t *testing.T) {
	disk := t.TempDir()
	master := filepath.Join(disk, "m.key")
	s := openSafe(t, t.TempDir(), master)
	s.seal("j-000001")
	text, err := os.ReadFile(master)
	if err != nil {
		t.Fatal(err)
	}
	nowhere(t, s.dir, strings.TrimSpace(strings.TrimPrefix(string(text), "sluice-master-key-1 ")))
	if _, err := os.Stat(filepath.Join(s.dir, "vault", "master.key")); err == nil {
		t.Error("a second master in the data folder")
	}
	again := func(place string) (*vault.Vault, error) {
		return vault.Open(vault.Config{Dir: filepath.Join(s.dir, "vault"), Master: place, Store: s.db.Secrets(), Now: now})
	}
	// Its disk is not mounted: no new key is made over those that need the old.
	if _, err := again(filepath.Join(disk, "absent", "m.key")); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("without its master: %v", err)
	}
	if err := os.Chmod(master, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := again(master); sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a master that all can read: %v", err)
	}
	t.Setenv("SLUICE_TEST_MASTER", strings.TrimPrefix(strings.TrimSpace(string(text)), "sluice-master-key-1 "))
	v, err := again("env:SLUICE_TEST_MASTER")
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if got, err := v.Open(t.Context(), "j-000001"); err != nil || !reflect.DeepEqual(got, secrets) {
		t.Errorf("by the environment: %v, %v", got, err)
	}
	if _, err := v.Rotate(t.Context()); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("rotating the environment: %v", err)
	}
	t.Setenv("SLUICE_TEST_MASTER", "c2hvcnQ=")
	if _, err := again("env:SLUICE_TEST_MASTER"); sluice.KindOf(err) != sluice.Invalid || strings.Contains(err.Error(), "c2hv") {
		t.Errorf("a short master: %v", err)
	}
}

func TestRotation(t *testing.T) {
	s := openSafe(t, t.TempDir(), "")
	if n, err := s.Rotate(t.Context()); n != 0 || err != nil {
		t.Errorf("rotating nothing: %d, %v", n, err)
	}
	for i := range 10 {
		s.seal(fmt.Sprintf("j-%06d", i))
	}
	old := filepath.Join(s.dir, "vault", "master.key")
	oldText, _ := os.ReadFile(old)
	oldKey, _ := os.ReadFile(filepath.Join(s.dir, "vault", "keys", "j-000004.key"))
	held, err := os.Open(old)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if n, err := s.Rotate(t.Context()); n != 10 || err != nil {
		t.Fatalf("rotated %d keys: %v", n, err)
	}
	s.must("j-000004", secrets)
	now := make([]byte, len(oldText))
	if _, err := held.ReadAt(now, 0); err != nil || bytes.Equal(now, oldText) {
		t.Errorf("the old master is still on the disk (%v)", err)
	}
	nowhere(t, s.dir, strings.TrimSpace(strings.TrimPrefix(string(oldText), "sluice-master-key-1 ")))
	// A key of before, dug out of a disk, opens under no master that is left.
	if err := os.WriteFile(filepath.Join(s.dir, "vault", "keys", "j-000004.key"), oldKey, 0o600); err != nil {
		t.Fatal(err)
	}
	s.mustNot("j-000004", sluice.Internal)
	s.close()
	s.open()
	s.must("j-000005", secrets)
}

// A rotation is killed at every place where it is between two files; the next
// start finishes it and every secret opens.
func TestRotationSurvivesAKill(t *testing.T) {
	if dir := os.Getenv("SLUICE_ROTATE_CHILD"); dir != "" {
		v, err := vault.Open(vault.Config{Dir: dir, Store: shelf{}, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("rotating")
		_, err = v.Rotate(context.Background())
		fmt.Println("rotated", err)
		return
	}
	s := openSafe(t, t.TempDir(), "")
	const jobs = 60
	for i := range jobs {
		s.seal(fmt.Sprintf("j-%06d", i))
	}
	dir := filepath.Join(s.dir, "vault")
	cut := 0
	for round := range 12 {
		_ = s.Vault.Close()
		cmd := exec.Command(os.Args[0], "-test.run=^TestRotationSurvivesAKill$", "-test.v")
		cmd.Env = append(os.Environ(), "SLUICE_ROTATE_CHILD="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed once so many of its files are new: that is an event to wait for.
		for first := age(dir); ; {
			if n := newer(dir, first); n > round*jobs/11 {
				break
			}
			if _, err := os.Stat(fmt.Sprintf("/proc/%d/fd", cmd.Process.Pid)); err != nil {
				break
			}
			if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid)); bytes.Contains(b, []byte(") Z ")) {
				break
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if _, err := os.Stat(filepath.Join(dir, "master.key"+vault.NextSuffix)); err == nil {
			cut++
		}
		var err error
		if s.Vault, err = vault.Open(vault.Config{Dir: dir, Store: s.db.Secrets(), Now: now}); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for i := range jobs {
			s.must(fmt.Sprintf("j-%06d", i), secrets)
		}
		if _, err := os.Stat(filepath.Join(dir, "master.key"+vault.NextSuffix)); err == nil {
			t.Fatal("the rotation was not finished")
		}
	}
	if cut == 0 {
		t.Error("no kill came in the middle: the test shows nothing")
	}
	t.Logf("%d of 12 kills came in the middle", cut)
}

func age(dir string) time.Time {
	var newest time.Time
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // it was replaced meanwhile
		}
		if info, err := d.Info(); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
		return nil
	})
	return newest
}

func newer(dir string, than time.Time) (n int) {
	_ = filepath.WalkDir(filepath.Join(dir, "keys"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // it was replaced meanwhile
		}
		if info, err := d.Info(); err == nil && info.ModTime().After(than) {
			n++
		}
		return nil
	})
	return n
}

func FuzzMasterKey(f *testing.F) {
	f.Add("sluice-master-key-1 " + base64.StdEncoding.EncodeToString(make([]byte, 32)))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "m")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := vault.Open(vault.Config{Dir: t.TempDir(), Master: path, Store: shelf{}, Now: now})
		if err != nil {
			if sluice.KindOf(err) != sluice.Invalid {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		defer v.Close()
		if err := v.Seal(t.Context(), "j-1", secrets); err != nil {
			t.Fatal(err)
		}
	})
}
