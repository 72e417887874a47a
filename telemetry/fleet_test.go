package telemetry

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"pgregory.net/rapid"

	"sluice"
	"sluice/site"
)

// minerReading is a reading of a machine that mines.
func minerReading(name string, at time.Time) site.MachineReading {
	return site.MachineReading{
		Name: name, Class: "s21", Model: "Antminer S21", Kind: sluice.Miner, State: site.StateMining, Mode: sluice.ModeMine,
		Power: 3500, PowerSource: sluice.SourceDevice,
		Reading: sluice.Reading{At: at, HasHashRate: true, HashRate: 200, HasTemp: true, TempC: 61.5, Uptime: time.Hour},
	}
}

// values returns what a turn gives the series of a name; NaN for one that ends.
func values(x []Sample, name string) []float64 {
	var out []float64
	for _, s := range x {
		if s.Series.labels.Get("__name__") == name {
			out = append(out, s.Value)
		}
	}
	return out
}

func TestEachReadingIsRecordedOnce(t *testing.T) {
	f := newFleet(testDB(t))
	r := minerReading("m1", start)
	first := f.samples([]site.MachineReading{r})
	for name, want := range map[string]float64{
		MachinePower: 3500, MachineHashrate: 200e12, MachineTemp: 61.5, MachineUptime: 3600, MachineState: 2, MachineMode: 1,
		ClassPower: 3500, ClassHashrate: 200e12, ClassMachines: 1,
	} {
		if got := values(first, name); len(got) != 1 || math.Abs(got[0]-want) > want*1e-6 {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := values(first, MachineErrors); got != nil {
		t.Errorf("errors of a machine that has none: %v", got)
	}
	again := f.samples([]site.MachineReading{r})
	if values(again, MachinePower) != nil || len(values(again, MachineState)) != 1 || len(values(again, ClassPower)) != 1 {
		t.Errorf("the same reading gives %d samples", len(again))
	}
	r.Reading.At, r.Reading.Errors = start.Add(time.Second), []string{"fan lost", "chain break"}
	if got := values(f.samples([]site.MachineReading{r}), MachineErrors); len(got) != 1 || got[0] != 2 {
		t.Errorf("errors %v", got)
	}
	r.Reading.At, r.Reading.Errors = start.Add(2*time.Second), nil
	if got := values(f.samples([]site.MachineReading{r}), MachineErrors); len(got) != 1 || got[0] != 0 {
		t.Errorf("errors that are gone: %v", got)
	}
}

func ended(x []float64) bool { return len(x) == 1 && value.IsStaleNaN(x[0]) }

func TestWhatIsNotKnownAnyMoreEnds(t *testing.T) {
	readings := []string{MachinePower, MachineHashrate, MachineTemp, MachineUptime, MachineMode}
	f := newFleet(testDB(t))
	r := minerReading("m1", start)
	f.samples([]site.MachineReading{r})

	r.Silent, r.State = true, site.StateSilent
	silent := f.samples([]site.MachineReading{r})
	for _, name := range readings {
		if !ended(values(silent, name)) {
			t.Errorf("%s of a silent machine: %v", name, values(silent, name))
		}
	}
	if s := values(silent, MachineState); len(s) != 1 || s[0] != 0 {
		t.Errorf("state %v", s)
	}
	if p := values(silent, ClassPower); len(p) != 1 || p[0] != 0 {
		t.Errorf("a silent machine's power counts: %v", p)
	}
	for _, name := range readings {
		if got := values(f.samples([]site.MachineReading{r}), name); got != nil {
			t.Errorf("%s ends twice: %v", name, got)
		}
	}

	r = minerReading("m1", start.Add(time.Minute))
	r.Reading.HasTemp, r.PowerSource, r.Mode = false, sluice.SourceNameplate, sluice.ModeSleep
	back := f.samples([]site.MachineReading{r})
	if len(values(back, MachinePower)) != 1 || values(back, MachineTemp) != nil {
		t.Errorf("back: %v", back)
	}
	r.Reading.At, r.PowerSource, r.Mode = start.Add(2*time.Minute), sluice.SourceDevice, sluice.ModeMine
	changed := f.samples([]site.MachineReading{r})
	if p := values(changed, MachinePower); len(p) != 2 || !value.IsStaleNaN(p[0]) || p[1] != 3500 {
		t.Errorf("another source of power: %v", p)
	}
	if m := values(changed, MachineMode); len(m) != 2 || !value.IsStaleNaN(m[0]) || m[1] != 1 {
		t.Errorf("another mode: %v", m)
	}
	gone := f.samples(nil)
	for _, name := range []string{MachinePower, MachineState, MachineMode, ClassPower, ClassHashrate} {
		if !ended(values(gone, name)) {
			t.Errorf("%s of a machine that is gone: %v", name, values(gone, name))
		}
	}
	if left := f.samples(nil); len(left) != 0 || len(f.machines)+len(f.classes) != 0 {
		t.Errorf("%d samples of nothing", len(left))
	}
}

func TestCoarseIsCloseEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Float64Range(1e3, 1e18).Draw(t, "v")
		if c := coarse(v); math.Abs(c-v) > v*1e-6 || coarse(c) != c {
			t.Fatalf("%g becomes %g", v, c)
		}
	})
	if coarse(0) != 0 {
		t.Error("zero is not zero")
	}
}

// TestWhatWasKeptIsWhatIsRead records any batches, in any order of time, with
// restarts between them: what was not counted as dropped is there, and nothing else.
func TestWhatWasKeptIsWhatIsRead(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := testDB(t)
		dir := d.o.Dir
		names := []string{"a", "b", "c"}
		kept := map[string]map[int64][]float64{}
		series := map[string]*Series{}
		for step := range rapid.IntRange(1, 15).Draw(rt, "steps") {
			if rapid.IntRange(0, 19).Draw(rt, "restart") == 7 {
				if err := d.Close(); err != nil {
					rt.Fatal(err)
				}
				d = reopen(t, dir)
				clear(series)
			}
			at := start.Add(time.Duration(rapid.IntRange(0, 900).Draw(rt, "t")) * time.Second)
			for _, n := range names {
				if !rapid.Bool().Draw(rt, n) {
					continue
				}
				if series[n] == nil {
					series[n] = d.Series("m", "name", n)
				}
				before := d.Dropped()
				mustAppend(rt, d, at, Sample{series[n], float64(step)})
				if d.Dropped() == before {
					if kept[n] == nil {
						kept[n] = map[int64][]float64{}
					}
					// A late one for a time that is there already may take its place.
					kept[n][at.UnixMilli()] = append(kept[n][at.UnixMilli()], float64(step))
				}
			}
		}
		got := read(rt, d, "m")
		if err := d.Close(); err != nil {
			rt.Fatal(err)
		}
		for _, n := range names {
			points := got[`{__name__="m", name="`+n+`", site="valley"}`]
			if len(points) != len(kept[n]) {
				rt.Fatalf("%s: %d samples, %d were kept", n, len(points), len(kept[n]))
			}
			for i, p := range points {
				if v := kept[n][p.t]; i > 0 && points[i-1].t >= p.t || !slices.Contains(v, p.v) {
					rt.Fatalf("%s: %v is not what was kept (%v)", n, p, v)
				}
			}
		}
	})
}
