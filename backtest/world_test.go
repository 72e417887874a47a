package backtest_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sluice"
	"sluice/backtest"
	"sluice/compute"
	"sluice/feed"
	"sluice/history"
	"sluice/site"
)

// A check of a property here is days of a site's life under each policy: a handful
// for each run, more by hand with -rapid.checks.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "5"); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}

const day = 24 * time.Hour

var newYear = time.Date(2023, 3, 1, 0, 0, 0, 0, time.UTC)

// past is a made-up history: what a test writes to files for a backtest to read.
// Its series begin at from; those that are nil have no file.
type past struct {
	from  time.Time
	step  time.Duration
	price []float64 // of power, by step
	ahead []float64 // day-ahead, by hour
	hash  []float64 // hashprice, by hour
	pays  []float64 // of the reserve, by hour
	jobs  []arrival
}

// arrival is a job of the past, from the start of the range on.
type arrival struct {
	after  time.Duration
	gpus   int
	length time.Duration
	spot   bool
}

// span is how long the past is.
func (p *past) span() time.Duration { return time.Duration(len(p.price)) * p.step }

// hours of the past.
func (p *past) hours() int { return int(p.span() / time.Hour) }

// flatPast is a past of days in which nothing moves.
func flatPast(days int, step time.Duration, price, hash float64) *past {
	p := &past{from: newYear, step: step}
	for range int(time.Duration(days) * day / step) {
		p.price = append(p.price, price)
	}
	for range p.hours() {
		p.hash = append(p.hash, hash)
	}
	return p
}

// market is a past of days with an evening peak that day-ahead prices see coming,
// noise, spikes that it does not see, and nights with too much wind.
func market(seed uint64, days int, step time.Duration) *past {
	r := rand.New(rand.NewPCG(seed, 17))
	p := flatPast(days, step, 0, 0)
	p.ahead, p.pays = make([]float64, p.hours()), make([]float64, p.hours())
	hash, noise, spike := 70.0, 0.0, 0.0
	for h := range p.hours() {
		clock := float64(h % 24)
		p.ahead[h] = 35 + 25*math.Sin((clock-11)/24*2*math.Pi)
		if clock >= 17 && clock < 21 && (h/24)%3 == 1 {
			p.ahead[h] += 150
		}
		hash *= 1 + 0.002*r.NormFloat64()
		p.hash[h] = hash
		p.pays[h] = 2 + 6*r.Float64()
	}
	for i := range p.price {
		h := int(time.Duration(i) * step / time.Hour)
		keep := math.Pow(0.5, step.Hours())
		noise = keep*noise + 12*math.Sqrt(1-keep*keep)*r.NormFloat64()
		spike *= keep
		if r.Float64() < 0.01*step.Hours() {
			spike = 300 + 2000*r.Float64()
		}
		p.price[i] = math.Round(100*(p.ahead[h]+noise+spike)) / 100
	}
	return p
}

// work lets so many jobs a day come, from the start of the range on.
func (p *past) work(seed uint64, days int, each float64) {
	r := rand.New(rand.NewPCG(seed, 5))
	at := 0.0
	for {
		at += r.ExpFloat64() / each
		if at >= float64(days) {
			return
		}
		p.jobs = append(p.jobs, arrival{
			after: time.Duration(at * float64(day)).Truncate(time.Second), gpus: 1 << r.IntN(4),
			length: time.Duration(600+r.ExpFloat64()*6*3600) * time.Second, spot: r.IntN(2) == 0,
		})
	}
}

// csv writes a series by step; NaN is a blank.
func csv(column string, from time.Time, step time.Duration, values []float64) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "ts_utc,%s\n", column)
	for i, v := range values {
		if math.IsNaN(v) {
			fmt.Fprintf(&b, "%s,\n", from.Add(time.Duration(i)*step).Format(time.RFC3339))
			continue
		}
		fmt.Fprintf(&b, "%s,%v\n", from.Add(time.Duration(i)*step).Format(time.RFC3339), v)
	}
	return b.Bytes()
}

// trace writes the jobs.
func trace(jobs []arrival) []byte {
	jobs = slices.SortedStableFunc(slices.Values(jobs), func(a, b arrival) int { return cmp.Compare(a.after, b.after) })
	var b bytes.Buffer
	b.WriteString("submit_s,gpus,duration_s,user,qos\n")
	for i, j := range jobs {
		qos := "LS"
		if j.spot {
			qos = "BE"
		}
		fmt.Fprintf(&b, "%v,%d,%v,u%d,%s\n", j.after.Seconds(), j.gpus, j.length.Seconds(), i%3, qos)
	}
	return b.Bytes()
}

