package backtest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"sluice"
	"sluice/backtest"
	"sluice/compute"
	"sluice/feed"
	"sluice/history"
	"sluice/site"
)

const shared = "../../shared/data"

func hashSeries() map[feed.Quantity]history.Spec {
	return map[feed.Quantity]history.Spec{
		feed.BTCPrice:   {Path: filepath.Join(shared, "btc_price_hourly.csv.gz"), Column: "price_usd"},
		feed.Difficulty: {Path: filepath.Join(shared, "btc_network_daily_open.csv.gz"), Column: "difficulty"},
		feed.Subsidy:    {Path: filepath.Join(shared, "btc_network_daily_open.csv.gz"), Column: "subsidy_btc_per_block"},
	}
}

// twelve is a site of twelve classes under a connection that does not hold them
// all.
func twelve() backtest.Options {
	o := backtest.Options{Series: hashSeries(), Count: map[string]int{}}
	o.Site = site.Options{Name: "twelve", Guard: 0.01, Ramp: 2 * sluice.Megawatt, Overhead: 1.04, PoolFee: 0.02, Horizon: 3 * time.Hour}
	o.Site.Nodes = []site.NodeSpec{{Name: "site", Limit: 30 * sluice.Megawatt}, {Name: "a", Parent: "site", Limit: 20 * sluice.Megawatt}, {Name: "b", Parent: "site", Limit: 20 * sluice.Megawatt}}
	for i := range 12 {
		name := fmt.Sprintf("m%02d", i)
		th := 95 + 9*float64(i)
		o.Site.Classes = append(o.Site.Classes, site.ClassSpec{
			Name: name, Node: []string{"a", "b"}[i%2], MinOn: 10 * time.Minute, MinOff: 5 * time.Minute, WakeTime: 2 * time.Minute,
			Modes: []sluice.Mode{
				{Name: sluice.ModeSleep, Power: 20},
				{Name: "eco", Power: 2000, HashRate: sluice.HashRate(0.68 * th)},
				{Name: "full", Power: sluice.Watts(3250 + 20*i), HashRate: sluice.HashRate(th)},
			},
		})
		o.Count[name] = 600 + 50*i
	}
	return o
}

func withJobs(o *backtest.Options) {
	var all []compute.Host
	for i := range 10 {
		all = append(all, compute.Host{Name: fmt.Sprintf("h%02d", i), Class: "gpu", Executor: "virtual", Units: 8, GPUModel: "H100", IdleW: 2000, UnitW: 1000})
	}
	o.Site.Hosts = []site.HostClass{{Name: "gpu", Node: "b", Model: "H100", Hosts: all, RateUSD: 2.59, SpotRateUSD: 1.33}}
	o.Jobs = &history.JobSpec{Path: filepath.Join(shared, "ai_jobs.csv.gz"), Trace: "philly_2017", Repeat: true, Every: 2, Skip: 14 * 24 * time.Hour, InterruptibleShare: 0.5, MaxJobs: 35_000}
	o.Terms = backtest.Terms{MinHours: 4, MaxHours: 168, Slack: 3, Patience: 24 * time.Hour}
}

func benchmarkYear(b *testing.B, o backtest.Options) {
	if _, err := os.Stat(shared); err != nil {
		b.Skip("needs the recorded series")
	}
	if d, err := time.ParseDuration(os.Getenv("SPAN")); err == nil {
		o.To = o.From.Add(d) // a part of it, to profile
	}
	policy := os.Getenv("POLICY")
	if policy == "" {
		policy = backtest.Sluice
	}
	for b.Loop() {
		r, err := backtest.Run(context.Background(), o, []string{policy})
		if err != nil {
			b.Fatal(err)
		}
		p := r.Policies[0]
		b.ReportMetric(p.ProfitUSD, "USD")
		b.ReportMetric(float64(p.JobsDone), "jobs")
		b.ReportMetric(p.Seconds/float64(o.To.Sub(o.From)/time.Hour)*1000*r.StepS/3600, "ms/step")
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys)/1e6, "MB-heap")
}

// A year of hours, twelve classes, some 5,000 jobs: bar 20 s.
func BenchmarkYearOfHours(b *testing.B) {
	o := twelve()
	withJobs(&o)
	o.Series[feed.RealTimePrice] = history.Spec{Path: filepath.Join(shared, "ercot_rt_hourly_lz.csv.gz"), Column: "lz_west_usd_per_mwh"}
	o.Series[feed.DayAheadPrice] = history.Spec{Path: filepath.Join(shared, "ercot_da_hourly_lz.csv.gz"), Column: "lz_west_usd_per_mwh"}
	o.From, o.To = time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC)
	benchmarkYear(b, o)
}

// A year of 5-minute intervals without jobs: bar 30 s.
func BenchmarkYearOf5Minutes(b *testing.B) {
	o := twelve()
	o.Series[feed.RealTimePrice] = history.Spec{Path: filepath.Join(shared, "ercot_sced5_lmp_hubs.csv.gz"), Column: "hb_west_lmp_usd_per_mwh"}
	o.From, o.To = time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(2024, 6, 30, 0, 0, 0, 0, time.UTC)
	benchmarkYear(b, o)
}
