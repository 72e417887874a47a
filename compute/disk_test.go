package compute_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluice"
	"sluice/compute"
)

func asksDisk(gb float64) compute.SubmitRequest {
	r := script("exec sleep 1000")
	r.Task.Resources.DiskGB = gb
	return r
}

// What running jobs have asked of a host's disk is not free, whether the configuration
// says how much there is or the host.
func TestDiskIsRoom(t *testing.T) {
	for _, told := range []bool{false, true} {
		host := cpuHost("h1", 4)
		if !told {
			host.DiskGB = 1000
		}
		w := newWorld(t, host)
		if told {
			w.svc.SetDisk("h1", 1000)
		}
		_, err := w.svc.Submit(t.Context(), w.Now(), asksDisk(1001))
		wantKind(t, err, sluice.Invalid)
		if err != nil && !strings.Contains(err.Error(), "1001 GB of disk") {
			t.Errorf("no reason: %v", err)
		}
		a, b, c, none := w.submit(asksDisk(500)), w.submit(asksDisk(400)), w.submit(asksDisk(101)), w.submit(asksDisk(0))
		w.start(a.ID)
		w.start(b.ID)
		err = w.svc.Start(t.Context(), w.Now(), c.ID, "")
		wantKind(t, err, sluice.Conflict)
		if err != nil && !strings.Contains(err.Error(), "it asks for 101 GB of disk, the most that is free where it would have its units is 100 GB") {
			t.Errorf("no reason: %v", err)
		}
		w.start(none.ID)
		w.reach(a.ID, compute.Running)
		if told { // less than was thought: it keeps those off who ask for some
			w.svc.SetDisk("h1", 300)
			if err := w.svc.Start(t.Context(), w.Now(), c.ID, ""); err == nil {
				t.Error("started on a disk that has nothing")
			}
			w.start(w.submit(asksDisk(0)).ID)
			w.svc.SetDisk("h1", 1000)
		}
		if _, err := w.svc.Cancel(t.Context(), w.Now(), a.ID); err != nil {
			t.Fatal(err)
		}
		w.reach(a.ID, compute.Cancelled)
		w.start(c.ID)
	}
}

// A host of unknown disk takes what is asked.
func TestUnknownDiskIsNotLimited(t *testing.T) {
	host := cpuHost("h1", 2)
	host.Remote = true
	w := newWorld(t, host)
	a, b := w.submit(asksDisk(1e6)), w.submit(asksDisk(1e6))
	w.start(a.ID)
	w.start(b.ID)
	for _, j := range []compute.Job{a, b} { // a shutdown lets what runs on other machines go on
		w.reach(j.ID, compute.Running)
		if _, err := w.svc.Cancel(t.Context(), w.Now(), j.ID); err != nil {
			t.Fatal(err)
		}
		w.reach(j.ID, compute.Cancelled)
	}
}

// That of this machine is measured: what is free, and what open jobs hold of what they
// have asked for, so that one which was interrupted can go on.
func TestDiskOfThisMachine(t *testing.T) {
	w := newWorld(t, thisMachine)
	var f unix.Statfs_t
	if err := unix.Statfs(w.dir, &f); err != nil {
		t.Fatal(err)
	}
	free := float64(f.Bavail) * float64(f.Bsize) / (1 << 30)
	_, err := w.svc.Submit(t.Context(), w.Now(), asksDisk(2*free+10))
	wantKind(t, err, sluice.Invalid)
	j := w.submit(asksDisk(1))
	big := filepath.Join(w.dir, "jobs", j.ID, "checkpoint", "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, int64(free*2)<<30); err != nil { // it has holes: nothing is written
		t.Fatal(err)
	}
	w.restart()
	w.submit(asksDisk(2*free - 10))
	if _, err := w.svc.Cancel(t.Context(), w.Now(), j.ID); err != nil {
		t.Fatal(err)
	}
	w.restart() // what an ended job holds is nobody's room
	_, err = w.svc.Submit(t.Context(), w.Now(), asksDisk(2*free-10))
	wantKind(t, err, sluice.Invalid)
}
