package telemetry

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testDB opens a database in a folder of its own.
func testDB(t testing.TB, change ...func(*Options)) *DB {
	t.Helper()
	o := Options{Dir: filepath.Join(t.TempDir(), "telemetry"), Site: "valley", Now: func() time.Time { return start }, MinFree: -1}
	for _, c := range change {
		c(&o)
	}
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// fataler is a test, or a property's.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

type point struct {
	t int64
	v float64
}

// read returns all samples of a metric, by the labels of its series.
func read(t fataler, d *DB, name string) map[string][]point {
	t.Helper()
	q, err := d.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name))
	out := map[string][]point{}
	for set.Next() {
		s := set.At()
		k := s.Labels().String()
		for it := s.Iterator(nil); it.Next() != chunkenc.ValNone; {
			ms, v := it.At()
			out[k] = append(out[k], point{ms, v})
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func mustAppend(t fataler, d *DB, at time.Time, x ...Sample) {
	t.Helper()
	if err := d.Append(context.Background(), at, x); err != nil {
		t.Fatal(err)
	}
}

func TestSamplesSurviveReopening(t *testing.T) {
	d := testDB(t)
	s := d.Series("sluice_machine_power_watts", "machine", "m1", "model", "", "note", "bad\xffbytes")
	for i := range 50 {
		mustAppend(t, d, start.Add(time.Duration(i)*10*time.Second), Sample{s, float64(3000 + i)})
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Append(context.Background(), start, []Sample{{s, 1}}); err == nil {
		t.Fatal("a closed database takes samples")
	}
	d = testDB(t, func(o *Options) { o.Dir = d.o.Dir })
	s = d.Series("sluice_machine_power_watts", "machine", "m1", "note", "bad\xffbytes")
	mustAppend(t, d, start.Add(500*time.Second), Sample{s, 1})
	got := read(t, d, "sluice_machine_power_watts")
	want := `{__name__="sluice_machine_power_watts", machine="m1", note="bad�bytes", site="valley"}`
	if len(got) != 1 || len(got[want]) != 51 {
		t.Fatalf("%d series, %d samples of %s", len(got), len(got[want]), want)
	}
	for i, p := range got[want][:50] {
		if p != (point{start.Add(time.Duration(i) * 10 * time.Second).UnixMilli(), float64(3000 + i)}) {
			t.Fatalf("sample %d is %v", i, p)
		}
	}
}

func TestASampleThatIsTooOldCostsNoOther(t *testing.T) {
	d := testDB(t)
	a, b := d.Series("a"), d.Series("b")
	mustAppend(t, d, start, Sample{a, 1})
	mustAppend(t, d, start.Add(-time.Minute), Sample{a, 2}, Sample{b, 2}) // the clock was set back a little
	mustAppend(t, d, start.Add(-7*time.Hour), Sample{a, 3}, Sample{b, 3}) // and a lot
	mustAppend(t, d, start, Sample{a, 4}, Sample{b, 4})                   // said twice, differently
	if got := read(t, d, "a"); len(got[`{__name__="a", site="valley"}`]) != 2 {
		t.Errorf("a: %v", got)
	}
	if got := read(t, d, "b")[`{__name__="b", site="valley"}`]; len(got) != 2 || got[1].v != 4 {
		t.Errorf("b: %v", got)
	}
	if d.Dropped() != 3 {
		t.Errorf("%d dropped, want 3: two of long before and one that is there already", d.Dropped())
	}
}

func TestANearlyFullDiskDropsAndComesBack(t *testing.T) {
	free := int64(10)
	d := testDB(t, func(o *Options) { o.MinFree, o.Free = 100, func(string) (int64, error) { return free, nil } })
	s := d.Series("a")
	mustAppend(t, d, start, Sample{s, 1})
	if len(read(t, d, "a")) != 0 || d.Dropped() != 1 {
		t.Fatal("recorded where there is no room")
	}
	free = 1000
	d.checked = time.Time{}
	mustAppend(t, d, start.Add(time.Second), Sample{s, 2})
	if len(read(t, d, "a")) != 1 || d.Dropped() != 1 {
		t.Fatal("not recorded although there is room again")
	}
}

func TestOldBlocksGo(t *testing.T) {
	d := testDB(t, func(o *Options) { o.Retention = 24 * time.Hour })
	s := d.Series("a")
	for i := range 60 * 2 { // 60 hours
		mustAppend(t, d, start.Add(time.Duration(i)*30*time.Minute), Sample{s, float64(i)})
	}
	if err := d.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what has become too old goes with the next look
		if err := d.Compact(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	got := read(t, d, "a")[`{__name__="a", site="valley"}`]
	if len(got) == 0 || got[len(got)-1].v != 119 {
		t.Fatalf("%d samples, the newest is missing", len(got))
	}
	age := time.Duration(got[len(got)-1].t-got[0].t) * time.Millisecond
	if age < 24*time.Hour || age > 32*time.Hour {
		t.Errorf("the oldest sample is %s old at a retention of 24 h", age)
	}
}

func TestOnlyOneMayOpen(t *testing.T) {
	d := testDB(t)
	if x, err := Open(Options{Dir: d.o.Dir, Site: "valley", Now: d.o.Now}); err == nil {
		_ = x.Close()
		t.Fatal("opened twice")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: filepath.Join(file, "x"), Site: "valley", Now: d.o.Now}); err == nil {
		t.Fatal("opened below a file")
	}
}

func TestStaleIsTheMarker(t *testing.T) {
	if !value.IsStaleNaN(Stale()) {
		t.Fatal("not a stale marker")
	}
}
