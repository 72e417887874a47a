package dispatch

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// randomJob makes a job up, and what it costs to run in each of T intervals.
func randomJob(t *rapid.T, T int) (*pjob, []float64) {
	usd := func(name string, most int) float64 { return float64(rapid.IntRange(0, most).Draw(t, name)) / 4 }
	n := func(name string, from, to int) int { return rapid.IntRange(from, to).Draw(t, name) }
	j := &Job{
		Intervals: n("intervals", 1, T+2), Earliest: n("earliest", 0, T+1), PreemptUSD: usd("preempt", 12),
		RestartIntervals: n("restart", 0, 3), LateUSDPerInterval: usd("late", 4),
	}
	q := &pjob{Job: j, gain: usd("gain", 12), deadline: n("deadline", 0, T)}
	switch n("kind", 0, 3) {
	case 0:
		j.Running, j.Started, j.Earliest, j.RestartLeft = true, true, 0, n("left", 0, 4)
	case 1:
		j.Started = true
	}
	q.started = j.Started
	q.wait(T)
	cost := make([]float64, T)
	for i := range cost {
		if cost[i] = float64(n("cost", -4, 16)) / 4; n("barred", 0, 9) == 0 {
			cost[i] = inf
		}
	}
	return q, cost
}

// bestOfAll goes through all ways to run the job.
func bestOfAll(j *pjob, cost []float64) float64 {
	T, most := len(cost), -inf
	for mask := range 1 << T {
		var runs []span
		for t := range T {
			if mask>>t&1 == 0 {
				continue
			}
			if k := len(runs) - 1; k >= 0 && runs[k].to == t {
				runs[k].to++
			} else {
				runs = append(runs, span{t, t + 1})
			}
		}
		if v, ok := worthOf(j, runs, cost); ok {
			most = math.Max(most, v)
		}
	}
	return most
}

// worthOf says what the runs are worth, if the job may run so.
func worthOf(j *pjob, runs []span, cost []float64) (float64, bool) {
	made, started, sum := 0, j.started, j.account(len(cost), runs)
	for i, r := range runs {
		rest := 0
		if j.Running && r.from == 0 {
			rest = j.RestartLeft
		} else if started {
			rest = j.RestartIntervals
		}
		started = true
		made += max(0, r.to-r.from-rest)
		if r.from < j.Earliest || made > j.Intervals || made == j.Intervals && i < len(runs)-1 {
			return 0, false
		}
		for t := r.from; t < r.to; t++ {
			sum -= cost[t]
		}
	}
	return sum, true
}

// The best schedule is the best of all ways to run the job.
func TestPropertySchedules(t *testing.T) {
	var w schedules // used again for each, as a solution does
	rapid.Check(t, func(t *rapid.T) {
		T := rapid.SampledFrom([]int{1, 2, 3, 5, 7, 9}).Draw(t, "T")
		j, cost := randomJob(t, T)
		w.use(&problem{T: T}, j)
		copy(w.cost, cost)
		got, want := w.best(), bestOfAll(j, cost)
		if math.Abs(got-want) > 1e-9 {
			t.Fatalf("%v is the best schedule worth, of all ways %v", got, want)
		}
		runs := w.trace(nil)
		if v, ok := worthOf(j, runs, cost); !ok || math.Abs(v-want) > 1e-9 {
			t.Fatalf("the schedule %v is worth %v (allowed: %v), the best %v", runs, v, ok, want)
		}
	})
}

// The schedules of jobs are the one part of the work that grows faster than the
// horizon: of the states that a job could be in, few are gone through.
func TestFewStatesOfSchedules(t *testing.T) {
	s := largeShape
	s.miners, s.intervals = 20, 576
	p := compile(s.random(1))
	x := p.firstPrices()
	var w schedules
	all, some := 0, 0
	for i := range p.jobs {
		w.jobAt(p, i, x)
		if w.best(); p.jobs[i].MustRun {
			continue
		}
		for t := range p.T {
			all += w.P * (w.K + 1)
			some += (w.top(t) - w.low(t)) * (w.K + 1)
		}
	}
	if some == 0 || some > all/3 {
		t.Errorf("%d of %d states", some, all)
	}
	t.Logf("%d of %d states", some, all)
}
