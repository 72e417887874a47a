package site_test

import (
	"strings"
	"testing"
	"time"

	"sluice"
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
