package elastic

import (
	"cmp"
	"math"
	"slices"
	"time"

	"sluice"
)

// Job is one that may be limited, or stopped, or both.
type Job struct {
	ID    string
	Full  sluice.Watts // of its GPUs' limits together when they are not limited
	Power sluice.Watts // that they draw when they are not limited; 0: Full
	Share float64      // in force now; 0: 1
	// Lowest share: what the job accepts, and what the hardware can do.
	MinPowerShare float64
	Floor         float64
	MinProgress   float64 // below which it would miss its deadline; 0: it has none
	CapOK         bool    // it may be limited
	StopOK        bool    // it may be stopped
	USDPerHour    float64 // that it earns at full speed
	StopUSD       float64 // that stopping costs at once: work since the checkpoint, restart, credits
	Curve         Curve
}

// Cap is what is to become of a job.
type Cap struct {
	ID       string       `json:"id"`
	Share    float64      `json:"share"` // 0 where Stop
	Stop     bool         `json:"stop,omitempty"`
	Freed    sluice.Watts `json:"freed_w"`
	Progress float64      `json:"progress"`
	LossUSD  float64      `json:"loss_usd"` // against going on as now
}

// Result is what Choose found: the jobs that change, by ID.
type Result struct {
	Caps    []Cap        `json:"caps"`
	Freed   sluice.Watts `json:"freed_w"`
	Short   sluice.Watts `json:"short_w"` // of the need; 0: it is met
	LossUSD float64      `json:"loss_usd"`
}

// step is the grain of shares.
const step = 0.01

// buckets is the most that a need is divided into; what a choice frees is rounded
// down to a bucket, so that the need is always met.
const buckets = 400

// option is one thing that can be done to a job.
type option struct {
	Cap
	take int // buckets freed
}

// now is the share in force.
func (j *Job) now() float64 {
	if !(j.Share > 0) || j.Share > 1 {
		return 1
	}
	return j.Share
}

// draws is the power at a share.
func (j *Job) draws(share float64) sluice.Watts {
	w := cmp.Or(j.Power, j.Full)
	return min(w, sluice.Watts(math.Ceil(share*float64(j.Full)-1e-6))) // 0.6000000000000001 is 0.6
}

// progress is the speed at a share. What was assumed is of the power that the job
// draws: one that draws little loses nothing by a limit above it.
func (j *Job) progress(share float64) float64 {
	if j.Curve.Measured() || j.Power <= 0 || j.Full <= 0 {
		return j.Curve.Progress(share)
	}
	return Default(share * float64(j.Full) / float64(min(j.Power, j.Full)))
}

// lowest is the share that it may be brought down to, 1 where it may not.
func (j *Job) lowest() float64 {
	if !j.CapOK || j.Full <= 0 {
		return j.now()
	}
	return min(j.now(), max(j.MinPowerShare, j.Floor, step))
}

// cap describes a share.
func (j *Job) cap(share, hours float64) Cap {
	c := Cap{ID: j.ID, Share: share, Freed: j.draws(j.now()) - j.draws(share), Progress: j.progress(share)}
	c.LossUSD = j.USDPerHour * max(0, j.progress(j.now())-c.Progress) * hours
	return c
}

// stop describes the job's end.
func (j *Job) stop(hours float64) Cap {
	return Cap{ID: j.ID, Stop: true, Freed: j.draws(j.now()), LossUSD: j.USDPerHour*j.progress(j.now())*hours + j.StopUSD}
}

// options are all that can be done to a job, the first being nothing. Of those that
// free no more, none that loses more is kept.
func (j *Job) options(hours float64, grain sluice.Watts) []option {
	all := []Cap{j.cap(j.now(), hours)}
	// From the lowest share up in whole steps, so that it is among them.
	for i := 0; ; i++ {
		share := j.lowest() + float64(i)*step
		if share >= j.now() {
			break
		}
		if j.MinProgress > 0 && j.progress(share) < j.MinProgress {
			continue
		}
		all = append(all, j.cap(share, hours))
	}
	if j.StopOK {
		all = append(all, j.stop(hours))
	}
	best := map[int]option{}
	for _, c := range all {
		o := option{c, int(c.Freed / grain)}
		if b, ok := best[o.take]; !ok || o.LossUSD < b.LossUSD || (o.LossUSD == b.LossUSD && o.Share > b.Share && !o.Stop) {
			best[o.take] = o
		}
	}
	out := make([]option, 0, len(best))
	for _, o := range best {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b option) int { return cmp.Compare(a.take, b.take) })
	// From the far end: keep what loses less than all that frees more.
	least := math.Inf(1)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i].LossUSD >= least && out[i].take > 0 {
			out = slices.Delete(out, i, i+1)
			continue
		}
		least = min(least, out[i].LossUSD)
	}
	return out
}

