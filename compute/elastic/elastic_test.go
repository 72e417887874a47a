package elastic_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice"
	"sluice/compute/elastic"
)

func TestDefault(t *testing.T) {
	last := -1.0
	for p := 0.0; p <= 1.2; p += 0.001 {
		v := elastic.Default(p)
		if v < last || v < 0 || v > 1 {
			t.Fatalf("progress %g at %g after %g", v, p, last)
		}
		last = v
	}
	// What is published is not promised more than was measured.
	if v := elastic.Default(600. / 700); v < 0.85 || v > 0.90 {
		t.Errorf("at 600 of 700 W: %g", v)
	}
	if v := elastic.Default(150. / 250); v > 1/1.068 {
		t.Errorf("at 150 of 250 W: %g", v)
	}
}

// A job whose speed follows a curve of its own is found out.
func TestLearns(t *testing.T) {
	truth := func(p float64) float64 { return math.Pow(p, 0.4) }
	var l elastic.Learner
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	if l.Curve().Measured() {
		t.Fatal("nothing was measured")
	}
	for i := range 40 {
		for _, p := range []float64{1, 0.9, 0.7, 0.5} {
			noise := 1 + 0.02*math.Sin(float64(i)*7+p*31)
			l.Add(elastic.Sample{At: now, Share: p, Rate: 1234 * truth(p) * noise, Source: elastic.Told})
		}
	}
	b, err := json.Marshal(&l)
	if err != nil {
		t.Fatal(err)
	}
	var again elastic.Learner
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	c := again.Curve()
	if c.Source != elastic.Told {
		t.Fatalf("%+v", c)
	}
	for _, p := range []float64{1, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5} {
		if got := c.Progress(p); math.Abs(got-truth(p)) > 0.03 {
			t.Errorf("at %g: %g, it is %g", p, got, truth(p))
		}
	}
	// Below what was measured: less, and nothing at nothing.
	if a, b := c.Progress(0.3), c.Progress(0.5); !(a < b) || c.Progress(0.05) != 0 {
		t.Errorf("extrapolated: %g %g", a, b)
	}
}

// A job that was never seen without a limit is compared with the default's guess.
func TestLearnsUnderALimit(t *testing.T) {
	var l elastic.Learner
	for range 10 {
		l.Add(elastic.Sample{Share: 0.8, Rate: 80, Source: elastic.Clock})
		l.Add(elastic.Sample{Share: 0.6, Rate: 70, Source: elastic.Clock})
	}
	c := l.Curve()
	if got, want := c.Progress(0.8), elastic.Default(0.8); math.Abs(got-want) > 1e-9 {
		t.Errorf("%g, not %g", got, want)
	}
	if got, want := c.Progress(0.6), elastic.Default(0.8)*70/80; math.Abs(got-want) > 1e-9 {
		t.Errorf("%g, not %g", got, want)
	}
}

func TestCurveProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l elastic.Learner
		for range rapid.IntRange(0, 60).Draw(t, "n") {
			l.Add(elastic.Sample{
				Share: rapid.Float64Range(-0.1, 1.2).Draw(t, "share"), Rate: rapid.Float64Range(-1, 100).Draw(t, "rate"),
				Source: rapid.SampledFrom([]elastic.Source{elastic.Told, elastic.Clock, "x"}).Draw(t, "source"),
			})
		}
		c, last := l.Curve(), 0.0
		for p := 0.0; p <= 1; p += 0.01 {
			v := c.Progress(p)
			if math.IsNaN(v) || v < last-1e-9 || v < 0 || v > 1+1e-9 {
				t.Fatalf("progress %g at %g after %g: %+v", v, p, last, c)
			}
			last = v
		}
		if c.Progress(1) != 1 {
			t.Fatalf("%g without a limit", c.Progress(1))
		}
	})
}

