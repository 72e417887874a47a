package site_test

import (
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
)

// A job whose power costs more than it pays waits for cheaper power, says so, and says
// so no more when it runs.
func TestJobSaysThatItWaitsForItsPrice(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 5, gpuHosts: 2, limit: sluice.Megawatt, meters: true, price: func(time.Time) float64 { return 500 }})
	cheap := w.submit(4, time.Hour, true, 0.1)
	good := w.submit(4, time.Hour, true, 2)
	w.run(10*time.Minute, 15*time.Second)
	if why := w.site.JobsWait()[cheap.ID]; !strings.Contains(why, "< price 500 $/MWh") {
		t.Errorf("a job that pays less than its power costs waits because %q", why)
	}
	if why, ok := w.site.JobsWait()[good.ID]; ok {
		t.Errorf("a job that runs waits because %q", why)
	}
}

// A job that is due starts at a price above its strike, and is not said to earn.
func TestJobThatIsDueSaysSo(t *testing.T) {
	w := newWorld(t, worldSpec{miners: 5, gpuHosts: 2, limit: sluice.Megawatt, meters: true, price: func(time.Time) float64 { return 500 }})
	due := t0.Add(20 * time.Minute)
	j, err := w.jobs.Submit(t.Context(), w.clock(), compute.SubmitRequest{
		Tenant: "acme", Virtual: true, Class: "gpu", Units: 4, RateUSDHour: 0.1, ExpectSeconds: 1000, Interruptible: true, Deadline: &due,
		Task: &compute.Task{Name: "due", NumNodes: 1, Run: "x", Resources: compute.Resources{Accelerator: "H100", GPUs: 4, UseSpot: true}},
	})
	w.must(err)
	w.run(6*time.Minute, 15*time.Second)
	j, err = w.jobs.Job(j.ID)
	w.must(err)
	if j.StartedAt == nil || !strings.Contains(j.Why, "price 500 $/MWh: it is due") {
		t.Errorf("a job that is due in 20 minutes is %s because %q", j.State, j.Why)
	}
}