// Choose says how to free power for the time that it will be needed, at the least
// loss: which jobs to limit to what, and which to stop where that loses less. It
// frees at least what is asked, or all that it can and says what is short. No job
// comes below what it accepts, and none that may not be stopped is. It loses no more
// than stopping any one job that would do.
func Choose(need sluice.Watts, hold time.Duration, jobs []Job) Result {
	if need <= 0 || len(jobs) == 0 {
		return Result{Short: max(0, need)}
	}
	hours := hold.Hours()
	grain := max(1, (need+buckets-1)/buckets)
	want := int((need + grain - 1) / grain)
	options := make([][]option, len(jobs))
	for i := range jobs {
		options[i] = jobs[i].options(hours, grain)
	}
	picked := cover(options, want)
	if picked == nil {
		picked = most(jobs, hours)
	}
	r := total(jobs, picked, need)
	// One stop may do it at less than what rounding found.
	for i := range jobs {
		if c := jobs[i].stop(hours); jobs[i].StopOK && c.Freed >= need && (r.Short > 0 || c.LossUSD < r.LossUSD) {
			r = total(jobs, []Cap{c}, need)
		}
	}
	return r
}

// cover chooses one option of each job so that together they take at least want, at
// the least loss: exact over the options. It returns nil where no choice does.
func cover(options [][]option, want int) []Cap {
	loss := make([]float64, want+1) // least loss to take at least i
	from := make([][]int16, len(options))
	for i := 1; i <= want; i++ {
		loss[i] = math.Inf(1)
	}
	next := make([]float64, want+1)
	for k, opts := range options {
		from[k] = make([]int16, want+1)
		for i := range next {
			next[i] = math.Inf(1)
			for o, opt := range opts {
				if l := loss[max(0, i-opt.take)] + opt.LossUSD; l < next[i] {
					next[i], from[k][i] = l, int16(o)
				}
			}
		}
		loss, next = next, loss
	}
	if math.IsInf(loss[want], 1) {
		return nil
	}
	var out []Cap
	i := want
	for k := len(options) - 1; k >= 0; k-- {
		o := options[k][from[k][i]]
		if o.Freed > 0 || o.Stop {
			out = append(out, o.Cap)
		}
		i = max(0, i-o.take)
	}
	return out
}

// most frees all that can be.
func most(jobs []Job, hours float64) []Cap {
	var out []Cap
	for i := range jobs {
		j := &jobs[i]
		c := j.cap(j.now(), hours)
		for share := j.lowest(); share < j.now(); share += step {
			if j.MinProgress <= 0 || j.progress(share) >= j.MinProgress {
				c = j.cap(share, hours)
				break
			}
		}
		if j.StopOK {
			c = j.stop(hours)
		}
		if c.Freed > 0 {
			out = append(out, c)
		}
	}
	return out
}

// total adds up.
func total(jobs []Job, picked []Cap, need sluice.Watts) Result {
	r := Result{Caps: picked}
	order := make(map[string]int, len(jobs))
	for i := range jobs {
		order[jobs[i].ID] = i
	}
	slices.SortFunc(r.Caps, func(a, b Cap) int { return cmp.Compare(order[a.ID], order[b.ID]) })
	for _, c := range picked {
		r.Freed += c.Freed
		r.LossUSD += c.LossUSD
	}
	r.Short = max(0, need-r.Freed)
	return r
}

// Lift says which limits to raise when there is power again: what gains most within
// it. Freed is negative there, and so is LossUSD.
func Lift(room sluice.Watts, hold time.Duration, jobs []Job) Result {
	if room <= 0 {
		return Result{}
	}
	hours := hold.Hours()
	shares := make([]float64, len(jobs))
	for i := range jobs {
		shares[i] = jobs[i].now()
	}
	// Step by step, always the step that gains most for its power. A job that a
	// whole step would take over the room is done.
	for left := room; ; {
		best, rate := -1, -1.0
		for i := range jobs {
			j := &jobs[i]
			if shares[i] >= 1 {
				continue
			}
			to := min(1, shares[i]+step)
			w := j.draws(to) - j.draws(shares[i])
			if w > left {
				continue
			}
			gain := j.USDPerHour * (j.progress(to) - j.progress(shares[i])) * hours / max(float64(w), 1e-9)
			if gain > rate {
				best, rate = i, gain
			}
		}
		if best < 0 {
			break
		}
		to := min(1, shares[best]+step)
		left -= jobs[best].draws(to) - jobs[best].draws(shares[best])
		shares[best] = to
	}
	var picked []Cap
	for i := range jobs {
		j := &jobs[i]
		if shares[i] > j.now() {
			c := j.cap(shares[i], hours)
			c.LossUSD = j.USDPerHour * (j.progress(j.now()) - c.Progress) * hours
			picked = append(picked, c)
		}
	}
	r := total(jobs, picked, 0)
	return r
}
