package compute_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"

	"sluice"
	"sluice/compute"
)

// ranJob is a job of this machine that has left files of all kinds.
func ranJob(t *testing.T) (*world, compute.Job) {
	w := newWorld(t, thisMachine)
	j := w.submit(script(`mkdir -p out "$SLUICE_CHECKPOINT_DIR/a"
echo model > out/model.bin; echo 1 > "$SLUICE_CHECKPOINT_DIR/a/step-1"
ln -s a/step-1 "$SLUICE_CHECKPOINT_DIR/latest"
ln -s ../../../secret out/up; ln -s /etc/passwd passwd; ln -s / root; ln -s out inside; ln -s ../work out/self; ln -s .. out/d; ln -s out/d/../x chain; ln -s inside/model.bin two
mkfifo pipe; mkdir shut; echo x > shut/x`))
	if err := os.WriteFile(filepath.Join(w.dir, "secret"), []byte("of the site"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start(j.ID)
	w.reach(j.ID, compute.Succeeded)
	return w, j
}

func TestFilesShowWhatTheJobWroteAndNothingElse(t *testing.T) {
	w, j := ranJob(t)
	f, err := w.svc.Files(j.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, more, err := f.List(t.Context(), "all", 1000)
	if err != nil || more {
		t.Fatalf("%v, more %t", err, more)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Path)
		if strings.Contains(e.Link, "etc") || e.Path == "work/pipe" {
			t.Errorf("listed: %+v", e)
		}
	}
	sort.Strings(got)
	want := "checkpoint/a checkpoint/a/step-1 checkpoint/latest work/inside work/out work/out/d work/out/model.bin work/out/self work/shut work/shut/x work/two"
	if strings.Join(got, " ") != want {
		t.Errorf("listed %v\nwant   %s", got, want)
	}
	if few, more, err := f.List(t.Context(), "work", 2); len(few) != 2 || !more || err != nil {
		t.Errorf("two of them: %v, more %t, %v", few, more, err)
	}
	if _, _, err := f.List(t.Context(), "runs", 10); sluice.KindOf(err) != sluice.Invalid {
		t.Errorf("another folder: %v", err)
	}
	for _, good := range []string{"work/out/model.bin", "checkpoint/latest", "work/inside/model.bin", "work/./out/../out/model.bin"} {
		file, _, err := f.Open(good)
		if err != nil {
			t.Errorf("%s: %v", good, err)
			continue
		}
		if b, _ := io.ReadAll(file); len(b) == 0 {
			t.Errorf("%s is empty", good)
		}
		file.Close()
	}
	for _, bad := range []string{
		"", "work", "work/", "/etc/passwd", "../secret", "work/../../../secret", "work/out/up", "work/passwd", "work/root/etc/passwd",
		"work/pipe", "work/out", "runs/x", "log", "work/../runs", "work/out/self/pipe", "checkpoint/../log", "work/\x00", "work//../../log",
	} {
		if file, _, err := f.Open(bad); sluice.KindOf(err) != sluice.NotFound {
			t.Errorf("%q opened: %v", bad, err)
			if err == nil {
				file.Close()
			}
		}
	}
	// As root all can be read; whoever is not finds a shut folder left out.
	var packed bytes.Buffer
	if err := f.Tar(t.Context(), "all", &packed); err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(&packed)
	names := map[string]string{}
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r)
		names[h.Name] = h.Linkname + string(b)
	}
	if names["work/out/model.bin"] != "model\n" || names["checkpoint/latest"] != "a/step-1" || len(names) != len(got) {
		t.Errorf("packed %v", names)
	}
	if err := f.Tar(cancelled(), "all", io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("after the client left: %v", err)
	}
	if _, err := w.svc.Files("j-999999"); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("of nothing: %v", err)
	}
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// A folder that is swapped for a link after it was listed leads nowhere, and the
// files of a job that runs can be had.
func TestFilesWhileTheJobRuns(t *testing.T) {
	w := newWorld(t, thisMachine)
	j := w.submit(script(`mkdir d; echo in > d/f; echo 1 > "$SLUICE_CHECKPOINT_DIR/one"; echo up > up; sleep 1000`))
	w.start(j.ID)
	w.appears(j.ID, "up")
	f, err := w.svc.Files(j.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, info, err := f.Open("checkpoint/one")
	if err != nil || info.Bytes != 2 {
		t.Fatalf("%+v, %v", info, err)
	}
	file.Close()
	work := filepath.Join(w.dir, "jobs", j.ID, "work")
	if err := os.RemoveAll(filepath.Join(work, "d")); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "f"), []byte("out"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(work, "d")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Open("work/d/f"); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("through a link out: %v", err)
	}
	if err := syscall.Mkfifo(filepath.Join(work, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Open("work/fifo"); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("a pipe: %v", err)
	}
	// The folder itself, in whose place a process of the host could put a link.
	if err := os.Rename(work, work+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, work); err != nil {
		t.Fatal(err)
	}
	if g, err := w.svc.Files(j.ID); err != nil {
		t.Error(err)
	} else {
		if _, _, err := g.Open("work/f"); sluice.KindOf(err) != sluice.NotFound {
			t.Errorf("through a link in the folder's place: %v", err)
		}
		g.Close()
	}
	var b bytes.Buffer
	if err := f.Tar(t.Context(), "work", &b); err != nil || bytes.Contains(b.Bytes(), []byte("out\x00")) {
		t.Errorf("packed: %v", err)
	}
}

// Every node of a gang has written results; what only served to run them is left out.
func TestFilesOfAllNodes(t *testing.T) {
	w := newWorld(t, cpuHost("h1", 2), cpuHost("h2", 2))
	j := w.submit(gang(2, `echo x > out-$SKYPILOT_NODE_RANK; mkdir -p .sluice/batch-$SKYPILOT_NODE_RANK; echo x > .sluice/batch-$SKYPILOT_NODE_RANK/script
[ $SKYPILOT_NODE_RANK = 0 ] || { mkdir .sluice/mounts; echo x > .sluice/mounts/0; }; echo x > "$SLUICE_CHECKPOINT_DIR/c"`))
	w.start(j.ID)
	w.reach(j.ID, compute.Succeeded)
	f, err := w.svc.Files(j.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	work := "work/out-0 work-1/.sluice work-1/.sluice/mounts work-1/.sluice/mounts/0 work-1/out-1"
	for what, want := range map[string]string{"work": work, "all": work + " checkpoint/c", "checkpoint": "checkpoint/c"} {
		list, _, err := f.List(t.Context(), what, 100)
		var got []string
		for _, e := range list {
			got = append(got, e.Path)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s (%v)", what, got, want, err)
		}
	}
	if file, _, err := f.Open("work-1/out-1"); err != nil {
		t.Error(err)
	} else {
		_ = file.Close()
	}
	if _, _, err := f.Open("work-2/out"); sluice.KindOf(err) != sluice.NotFound {
		t.Errorf("a node that it does not have: %v", err)
	}
}
