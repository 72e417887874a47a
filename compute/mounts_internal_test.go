package compute

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"sluice"
)

// TestMountsLeadNowhereElse: what a job came with lies in its working folder, which
// its runs write to. A link that one of them puts there must not show the next run,
// or hand over to it, what is outside.
func TestMountsLeadNowhereElse(t *testing.T) {
	for _, at := range []string{".sluice/mounts/0", ".sluice/mounts", ".sluice"} {
		s := New(Config{Dir: t.TempDir(), Hosts: []Host{{Name: "h", Class: "cpu", Units: 1, Real: true}}})
		r := Record{
			Job:   Job{ID: "j-000001", Isolation: IsolationContainer},
			Task:  &Task{NumNodes: 1, FileMounts: []Mount{{Target: "/etc/app", Source: "app"}}},
			Nodes: []NodeRun{{RunID: "j-000001-r1", Host: "h", Units: 1}},
		}
		work := filepath.Join(s.jobDir(r.Job.ID), "work")
		source := filepath.Join(work, ".sluice", "mounts", "0")
		if err := os.MkdirAll(source, 0o700); err != nil {
			t.Fatal(err)
		}
		spec, err := s.spec(context.Background(), r, 0)
		if err != nil || len(spec.Mounts) != 1 || spec.Mounts[0].Source != source {
			t.Fatalf("first run: %+v, %v", spec.Mounts, err)
		}
		outside := t.TempDir()
		if err := os.MkdirAll(filepath.Join(outside, "mounts", "0"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(work, at)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(outside, filepath.Join(work, at)); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(outside, "0"), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := s.spec(context.Background(), r, 0); sluice.KindOf(err) != sluice.Conflict {
			t.Errorf("with a link out at %s: error %v, want a refusal", at, err)
		}
	}
}

// TestVolumeIsNotShadowed: a file of the working folder at a volume's target would
// take what the job means to keep.
func TestVolumeIsNotShadowed(t *testing.T) {
	work, volume := t.TempDir(), t.TempDir()
	spec := RunSpec{JobID: "j-000001", WorkDir: work, Mounts: []RunMount{{Source: volume, Target: "data/out"}}}
	for range 2 { // the second finds the link of the first
		if err := link(spec); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(work, "data", "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(work, "data", "out"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := link(spec); sluice.KindOf(err) != sluice.Conflict {
		t.Errorf("error %v, want a refusal", err)
	}
}