func drawJobs(t *rapid.T, n int) []elastic.Job {
	jobs := make([]elastic.Job, n)
	for i := range jobs {
		full := sluice.Watts(rapid.IntRange(100, 8*700).Draw(t, "full"))
		jobs[i] = elastic.Job{
			ID: fmt.Sprintf("j-%d", i), Full: full, Power: sluice.Watts(rapid.IntRange(0, int(full)).Draw(t, "power")),
			Share: rapid.SampledFrom([]float64{0, 1, 0.8, 0.5}).Draw(t, "share"), MinPowerShare: rapid.Float64Range(0.2, 1).Draw(t, "min"),
			Floor: rapid.SampledFrom([]float64{0, 0.28, 0.5}).Draw(t, "floor"), CapOK: rapid.Bool().Draw(t, "cap"), StopOK: rapid.Bool().Draw(t, "stop"),
			USDPerHour: rapid.Float64Range(0, 40).Draw(t, "usd"), StopUSD: rapid.Float64Range(0, 20).Draw(t, "stop usd"),
		}
		if rapid.Bool().Draw(t, "measured") {
			jobs[i].Curve = elastic.Curve{Source: elastic.Told, Points: []elastic.Point{{Share: 0.5, Progress: rapid.Float64Range(0, 0.9).Draw(t, "p")}, {Share: 0.8, Progress: 0.95}}}
		}
		if rapid.IntRange(0, 4).Draw(t, "hurry") == 0 {
			jobs[i].MinProgress = 0.9
		}
	}
	return jobs
}

func TestChooseProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		jobs := drawJobs(t, rapid.IntRange(0, 8).Draw(t, "n"))
		need := sluice.Watts(rapid.IntRange(0, 12_000).Draw(t, "need"))
		hold := time.Duration(rapid.IntRange(1, 240).Draw(t, "minutes")) * time.Minute
		r := elastic.Choose(need, hold, jobs)
		byID := map[string]*elastic.Job{}
		var could sluice.Watts // with everything at its lowest
		for i := range jobs {
			j := &jobs[i]
			byID[j.ID] = j
			if j.StopOK {
				could += draws(j, now(j))
			} else if j.CapOK && j.MinProgress == 0 {
				could += draws(j, now(j)) - draws(j, min(now(j), max(j.MinPowerShare, j.Floor, 0.01)))
			}
			if cheap := (stopLoss(j, hold)); j.StopOK && draws(j, now(j)) >= need && need > 0 && r.LossUSD > cheap+1e-9 {
				t.Fatalf("it loses %g, stopping %s would lose %g", r.LossUSD, j.ID, cheap)
			}
		}
		var freed sluice.Watts
		var loss float64
		for _, c := range r.Caps {
			j := byID[c.ID]
			freed += c.Freed
			loss += c.LossUSD
			switch {
			case c.LossUSD < 0:
				t.Fatalf("%+v gains", c)
			case c.Stop && !j.StopOK:
				t.Fatalf("%s may not be stopped", c.ID)
			case !c.Stop && !j.CapOK:
				t.Fatalf("%s may not be limited", c.ID)
			case !c.Stop && (c.Share < j.MinPowerShare-1e-9 || c.Share < j.Floor-1e-9 || c.Share > now(j)):
				t.Fatalf("%+v is not within what %+v accepts", c, *j)
			case !c.Stop && c.Progress < j.MinProgress:
				t.Fatalf("%+v misses the deadline of %+v", c, *j)
			case !c.Stop && c.Freed != draws(j, now(j))-draws(j, c.Share), c.Stop && c.Freed != draws(j, now(j)):
				t.Fatalf("%+v frees something else of %+v", c, *j)
			}
			delete(byID, c.ID)
		}
		if freed != r.Freed || math.Abs(loss-r.LossUSD) > 1e-9 || r.Short != max(0, need-freed) {
			t.Fatalf("the sums of %+v: %v %g", r, freed, loss)
		}
		if r.Short > 0 && could >= need {
			t.Fatalf("it frees %v of %v and could free %v", r.Freed, need, could)
		}
	})
}

func now(j *elastic.Job) float64 {
	if j.Share == 0 {
		return 1
	}
	return j.Share
}

func draws(j *elastic.Job, share float64) sluice.Watts {
	w := j.Power
	if w == 0 {
		w = j.Full
	}
	return min(w, sluice.Watts(math.Ceil(share*float64(j.Full)-1e-6)))
}

func stopLoss(j *elastic.Job, hold time.Duration) float64 {
	p := now(j)
	v := j.Curve.Progress(p)
	if !j.Curve.Measured() && j.Power > 0 {
		v = elastic.Default(p * float64(j.Full) / float64(j.Power))
	}
	return j.USDPerHour*v*hold.Hours() + j.StopUSD
}