func put(t testing.TB, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// write writes the past to files and returns what a backtest is told of them.
func (p *past) write(t testing.TB) (map[feed.Quantity]history.Spec, *history.JobSpec) {
	t.Helper()
	dir := t.TempDir()
	out := map[feed.Quantity]history.Spec{}
	for _, x := range []struct {
		q      feed.Quantity
		name   string
		step   time.Duration
		values []float64
	}{
		{feed.RealTimePrice, "real_time", p.step, p.price},
		{feed.DayAheadPrice, "day_ahead", time.Hour, p.ahead},
		{feed.Hashprice, "hashprice", time.Hour, p.hash},
		{feed.ReservePrice("ready"), "ready", time.Hour, p.pays},
	} {
		if x.values == nil {
			continue
		}
		lo, hi := feed.Bounds(x.q)
		path := put(t, dir, x.name+".csv", csv(x.name, p.from, x.step, x.values))
		out[x.q] = history.Spec{Path: path, Column: x.name, Step: x.step, Low: lo, High: hi}
	}
	if p.jobs == nil {
		return out, nil
	}
	return out, &history.JobSpec{Path: put(t, dir, "jobs.csv", trace(p.jobs))}
}

// options are a backtest over the last days of the past: what lies before is for
// the forecast to learn from.
func (p *past) options(t testing.TB, s site.Options, count map[string]int, days int) backtest.Options {
	t.Helper()
	to := p.from.Add(p.span())
	o := backtest.Options{Site: s, Count: count, From: to.Add(-time.Duration(days) * day), To: to, Learn: p.span(), Terms: backtest.Terms{Slack: 2, Patience: 12 * time.Hour}}
	o.Series, o.Jobs = p.write(t)
	return o
}

const (
	overhead = 1.05
	fee      = 0.02
)

// farm is a small site: two classes of miners in halls of their own, two hosts of
// eight GPUs beside the second.
func farm(limit sluice.Watts) (site.Options, map[string]int) {
	s := site.Options{Name: "farm", Guard: 0.01, Ramp: 100 * sluice.Kilowatt, Overhead: overhead, PoolFee: fee, Horizon: 3 * time.Hour}
	s.Nodes = []site.NodeSpec{{Name: "grid", Limit: limit}, {Name: "a", Parent: "grid"}, {Name: "b", Parent: "grid"}}
	s.Classes = []site.ClassSpec{
		{Name: "old", Node: "a", WakeTime: 3 * time.Minute, MinOn: 15 * time.Minute, Modes: []sluice.Mode{
			{Name: sluice.ModeSleep, Power: 20}, {Name: "mine", Power: 3250, HashRate: 95},
		}},
		{Name: "new", Node: "b", WakeTime: 2 * time.Minute, Modes: []sluice.Mode{
			{Name: sluice.ModeSleep, Power: 15}, {Name: "eco", Power: 1900, HashRate: 125}, {Name: "full", Power: 3500, HashRate: 200},
		}},
	}
	var hs []compute.Host
	for i := range 2 {
		hs = append(hs, compute.Host{Name: fmt.Sprintf("h%d", i), Class: "gpu", Executor: "virtual", Units: 8, GPUModel: "H100", IdleW: 2000, UnitW: 1000})
	}
	s.Hosts = []site.HostClass{{Name: "gpu", Node: "b", Model: "H100", Hosts: hs, RateUSD: 2.5, SpotRateUSD: 1.2}}
	return s, map[string]int{"old": 24, "new": 32}
}

func runAll(t testing.TB, o backtest.Options, policies ...string) *backtest.Report {
	t.Helper()
	if len(policies) == 0 {
		policies = backtest.Policies()
	}
	r, err := backtest.Run(context.Background(), o, policies)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// result is that of a policy.
func result(t testing.TB, r *backtest.Report, policy string) backtest.Result {
	t.Helper()
	for _, p := range r.Policies {
		if p.Name == policy {
			return p
		}
	}
	t.Fatalf("no policy %s in the report", policy)
	return backtest.Result{}
}

// near says whether two figures differ by no more than rounding does.
func near(a, b, within float64) bool { return math.Abs(a-b) <= within }
