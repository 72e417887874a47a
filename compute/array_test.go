package compute_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/compute"
)

// came makes a folder that an array comes with: so many files of so many bytes.
func came(t testing.TB, files, size int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range files {
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "data", fmt.Sprint(i)), []byte(strings.Repeat(fmt.Sprint(i%10), size)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// held is what a folder holds: its regular files, by name, and their bytes together.
func held(t testing.TB, dir string) (names []string, bytes int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			rel, _ := filepath.Rel(dir, p)
			names, bytes = append(names, rel), bytes+info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names, bytes
}

func (w *world) array(run, workdir string, indexes ...int) []compute.Job {
	w.t.Helper()
	r := script(run)
	r.WorkdirPath, r.Task.Array = workdir, &compute.Array{Indexes: indexes}
	jobs, err := w.svc.SubmitAll(context.Background(), w.Now(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return jobs
}

// The jobs of an array get what it came with, none sees what another writes, and the
// disk holds it once, besides what runs: also over a restart in between.
func TestArraySharesWhatItCameWith(t *testing.T) {
	w := newWorld(t, thisMachine)
	from := came(t, 3, 1000)
	if err := os.Symlink("data/2", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	jobs := w.array(`echo * > .seen; cat data/0 data/1 link | wc -c > n
echo mine >> data/0; rm data/1; echo up > up; while [ ! -e go ]; do sleep 0.02; done`, from, 1, 2, 3)
	dir := filepath.Join(w.dir, "jobs")
	if names, n := held(t, w.dir+"/arrays"); len(names) != 3 || n != 3000 {
		t.Fatalf("the array's folder holds %v, %d bytes", names, n)
	}
	for _, j := range jobs {
		if names, _ := held(t, filepath.Join(dir, j.ID)); len(names) != 0 {
			t.Fatalf("before it runs job %s holds %v", j.ID, names)
		}
	}
	w.restart()
	for _, j := range jobs {
		w.start(j.ID)
		w.appears(j.ID, "up")
		if n, seen := w.appears(j.ID, "n"), w.appears(j.ID, ".seen"); n != "3000\n" || seen != "data link\n" {
			t.Errorf("job %s has read %q of %q", j.ID, n, seen)
		}
	}
	// One that is interrupted finds its folder as it left it.
	if err := w.svc.Preempt(t.Context(), w.Now(), jobs[0].ID, "test"); err != nil {
		t.Fatal(err)
	}
	w.reach(jobs[0].ID, compute.Queued)
	if b, err := os.ReadFile(filepath.Join(dir, jobs[0].ID, "work", "data", "0")); err != nil || !strings.HasSuffix(string(b), "mine\n") {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := w.svc.Cancel(t.Context(), w.Now(), jobs[0].ID); err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs[1:] {
		if err := os.WriteFile(filepath.Join(dir, j.ID, "work", "go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		w.reach(j.ID, compute.Succeeded)
	}
	// What it has changed or made stays of an ended job.
	for _, j := range jobs {
		w.until("it is slim", func() bool {
			_, err := os.Stat(filepath.Join(dir, j.ID, "work", "data", "2"))
			return err != nil
		})
		for _, f := range []string{"data/0", "n", "link"} {
			if _, err := os.Lstat(filepath.Join(dir, j.ID, "work", f)); err != nil {
				t.Error(err)
			}
		}
	}
	// What a kill has left of that is done by the next.
	left := filepath.Join(dir, jobs[1].ID, "work", "data", "1")
	if err := os.WriteFile(left, []byte(strings.Repeat("1", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.until("what was left is gone", func() bool { _, err := os.Stat(left); return err != nil })
	if names, n := held(t, w.dir+"/arrays"); len(names) != 3 || n != 3000 {
		t.Errorf("then the array's folder holds %v, %d bytes", names, n)
	}
}

// What an array came with is wiped with the last of its jobs, and each record says what
// happened: also where the last wipe to be recorded is not the last to be done.
func TestArrayIsWipedWithItsLastJob(t *testing.T) {
	w := newWorld(t, thisMachine)
	jobs := w.array(`true`, came(t, 2, 10), 0, 1, 2)
	other := w.submit(script("true"))
	for _, j := range append(jobs, other) {
		if _, err := w.svc.Cancel(t.Context(), w.Now(), j.ID); err != nil {
			t.Fatal(err)
		}
	}
	place := &stubborn{}
	p, _ := w.wiper(0, place)
	wipe := func(j compute.Job) compute.Wipe {
		t.Helper()
		r, err := p.Wipe(t.Context(), w.job(j.ID), "acme", "asked")
		if (err == nil) != (place.err == nil) {
			t.Fatal(err)
		}
		return r
	}
	how := func(r compute.Wipe) (files int, how string) {
		for _, x := range r.Parts {
			if strings.Contains(x.What, "array") {
				return x.Files, x.How
			}
		}
		return 0, ""
	}
	if _, h := how(wipe(other)); h != "" {
		t.Errorf("a job of no array: %s", h)
	}
	if _, h := how(wipe(jobs[1])); h != compute.Kept {
		t.Errorf("of the first: %q", h)
	}
	place.err = errors.New("host b is away")
	wipe(jobs[2])
	place.err = nil
	if _, h := how(wipe(jobs[0])); h != compute.Kept {
		t.Errorf("while another wipe waits: %q", h)
	}
	if names, _ := held(t, w.dir+"/arrays"); len(names) != 2 {
		t.Errorf("while a wipe waits there are %v", names)
	}
	if err := p.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, _, err := p.Of(t.Context(), jobs[2].ID)
	if _, h := how(r); err != nil || h != compute.Deletion {
		t.Errorf("of the last: %+v, %v", r, err)
	}
	if left, err := os.ReadDir(w.dir + "/arrays"); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	// Where nothing fails the last one says how much it was.
	jobs = w.array(`true`, came(t, 2, 10), 0, 1)
	for i, j := range jobs {
		if _, err := w.svc.Cancel(t.Context(), w.Now(), j.ID); err != nil {
			t.Fatal(err)
		}
		if n, h := how(wipe(j)); (h == compute.Deletion) != (i == 1) || (n == 2) != (i == 1) {
			t.Errorf("job %d: %d files by %q", i, n, h)
		}
	}
}

// An array that is not accepted leaves nothing.
func TestArrayThatIsNotStored(t *testing.T) {
	w := newWorld(t, thisMachine)
	r := script("true")
	r.WorkdirPath, r.Task.Array = came(t, 2, 10), &compute.Array{Indexes: []int{0, 1}}
	w.setFail(true)
	if _, err := w.svc.SubmitAll(t.Context(), w.Now(), r); err == nil {
		t.Fatal("it was accepted")
	}
	r.WorkdirPath = filepath.Join(r.WorkdirPath, "none")
	w.setFail(false)
	if _, err := w.svc.SubmitAll(t.Context(), w.Now(), r); err == nil {
		t.Fatal("it was accepted")
	}
	for _, d := range []string{"arrays", "jobs"} {
		if left, err := os.ReadDir(filepath.Join(w.dir, d)); err != nil || len(left) != 0 {
			t.Errorf("%s: %v, %v", d, left, err)
		}
	}
}

// A copy that a kill has left half done is made anew.
func TestArrayCopyIsMadeAnew(t *testing.T) {
	w := newWorld(t, thisMachine)
	j := w.array(`ls > "$SLUICE_CHECKPOINT_DIR/seen"`, came(t, 2, 10), 0, 1)[0]
	if err := os.MkdirAll(filepath.Join(w.dir, "jobs", j.ID, ".new-work", "half"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.start(j.ID)
	w.reach(j.ID, compute.Succeeded)
	if b, err := os.ReadFile(filepath.Join(w.dir, "jobs", j.ID, "checkpoint", "seen")); err != nil || string(b) != "data\n" {
		t.Errorf("it has seen %q, %v", b, err)
	}
}

// BenchmarkArray hands in an array of 200 jobs with 20 MB, runs it to its end on four
// slots, and says what the disk held of it then.
func BenchmarkArray(b *testing.B) {
	from := came(b, 20, 1_000_000)
	var indexes []int
	for i := range 200 {
		indexes = append(indexes, i)
	}
	for b.Loop() {
		w := newWorld(b, thisMachine)
		jobs := w.array("echo out > out", from, indexes...)
		_, handed := held(b, w.dir+"/arrays")
		most, next := int64(0), 0
		w.until("all have ended", func() bool {
			for next < len(jobs) && w.svc.Start(b.Context(), w.Now(), jobs[next].ID, "bench") == nil {
				next++
			}
			_, n := held(b, w.dir+"/jobs")
			most = max(most, n+handed)
			return w.svc.Counts()[compute.Succeeded] == len(jobs)
		})
		b.ReportMetric(float64(handed)/1e6, "MB-handed-in")
		b.ReportMetric(float64(most)/1e6, "MB-at-most")
		n := int64(0)
		w.until("all are slim", func() bool { _, n = held(b, w.dir+"/jobs"); return n < 1_000_000 })
		w.close()
		b.ReportMetric(float64(n+handed)/1e6, "MB-in-the-end")
	}
}