// Against all choices of a coarse grid: nothing there that frees enough loses less.
func TestChooseAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		jobs := drawJobs(t, 3)
		for i := range jobs {
			jobs[i].Full, jobs[i].Power, jobs[i].MinProgress = jobs[i].Full/20+10, 0, 0
		}
		need := sluice.Watts(rapid.IntRange(1, 400).Draw(t, "need"))
		r := elastic.Choose(need, time.Hour, jobs)
		best := math.Inf(1)
		var try func(i int, freed sluice.Watts, loss float64)
		try = func(i int, freed sluice.Watts, loss float64) {
			if i == len(jobs) {
				if freed >= need {
					best = min(best, loss)
				}
				return
			}
			j := &jobs[i]
			try(i+1, freed, loss)
			if j.StopOK {
				try(i+1, freed+draws(j, now(j)), loss+stopLoss(j, time.Hour))
			}
			low := min(now(j), max(j.MinPowerShare, j.Floor, 0.01))
			for s := low; j.CapOK && s < now(j); s += 0.04 {
				try(i+1, freed+draws(j, now(j))-draws(j, s), loss+j.USDPerHour*(j.Curve.Progress(now(j))-j.Curve.Progress(s)))
			}
		}
		try(0, 0, 0)
		if (r.Short == 0) != !math.IsInf(best, 1) || r.Short == 0 && r.LossUSD > best+1e-6 {
			t.Fatalf("it found %+v, the grid %g", r, best)
		}
	})
}

// What it is for: eight jobs each give a little, instead of one its life.
func TestCapRatherThanStop(t *testing.T) {
	var jobs []elastic.Job
	for i := range 8 {
		jobs = append(jobs, elastic.Job{
			ID: fmt.Sprint(i), Full: 5600, MinPowerShare: 0.5, CapOK: true, StopOK: true, USDPerHour: 16, StopUSD: 12,
		})
	}
	r := elastic.Choose(5000, 15*time.Minute, jobs)
	for _, c := range r.Caps {
		if c.Stop {
			t.Errorf("%+v", c)
		}
	}
	if r.Short != 0 || r.LossUSD > 4 { // one stop would be 16
		t.Errorf("%+v", r)
	}
	// Where it lasts for a week, a stop is what loses less than all being slow.
	for i := range jobs {
		jobs[i].StopUSD, jobs[i].USDPerHour = 1, 1
	}
	jobs[3].USDPerHour = 0.01
	if r := elastic.Choose(5000, 7*24*time.Hour, jobs); len(r.Caps) != 1 || !r.Caps[0].Stop || r.Caps[0].ID != "3" {
		t.Errorf("%+v", r)
	}
}

func TestLift(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		jobs := drawJobs(t, rapid.IntRange(0, 6).Draw(t, "n"))
		room := sluice.Watts(rapid.IntRange(0, 8000).Draw(t, "room"))
		r := elastic.Lift(room, time.Hour, jobs)
		if -r.Freed > room || r.LossUSD > 1e-9 {
			t.Fatalf("%+v within %v", r, room)
		}
		for _, c := range r.Caps {
			for i := range jobs {
				if jobs[i].ID == c.ID && (c.Share <= now(&jobs[i]) || c.Share > 1) {
					t.Fatalf("%+v of %+v", c, jobs[i])
				}
			}
		}
	})
	jobs := []elastic.Job{{ID: "a", Full: 700, Share: 0.5, USDPerHour: 1}, {ID: "b", Full: 700, Share: 0.5, USDPerHour: 5}}
	if r := elastic.Lift(350, time.Hour, jobs); len(r.Caps) != 1 || r.Caps[0].ID != "b" || r.Caps[0].Share != 1 {
		t.Errorf("%+v", r)
	}
}

func BenchmarkChoose(b *testing.B) {
	var jobs []elastic.Job
	for i := range 300 {
		jobs = append(jobs, elastic.Job{ID: fmt.Sprint(i), Full: 5600, MinPowerShare: 0.5, CapOK: true, StopOK: i%2 == 0, USDPerHour: 10 + float64(i%7), StopUSD: float64(i % 11)})
	}
	for b.Loop() {
		elastic.Choose(300_000, 15*time.Minute, jobs)
	}
}
