package compute_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
)

// A limit of power slows a job, saves energy, is what the job accepts at least, and
// ends with the run.
func TestCap(t *testing.T) {
	w := newWorld(t, gpuHost("gpu-1"), thisMachine)
	r := gpus(8, 3600)
	r.Task.Resources.PowerCapOK, r.Task.Resources.MinPowerShare = true, 0.6
	j, firm, cpu := w.submit(r), w.submit(gpus(1, 3600)), w.submit(script("sleep 100"))
	for _, id := range []string{j.ID, firm.ID, cpu.ID, "j-000999"} {
		if _, err := w.svc.Cap(t.Context(), id, 0.7); err == nil {
			t.Errorf("%s is limited before it runs", id)
		}
	}
	w.start(j.ID)
	w.pass(30 * time.Minute)
	for _, share := range []float64{0.5, 0, -1, 1.1, math.NaN()} {
		_, err := w.svc.Cap(t.Context(), j.ID, share)
		wantKind(t, err, sluice.Conflict)
	}
	if got, err := w.svc.Cap(t.Context(), j.ID, 0.6); err != nil || got != 0.6 {
		t.Fatalf("%v, %v", got, err)
	}
	if u := w.svc.HostUse()["gpu-1"]; math.Abs(float64(u.PowerW)-(900+0.6*3200)) > 1 {
		t.Errorf("the host draws %v", u.PowerW)
	}
	w.pass(30 * time.Minute) // at 65 % of its speed
	got := w.job(j.ID)
	if got.State != compute.Running || got.PowerShare != 0.6 || math.Abs(got.SlowedSeconds-0.35*1800) > 1 || math.Abs(got.EnergyWh-3200*0.5*1.6) > 1 {
		t.Fatalf("%+v", got)
	}
	if err := w.svc.Preempt(t.Context(), w.Now(), j.ID, "price"); err != nil {
		t.Fatal(err)
	}
	w.start(j.ID)
	if got := w.job(j.ID); got.PowerShare != 0 {
		t.Errorf("the next run is limited too: %+v", got)
	}
	w.pass(0.35*1800*time.Second - time.Second)
	if got := w.job(j.ID); got.State != compute.Running {
		t.Fatalf("done before its work is: %+v", got)
	}
	w.pass(2 * time.Second)
	if got := w.job(j.ID); got.State != compute.Succeeded {
		t.Fatalf("%+v", got)
	}
}

// How fast a job goes is learned of what it tells.
func TestToldProgress(t *testing.T) {
	w := newWorld(t, thisMachine)
	j := w.submit(script(`echo "$SLUICE_CONTROL" > control; sleep 1000`))
	w.start(j.ID)
	path := strings.TrimSpace(w.appears(j.ID, "control"))
	w.reach(j.ID, compute.Running)
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
	tell := func(body string) int {
		t.Helper()
		r, err := c.Post("http://sluice/progress", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		return r.StatusCode
	}
	for _, bad := range []string{"", "x", "-1", "NaN", "Inf", strings.Repeat("1", 100)} {
		if s := tell(bad); s != http.StatusBadRequest {
			t.Errorf("progress %q: %d", bad, s)
		}
	}
	steps := 0
	w.until("it has learned", func() bool {
		steps += 10
		if s := tell(fmt.Sprint(steps)); s != http.StatusNoContent {
			t.Fatalf("progress: %d", s)
		}
		if s := tell("1"); s != http.StatusNoContent { // a step back teaches nothing
			t.Fatalf("progress: %d", s)
		}
		if s := tell(fmt.Sprint(steps + 1)); s != http.StatusNoContent {
			t.Fatal("progress")
		}
		_ = w.svc.Sync(t.Context())
		recs, err := w.LoadJobs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, bins := range recs[0].Lessons.Speed.Bins {
			for _, b := range bins {
				if b.N > 0 && !(b.Rate > 0) {
					t.Fatalf("learned %+v", b)
				}
				return b.N > 2
			}
		}
		return false
	})
}
