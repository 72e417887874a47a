package site_test

import (
	"context"
	"testing"
	"time"

	"sluice"
	"sluice/compute"
	"sluice/site"
)

// An order that stops some AI jobs stops no others while these save their work;
// its record has them, its preview counts money and no penalties, and the power
// is used again afterwards.
func TestOrderThatStopsJobs(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, worldSpec{miners: 20, gpuHosts: 10, limit: sluice.Megawatt, meters: true})
	for range 10 {
		w.submit(4, 30*time.Hour, false, 2)
		w.submit(4, 30*time.Hour, true, 1.5)
	}
	w.run(15*time.Minute, 15*time.Second)
	before := w.power("site")
	o := site.CurtailmentOrder{Limit: 80 * sluice.Kilowatt, For: 20 * time.Minute, By: "grid"}
	pre, err := w.site.PreviewCurtailment(ctx, o)
	w.must(err)
	// Ten jobs of 4 GPUs at 1.5 $ lose at most 20 minutes and their saved work.
	if pre.Jobs == 0 || pre.CostUSD <= 0 || pre.CostUSD > 60 {
		t.Errorf("the preview says %d jobs and %.2f USD", pre.Jobs, pre.CostUSD)
	}
	_, err = w.site.Curtail(ctx, o)
	w.must(err)
	w.run(19*time.Minute, 15*time.Second)
	paused, firm := 0, 0
	for _, j := range w.jobs.Jobs() {
		if j.State != compute.Running {
			paused++
			if !j.Interruptible {
				firm++
			}
		}
	}
	if paused != pre.Jobs || firm != 0 {
		t.Errorf("%d jobs stand still, %d of them firm; the preview said %d", paused, firm, pre.Jobs)
	}
	if kw := w.power("site").KW(); kw > 80 || kw < 65 {
		t.Errorf("%.1f kW under an order of 80", kw)
	}
	cs, err := w.site.Curtailments(ctx, 1)
	w.must(err)
	kw := 0.0
	for _, s := range cs[0].Shed {
		kw += s.KW
	}
	if kw < before.KW()-90 || cs[0].CostUSD < pre.CostUSD/2 || cs[0].CostUSD > 2*pre.CostUSD {
		t.Errorf("of %.0f kW the record has %.0f kW gone for %.2f USD; the preview said %.2f", before.KW(), kw, cs[0].CostUSD, pre.CostUSD)
	}
	w.run(40*time.Minute, 15*time.Second)
	if after := w.power("site"); after < before-before/20 {
		t.Errorf("after the order %v are used, before it %v", after, before)
	}
}
