package history

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const sharedData = "../../shared/data"

// needShared skips a test where the recordings do not stand beside the checkout.
func needShared(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(sharedData); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// The recorded series read as their SOURCES.md says. Some files are cut at the end
// of 2022 or later, so that they miss fewer steps than the whole series: the
// load zones one less for each autumn after it, the 5-minute file all after June.
func TestSharedSeries(t *testing.T) {
	needShared(t)
	for _, c := range []struct {
		file, column string
		step         time.Duration
		rows         int // that the file has
		missing, dst int // steps without a row; of those at clock changes
		blank        int
		low, high    float64 // both 0: a price's
	}{
		{file: "aemo_rt_hourly_nsw1", step: time.Hour, rows: 43849},
		{file: "btc_network_daily_open", column: "difficulty", step: 24 * time.Hour, rows: 3398, low: 1, high: 1e20},
		{file: "btc_network_daily_open", column: "fees_btc", step: 24 * time.Hour, rows: 3398, blank: 2955, low: 0, high: 1e5},
		{file: "btc_network_daily_open", column: "price_usd", step: 24 * time.Hour, rows: 3398, blank: 1204, low: 0.01, high: 1e8},
		{file: "btc_network_daily_open", column: "hashprice_usd_ph_day", step: 24 * time.Hour, rows: 3398, blank: 3087, low: 0, high: 1e6},
		{file: "btc_price_hourly", step: time.Hour, rows: 52669, low: 0.01, high: 1e8},
		{file: "caiso_da_hourly_np15", step: time.Hour, rows: 43872},
		{file: "carbon_hourly_eia_2022", column: "pjm_gco2_per_kwh", step: time.Hour, rows: 8760, blank: 23, low: 0, high: 5000},
		{file: "ercot_da_as_mcpc_hourly", column: "rrs_usd_per_mw_h", step: time.Hour, rows: 102949, missing: 12, dst: 12},
		{file: "ercot_da_as_mcpc_hourly", column: "ecrs_usd_per_mw_h", step: time.Hour, rows: 102949, missing: 12, dst: 12, blank: 102949},
		{file: "ercot_da_hourly_lz", column: "lz_west_usd_per_mwh", step: time.Hour, rows: 103924, missing: 166 - 2, dst: 12},
		{file: "ercot_rt15_hb_hubavg", step: 15 * time.Minute, rows: 35136},
		{file: "ercot_rt_hourly_lz", column: "lz_west_usd_per_mwh", step: time.Hour, rows: 104394, missing: 753 - 2, dst: 11},
		{file: "ercot_rt_hourly_lz", column: "lz_houston_usd_per_mwh", step: time.Hour, rows: 104394, missing: 753 - 2, dst: 11},
		{file: "ercot_sced5_lmp_hubs", column: "hb_west_lmp_usd_per_mwh", step: 5 * time.Minute, rows: 52336, missing: 8},
		{file: "nyiso_da_hourly_capitl", step: time.Hour, rows: 43848},
		{file: "weather_hourly_ercot", column: "dallas_temp_c", step: time.Hour, rows: 51859, blank: 8011, low: -60, high: 60},
	} {
		t.Run(c.file+" "+c.column, func(t *testing.T) {
			if c.low == 0 && c.high == 0 {
				c.low, c.high = -5_000, 50_000
			}
			g, err := Read(Spec{Path: filepath.Join(sharedData, c.file+".csv.gz"), Column: c.column, Low: c.low, High: c.high})
			if err != nil {
				t.Fatal(err)
			}
			count := map[string]int{}
			for _, f := range g.Findings {
				count[f.Kind] += f.Count
			}
			if g.Step != c.step || len(g.Values) != c.rows+c.missing {
				t.Errorf("%d steps of %s; want %d of %s", len(g.Values), g.Step, c.rows+c.missing, c.step)
			}
			if count[Gap]+count[DST] != c.missing || count[DST] != c.dst || count[Blank] != c.blank {
				t.Errorf("found %v; want %d missing, %d of them at clock changes, and %d blank", count, c.missing, c.dst, c.blank)
			}
			for _, k := range []string{Duplicate, Conflict, Absurd, Unordered, OffGrid} {
				if count[k] > 0 {
					t.Errorf("found %v", count)
				}
			}
			known := 0
			for i := range g.Values {
				if _, ok := g.At(g.Time(i)); ok {
					known++
				}
			}
			if known != c.rows-c.blank {
				t.Errorf("%d values are known; want %d", known, c.rows-c.blank)
			}
		})
	}
}

// What has another form is refused, whatever it is.
func TestSharedOthers(t *testing.T) {
	needShared(t)
	for _, name := range []string{"digits.csv.gz", "ai_jobs.csv.gz", "gpu_price_index_monthly.csv.gz"} {
		if g, err := Read(Spec{Path: filepath.Join(sharedData, name)}); err == nil {
			t.Errorf("%s reads as a series of %d steps", name, len(g.Values))
		} else {
			t.Log(err)
		}
	}
}

func TestSharedJobs(t *testing.T) {
	needShared(t)
	path := filepath.Join(sharedData, "ai_jobs.csv.gz")
	start := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		trace                     string
		jobs, fractions, censored int
		gpuHours                  float64
	}{
		{trace: "philly_2017", jobs: 82247, gpuHours: 978e3},
		{trace: "alibaba_openb_2023", jobs: 6203 - 32, fractions: 2562, censored: 32},
	} {
		jobs, found, err := allJobs(t, JobSpec{Path: path, Trace: c.trace, Start: start})
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, f := range found {
			count[f.Kind] += f.Count
		}
		if len(jobs) != c.jobs || count[Dropped] != c.censored || count[Fraction] != c.fractions || count[Absurd] > 0 {
			t.Errorf("%s: %d jobs, found %v", c.trace, len(jobs), count)
		}
		hours, free := 0.0, 0
		for _, j := range jobs {
			hours += float64(j.GPUs) * j.Duration.Hours()
			if j.Interruptible {
				free++
			}
		}
		if c.gpuHours > 0 && (hours < 0.99*c.gpuHours || hours > 1.01*c.gpuHours) {
			t.Errorf("%s: %.0f GPU-hours", c.trace, hours)
		}
		t.Logf("%s: %d jobs, %.0f GPU-hours, %d interruptible, %v", c.trace, len(jobs), hours, free, count)
	}

	// A year has jobs all along, once the first two weeks of 22 jobs are left out.
	j, err := OpenJobs(JobSpec{Path: path, Start: start, Skip: 14 * 24 * time.Hour, To: start.AddDate(1, 0, 0), Repeat: true, Every: 10, MaxGPUs: 64, InterruptibleShare: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	last, n, longest := start, 0, time.Duration(0)
	for {
		job, err := j.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		longest, last = max(longest, job.At.Sub(last)), job.At
		n++
	}
	if n < 28_000 || n > 36_000 || longest > 5*24*time.Hour || start.AddDate(1, 0, 0).Sub(last) > 5*24*time.Hour {
		t.Errorf("%d jobs in a year, %s without one", n, longest)
	}
}
