package dispatch

import (
	"cmp"
	"slices"
)

func (e *evaluation) accountJobs(p *Plan) error {
	job := make([]int, len(p.Runs))
	for i, r := range p.Runs {
		if job[i] = e.jobs.find(r.Job); job[i] < 0 {
			return wrong("a run of unknown job %q", r.Job)
		}
		if r.Start < 0 || r.Start >= r.End || r.End > e.T {
			return wrong("run [%d, %d) of %s is outside the horizon", r.Start, r.End, r.Job)
		}
	}
	order, first := ordered(len(p.Runs), len(e.in.Jobs), func(i int) int { return job[i] })
	var runs []Run
	for i := range e.in.Jobs {
		j := &e.in.Jobs[i]
		runs = runs[:0]
		for _, r := range order[first[i]:first[i+1]] {
			runs = append(runs, p.Runs[r])
		}
		slices.SortFunc(runs, func(a, b Run) int { return cmp.Compare(a.Start, b.Start) })
		if err := e.job(j, runs); err != nil {
			return err
		}
	}
	return nil
}

// job accounts for one job's runs, in order of time.
func (e *evaluation) job(j *Job, runs []Run) error {
	T := e.T
	row := e.classes.find(j.Class) * T
	held, jobKW := e.held[row:row+T], e.jobKW[row:row+T]
	progress, last, started := 0, -1, j.Started || j.Running
	for i, r := range runs {
		switch {
		case i > 0 && r.Start <= runs[i-1].End:
			return wrong("runs of %s touch or overlap at %d", j.Name, r.Start)
		case r.Start < j.Earliest:
			return wrong("%s starts at %d, before %d", j.Name, r.Start, j.Earliest)
		case j.MustRun && r.End > j.Earliest+j.Intervals:
			return wrong("%s runs until %d, after its term", j.Name, r.End)
		}
		restart := 0
		switch {
		case j.MustRun:
		case j.Running && r.Start == 0:
			restart = j.RestartLeft
		case started:
			restart = j.RestartIntervals
		}
		started = true
		for t := r.Start; t < r.End; t++ {
			held[t] += j.Units
			jobKW[t] += float64(j.Units) * j.PowerKW
			e.shed[t] += float64(j.Units) * j.ShedKW
			if progress >= j.Intervals {
				return wrong("%s runs on at %d though it is done", j.Name, t)
			}
			if t-r.Start < restart {
				continue
			}
			progress++
			last = t
			e.usd += float64(j.Units) * j.USDPerUnitHour * e.h
		}
		if !j.MustRun && progress < j.Intervals && r.End < T {
			e.usd -= j.PreemptUSD
		}
	}
	if j.MustRun {
		due := max(0, min(T, j.Earliest+j.Intervals)-j.Earliest)
		e.usd -= float64(due-progress) * j.UnservedUSDPerInterval
		return nil
	}
	if j.Running && (len(runs) == 0 || runs[0].Start > 0) {
		e.usd -= j.PreemptUSD
	}
	if j.Deadline != nil {
		end := T
		if progress >= j.Intervals {
			end = last + 1
		}
		e.usd -= float64(max(0, end-*j.Deadline)) * j.LateUSDPerInterval
	}
	return nil
}
