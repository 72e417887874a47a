package compute_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/compute/vault"
	"sluice/store"
)

// wiper is one over the world's data folder, with a real vault.
func (w *world) wiper(keep time.Duration, also ...compute.Eraser) (*compute.Wiper, *vault.Vault) {
	w.t.Helper()
	v, err := vault.Open(vault.Config{Dir: filepath.Join(w.dir, "vault"), Store: w.db.Secrets(), Now: w.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = v.Close() })
	p, err := compute.NewWiper(w.t.Context(), compute.WiperConfig{Dir: w.dir, Store: w.db.Wipes(), Vault: v, Retention: keep, Now: w.Now, Also: also})
	if err != nil {
		w.t.Fatal(err)
	}
	return p, v
}

func TestWipe(t *testing.T) {
	w := newWorld(t, thisMachine)
	r := script(`echo out > out; mkdir shut; echo x > shut/x; chmod 0 shut; echo 1 > "$SLUICE_CHECKPOINT_DIR/c"`)
	r.Task.Secrets = map[string]string{"TOKEN": "s3cret"}
	p, v := w.wiper(0)
	w.vault = v
	w.restart()
	j := w.submit(r)
	other := w.submit(script(`echo up > up; sleep 1000`))
	if _, err := p.Wipe(t.Context(), w.job(j.ID), "acme", "asked"); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("a job that waits: %v", err)
	}
	w.start(j.ID)
	w.start(other.ID)
	w.reach(j.ID, compute.Succeeded)
	w.appears(other.ID, "up")
	if _, err := p.Wipe(t.Context(), w.job(other.ID), "acme", "asked"); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("a job that runs: %v", err)
	}
	got, err := p.Wipe(t.Context(), w.job(j.ID), "acme", "asked")
	if err != nil || got.DoneAt == nil || len(got.Parts) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if s, f := got.Parts[0], got.Parts[1]; s.How != compute.CryptoErase || f.How != compute.Deletion || f.Files < 4 || f.Bytes == 0 {
		t.Errorf("parts %+v", got.Parts)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "jobs", j.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder: %v", err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "jobs", other.ID, "work", "up")); err != nil {
		t.Errorf("another job's file: %v", err)
	}
	if s, err := v.Open(t.Context(), j.ID); s != nil || err == nil {
		t.Errorf("its secrets: %v, %v", s, err)
	}
	if _, err := w.svc.Files(j.ID); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("its files: %v", err)
	}
	if w.log(j.ID) != "" {
		t.Error("its log is still there")
	}
	w.pass(time.Hour)
	again, err := p.Wipe(t.Context(), w.job(j.ID), "somebody else", "")
	if err != nil || again.By != "acme" || !again.DoneAt.Equal(*got.DoneAt) {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	if all, err := p.List(t.Context(), 10); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestRetentionKeepsWhatAResumeNeeds(t *testing.T) {
	w := newWorld(t, thisMachine)
	done, waits := w.submit(script(`echo x > x`)), w.submit(script(`echo 1 > "$SLUICE_CHECKPOINT_DIR/c"; echo up > up; sleep 1000`))
	w.start(done.ID)
	w.start(waits.ID)
	w.reach(done.ID, compute.Succeeded)
	w.appears(waits.ID, "up")
	if err := w.svc.Preempt(t.Context(), w.Now(), waits.ID, "test"); err != nil {
		t.Fatal(err)
	}
	w.reach(waits.ID, compute.Queued)
	p, _ := w.wiper(24 * time.Hour)
	sweep := func() int {
		n, err := p.Sweep(t.Context(), w.Now(), w.svc.Jobs())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if due := p.Due(w.job(done.ID)); !due.Equal(w.Now().Add(24 * time.Hour)) {
		t.Errorf("due %v", due)
	}
	w.pass(24*time.Hour - time.Second)
	if n := sweep(); n != 0 {
		t.Errorf("wiped %d too early", n)
	}
	w.pass(time.Second)
	if n := sweep(); n != 1 {
		t.Errorf("wiped %d in time", n)
	}
	w.pass(1000 * time.Hour)
	if n := sweep(); n != 0 {
		t.Errorf("wiped %d again", n)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "jobs", waits.ID, "checkpoint", "c")); err != nil {
		t.Errorf("the checkpoint that a job goes on from: %v", err)
	}
	r, _, err := p.Of(t.Context(), done.ID)
	if err != nil || r.By != "sluice" || !strings.Contains(r.Why, "24h0m0s") {
		t.Errorf("%+v, %v", r, err)
	}
}

// stubborn is a place that cannot be wiped at first.
type stubborn struct{ err error }

func (s *stubborn) Left(context.Context, compute.Job) ([]compute.Wiped, error) {
	return []compute.Wiped{{What: "copy on host b", How: compute.Deletion}}, nil
}
func (s *stubborn) Erase(context.Context, string) error { return s.err }

func TestAWipeThatFailsStaysOnTheRecord(t *testing.T) {
	w := newWorld(t, thisMachine)
	j := w.submit(script(`echo x > x`))
	w.start(j.ID)
	w.reach(j.ID, compute.Succeeded)
	place := &stubborn{err: errors.New("host b is away")}
	p, _ := w.wiper(0, place)
	if _, err := p.Wipe(t.Context(), w.job(j.ID), "acme", "asked"); err == nil {
		t.Fatal("it went well")
	}
	r, _, _ := p.Of(t.Context(), j.ID)
	if r.DoneAt != nil || r.Failed != "host b is away" {
		t.Errorf("%+v", r)
	}
	place.err = nil
	if err := p.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, _, _ = p.Of(t.Context(), j.ID); r.DoneAt == nil || r.Failed != "" || len(r.Parts) != 2 {
		t.Errorf("%+v", r)
	}
}

// A process is killed in the middle of a wipe; the next one finishes it.
func TestWipeSurvivesAKill(t *testing.T) {
	const files, id = 20_000, "j-000001"
	if dir := os.Getenv("SLUICE_WIPE_CHILD"); dir != "" {
		db, err := store.Open(t.Context(), dir, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := compute.NewWiper(t.Context(), compute.WiperConfig{Dir: dir, Store: db.Wipes(), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Wipe(t.Context(), compute.Job{ID: id, State: compute.Succeeded, Tenant: "acme"}, "acme", "asked")
		t.Log(err)
		return
	}
	var dir, job string
	for try := 0; ; try++ { // until the kill comes in the middle, whenever this process gets its turn
		dir = t.TempDir()
		job = filepath.Join(dir, "jobs", id)
		for i := range files {
			sub := filepath.Join(job, "work", fmt.Sprint(i%100))
			if err := os.MkdirAll(sub, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(i)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		killInAWipe(t, dir, job)
		if subs, err := os.ReadDir(filepath.Join(job, "work")); err == nil && len(subs) > 0 {
			break
		}
		if try == 10 {
			t.Fatal("it was killed too late each time")
		}
	}
	db, err := store.Open(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	r, ok, err := db.Wipes().Wipe(t.Context(), id)
	if err != nil || !ok || r.DoneAt != nil || r.Parts[0].Files != files {
		t.Fatalf("the record after the kill: %+v, %v", r, err)
	}
	p, err := compute.NewWiper(t.Context(), compute.WiperConfig{Dir: dir, Store: db.Wipes(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(job); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	if r, _, _ := db.Wipes().Wipe(t.Context(), id); r.DoneAt == nil || r.By != "acme" || r.Parts[0].Files != files {
		t.Errorf("%+v", r)
	}
}

// killInAWipe lets another process begin to wipe the job, and kills it.
func killInAWipe(t *testing.T, dir, job string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestWipeSurvivesAKill$")
	cmd.Env = append(os.Environ(), "SLUICE_WIPE_CHILD="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for {
		if subs, err := os.ReadDir(filepath.Join(job, "work")); err != nil || len(subs) < 95 {
			break
		}
		if b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid)); strings.Contains(string(b), ") Z ") {
			break
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}
