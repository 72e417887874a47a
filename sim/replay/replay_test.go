package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice"
	"sluice/feed"
)

var cutFlag = flag.Bool("cut", false, "write data/ai_jobs.csv anew from the trace")

// shared opens a file of the data beside the repository, which a user may not
// have; where CI runs it must be there.
func shared(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("../../../shared/data/" + name)
	if os.IsNotExist(err) && os.Getenv("CI") != "true" {
		t.Skipf("the source data are not on this machine: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func gunzip(t *testing.T, data []byte) [][]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bufio.NewReader(z)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows[1:]
}

const header = `# AI jobs cut from the Philly trace of 2017 (CC-BY 4.0; M. Jeon et al., "Analysis of Large-Scale
# Multi-Tenant GPU Clusters for DNN Training Workloads", USENIX ATC 2019). README.md has the rule.
offset_s,gpus,duration_s,tenant,interruptible
`

// cut is the rule of README.md.
func cut(rows [][]string) []byte {
	const (
		day       = 86400
		begin     = 64 * day
		length    = 12 * day
		nth       = 60
		least     = 600
		firstFew  = 9 // of each 20 rows are interruptible, evenly spread: 45 %
		ofEach    = 20
		periodSec = int(Period / time.Second)
	)
	var out bytes.Buffer
	out.WriteString(header)
	small, n := 0, 0
	for _, r := range rows {
		if r[0] != "philly_2017" {
			continue
		}
		submit, _ := strconv.Atoi(r[1])
		gpus, _ := strconv.Atoi(r[2])
		seconds, _ := strconv.Atoi(r[3])
		if submit < begin || submit >= begin+length || gpus > 8 || seconds < least {
			continue
		}
		if gpus < 4 {
			if small++; small%nth != 0 {
				continue
			}
		}
		interruptible := "no"
		if n*firstFew%ofEach < firstFew {
			interruptible = "yes"
		}
		n++
		fmt.Fprintf(&out, "%d,%d,%d,%s,%s\n", (submit-begin)*periodSec/length, gpus,
			min(max(seconds, int(shortest/time.Second)), int(longest/time.Second)), r[5], interruptible)
	}
	return out.Bytes()
}

func TestJobsAreCutByTheRule(t *testing.T) {
	want := cut(gunzip(t, shared(t, "ai_jobs.csv.gz")))
	if *cutFlag {
		if err := os.WriteFile("data/ai_jobs.csv", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(jobsCSV, want) {
		t.Error("data/ai_jobs.csv is not what the rule of README.md gives")
	}
}

func TestMarketIsTheSourceUnchanged(t *testing.T) {
	want := shared(t, "demo/ercot_west_2023-08.csv")
	if !bytes.HasSuffix(marketCSV, want) {
		t.Error("data/ercot_west_2023-08.csv differs from its source below the comment")
	}
}

func TestWindow(t *testing.T) {
	js := window()
	if len(js) < 500 || len(js) > 700 {
		t.Errorf("%d rows", len(js))
	}
	interruptible, big, work := 0, 0, 0.0
	for _, j := range js {
		if !slices.Contains([]int{1, 2, 4, 8}, j.gpus) || j.duration < shortest || j.duration > longest || j.offset < 0 || j.offset >= Period {
			t.Errorf("the row %+v is out of its bounds", j)
		}
		if j.interruptible {
			interruptible++
		}
		if j.gpus >= 4 {
			big++
		}
		work += float64(j.gpus) * j.duration.Hours()
	}
	if share := float64(interruptible) / float64(len(js)); math.Abs(share-0.45) > 0.01 {
		t.Errorf("%.3f of the jobs are interruptible", share)
	}
	load := work / Period.Hours() / 1920
	t.Logf("%d rows, %d of 4 or 8 GPUs, %d interruptible, offered load %.3f of 1,920 GPUs", len(js), big, interruptible, load)
	if load < 0.87 || load > 0.93 {
		t.Errorf("the offered load is %.3f of 1,920 GPUs", load)
	}
}

func TestArrivalsAreTheSameHoweverTimeIsCut(t *testing.T) {
	origin := time.Date(2023, 8, 14, 3, 0, 0, 0, time.UTC)
	whole := Arrivals(origin, origin, origin.Add(72*time.Hour))
	var parts []Arrival
	for at := origin; at.Before(origin.Add(72 * time.Hour)); at = at.Add(37 * time.Minute) {
		parts = append(parts, Arrivals(origin, at, minTime(at.Add(37*time.Minute), origin.Add(72*time.Hour)))...)
	}
	if !slices.Equal(whole, parts) {
		t.Errorf("%d arrivals in one interval, %d in many, or others", len(whole), len(parts))
	}
	seen := map[string]bool{}
	for _, a := range whole {
		if seen[a.ID] {
			t.Errorf("the ID %s comes twice", a.ID)
		}
		seen[a.ID] = true
	}
	if n := len(Arrivals(origin, origin.Add(-time.Hour), origin)); n != 0 {
		t.Errorf("%d jobs arrive before the stream begins", n)
	}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// TestTheSiteFills places the stream on 240 hosts of 8, first come first placed,
// on the fullest host that has room, and looks at it every five minutes.
func TestTheSiteFills(t *testing.T) {
	origin, _ := Range()
	const hosts, gpus = 240, 1920
	free := make([]int, hosts)
	for i := range free {
		free[i] = 8
	}
	type run struct {
		until time.Time
		host  int
		gpus  int
	}
	var running []run
	var queue []Arrival
	busy := 0
	var hourly []string
	var sum, lo, hi float64 = 0, 1, 0
	n, jobsLo, jobsHi, waited := 0, 1<<30, 0, 0
	step := 5 * time.Minute
	for at := origin; at.Before(origin.Add(14 * 24 * time.Hour)); at = at.Add(step) {
		running = slices.DeleteFunc(running, func(r run) bool {
			if r.until.After(at) {
				return false
			}
			free[r.host] += r.gpus
			busy -= r.gpus
			return true
		})
		queue = append(queue, Arrivals(origin, at.Add(-step), at)...)
		queue = slices.DeleteFunc(queue, func(a Arrival) bool {
			best := -1
			for h, f := range free {
				if f >= a.GPUs && (best < 0 || f < free[best]) {
					best = h
				}
			}
			if best < 0 {
				return false
			}
			free[best] -= a.GPUs
			busy += a.GPUs
			running = append(running, run{at.Add(a.Duration), best, a.GPUs})
			return true
		})
		u := float64(busy) / gpus
		since := at.Sub(origin)
		if since == 90*time.Minute {
			t.Logf("after 90 minutes %.1f %% of the GPUs run %d jobs", u*100, len(running))
			if u < 0.85 {
				t.Errorf("after 90 minutes only %.1f %% of the GPUs are busy", u*100)
			}
		}
		if since%time.Hour == 0 {
			hourly = append(hourly, fmt.Sprintf("%.0f", u*100))
		}
		if since >= 90*time.Minute {
			sum, lo, hi, n = sum+u, min(lo, u), max(hi, u), n+1
			jobsLo, jobsHi, waited = min(jobsLo, len(running)), max(jobsHi, len(running)), max(waited, len(queue))
		}
	}
	t.Logf("%% of the GPUs busy, by hour: %s", strings.Join(hourly, " "))
	t.Logf("busy: mean %.1f %%, least %.1f %%, most %.1f %%; jobs at once: %d to %d; most waiting: %d", sum/float64(n)*100, lo*100, hi*100, jobsLo, jobsHi, waited)
	if mean := sum / float64(n); mean < 0.85 || mean > 0.95 {
		t.Errorf("on average %.1f %% of the GPUs are busy", mean*100)
	}
	if jobsLo < 230 || jobsHi > 370 {
		t.Errorf("%d to %d jobs run at once", jobsLo, jobsHi)
	}
}

func TestSourceKnowsNothingEarly(t *testing.T) {
	from, to := Range()
	if want := 14 * 24 * time.Hour; to.Sub(from) != want {
		t.Fatalf("the history is %s long, want %s", to.Sub(from), want)
	}
	ctx := context.Background()
	for now := from; now.Before(to); now = now.Add(17 * time.Minute) {
		got, err := Source().Fetch(ctx, now)
		if err != nil {
			t.Fatal(err)
		}
		for q, ps := range got {
			for _, p := range ps {
				if p.Published.After(now) {
					t.Fatalf("at %s %s of %s is not published", now, q, p.From)
				}
			}
		}
		da := got[feed.DayAheadPrice]
		if ahead := da[len(da)-1].To.Sub(now); now.Before(to.Add(-36*time.Hour)) && (ahead < 10*time.Hour || ahead > 35*time.Hour) {
			t.Fatalf("at %s the day-ahead prices reach %s ahead", now, ahead)
		}
	}
	again, err := Source().Fetch(ctx, to.Add(7*time.Hour))
	first, err2 := Source().Fetch(ctx, from.Add(7*time.Hour))
	if err != nil || err2 != nil || len(again[feed.RealTimePrice]) != len(first[feed.RealTimePrice]) {
		t.Fatalf("after its end the history does not come again: %v, %v", err, err2)
	}
	for i, p := range again[feed.RealTimePrice] {
		if q := first[feed.RealTimePrice][i]; p.Value != q.Value || p.From.Sub(q.From) != to.Sub(from) || !strings.Contains(p.Origin, "14 days on") {
			t.Fatalf("after its end comes %+v, at first it was %+v", p, q)
		}
	}
	for _, now := range []time.Time{from.Add(-time.Second)} {
		_, err := Source().Fetch(ctx, now)
		if err == nil || sluice.KindOf(err) != sluice.Invalid || !strings.Contains(err.Error(), "2023-08-14T00:00:00Z to 2023-08-28T00:00:00Z") {
			t.Errorf("at %s: %v", now, err)
		}
	}
}

func TestBookOverTheHistory(t *testing.T) {
	b := feed.NewBook([]feed.Spec{{Name: "replay", Source: Source()}})
	now := time.Date(2023, 8, 25, 0, 30, 0, 0, time.UTC)
	if err := b.Refresh(context.Background(), now); err != nil {
		t.Fatal(err)
	}
	h := b.Hashprice(now)
	// Subsidy 6.25 and 2 % of fees, 144 blocks, difficulty 5.562e13: about 61 $.
	if !h.Known || !h.Estimated || h.Stale || h.Value < 55 || h.Value > 67 {
		t.Errorf("hashprice %+v", h)
	}
	known := 0
	for _, v := range b.Series(feed.DayAheadPrice, now, 5*time.Minute, 36) {
		if v.Known {
			known++
		}
	}
	if known != 36 {
		t.Errorf("%d of 36 intervals have a day-ahead price", known)
	}
}

func TestRatesAreThoseOfTheMonth(t *testing.T) {
	want := map[string]float64{
		"A100-80GB on_demand neocloud": A100OnDemandUSD, "A100-80GB spot hyperscaler": A100SpotUSD, "H100 on_demand neocloud": H100OnDemandUSD,
	}
	for _, r := range gunzip(t, shared(t, "gpu_price_index_monthly.csv.gz")) {
		key := r[1] + " " + r[2] + " " + r[3]
		if w, ok := want[key]; ok && r[0] == "2023-08" {
			if r[6] != strconv.FormatFloat(w, 'f', -1, 64) {
				t.Errorf("%s is %s, not %g", key, r[6], w)
			}
			delete(want, key)
		}
		if r[0] == "2023-08" && strings.HasPrefix(r[1], "H100") && r[2] == "spot" {
			t.Errorf("there is a spot rate after all: %v", r)
		}
	}
	if len(want) > 0 {
		t.Errorf("not in the source: %v", want)
	}
	if got := math.Round(H100OnDemandUSD*A100SpotUSD/A100OnDemandUSD*100) / 100; got != H100SpotUSD {
		t.Errorf("the estimate of H100 spot is %g by its rule, not %g", got, H100SpotUSD)
	}
}
