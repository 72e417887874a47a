package site_test

import (
	"testing"
	"time"

	"sluice"
	"sluice/compute"
)

// A job that no host could take starts when one takes jobs again, and does not wait for
// the next interval's plan.
func TestJobStartsWhenItsHostIsBack(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 1, gpuHosts: 1, limit: sluice.Megawatt, meters: true})
	w.run(6*time.Minute, 15*time.Second)
	w.must(w.jobs.Block("gpu-00", compute.BlockedByFabric, "is silent"))
	j := w.submit(4, time.Hour, true, 2)
	w.run(6*time.Minute+45*time.Second, 15*time.Second) // the plan of the tenth minute finds it away
	state := func() compute.State {
		t.Helper()
		got, err := w.jobs.Job(j.ID)
		w.must(err)
		return got.State
	}
	if s := state(); s != compute.Queued {
		t.Fatalf("on a host that is away it is %s", s)
	}
	w.must(w.jobs.Block("gpu-00", compute.BlockedByFabric, ""))
	w.run(30*time.Second, 15*time.Second)
	if s := state(); s != compute.Running {
		t.Errorf("its host is back, and it is %s", s)
	}
}
